"""Which method is best by a metric, where the paired comparison shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from camaudit.report import figures
from camaudit.report.metrics_figures import Metric
from camaudit.report.names import title

__all__ = ["Leading", "leading"]

_LISTED = 3  # names of methods that are not told apart


@dataclass(frozen=True)
class Leading:
    """Who leads by a metric: `best` is shown better than every other method, None without one.

    `contenders` are then those that nobody is shown to beat; `text` says it all.
    """

    best: str | None
    contenders: tuple[str, ...]
    compared: int
    text: str


def leading(comparison: Mapping[str, Any], metric: Metric) -> Leading:
    """Who leads by `metric` in results.json's paired comparisons."""
    if not metric.sign:
        return Leading(None, (), 0, "neither direction is better")
    pairs = (comparison.get("pairs") or {}).get(metric.name)
    if not isinstance(pairs, (list, tuple)) or not pairs:
        return Leading(None, (), 0, "not compared")
    if all(pair["outcome"] == "not applicable" for pair in pairs):
        return Leading(None, (), 0, "too few images to compare")
    beats = {(pair["first"], pair["second"]): _beats(pair) for pair in pairs}
    beats |= {(second, first): -sign for (first, second), sign in beats.items()}
    methods = list(dict.fromkeys(first for first, _ in beats))
    best = next(
        (one for one in methods if all(beats[one, other] > 0 for other in methods if other != one)),
        None,
    )
    if best is not None:
        return Leading(best, (best,), len(methods), title(best))
    contenders = [
        one for one in methods if all(beats[one, other] >= 0 for other in methods if other != one)
    ]
    if len(contenders) == 1:
        alone = contenders[0]
        contenders += [other for other in methods if other != alone and not beats[alone, other]]
    return Leading(None, tuple(contenders), len(methods), _undecided(contenders, len(methods)))


def _beats(pair: Mapping[str, Any]) -> int:
    """1 where the first is shown better, −1 where it is shown worse, else 0."""
    return {"better": 1, "worse": -1}.get(pair["outcome"], 0)


def _undecided(contenders: Sequence[str], compared: int) -> str:
    if len(contenders) == compared and compared > _LISTED:
        return f"not told apart: all {compared} methods"
    names = figures.joined([title(name) for name in contenders], limit=_LISTED)
    return f"not told apart: {names}" if contenders else "not told apart"
