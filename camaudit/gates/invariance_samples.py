"""Figures of the invariance check: counts of properties."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from camaudit.gates.sample import Results, Sample, Take, checked, stopped
from camaudit.gates.text import without_trace
from camaudit.gates.verdict import Decision

__all__ = ["TAKES"]

_OUTCOMES = (
    "holds", "violated by definition", "not confirmed", "bug", "not applicable", "undefined",
    "fault",
)  # fmt: skip
_CONFORMITY = (
    "equal", "equal up to post-processing", "different", "fault", "undefined", "not applicable",
)  # fmt: skip
_SILENT = ("failing-model", "hygiene-error")  # properties that an explainer without maps satisfies


def _count(outcome: str) -> Take:
    def take(results: Results, explainer: str) -> Sample:
        part = results.get("invariance") or {}
        if not part:
            return stopped(Decision.ERROR, "the run did not make the check invariance")
        findings = [one for one in part["findings"] if one["explainer"] == explainer]
        if not findings:
            return stopped(Decision.ERROR, f"invariance has no finding of {explainer!r}")
        odd = [one for one in findings if not _sound(one)]
        if odd:
            return stopped(Decision.ERROR, f"its finding on {odd[0]['property']} makes no sense")
        twice = Counter((one["on"], one["property"]) for one in findings)
        if max(twice.values()) > 1:
            return stopped(Decision.ERROR, "a property of it is listed twice")
        known = {entry["name"] for entry in part["properties"]}
        if known - {one["property"] for one in findings if one["on"] == "drawn"}:
            return stopped(Decision.ERROR, "not every property was tested: run the audit again")
        return _counted(findings, outcome)

    return take


def _sound(finding: Mapping[str, Any]) -> bool:
    """Whether the outcome is a known one, and goes with the number of examples."""
    examples = checked(finding["examples"])
    outcome = finding["outcome"]
    return outcome in _OUTCOMES and examples >= (outcome == "holds")


def _counted(findings: list[Any], outcome: str) -> Sample:
    count = len({one["property"] for one in findings if one["outcome"] == outcome})
    faults = sorted({one["property"] for one in findings if one["outcome"] == "fault"})
    said = [one for one in findings if checked(one["examples"]) > 0]
    spoken = [one for one in said if one["property"] not in _SILENT]
    context = {"properties": sorted({(one["on"], one["property"]) for one in findings})}
    state, reason = None, ""
    if outcome != "fault" and faults and not spoken:
        state = Decision.ERROR
        why = without_trace(str(findings[0].get("reason") or ""))
        reason = f"it never gave maps that can be compared: {why}"
    elif not said and not faults:
        apart = {one["outcome"] for one in findings} <= {"not applicable"}
        state = Decision.NOT_APPLICABLE if apart else Decision.DEGENERATE
        reason = "no example says anything of it"
    elif outcome != "fault" and faults:
        state = Decision.INCONCLUSIVE
        reason = f"{len(faults)} properties could not be tested ({', '.join(faults[:3])})"
    silent = len({one["property"] for one in findings if one["outcome"] == "undefined"})
    return Sample(count=float(count), context=context, state=state, reason=reason, undefined=silent)


def _different(results: Results, explainer: str) -> Sample:
    part = results.get("invariance") or {}
    if not part:
        return stopped(Decision.ERROR, "the run did not make the check invariance")
    entries = [one for one in part["conformance"] if one["explainer"] == explainer]
    if not entries:
        reason = "it claims to be no method, so there is nothing to compare it with"
        return stopped(Decision.NOT_APPLICABLE, reason)
    outcomes = {one["outcome"] for one in entries}
    if outcomes - set(_CONFORMITY):
        return stopped(Decision.ERROR, "what became of its comparison makes no sense")
    wrong = sum(one["outcome"] in ("different", "fault") for one in entries if one["on"] == "drawn")
    context = {"claims": sorted({str(one["claims"]) for one in entries})}
    state, reason = None, ""
    if outcomes <= {"not applicable"}:
        state, reason = Decision.NOT_APPLICABLE, "the method is defined on no network drawn"
    elif outcomes <= {"not applicable", "undefined"}:
        state, reason = Decision.DEGENERATE, "every map of the method was constant, or rounding"
    return Sample(count=float(wrong), context=context, state=state, reason=reason)


TAKES: dict[str, Take] = {
    "invariance.bugs": _count("bug"),
    "invariance.faults": _count("fault"),
    "invariance.different": _different,
}  #: by the figure's name
