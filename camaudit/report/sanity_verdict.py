"""The verdict of the sanity checks: which methods pass, which fail, and by which figure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from camaudit.report import figures
from camaudit.report.claims import ClaimsKind, ClaimsVerdict, comparison
from camaudit.report.names import CHECKS, INVARIANCE, title
from camaudit.report.verdict import CONTROL, Segment
from camaudit.types import Claim, ClaimOutcome

__all__ = ["RULE", "labels_of", "method_of", "outcome_of", "sanity_claims", "sanity_verdict"]

RULE = (
    "Each verdict sets one figure of one method against a bound; both stand in the table of "
    "verdicts. Controls are not counted. What is inconclusive, does not apply or could not be "
    "tested is never a pass, and a pass is necessary for a map that explains the model, not "
    "sufficient."
)

_WORST = (
    ClaimOutcome.FAIL,
    ClaimOutcome.ERROR,
    ClaimOutcome.INCONCLUSIVE,
    ClaimOutcome.PASS,
    ClaimOutcome.NOT_APPLICABLE,
)
_COUNTED = (
    (ClaimOutcome.PASS, "passes", "pass"),
    (ClaimOutcome.FAIL, "fails", "fail"),
    (ClaimOutcome.INCONCLUSIVE, "is inconclusive", "are inconclusive"),
    (ClaimOutcome.NOT_APPLICABLE, "does not apply", "do not apply"),
    (ClaimOutcome.ERROR, "could not be tested", "could not be tested"),
)


def labels_of(sanity: Mapping[str, Any]) -> list[str]:
    """Every method label that was run, in the order of the run."""
    named = list((sanity.get("settings") or {}).get("methods") or [])
    parts = [*(sanity.get("curves") or []), *(sanity.get("tables") or [])]
    return list(dict.fromkeys([*named, *(part["method"] for part in parts)]))


def sanity_claims(claims: Sequence[Claim], sanity: Mapping[str, Any]) -> list[Claim]:
    """The claims that belong to the sanity checks."""
    run = {*CHECKS, *((sanity.get("settings") or {}).get("checks") or [])} - {INVARIANCE}
    return [claim for claim in claims if claim.check in run]


def method_of(claim: Claim, labels: Sequence[str]) -> str | None:
    """The label of the method that a claim is about: its statement begins with the title."""
    fitting = [
        label
        for label in labels
        if claim.statement.startswith(title(label))
        and not claim.statement[len(title(label)) :][:1].isalnum()
    ]
    return max(fitting, key=lambda label: len(title(label)), default=None)


def outcome_of(claims: Sequence[Claim], labels: Sequence[str]) -> dict[str, ClaimOutcome]:
    """The worst outcome of each method that `claims` are about."""
    found: dict[str, ClaimOutcome] = {}
    for claim in claims:
        method = method_of(claim, labels)
        if method is not None:
            both = (claim.outcome, found.get(method, claim.outcome))
            found[method] = min(both, key=_WORST.index)
    return found


def sanity_verdict(claims: Sequence[Claim], sanity: Mapping[str, Any]) -> ClaimsVerdict:
    """The verdict over the claims about methods; controls are told apart from them."""
    labels, families = labels_of(sanity), sanity.get("families") or {}
    owners = [method_of(claim, labels) for claim in claims]
    controls = [families.get(owner or "") == CONTROL for owner in owners]
    counted = [claim for claim, control in zip(claims, controls, strict=True) if not control]
    aside = [claim for claim, control in zip(claims, controls, strict=True) if control]
    kind = _kind(counted)
    lines = [_headline(counted, labels, kind)]
    nothing = "No method was judged in this run; its figures stand below."
    lines.append((Segment(_counts(counted) if counted else nothing),))
    lines += [_failure(claim) for claim in counted if claim.outcome is ClaimOutcome.FAIL]
    lines += _controls(aside, labels)
    return ClaimsVerdict(kind, tuple(lines), RULE)


def _kind(claims: Sequence[Claim]) -> ClaimsKind:
    found = {claim.outcome for claim in claims}
    if ClaimOutcome.FAIL in found:
        return ClaimsKind.FAIL
    if ClaimOutcome.PASS not in found:
        return ClaimsKind.NONE
    if found & {ClaimOutcome.INCONCLUSIVE, ClaimOutcome.ERROR}:
        return ClaimsKind.OPEN
    return ClaimsKind.PASS


def _headline(
    claims: Sequence[Claim], labels: Sequence[str], kind: ClaimsKind
) -> tuple[Segment, ...]:
    """How many methods fail, or pass; a method is judged by its worst outcome."""
    if kind is ClaimsKind.NONE:
        return (Segment("No verdict."),)
    worst: dict[str, ClaimOutcome] = {}
    for claim in claims:
        name = method_of(claim, labels) or claim.statement
        worst[name] = min((claim.outcome, worst.get(name, claim.outcome)), key=_WORST.index)
    tested = sum(outcome is not ClaimOutcome.NOT_APPLICABLE for outcome in worst.values())
    which = ClaimOutcome.FAIL if kind is ClaimsKind.FAIL else ClaimOutcome.PASS
    number = sum(outcome is which for outcome in worst.values())
    checks = len({claim.check for claim in claims})
    what = "the sanity check" if checks == 1 else "every sanity check"
    if kind is ClaimsKind.FAIL:
        verb = "fails" if number == 1 else "fail"
        what = what.replace("every", "a")
        return _share(number, tested, f" {verb} {what}.")
    verb = "passes" if number == 1 else "pass"
    if kind is ClaimsKind.OPEN:
        return _share(number, tested, f" {verb} {what}, none fails.")
    if tested == 1:
        return (Segment("The one method tested"), Segment(f" passes {what}.", "figure"))
    return (Segment(f"All {tested} methods", "figure"), Segment(f" {verb} {what}."))


def _share(number: int, total: int, rest: str) -> tuple[Segment, ...]:
    return (Segment(f"{number} of {figures.counted(total, 'method')}", "figure"), Segment(rest))


def _counts(claims: Sequence[Claim]) -> str:
    """All verdicts by outcome."""
    numbers = [
        (sum(claim.outcome is which for claim in claims), singular, plural)
        for which, singular, plural in _COUNTED
    ]
    parts = [f"{n} {one if n == 1 else many}" for n, one, many in numbers if n]
    return f"{figures.counted(len(claims), 'verdict')}: {', '.join(parts)}."


def _failure(claim: Claim) -> tuple[Segment, ...]:
    """A failed claim with the comparison that does not hold."""
    statement = claim.statement.rstrip(".") or "a claim without a statement"
    return (
        Segment("Fails: "),
        Segment(statement, "name"),
        Segment("; "),
        Segment(comparison(claim), "figure"),
        Segment(" does not hold."),
    )


def _controls(claims: Sequence[Claim], labels: Sequence[str]) -> list[tuple[Segment, ...]]:
    """What became of the controls, by outcome."""
    lines: list[tuple[Segment, ...]] = []
    for which, singular, plural in _COUNTED:
        named = [claim for claim in claims if claim.outcome is which]
        if named:
            names = dict.fromkeys(title(method_of(claim, labels) or "") for claim in named)
            verb = singular if len(names) == 1 else plural
            lines.append(
                (
                    Segment("Of the controls, "),
                    Segment(figures.joined(list(names)), "name"),
                    Segment(f" {verb}."),
                )
            )
    return lines
