"""Running cases one after the other, with an ETA, and a record that is saved after each."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from tests.benchmarks.cases import Case
from tests.benchmarks.record import failed, measured
from tests.benchmarks.timing import Clock, Setting, duration

__all__ = ["Eta", "run_cases", "select"]


def select(cases: Sequence[Case], only: str | None, place: str) -> list[Case]:
    """The cases named in `only` (NAME[,NAME]), or all that are for `place` ("cpu" or "cuda").

    Raises :class:`ValueError` for an unknown name, and for one that is for another place.
    """
    if only is None:
        return [case for case in cases if place in case.places]
    known = {case.name: case for case in cases}
    chosen = []
    for name in filter(None, map(str.strip, only.split(","))):
        if name not in known:
            raise ValueError(f"no case is called {name!r}; there are {', '.join(known)}")
        if place not in known[name].places:
            advice = "add --gpu" if place == "cpu" else "leave --gpu out"
            raise ValueError(f"{name} is not measured on {place}: {advice}")
        chosen.append(known[name])
    if not chosen:
        raise ValueError(f"no case is named; there are {', '.join(known)}")
    return list(dict.fromkeys(chosen))


class Eta:
    """Lines of progress with the time that is left, told by how fast the cases were so far."""

    def __init__(
        self, cases: Sequence[Case], rounds: int, clock: Clock, write: Callable[[str], None]
    ) -> None:
        self._expected = [case.expected(rounds) for case in cases]
        self._names = [case.name for case in cases]
        self._clock, self._write = clock, write
        self._began, self._place = clock(), 0

    def start(self, place: int) -> None:
        """Case number `place` (from 0) begins."""
        self._place = place
        self.say("building", 0.0)

    def say(self, text: str, share: float) -> None:
        """One line; `share` (0 to 1) of the case lies behind."""
        behind = sum(self._expected[: self._place]) + share * self._expected[self._place]
        left = sum(self._expected) - behind
        pace = (self._clock() - self._began) / behind if behind else 1.0
        number = f"[{self._place + 1}/{len(self._names)}] {self._names[self._place]}"
        self._write(f"{number}: {text}; ETA {duration(left * pace)}")


def run_cases(
    cases: Sequence[Case],
    setting: Setting,
    record: dict[str, Any],
    *,
    write: Callable[[str], None],
    keep: Callable[[dict[str, Any]], None],
) -> bool:
    """Measure `cases` into `record["cases"]`; `keep(record)` after each. Whether all could be.

    A case that fails is recorded with its message, and the others run. The targets are for two
    cores of a CPU: on other devices a case is not held to them.
    """
    eta = Eta(cases, setting.rounds, setting.clock, write)
    telling = replace(setting, say=eta.say)
    whole = True
    for place, case in enumerate(cases):
        eta.start(place)
        try:
            outcome = case.build(telling).run(telling)
            entry = measured(case, outcome, held=setting.device.type == "cpu")
        except Exception as error:  # one case must not take the others with it
            entry, whole = failed(case, f"{type(error).__name__}: {error}"), False
            write(f"{case.name} failed: {entry['message']}")
        record["cases"].append(entry)
        keep(record)
        gc.collect()
    return whole
