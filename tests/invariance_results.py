"""Results as a run of the invariance check leaves them, built by hand: a bug, faults and all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from camaudit.types import Claim, ClaimOutcome, Provenance, Results

#: Properties in the order of the registry; True where they are tested on the audited model too.
PROPERTIES = {
    "logit-scale": True, "logit-shift": True, "score-monotone": True, "channel-permutation": True,
    "channel-rescale": True, "channel-duplicate": True, "channel-unused": True,
    "channel-zero": True, "completeness": False, "linear-in-score": False,
    "implementation": False, "class-permutation": True, "input-shift": True,
    "dead-pixels-live": False, "dead-pixels-mass": False, "flip": True, "transpose": True,
    "translation": False, "determinism": True, "batch-order": True, "batch-size": True,
    "memory-format": True, "dtype": False, "hygiene": True, "constant-image": True,
}  # fmt: skip
METHODS = (
    "gradcam", "gradcam++", "xgradcam", "hirescam", "layercam", "ablationcam", "scorecam",
    "eigencam", "cam", "rise(samples=8)",
)  # fmt: skip
#: What is published of the methods: properties by reason.
VIOLATED = {
    "gradcam++": {"its weights hold powers of the gradient that do not scale alike":
                  ("logit-scale", "score-monotone", "channel-duplicate")},
    "scorecam": {"a softmax over the classes is no linear function of the logits":
                 ("logit-scale", "score-monotone"),
                 "a mask is made from each channel by itself": ("channel-rescale",
                                                                "channel-duplicate")},
    "eigencam": {"it looks for directions of largest variance, which a factor turns":
                 ("channel-rescale", "channel-unused")},
    "ablationcam": {"the loss of score is divided by the score": ("score-monotone",)},
}  # fmt: skip
#: The foreign explainers: kind, claim and note as they are loaded.
FOREIGN = (
    {"name": "mine", "claims": "gradcam", "kind": "callable",
     "note": "loaded from explainers/mine.py"},
    {"name": "broken", "claims": None, "kind": "callable", "note": None},
    {"name": "twin", "claims": "layercam", "kind": "callable", "note": None},
)  # fmt: skip
CODE = """from collections import OrderedDict

import torch
from torch import nn

from camaudit.invariance import Example, checked
from explainers.mine import explain

model = nn.Sequential(OrderedDict(
    trunk=nn.Sequential(nn.Sequential(nn.Conv2d(1, 2, 1, bias=False), nn.ReLU())),
    head=nn.Sequential(nn.Flatten(), nn.Linear(8, 1, bias=False)),
)).double().eval()

generator = torch.Generator().manual_seed(0)
with torch.no_grad():
    for value in model.state_dict().values():
        drawn = torch.randn(value.shape, generator=generator, dtype=torch.float64)
        value.copy_((drawn + 0.5) / value[0].numel() ** 0.5)

images = torch.rand(1, 1, 2, 2, generator=generator, dtype=torch.float64)
print(explain(model, "trunk", images, torch.tensor([0])))
"""
TRACE = """Traceback (most recent call last):
  File "explainers/broken.py", line 12, in explain
    weights = gradients.mean(dim=(2, 3)) / scores
RuntimeError: The size of tensor a (2) must match the size of tensor b (3)
"""


def counterexample(**changes: Any) -> dict[str, Any]:
    """One that is drawn and saved."""
    return {
        "message": "differs by 0.313, allowed 1e-06", "difference": 0.3127, "trace": None,
        "code": CODE, "file": "counterexamples/mine-batch-order-5f1c.json",
    } | changes  # fmt: skip


def finding(explainer: str, on: str, name: str, outcome: str, **changes: Any) -> dict[str, Any]:
    """One property of one explainer; counts as of a search that found examples."""
    silent = outcome in ("not applicable", "undefined")
    return {
        "explainer": explainer, "on": on, "property": name, "outcome": outcome, "fault": None,
        "reason": None, "examples": 0 if silent else 50 if on == "drawn" else 10,
        "degenerate": 3 if name == "flip" else 0, "unstable": 2 if name == "dtype" else 0,
        "passed_over": 40 if outcome == "not applicable" else 0, "counterexample": None,
    } | changes  # fmt: skip


def published(method: str, on: str, name: str) -> dict[str, Any] | None:
    """What is expected of a method, where anything is; ScoreCAM's channels are not confirmed."""
    for reason, names in VIOLATED.get(method, {}).items():
        if name in names:
            if (method, on, name) == ("scorecam", "own", "channel-duplicate"):
                return finding(method, on, name, "not confirmed", reason=reason)
            own = {"code": None, "file": None} if on == "own" else {}
            found = counterexample(difference=0.00702792, file=None) | own
            found["message"] = "differs by 0.00703, allowed 1e-06"
            return finding(method, on, name, "violated by definition", reason=reason,
                           counterexample=found)  # fmt: skip
    return None


def found_of(explainer: str, on: str, name: str) -> dict[str, Any]:
    """The finding of one cell."""
    if (explainer, on) == ("cam", "own") and name != "hygiene":
        reason = "the head is no pooled linear layer"
        return finding(explainer, on, name, "not applicable", reason=reason)
    if explainer == "mine" and name == "batch-order":
        own = {} if on == "drawn" else {"code": None, "file": None, "difference": 1.5}
        return finding(explainer, on, name, "bug", examples=7, counterexample=counterexample(**own),
                       reason="differs by 0.313, allowed 1e-06")  # fmt: skip
    if explainer == "mine" and (on, name) == ("drawn", "hygiene"):
        left = counterexample(message="a hook is left on layer 'trunk'", difference=None)
        return finding(explainer, on, name, "bug", examples=1, counterexample=left,
                       reason="a hook is left on layer 'trunk'")  # fmt: skip
    if explainer == "broken":
        message = "RuntimeError: The size of tensor a (2) must match the size of tensor b (3)"
        raised = counterexample(message=message, difference=None, trace=TRACE, file=None)
        return finding(explainer, on, name, "fault", fault="raised", examples=0, reason=message,
                       counterexample=raised)  # fmt: skip
    if name == "completeness" and explainer in ("eigencam", "scorecam", "rise(samples=8)"):
        return finding(explainer, on, name, "undefined", degenerate=12, unstable=28)
    if name == "translation" and explainer == "rise(samples=8)":
        reason = "seeded masks do not move with the image"
        return finding(explainer, on, name, "not applicable", reason=reason)
    return published(explainer, on, name) or finding(explainer, on, name, "holds")


def comparison(
    explainer: str, claims: str, outcome: str, on: str = "drawn", **changes: Any
) -> dict[str, Any]:
    """An explainer against the method that it claims to be."""
    return {
        "explainer": explainer, "claims": claims, "on": on, "outcome": outcome,
        "processing": None, "reason": None, "examples": 50 if on == "drawn" else 10,
        "difference": 0.0, "correlation": 1.0, "counterexample": None,
    } | changes  # fmt: skip


def make_conformance() -> list[dict[str, Any]]:
    """One explainer that differs, one that rescales, one that fails."""
    return [
        comparison("mine", "gradcam", "different", difference=0.8123, correlation=0.41,
                   reason="no post-processing explains it",
                   counterexample=counterexample(message="differs by 0.812", difference=0.8123)),
        comparison("mine", "gradcam", "equal", on="own", difference=3e-16),
        comparison("twin", "layercam", "equal up to post-processing", processing="min-max to 0…1",
                   difference=2e-12),
        comparison("twin", "layercam", "fault", on="own", examples=0, difference=None,
                   correlation=None, reason="ValueError: expected a CNN",
                   counterexample=counterexample(message="ValueError: expected a CNN", code=None,
                                                 difference=None, trace=TRACE, file=None)),
    ]  # fmt: skip


def make_invariance(
    *,
    methods: Sequence[str] = METHODS,
    foreign: Sequence[dict[str, Any]] = FOREIGN,
    properties: Sequence[str] = tuple(PROPERTIES),
    own: bool = True,
    conformance: bool = True,
) -> dict[str, Any]:
    """`Results.invariance` of a run over `methods` and `foreign` explainers."""
    explainers = [
        {"name": method, "claims": method.partition("(")[0], "kind": "registered", "note": None}
        for method in methods
    ]
    explainers += foreign
    return {
        "settings": {"examples": 50, "own_examples": 10 if own else 0, "seed": 0, "budget": 60.0},
        "properties": [
            {"name": name, "statement": f"what {name} changes leaves the same map up to a factor",
             "source": "camaudit's definitions, metamorphic properties",
             "tolerance": {"float64": 0.0, "float32": 0.0, "reason": "the same operations"}
             if name in ("determinism", "hygiene")
             else {"float64": 1e-6, "float32": 2e-3,
                   "reason": "rounding, enlarged by sums that cancel"}}
            for name in properties
        ],
        "explainers": explainers,
        "findings": [
            found_of(str(explainer["name"]), on, name)
            for on in ("drawn", "own")[: 1 + own]
            for explainer in explainers
            for name in properties
            if on == "drawn" or PROPERTIES[name]
        ],
        "conformance": [
            entry for entry in make_conformance()
            if conformance and foreign and (own or entry["on"] == "drawn")
        ],
    }  # fmt: skip


def claims_of(invariance: dict[str, Any]) -> list[Claim]:
    """One claim an explainer."""
    claims = []
    for entry in invariance.get("explainers") or []:
        own = [one for one in invariance["findings"] if one["explainer"] == entry["name"]]
        bugs = sum(one["outcome"] == "bug" for one in own)
        error = all(one["outcome"] == "fault" for one in own)
        outcome = ClaimOutcome.FAIL if bugs else ClaimOutcome.PASS
        figure = None if error else float(bugs)
        claims.append(
            Claim("invariance", f"{entry['name']} keeps what must hold",
                  ClaimOutcome.ERROR if error else outcome, figure, "≤", 0.0,
                  f"{len(own)} properties.")
        )  # fmt: skip
    return claims


def make_invariance_results(**changes: Any) -> Results:
    """A run of the invariance check alone."""
    invariance = changes.pop("invariance", None)
    chosen = make_invariance() if invariance is None else invariance
    seconds = {entry["name"]: 12.3 for entry in chosen.get("explainers", [])}
    values: dict[str, Any] = {
        "camaudit": "0.1.0",
        "provenance": Provenance(
            environment={"python": "3.11.9", "torch": "2.8.0", "device": "cpu", "threads": 2},
            subject={"model": "vgg16", "class": "VGG", "layer": "features.14",
                     "weights": "torchvision"},
            zone={}, settings={"seed": 0}, images=[{"id": "image 0"}, {"id": "image 1"}],
        ),
        "records": [], "summary": [], "claims": claims_of(chosen), "invariance": chosen,
        "timing": {"total_seconds": 160.0} | ({"invariance": seconds} if seconds else {}),
    }  # fmt: skip
    return Results(**(values | changes))
