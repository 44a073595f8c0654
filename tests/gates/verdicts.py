"""Example verdicts: every decision, waived and warned ones, problems, and hostile names."""

from __future__ import annotations

import datetime
from typing import Any

from camaudit.gates.policy import Bound, Condition, Severity, Waiver
from camaudit.gates.verdict import Decision, Ruling, Verdict

POLICY = "camaudit.toml"

#: Texts that would break, or break out of, some output if it did not take care.
HOSTILE = (
    "<script>alert(1)</script>",
    "a|b",
    "`code` ``two``",
    "two\nlines\r\n::error file=x,line=1::owned",
    "::set-output name=a::b",
    "##[error]azure ##vso[task.complete]",
    "\x1b[31mred\x1b[0m \x07 \x00 \x9b",
    "]]> <!-- --> & &amp;",
    "*bold* _it_ [link](http://x.test) ![i](http://x.test/i.png) ~~s~~",
    "@everyone #1 www.x.test a@x.test $x$",
    "\u202eright to left\u2066",
    "lone \ud800 surrogate",
    "# heading",
    "- item",
    "1. item",
    "50% %0A, a:b;c",
    "</details></table>",
    "\"quotes\" and 'apostrophes'",
    "x" * 200,
)


def condition(name: str = "dead-zone", **changes: Any) -> Condition:
    """A condition on μ L1, unless `changes` say otherwise."""
    values: dict[str, Any] = {
        "name": name,
        "figure": "dead_zone.mu_l1",
        "relation": "<=",
        "bound": Bound(offset=0.05),
        "text": "dead_zone.mu_l1 <= 0.05",
        "line": 12,
    }
    return Condition(**values | changes)


def waiver(**changes: Any) -> Waiver:
    """A waiver of the dead-zone condition that has not run out."""
    values: dict[str, Any] = {
        "condition": "dead-zone",
        "reason": "the new layer is trained next week",
        "expires": datetime.date(2030, 12, 31),
        "line": 30,
    }
    return Waiver(**values | changes)


def passed(**changes: Any) -> Ruling:
    """A ruling that passes."""
    values: dict[str, Any] = {
        "condition": condition(),
        "explainer": "hirescam",
        "decision": Decision.PASS,
        "reason": "the whole interval keeps the bound",
        "value": 0.0124, "low": 0.0071, "high": 0.0188, "bound": 0.05, "n": 50,
        "p_pass": 0.0003, "p_fail": 1.0,
    }  # fmt: skip
    return Ruling(**values | changes)


def failed(**changes: Any) -> Ruling:
    """A ruling that fails, with its worst images."""
    values: dict[str, Any] = {
        "condition": condition(),
        "explainer": "gradcam",
        "decision": Decision.FAIL,
        "reason": "the whole interval breaks the bound",
        "value": 0.1312, "low": 0.1124, "high": 0.15, "bound": 0.05, "n": 50,
        "p_pass": 1.0, "p_fail": 0.0002,
        "worst": (("cat", 0.312), ("rocket", 0.244), ("clock", 0.191)),
    }  # fmt: skip
    return Ruling(**values | changes)


def inconclusive(**changes: Any) -> Ruling:
    """A ruling whose interval straddles its bound; it is held against a baseline."""
    values: dict[str, Any] = {
        "condition": condition(
            "no-regression",
            bound=Bound(reference="baseline", factor=1.1, offset=0.01),
            text="dead_zone.mu_l1 <= baseline * 1.1 + 0.01",
            line=17,
        ),
        "explainer": "gradcam",
        "decision": Decision.INCONCLUSIVE,
        "reason": "the interval straddles the bound",
        "value": 0.0507, "low": 0.0412, "high": 0.0605, "bound": 0.0551, "n": 20,
        "undefined": 2, "p_pass": 0.21, "p_fail": 0.88, "more": 140,
    }  # fmt: skip
    return Ruling(**values | changes)


def not_applicable(**changes: Any) -> Ruling:
    """A ruling on an explainer that the model does not admit."""
    values: dict[str, Any] = {
        "condition": condition("depends", figure="mprt.effect", relation=">=",
                               bound=Bound(offset=0.2), text="mprt.effect >= 0.2", line=22),
        "explainer": "cam",
        "decision": Decision.NOT_APPLICABLE,
        "reason": "cam needs a pooled linear head",
        "bound": 0.2,
    }  # fmt: skip
    return Ruling(**values | changes)


def degenerate(**changes: Any) -> Ruling:
    """A ruling on maps that are zero everywhere."""
    values: dict[str, Any] = {
        "condition": condition(),
        "explainer": "layercam",
        "decision": Decision.DEGENERATE,
        "reason": "more than half of the maps have no figure",
        "bound": 0.05, "n": 4, "undefined": 46, "value": 0.0,
    }  # fmt: skip
    return Ruling(**values | changes)


def errored(**changes: Any) -> Ruling:
    """A ruling on an explainer that raised."""
    values: dict[str, Any] = {
        "condition": condition("no-bugs", figure="invariance.bugs", relation="==",
                               bound=Bound(offset=0.0), text="invariance.bugs == 0", line=26),
        "explainer": "mine",
        "decision": Decision.ERROR,
        "reason": "ZeroDivisionError: float division by zero",
    }  # fmt: skip
    return Ruling(**values | changes)


def warned(ruling: Ruling, **changes: Any) -> Ruling:
    """The same ruling of a condition that only warns."""
    values = {name: getattr(ruling, name) for name in ruling.__dataclass_fields__} | changes
    which = values["condition"]
    fields = {name: getattr(which, name) for name in which.__dataclass_fields__}
    return Ruling(**values | {"condition": Condition(**fields | {"severity": Severity.WARN})})


def verdict(*rulings: Ruling, **changes: Any) -> Verdict:
    """A verdict of the given rulings."""
    values: dict[str, Any] = {"policy": POLICY, "rulings": rulings}
    return Verdict(**values | changes)


NOTE = "the waiver of depends[cam] is not needed"
FIGURELESS = "the run has no record of scorecam"
PROBLEM = "weights_sha256 of the run is 11…, the policy demands 22…: audit the weights it names"

#: Name → verdict, and the exit code that it has to have.
VERDICTS: dict[str, tuple[Verdict, int]] = {
    "pass": (verdict(passed(), passed(explainer="gradcam++")), 0),
    "one pass": (verdict(passed()), 0),
    "fail": (verdict(passed(), failed(), inconclusive()), 1),
    "fail, waived": (verdict(passed(), failed(waiver=waiver()), notes=(NOTE,)), 0),
    "fail, warned": (verdict(passed(), warned(failed())), 0),
    "error, warned": (verdict(passed(), warned(errored())), 3),
    "pass, warned": (verdict(passed(), warned(passed(explainer="gradcam"))), 0),
    "inconclusive": (verdict(passed(), inconclusive()), 4),
    "inconclusive, waived": (verdict(passed(), inconclusive(waiver=waiver())), 0),
    "not applicable": (verdict(passed(), not_applicable()), 4),
    "degenerate": (verdict(passed(), degenerate()), 4),
    "error": (verdict(passed(), errored()), 3),
    "problem": (verdict(passed(), problems=(PROBLEM,), notes=(NOTE,)), 3),
    "problem alone": (verdict(problems=(PROBLEM, FIGURELESS)), 3),
    "fail and problem": (verdict(failed(), problems=(PROBLEM,)), 3),
    "nothing": (verdict(), 4),
    "all waived": (verdict(failed(waiver=waiver())), 4),
    "all warned": (verdict(warned(passed()), warned(failed())), 4),
    "everything": (
        verdict(
            passed(), failed(), inconclusive(), not_applicable(), degenerate(), errored(),
            failed(explainer="eigencam", waiver=waiver(explainer="eigencam")),
            warned(failed(explainer="scorecam")), warned(inconclusive(explainer="xgradcam")),
            passed(explainer="gradcam++"), problems=(PROBLEM,), notes=(NOTE,),
        ),
        3,
    ),
}  # fmt: skip


def hostile(text: str) -> Verdict:
    """A verdict that says `text` wherever a text of others can stand."""
    named = condition(text, figure=text, text=text, bound=Bound(reference=text, factor=1.1))
    excuse = waiver(condition=text, reason=text, explainer=text)
    worst = ((text, 0.3), (f"{text} again", 0.2))
    return verdict(
        failed(condition=named, explainer=text, reason=text, worst=worst),
        passed(condition=named, explainer=f"{text} 2", reason=text),
        errored(condition=named, explainer=f"{text} 3", reason=text, worst=worst),
        failed(condition=named, explainer=f"{text} 4", reason=text, waiver=excuse),
        warned(inconclusive(condition=named, explainer=f"{text} 5", reason=text)),
        policy=text,
        problems=(text, f"{text} too"),
        notes=(text,),
    )


RESULTS: dict[str, Any] = {
    "camaudit": "0.0.test",
    "environment": {"python": "3.11.2", "torch": "2.5.0", "torchvision": "0.20.0",
                    "device": "cpu", "device_name": "x86_64"},
    "subject": {"model": "mypackage.models:build", "class": "VGG", "parameters": 138_357_544,
                "weights": "weights.safetensors", "weights_sha256": "ab" * 32,
                "state_sha256": "cd" * 32, "layer": "features.29", "images": 50,
                "image_source": "photos", "images_sha256": "ef" * 32},
    "zone": {"scored_fraction": 0.357, "verified": True, "why": "the lower rows are not read"},
    "settings": {"seed": 0, "checks": ["dead-zone", "mprt"]},
    "timing": {"started": "2026-11-20T08:15:00+00:00"},
}  # fmt: skip
"""The parts of results.json that the outputs read."""
