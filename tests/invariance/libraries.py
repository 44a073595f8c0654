"""Every class of three libraries put to every property: `python -m tests.invariance.libraries`.

It writes libraries.json, which docs/conformance.md is printed from, class by class: a class that is
in it already is left out, unless it is named. Each is asked through its adapter, as `camaudit run
--checks invariance --explainers SPEC` asks it, but for what `Subject` says.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from camaudit.adapters import Adapter, load_adapter
from camaudit.errors import NotApplicableError
from camaudit.invariance import (
    PROPERTIES,
    Counterexample,
    Example,
    Explain,
    Finding,
    Outcome,
    Search,
    examine,
)
from camaudit.invariance.process import restored, seeded
from camaudit.spelling import spelled
from tests.invariance.explained import cause
from tests.invariance.violations import counterexamples

__all__ = ["FILE", "LEFT_OUT", "SUBJECTS", "Subject", "measured", "stored"]

FILE = Path(__file__).with_suffix(".json")
EXAMPLES = 5
BUDGET = 40.0  #: seconds of a class in one property

Json = dict[str, Any]


@dataclass(frozen=True)
class Subject:
    """A class of a library with its options, and the method of ours that stands for it, if any.

    drawn: it draws random numbers, and gets the same ones at every call (but for `determinism`).
    limits: what it raises on networks that it does not claim to explain, as a pattern; these are
    not applicable to it. examples: of every property.
    """

    spec: str
    claims: str | None = None
    drawn: bool = False
    limits: str | None = None
    examples: int = EXAMPLES

    @property
    def package(self) -> str:
        return spelled(self.spec).source

    @property
    def name(self) -> str:
        """The class."""
        return spelled(self.spec).name

    @property
    def adapter(self) -> Adapter:
        made = load_adapter(spelled(self.spec))
        assert isinstance(made, Adapter)
        return made

    def explain(self, property_name: str) -> Explain:
        """The adapter, as it is asked about a property."""
        made: Explain = self.adapter
        if self.limits is not None:
            made = _Limited(made, self.limits)
        return _Seeded(made) if self.drawn and property_name != "determinism" else made


@dataclass(frozen=True)
class _Limited:
    """An explainer that does not apply where it raises what `pattern` is found in."""

    inner: Explain
    pattern: str

    def __call__(self, model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
        try:
            return self.inner(model, layer, images, targets)
        except Exception as error:
            if re.search(self.pattern, f"{type(error).__name__}: {error}"):
                raise NotApplicableError(str(error)) from error
            raise


@dataclass(frozen=True)
class _Seeded:
    """An explainer that draws the same numbers at every call."""

    inner: Explain

    def __call__(self, model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
        with restored():
            seeded(0)
            return self.inner(model, layer, images, targets)


def _grad_cam(name: str, claims: str | None, **more: Any) -> Subject:
    return Subject(f"pytorch_grad_cam:{name}", claims, **more)


def _torchcam(name: str, claims: str | None, **more: Any) -> Subject:
    return Subject(f"torchcam:{name}", claims, **more)


def _captum(name: str, claims: str | None = None, **more: Any) -> Subject:
    return Subject(f"captum:{name}", claims, **{"examples": 3, **more})


_SIZE = "shapes cannot be multiplied|WallError"  # it shows the model images of other sizes
_RULE = "has no rule defined"
_DARK = "baselines=tests.adapters.functions:dark"

SUBJECTS: tuple[Subject, ...] = (
    _grad_cam("GradCAM", "gradcam"),
    _grad_cam("HiResCAM", "hirescam"),
    _grad_cam("GradCAMElementWise", "elementwise"),
    _grad_cam("GradCAMPlusPlus", "gradcam++"),
    _grad_cam("XGradCAM", "xgradcam"),
    _grad_cam("LayerCAM", "layercam"),
    _grad_cam("ShapleyCAM", "shapleycam"),
    _grad_cam("FinerCAM", "finercam", limits="'float' object has no attribute 'backward'"),
    _grad_cam("EigenCAM", "eigencam"),
    _grad_cam("EigenGradCAM", "eigengradcam"),
    _grad_cam("SegEigenCAM", "segeigencam"),
    _grad_cam("KPCA_CAM", "kpcacam"),
    _grad_cam("FEM", "fem"),
    _grad_cam("ScoreCAM", "scorecam"),
    _grad_cam("AblationCAM", "ablationcam"),
    _grad_cam("FullGrad", "fullgrad"),
    _grad_cam("RefineCAM", "refinecam"),
    _grad_cam("RandomCAM", None, drawn=True),
    _grad_cam("SESS", None, drawn=True, examples=2, limits=_SIZE),
    _torchcam("CAM", "cam", limits="multiple fully connected|size of tensor"),
    _torchcam("GradCAM", "gradcam"),
    _torchcam("GradCAMpp", "gradcam++"),
    _torchcam("SmoothGradCAMpp(num_samples=2)", "smoothgradcam++", drawn=True),
    _torchcam("XGradCAM", "xgradcam"),
    _torchcam("LayerCAM", "layercam"),
    _torchcam("FinerCAM", "finercam", limits="at least one comparison class"),
    _torchcam("ScoreCAM", "scorecam"),
    _torchcam("SSCAM(num_samples=2)", "sscam", drawn=True),
    _torchcam("ISCAM(num_samples=4)", "iscam"),
    _torchcam("RefineCAM", "refinecam", limits="at least two target layers"),
    _torchcam("LeGrad", None, limits="`score_projection` is required"),
    _captum("LayerGradCam(relu_attributions=true)", "gradcam"),
    _captum("LayerGradientXActivation(reduce=sum)", "hirescam"),
    _captum("LayerDeepLift"),
    _captum("LayerConductance(n_steps=5)"),
    _captum("LayerIntegratedGradients(n_steps=5)"),
    _captum("InternalInfluence(n_steps=5)"),
    _captum("LayerLRP", limits=_RULE),
    _captum("Saliency"),
    _captum("InputXGradient"),
    _captum("GuidedBackprop"),
    _captum("Deconvolution"),
    _captum("GuidedGradCam"),
    _captum("IntegratedGradients(n_steps=5)"),
    _captum("DeepLift"),
    _captum("NoiseTunnel(attribution_method=Saliency, nt_samples=2)", drawn=True),
    _captum(f"GradientShap({_DARK}, n_samples=2)", drawn=True),
    _captum(f"LayerGradientShap({_DARK}, n_samples=2)", drawn=True),
    _captum(f"DeepLiftShap({_DARK})"),
    _captum(f"LayerDeepLiftShap({_DARK})"),
    _captum("Occlusion(sliding_window_shapes=1+2+2)", limits="cannot exceed input"),
    _captum("FeatureAblation", examples=2),
    _captum("LayerFeatureAblation", examples=2),
)

_FITTED = (
    "a surrogate fitted to a sample of masked images, a feature for every pixel unless a mask says "
    "otherwise: an estimate that moves with the sample more than with what a property changes"
)
_PERMUTED = (
    "it exchanges values between the images of a batch: a map of one image depends on the others, "
    "and of a single image there is none"
)

#: Classes that are not put to the properties, and why.
LEFT_OUT = {
    "captum:LimeBase": "it has no sampler, kernel or surrogate of its own; Lime is this with them",
    "captum:LRP": "as LayerLRP: it has no rule for Flatten, which every drawn network has",
    "captum:Lime": _FITTED,
    "captum:KernelShap": _FITTED,
    "captum:FeaturePermutation": _PERMUTED,
    "captum:LayerFeaturePermutation": _PERMUTED,
    "captum:ShapleyValueSampling": "3 s a call on networks of a few cells: a run of the model for "
    "every pixel of every sampled order",
    "captum:ShapleyValues": "a run of the model for every order of the pixels, h·w·C factorial",
}


def measured(subject: Subject) -> Json:
    """What was found of every property of a class, as plain values."""
    started = time.perf_counter()
    findings = {name: _plain(_examined(subject, name)) for name in PROPERTIES}
    return {
        "claims": subject.claims,
        "version": subject.adapter.version,
        "seconds": round(time.perf_counter() - started, 1),
        "findings": findings,
    }


def _examined(subject: Subject, name: str) -> Finding:
    """A property of a class; what refutes its method is tried first."""
    kept = counterexamples(name).get(subject.claims or "")
    return examine(
        name,
        subject.explain(name),
        method=subject.claims,
        search=Search(examples=subject.examples, budget=BUDGET, shrink=False),
        known=[] if kept is None else [kept],
    )


def _plain(found: Finding) -> Json:
    shown = found.counterexample
    values: Json = {"outcome": found.outcome.value, "examples": found.examples}
    if found.outcome in (Outcome.BUG, Outcome.FAULT):
        values |= {"reason": found.reason, "difference": None if shown is None else _number(shown)}
        values |= {} if found.fault is None else {"fault": found.fault}
        if shown is not None and shown.example is not None:
            values["example"] = shown.example.to_dict()
    if found.outcome is Outcome.NOT_APPLICABLE:
        values["reason"] = found.reason
    return values


def _number(shown: Counterexample) -> float | None:
    """The difference, where there is one that JSON has."""
    finite = shown.difference is not None and shown.difference < float("inf")
    return shown.difference if finite else None


def stored() -> dict[str, Json]:
    """What was measured, by spec."""
    found: dict[str, Json] = json.loads(FILE.read_text(encoding="utf-8"))
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the classes that are named, or those that are not in the file yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("classes", nargs="*", help="as in torchcam:CAM; default: the missing ones")
    asked = parser.parse_args(arguments).classes
    torch.set_num_threads(1)  # networks this small are slower on many
    kept = stored() if FILE.exists() else {}
    for subject in SUBJECTS:
        label = f"{subject.package}:{subject.name}"
        if (label in asked) if asked else (subject.spec not in kept):
            kept[subject.spec] = measured(subject)
            print(subject.spec, kept[subject.spec]["seconds"], "s", flush=True)
            FILE.write_text(_written(kept), encoding="utf-8")
    for subject in SUBJECTS:
        if subject.spec in kept:
            _tell_causes(subject, kept[subject.spec])
    FILE.write_text(_written(kept), encoding="utf-8")


def _tell_causes(subject: Subject, row: Json) -> None:
    """Write down the cause of every violation that no definition accounts for."""
    for name, found in row["findings"].items():
        if found["outcome"] == Outcome.BUG.value and "example" in found:
            example = Example.from_dict(found["example"])
            found["cause"] = cause(subject.package, subject.name, subject.claims, name, example)


def _written(kept: dict[str, Json]) -> str:
    """JSON with one finding a line, in the order of the subjects."""
    parts = []
    for spec in (one.spec for one in SUBJECTS if one.spec in kept):
        row = kept[spec]
        head = {key: value for key, value in row.items() if key != "findings"}
        lines = ",\n".join(
            f"{json.dumps(name)}: {json.dumps(found)}" for name, found in row["findings"].items()
        )
        parts.append(f'{json.dumps(spec)}: {json.dumps(head)[:-1]}, "findings": {{\n{lines}\n}}}}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    main()
