"""Which post-processing explains what an explainer's maps are, over all examples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from camaudit.invariance.comparison import Case
from camaudit.invariance.correlation import pearson, spearman
from camaudit.invariance.processing import PROCESSINGS, Processing

__all__ = ["Choice", "Gap", "chosen", "widest"]

#: The share of examples that must say something of a post-processing before it is found.
SAYS = 0.25


@dataclass(frozen=True)
class Gap:
    """How far the maps of one image are apart, the named processing done to ours.

    difference: `max |a − b| / max(max |a|, max |b|)`, infinite where the shapes differ, None for a
    reference that is degenerate or on which the processing is undefined. pearson and spearman are
    None where they are not defined.
    """

    difference: float | None
    pearson: float | None = None
    spearman: float | None = None


@dataclass(frozen=True, eq=False)
class Choice:
    """A processing with its factor, how many cases it explains, and those that it does not."""

    processing: Processing
    factor: float
    explained: int
    failing: tuple[Case, ...]

    def gaps(self, case: Case) -> list[Gap]:
        """One for each image of the case; without figures where the image says nothing."""
        ours, theirs = self.processing.sides(case.pair, self.factor)
        found = [Gap(None)] * case.images
        values = self.processing.differences(case.pair, self.factor)
        for row, value in enumerate(values):
            comparable = value is not None and ours.shape == theirs.shape
            maps = (ours[row], theirs[row]) if comparable else None
            found[case.rows[row]] = (
                Gap(value, pearson(*maps), spearman(*maps)) if maps else Gap(value)
            )
        return found

    def typical(self, cases: Sequence[Case]) -> float:
        """The median over cases of the largest difference in each."""
        values = (self.processing.differences(case.pair, self.factor) for case in cases)
        return median(max((v for v in row if v is not None), default=0.0) for row in values)


def chosen(cases: Sequence[Case]) -> Choice:
    """The first processing that explains all cases; else the one that explains most of them.

    Of several that explain equally many, that under which maps are nearest. What is fitted to each
    map explains all or nothing.
    """
    choices: list[Choice] = []
    for processing in PROCESSINGS:
        factor = processing.factor([case.pair for case in cases])
        if _explains(processing, factor, cases):
            return Choice(processing, factor, len(cases), ())
    for processing in PROCESSINGS:
        choices += [] if processing.fitted else _tried(processing, cases)
    return min(choices, key=lambda choice: (-choice.explained, choice.typical(cases)))


def widest(gaps: Sequence[Gap]) -> Gap:
    """The one of the largest difference."""
    return max(gaps, key=lambda gap: -1.0 if gap.difference is None else gap.difference)


def _explains(processing: Processing, factor: float, cases: Sequence[Case]) -> bool:
    """Whether no case disagrees and enough of them say something."""
    said = 0
    for case in cases:
        agrees = processing.agrees(case.pair, factor)
        if agrees is False:
            return False
        said += agrees is True
    return said >= max(1.0, SAYS * len(cases))


def _tried(processing: Processing, cases: Sequence[Case]) -> list[Choice]:
    """The processing put to all cases; empty where too few of them say something of it."""
    factor = processing.factor([case.pair for case in cases])
    verdicts = [processing.agrees(case.pair, factor) for case in cases]
    failing = [case for case, agrees in zip(cases, verdicts, strict=True) if agrees is False]
    if len(cases) - verdicts.count(None) < max(1.0, SAYS * len(cases)):
        return []
    return [Choice(processing, factor, verdicts.count(True), tuple(failing))]
