"""The claims' view model: each claim with its outcome in words, and the verdict over them all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from camaudit.report import figures
from camaudit.report.names import CHECKS, INVARIANCE
from camaudit.report.verdict import Segment
from camaudit.types import Claim, ClaimOutcome

__all__ = [
    "RULE",
    "ClaimGroup",
    "ClaimRow",
    "ClaimsKind",
    "ClaimsVerdict",
    "claim_groups",
    "claims_verdict",
    "comparison",
    "digits_apart",
]

RULE = (
    "A claim passes where its figure stands to its bound as stated. One that is inconclusive, "
    "that does not apply or that could not be tested is counted apart: none of these is a pass."
)

_TITLES = {
    "theory/proposition-2": "Proposition 2: the channel weights",
    "theory/expectation": "Theorem 3: the expectation",
    "theory/bound": "Theorem 3: the lower bound",
    "theory/dead-zone": "The dead zone",
    "theory/methods": "The other methods",
    "theory/control": "Controls",
    **CHECKS,
    INVARIANCE: "Invariance",
}
_MOST_DIGITS = 17  # enough to tell any two floats apart


class ClaimsKind(StrEnum):
    """What the verdict over all claims amounts to."""

    PASS = "pass"
    FAIL = "fail"
    OPEN = "open"
    NONE = "none"


@dataclass(frozen=True)
class ClaimsVerdict:
    """The sentences, each a tuple of segments; the first one is the headline."""

    kind: ClaimsKind
    sentences: tuple[tuple[Segment, ...], ...]
    rule: str = RULE

    @property
    def text(self) -> str:
        """The verdict as plain text."""
        return " ".join("".join(part.text for part in line) for line in self.sentences)


@dataclass(frozen=True)
class ClaimRow:
    """One claim ready to print; `comparison` is its figure, the relation and the bound."""

    statement: str
    outcome: ClaimOutcome
    comparison: str
    detail: str

    @property
    def slug(self) -> str:
        """The outcome as a single word without spaces."""
        return self.outcome.value.replace(" ", "-")


@dataclass(frozen=True)
class ClaimGroup:
    """The claims of one check under its title."""

    title: str
    rows: tuple[ClaimRow, ...]


def claim_groups(claims: Sequence[Claim]) -> tuple[ClaimGroup, ...]:
    """The claims by check, checks in the order of their first claim."""
    checks = dict.fromkeys(claim.check for claim in claims)
    return tuple(
        ClaimGroup(
            _TITLES.get(check, check),
            tuple(_row(claim) for claim in claims if claim.check == check),
        )
        for check in checks
    )


def comparison(claim: Claim) -> str:
    """Figure, relation and bound, with digits enough that the text is as true as the numbers.

    >>> comparison(Claim("c", "s", ClaimOutcome.FAIL, 1.00001, "≤", 1.0, ""))
    '1.00001 ≤ 1'
    """
    figure, bound = claim.figure, claim.bound
    if figure is None or bound is None or not (math.isfinite(figure) and math.isfinite(bound)):
        if not figures.defined(figure) and not figures.defined(bound):
            return figures.UNDEFINED
        return f"{figures.quantity(figure)} {claim.relation} {figures.quantity(bound)}"
    digits = digits_apart(figure, bound)
    return f"{figures.quantity(figure, digits)} {claim.relation} {figures.quantity(bound, digits)}"


def digits_apart(figure: float, bound: float) -> int:
    """The fewest significant digits, at least 3, that keep the order of the two numbers."""
    for digits in range(3, _MOST_DIGITS):
        rounded = [float(f"{value:.{digits - 1}e}") for value in (figure, bound)]
        if (rounded[0] < rounded[1]) == (figure < bound) and (rounded[0] > rounded[1]) == (
            figure > bound
        ):
            return digits
    return _MOST_DIGITS


def claims_verdict(claims: Sequence[Claim]) -> ClaimsVerdict:
    """Whether all claims passed; every one that did not is named."""
    by_outcome = {
        which: [claim for claim in claims if claim.outcome is which] for which in ClaimOutcome
    }
    kind = _kind(by_outcome)
    lines = [_headline(by_outcome, kind)]
    if kind is ClaimsKind.NONE:
        lines.append((Segment(_nothing(by_outcome)),))
    for which, singular, plural in (
        (ClaimOutcome.FAIL, "Fails", "Fail"),
        (ClaimOutcome.INCONCLUSIVE, "Inconclusive", "Inconclusive"),
        (ClaimOutcome.ERROR, "Could not be tested", "Could not be tested"),
        (ClaimOutcome.NOT_APPLICABLE, "Does not apply here", "Do not apply here"),
    ):
        named = [claim.statement for claim in by_outcome[which]]
        if named:
            label = singular if len(named) == 1 else plural
            lines.append((Segment(f"{label}: "), *_names(named), Segment(".")))
    return ClaimsVerdict(kind, tuple(lines))


def _row(claim: Claim) -> ClaimRow:
    detail = claim.detail
    if detail[:1].isascii():  # a Greek symbol is not the beginning of a word
        detail = detail[:1].upper() + detail[1:]
    return ClaimRow(claim.statement, claim.outcome, comparison(claim), detail)


def _kind(by_outcome: dict[ClaimOutcome, list[Claim]]) -> ClaimsKind:
    if by_outcome[ClaimOutcome.FAIL]:
        return ClaimsKind.FAIL
    if not by_outcome[ClaimOutcome.PASS]:
        return ClaimsKind.NONE
    if by_outcome[ClaimOutcome.INCONCLUSIVE] or by_outcome[ClaimOutcome.ERROR]:
        return ClaimsKind.OPEN
    return ClaimsKind.PASS


def _headline(by_outcome: dict[ClaimOutcome, list[Claim]], kind: ClaimsKind) -> tuple[Segment, ...]:
    if kind is ClaimsKind.NONE:
        return (Segment("No verdict."),)
    passed, failed = len(by_outcome[ClaimOutcome.PASS]), len(by_outcome[ClaimOutcome.FAIL])
    skipped = len(by_outcome[ClaimOutcome.NOT_APPLICABLE])
    tested = sum(map(len, by_outcome.values())) - skipped
    which = " that apply" if skipped and tested > 1 else ""
    if kind is ClaimsKind.PASS:
        if tested == 1:
            return (Segment("The one claim that applies passes."),)
        return (Segment(f"All {tested} claims", "figure"), Segment(f"{which} pass."))
    of = f" of {figures.counted(tested, 'claim')}{which}"
    if kind is ClaimsKind.FAIL:
        return (Segment(f"{failed}{of}", "figure"), Segment(" fails." if failed == 1 else " fail."))
    verb = "passes" if passed == 1 else "pass"
    return (Segment(f"{passed}{of}", "figure"), Segment(f" {verb}, none fails."))


def _nothing(by_outcome: dict[ClaimOutcome, list[Claim]]) -> str:
    """Why there is no verdict."""
    number = sum(map(len, by_outcome.values()))
    if not number:
        return "No claim was put to the test."
    if number == len(by_outcome[ClaimOutcome.NOT_APPLICABLE]):
        return f"None of the {figures.counted(number, 'claim')} applies here. Nothing passes."
    return f"None of the {figures.counted(number, 'claim')} could be decided. Nothing passes."


def _names(statements: Sequence[str]) -> list[Segment]:
    """The statements as names with semicolons between them."""
    parts: list[Segment] = []
    for number, statement in enumerate(statements):
        if number:
            parts.append(Segment("; "))
        parts.append(Segment(statement.rstrip(".") or "a claim without a statement", "name"))
    return parts
