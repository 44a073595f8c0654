"""What parts of a run find, in whichever order they come to their ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from camaudit.audit.executors import Answer, Call
from camaudit.audit.exploring import Told
from camaudit.audit.foreign import foreign_methods
from camaudit.audit.gathering import Gathered
from camaudit.audit.invariance import foreign_explainers
from camaudit.audit.progress import Silent
from camaudit.audit.settings import Settings
from camaudit.audit.spreading import Spread, spread
from camaudit.audit.units import Batch
from camaudit.journal import Finding


@dataclass(frozen=True, eq=False)
class Part:
    """One that says what it is asked."""

    number: int
    stage: str = "a part"
    work: int = 1

    def unit(self, _: Gathered) -> Mapping[str, Any]:
        return {"number": self.number}

    def call(self, _: Gathered) -> Call:
        return Call("explore", Batch(0, ()), asked=self.number)


class Backwards:
    """Lanes that answer the latest call first; the explainer leaves another thing each time."""

    lanes = 4

    def __init__(self) -> None:
        self._waiting: list[tuple[int, Call]] = []

    def usable(self, _: int) -> bool:
        return True

    def submit(self, lane: int, call: Call) -> None:
        self._waiting.append((lane, call))

    def wait(self) -> Sequence[Answer]:
        lane, call = self._waiting.pop()
        found = Finding({"part": call.asked}, {"n": call.asked}, method="mine")
        left = {"mine": [f"trace {call.asked}"]} if call.asked else {}
        return [Answer(lane, Told([found], left, {}))]

    def close(self) -> None:
        """Nothing."""


def rows() -> Iterator[list[list[Part]]]:
    yield from ([[Part(number)]] for number in range(5))


def test_what_the_first_part_left_is_told_whichever_came_first() -> None:
    left = {"other": ["before"]}
    journal = Gathered(None, [], left)
    spread(Backwards(), rows(), Spread(journal, Silent()))
    assert left == {"other": ["before"]}
    for number in range(5):
        (found,) = journal.find([{"part": number}])
        assert found is not None
        assert found.value == {"n": number}
    assert left == {"other": ["before"], "mine": ["trace 1"]}


def test_nothing_is_held_of_precomputed_maps(tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    np.save(tmp_path / "theirs" / "a.npy", np.eye(4))
    (spec,) = foreign_explainers(Settings(explainers=(f"maps:{tmp_path / 'theirs'}",)))
    with foreign_methods([spec]):
        journal = Gathered(None, [], {})
        assert journal.explainer(spec.name) is None
        assert journal.explainer("gradcam") is not None
