"""A verdict as plain JSON values: gate.json, and the part "gate" of results.json."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from camaudit.errors import AuditError
from camaudit.types import plain

if TYPE_CHECKING:
    from camaudit.gates.policy import Condition, Waiver
    from camaudit.gates.verdict import Ruling, Verdict

__all__ = ["GATE_VERSION", "verdict_record"]

GATE_VERSION = 1


def verdict_record(verdict: Verdict) -> dict[str, Any]:
    """What `camaudit/schema/gate-1.json` describes; undefined is None.

    Raises
    ------
    AuditError
        if a figure is NaN or infinite: a verdict that rests on such a number is none.
    """
    bind = {id(ruling) for ruling in verdict.binding}
    found = Counter(ruling.decision.value for ruling in verdict.rulings)
    record: dict[str, Any] = {
        "schema": GATE_VERSION,
        "policy": verdict.policy,
        "decision": verdict.decision.value,
        "exit_code": verdict.exit_code,
        "counts": dict(sorted(found.items())),
        "rulings": [_ruling(ruling, binds=id(ruling) in bind) for ruling in verdict.rulings],
        "problems": list(verdict.problems),
        "notes": list(verdict.notes),
    }
    for entry in record["rulings"]:
        _refuse_non_finite(entry, f"ruling {entry['name']}")
    return record


def _ruling(ruling: Ruling, *, binds: bool) -> dict[str, Any]:
    return {
        "name": ruling.name,
        "condition": _condition(ruling.condition),
        "explainer": ruling.explainer,
        "decision": ruling.decision.value,
        "binds": binds,
        "reason": ruling.reason,
        "value": ruling.value,
        "low": ruling.low,
        "high": ruling.high,
        "bound": ruling.bound,
        "n": ruling.n,
        "undefined": ruling.undefined,
        "p_pass": ruling.p_pass,
        "p_fail": ruling.p_fail,
        "more": ruling.more,
        "worst": [{"image": image, "value": value} for image, value in ruling.worst],
        "waiver": None if ruling.waiver is None else _waiver(ruling.waiver),
    }


def _condition(condition: Condition) -> dict[str, Any]:
    return {
        "name": condition.name,
        "figure": condition.figure,
        "relation": condition.relation,
        "bound": plain(asdict(condition.bound)),
        "severity": condition.severity.value,
        "text": condition.text,
        "line": condition.line,
    }


def _waiver(waiver: Waiver) -> dict[str, Any]:
    return {
        "explainer": waiver.explainer,
        "reason": waiver.reason,
        "expires": waiver.expires.isoformat(),
        "line": waiver.line,
    }


def _refuse_non_finite(value: Any, where: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise AuditError(
            f"the verdict cannot be recorded: {where} is {value}, expected a finite number or "
            "None where it is undefined; run the audit again, and report this if it comes back"
        )
    if isinstance(value, dict):
        for key, item in value.items():
            _refuse_non_finite(item, f"{where}, {key}")
    elif isinstance(value, list):
        for item in value:
            _refuse_non_finite(item, where)
