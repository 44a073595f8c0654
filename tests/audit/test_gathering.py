"""What parts of a run find, in whichever order they come to their ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from camaudit.audit.executors import Answer, Call
from camaudit.audit.exploring import Told
from camaudit.audit.gathering import Gathered
from camaudit.audit.progress import Silent
from camaudit.audit.run import run_audit
from camaudit.audit.settings import Settings
from camaudit.audit.spreading import Spread, spread
from camaudit.audit.units import Batch
from camaudit.journal import Finding
from camaudit.store import Scratch


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


def test_nothing_is_held_of_precomputed_maps(
    factory: Path, photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "theirs").mkdir()
    for path in photographs.rglob("*.png"):
        np.save(tmp_path / "theirs" / f"{path.stem}.npy", np.eye(32))
    asked = Settings(
        model=f"{factory}:build", images=photographs, image_size=32, preprocess="0.5/0.5",
        num_images=3, layer="0", methods=("gradcam",), checks=("sparsity",),
        explainers=(f"maps:{tmp_path / 'theirs'}",),
    )  # fmt: skip
    held: list[Any] = []
    monkeypatch.setattr(Scratch, "put", lambda _, some: held.extend(some))
    found = run_audit(asked, records=tmp_path / "out")
    assert {row["method"] for row in found.results.metrics["rows"]} == {"gradcam", "maps:theirs"}
    assert held == []
