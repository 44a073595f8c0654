"""Timing in turn: the peer once, ours once, round after round, in one process."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isnan
from statistics import median
from typing import Any

import torch

__all__ = ["Clock", "Contest", "Outcome", "Say", "Setting", "duration", "in_turn", "spread"]

Clock = Callable[[], float]
Say = Callable[[str, float], None]


def _silent(_text: str, _share: float) -> None:
    """No progress."""


@dataclass(frozen=True)
class Setting:
    """Where and how often a case is measured.

    `clock` gives seconds; `say(text, share)` is told what is being done and which share (0 to 1)
    of the case lies behind.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    rounds: int = 5
    clock: Clock = time.perf_counter
    say: Say = _silent

    def now(self) -> float:
        """Seconds, once everything that was given to the device is done."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return self.clock()


@dataclass(frozen=True)
class Outcome:
    """What a case measured, in plain JSON values.

    times: every single time in seconds, by side, in order.
    figures: the numbers that are compared with targets, and others; None is not measured.
    details: whatever else belongs in the record.
    shown: the cells of the table by column (peer, ours, result, difference).
    notes: what a reader must know.
    extrapolated: whether a time follows from a part of the work.
    """

    times: Mapping[str, Sequence[float]]
    figures: Mapping[str, float | None]
    shown: Mapping[str, str]
    details: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    extrapolated: bool = False


@dataclass(frozen=True)
class Contest:
    """The same work by a peer and by us; what each returns goes to `compare` (untimed).

    `compare(theirs, ours)` gives figures by name, 0 at best; the largest over all rounds counts,
    and NaN is infinite. `map_difference` is among them.
    """

    peer: Callable[[], Any]
    ours: Callable[[], Any]
    compare: Callable[[Any, Any], Mapping[str, float]]
    details: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def run(self, setting: Setting) -> Outcome:
        """A warm-up round that does not count, then `setting.rounds` rounds."""
        times, worst = in_turn(self, setting)
        figures = {**ratios(times["peer"], times["ours"]), **worst}
        shown = {
            "peer": duration(median(times["peer"])),
            "ours": duration(median(times["ours"])),
            "result": f"{figures['ratio']:.3g}×",
            "difference": f"{worst['map_difference']:.1e}" if "map_difference" in worst else "",
        }
        return Outcome(times, figures, shown, self.details, self.notes)


def in_turn(contest: Contest, setting: Setting) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Times by side and the largest of every compared figure, over all rounds that count."""
    times: dict[str, list[float]] = {"peer": [], "ours": []}
    worst: dict[str, float] = {}
    for number in range(setting.rounds + 1):
        start = setting.now()
        theirs = contest.peer()
        between = setting.now()
        ours = contest.ours()
        end = setting.now()
        label = f"round {number} of {setting.rounds}" if number else "warm-up"
        text = f"{label}: peer {duration(between - start)}, ours {duration(end - between)}"
        setting.say(text, (number + 1) / (setting.rounds + 1))
        if number == 0:
            continue
        times["peer"].append(between - start)
        times["ours"].append(end - between)
        for name, value in contest.compare(theirs, ours).items():
            worst[name] = max(worst.get(name, 0.0), inf if isnan(value) else value)
    return times, worst


def ratios(peer: Sequence[float], ours: Sequence[float]) -> dict[str, float | None]:
    """Median and minimum of either side, the ratio of the medians and the median of the ratios."""
    single = [p / o for p, o in zip(peer, ours, strict=True)]
    return {
        "ratio": median(peer) / median(ours),
        "median_of_ratios": median(single),
        **spread("peer", peer),
        **spread("ours", ours),
    }


def spread(name: str, times: Sequence[float]) -> dict[str, float | None]:
    """`NAME_median_s` and `NAME_min_s` of times in seconds."""
    return {f"{name}_median_s": median(times), f"{name}_min_s": min(times)}


def duration(seconds: float) -> str:
    """Seconds as a reader wants them: three digits, ms, s or min."""
    if seconds < 1:
        return f"{seconds * 1e3:.3g} ms"
    return f"{seconds:.3g} s" if seconds < 100 else f"{seconds / 60:.1f} min"
