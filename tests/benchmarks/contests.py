"""The timed contests: what each side computes, and how the maps are compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf, isnan
from typing import Any

import numpy as np
import torch
from torch import Tensor

from camaudit.capture import Capture
from camaudit.engine import Engine
from camaudit.methods import compute
from camaudit.methods.decomposition import first_component
from camaudit.methods.scores import minmax_logits
from tests.benchmarks.pairs import Explained, Pair, paper_vgg16, resnet
from tests.benchmarks.peers import (
    Map,
    Theirs,
    as_grad_cam,
    as_torchcam,
    grad_cam,
    torchcam_scorecam,
)
from tests.benchmarks.timing import Contest, Setting, duration

__all__ = [
    "GRADIENT_AND_EIGEN",
    "SEVEN",
    "TORCHCAM_FORM",
    "ablation_resnet18",
    "ablation_vgg16",
    "gradient_and_eigen",
    "methods_contest",
    "score_vgg16",
    "score_vgg16_torchcam",
    "seven_methods",
    "torchcam_contest",
]

#: The methods that the walls paper evaluates.
SEVEN = ("gradcam", "gradcam++", "xgradcam", "scorecam", "ablationcam", "eigencam", "hirescam")
GRADIENT_AND_EIGEN = (
    "gradcam", "gradcam++", "xgradcam", "hirescam", "layercam", "elementwise", "eigencam",
    "eigengradcam",
)  # fmt: skip
TORCHCAM_FORM = "scorecam(align_corners=false, normalise=before)"

#: Known differences of pytorch-grad-cam, each with our map in its form: its 1e-6 in GradCAM++'s
#: denominator, and a singular vector's sign, which it takes as it comes.
_THEIR_FORMS: Mapping[str, Callable[[Capture], list[Tensor]]] = {
    "gradcam++": lambda c: [compute("gradcam++(epsilon=1e-6)", c)],
    "eigencam": lambda c: _either_sign(c.activations),
    "eigengradcam": lambda c: _either_sign(c.gradients * c.activations),
}


def ablation_vgg16(setting: Setting) -> Contest:
    """AblationCAM on the paper's VGG16."""
    return methods_contest(paper_vgg16(setting.device), ("ablationcam",))


def ablation_resnet18(setting: Setting) -> Contest:
    """AblationCAM on ResNet-18."""
    return methods_contest(resnet(18, setting.device), ("ablationcam",))


def gradient_and_eigen(setting: Setting) -> Contest:
    """Eight methods from one capture, and from eight explainers."""
    return methods_contest(paper_vgg16(setting.device), GRADIENT_AND_EIGEN)


def seven_methods(setting: Setting) -> Contest:
    """The paper's seven methods."""
    return methods_contest(paper_vgg16(setting.device), SEVEN)


def score_vgg16(setting: Setting) -> Contest:
    """ScoreCAM in pytorch-grad-cam's form."""
    return methods_contest(paper_vgg16(setting.device), ("scorecam",))


def score_vgg16_torchcam(setting: Setting) -> Contest:
    """ScoreCAM in torchcam's form."""
    return torchcam_contest(paper_vgg16(setting.device))


def methods_contest(pair: Pair, methods: tuple[str, ...], engine: Engine | None = None) -> Contest:
    """`methods` of ours from one capture beside pytorch-grad-cam's explainers, one a method."""
    engine = engine or Engine()
    size = int(pair.image.shape[-2]), int(pair.image.shape[-1])

    def compare(theirs: dict[str, Theirs], ours: Explained) -> dict[str, float]:
        figures: dict[str, float] = {}
        for method in methods:
            plain = _map_difference(ours.raw[method], theirs[method], size)
            figures[f"difference of {method} as it stands"] = plain
            forms = _THEIR_FORMS[method](ours.captured) if method in _THEIR_FORMS else []
            explained = [_map_difference(raw, theirs[method], size) for raw in forms]
            figures[f"difference of {method}"] = min([plain, *explained])
        largest = max(figures[f"difference of {method}"] for method in methods)
        if "scorecam" in methods:
            weights = _score_weights(ours.captured)
            figures["weight_difference"] = _apart(weights, theirs["scorecam"].weights)
        return {"map_difference": largest, **figures}

    return Contest(
        peer=lambda: {method: grad_cam(method, pair) for method in methods},
        ours=lambda: pair.explain(methods, engine),
        compare=compare,
        details=_details(pair, engine, methods),
        notes=(_prepared(pair, engine), *_notes(methods)),
    )


def torchcam_contest(pair: Pair) -> Contest:
    """Our ScoreCAM in torchcam's form beside torchcam's."""
    engine = Engine()

    def compare(theirs: Theirs, ours: Explained) -> dict[str, float]:
        shown = as_torchcam(ours.raw[TORCHCAM_FORM])
        weights = _score_weights(ours.captured, normalise="before", align_corners=False)
        return {
            "map_difference": _difference(shown, theirs.map),
            "weight_difference": _apart(weights, theirs.weights),
        }

    return Contest(
        peer=lambda: torchcam_scorecam(pair),
        ours=lambda: pair.explain((TORCHCAM_FORM,), engine),
        compare=compare,
        details=_details(pair, engine, (TORCHCAM_FORM,)),
        notes=(_prepared(pair, engine),),
    )


def _details(pair: Pair, engine: Engine, methods: tuple[str, ...]) -> dict[str, Any]:
    forwards = pair.forwards(engine)
    return {
        "methods": list(methods),
        "target": pair.target,
        "prepare_s": pair.preparation(engine),
        "masked_images": {"how": forwards.how, "batch_size": forwards.batch_size},
    }


def _prepared(pair: Pair, engine: Engine) -> str:
    return f"ours was prepared once for the model, in {duration(pair.preparation(engine))}, untimed"


def _notes(methods: tuple[str, ...]) -> tuple[str, ...]:
    said = []
    if "gradcam++" in methods:
        said.append("gradcam++ is compared with the 1e-6 that pytorch-grad-cam adds")
    if "eigencam" in methods:
        said.append("eigen methods are compared with the sign that pytorch-grad-cam's SVD gave")
    return tuple(said)


def _map_difference(raw: Tensor, theirs: Theirs, size: tuple[int, int]) -> float:
    return _difference(as_grad_cam(raw, size), theirs.map)


def _difference(ours: Map, theirs: Map) -> float:
    """The largest difference of two maps; infinite where either is not a number."""
    found = float(np.abs(ours - theirs).max())
    return inf if isnan(found) else found


def _either_sign(A: Tensor) -> list[Tensor]:
    projection = first_component(A)
    return [projection.relu(), (-projection).relu()]


def _score_weights(captured: Capture, **form: Any) -> Tensor:
    """Our softmax weights (K): the logits lie in the capture already."""
    channels = torch.arange(captured.activations.shape[1], device=captured.activations.device)
    with torch.no_grad():
        logits = minmax_logits(captured, 0, channels, **form)
        return captured.score(logits, 0).softmax(dim=0).cpu()


def _apart(ours: Tensor, theirs: Tensor | None) -> float:
    if theirs is None:
        return float("nan")
    return float((ours.double() - theirs.double()).abs().max())
