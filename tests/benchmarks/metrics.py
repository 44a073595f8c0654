"""Seven methods by the figures of their papers, beside the peers' classes doing the same."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from math import inf, isnan
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from camaudit.capture import Capture, Divided, capture
from camaudit.cut import cut_at
from camaudit.engine import Engine, Forwards, prepare
from camaudit.evaluation.explained import Explainer, Maps, explained
from camaudit.evaluation.options import Options
from camaudit.evaluation.outcomes import Evaluation
from camaudit.evaluation.run import evaluate
from camaudit.methods import method_call
from camaudit.metrics.confidence import masked_images
from camaudit.metrics.insertion_deletion import PIXELS_PER_STEP, insertion_canvas, pixel_order
from camaudit.models.lite0 import LAYER
from camaudit.models.loading import load_model
from camaudit.walls import paper_twins, paper_wall
from camaudit.walls.vgg16 import TARGET_LAYER
from tests.benchmarks.peers import GRAD_CAM, load, quiet
from tests.benchmarks.timing import Contest, Setting

__all__ = ["SEVEN", "Subject", "metrics_contest", "metrics_lite0", "metrics_vgg16"]

#: The methods of the ScoreCAM++ paper, Grad-CAM++ in pytorch-grad-cam's form.
SEVEN = (
    "gradcam", "gradcam++(epsilon=1e-6)", "xgradcam", "layercam", "scorecam", "augmentedgradcam++",
    "scorecam++",
)  # fmt: skip
FIGURES = (
    "average-drop", "increase-in-confidence", "coherency", "map-complexity", "adcc",
    "insertion-auc", "deletion-auc",
)  # fmt: skip
CHECKS = ("confidence", "adcc", "insertion-deletion")

Values = Mapping[tuple[str, str], Sequence[float]]  #: by metric and method, one an image
Pixels = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Subject:
    """One network for either side, with equal weights, and the photographs that both explain.

    `theirs` gives the same maps at `layer` as `divided` does. images: N×3×H×W, contiguous.
    """

    divided: Divided
    theirs: nn.Module
    layer: str
    images: Tensor
    targets: Tensor
    forwards: Forwards


class Given:
    """Maps that were made beforehand, of some images and of what these maps let through."""

    def __init__(self, label: str, made: Sequence[tuple[Tensor, Tensor]]) -> None:
        self.label = label
        self._made = made

    def __call__(self, seen: Capture, *, seed: int) -> Tensor:
        """Those of the capture's images."""
        del seed
        return self.of(seen.images)

    def of(self, images: Tensor) -> Tensor:
        """Those of `images`, of which all are known: the nearest ones', rounding aside."""
        return torch.stack([self._one(image) for image in images])

    def _one(self, image: Tensor) -> Tensor:
        for known, maps in self._made:
            for one, made in zip(known, maps, strict=True):
                if torch.allclose(one, image, rtol=0, atol=1e-4):
                    return made
        raise KeyError(f"no map of this image was given to {self.label}")


def metrics_lite0(setting: Setting) -> Contest:
    """The seven methods on EfficientNet-Lite0 and two photographs."""
    return metrics_contest(_lite0(setting.device), SEVEN)


def metrics_vgg16(setting: Setting) -> Contest:
    """Three gradient methods on the paper's VGG16 and one photograph."""
    return metrics_contest(_vgg16(setting.device), ("gradcam", "xgradcam", "layercam"))


def metrics_contest(
    subject: Subject, methods: tuple[str, ...], *, pixels_per_step: int = PIXELS_PER_STEP
) -> Contest:
    """AD, IC, ADCC, insertion and deletion of `methods`; ours adds Win %, logits and intervals."""
    with torch.no_grad():
        ours = [_call(subject, name) for name in methods]
    labels = [call.label for call in ours]
    given = {call.label: call for call in ours if isinstance(call, Given)}

    def peer() -> Values:
        return _Peer(subject, pixels_per_step).all(labels, given)

    def run() -> Evaluation:
        images = subject.images.to(memory_format=torch.channels_last)
        return evaluate(
            subject.divided, images, methods=ours, forwards=subject.forwards,
            targets=subject.targets,
            options=Options(checks=CHECKS, pixels_per_step=pixels_per_step),
        )  # fmt: skip

    notes = [
        "the last column is the largest difference of a figure, drops as shares",
        "Average Drop is pytorch-grad-cam's divided by p(x); ADCC is its formula of pytorch-"
        "grad-cam's parts; curves are Quantus's with their first point; Quantus gets each map "
        "as ranks, so that ties are broken alike, and its check that pixels, not features, are "
        "a multiple of a step is left out",
        "ours also computes Win %, the drop in logit, intervals and all comparisons of methods",
    ]
    if given:
        notes.append(f"{' and '.join(given)}: both sides get the map, their metrics alone count")
    return Contest(
        peer=peer,
        ours=run,
        compare=lambda theirs, found: _differences(theirs, _values(found)),
        details={
            "methods": labels,
            "given": list(given),
            "images": len(subject.images),
            "pixels_per_step": pixels_per_step,
            "masked_images": {
                "how": subject.forwards.how, "batch_size": subject.forwards.batch_size
            },
        },
        notes=tuple(notes),
    )  # fmt: skip


# --- the networks ---------------------------------------------------------------------------------


@cache
def _lite0(device: torch.device) -> Subject:
    """EfficientNet-Lite0 with its weights, chelsea and coffee."""
    model = load_model("lite0").model
    theirs = copy.deepcopy(model)
    # the activation is one module called in two places, and hooks know modules, not places
    theirs._avg_pooling = nn.Sequential(nn.Identity(), theirs._avg_pooling)
    images = _photographs("lite", ("chelsea", "coffee")).to(device)
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    cut = cut_at(model, LAYER, images[:1])
    return _subject(cut, theirs.to(device), "_avg_pooling.0", images)


@cache
def _vgg16(device: torch.device) -> Subject:
    """The paper's VGG16 with its wall, at He initialisation with seed 0, and chelsea."""
    model, _ = paper_twins(seed=0)
    theirs = copy.deepcopy(model).to(device)
    images = _photographs("imagenet", ("chelsea",)).to(device)
    model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return _subject(paper_wall(model, images), theirs, TARGET_LAYER, images)


def _subject(divided: Any, theirs: nn.Module, layer: str, images: Tensor) -> Subject:
    with torch.no_grad():
        targets = theirs(images).argmax(dim=1)
    forwards = prepare(divided, images[:1].to(memory_format=torch.channels_last), Engine())
    return Subject(divided, theirs, layer, images, targets, forwards)


def _photographs(preprocess: str, names: Sequence[str]) -> Tensor:
    """Some of scikit-image's, standardised, N×3×224×224."""
    from skimage import data

    from camaudit.data.images import resize_center_crop
    from camaudit.data.preprocess import parse_preprocess

    pixels = [resize_center_crop(getattr(data, name)(), 224) for name in names]
    return parse_preprocess(preprocess).to_tensor(pixels).contiguous()


def _call(subject: Subject, name: str) -> Explainer:
    """The method, or its maps where no peer has it."""
    call = method_call(name)
    if name.partition("(")[0] in GRAD_CAM:
        return call
    seen = capture(
        subject.divided, subject.images, targets=subject.targets, forwards=subject.forwards
    )
    first = _maps(call, seen)
    shown = masked_images(seen.images, first.weights)
    again = _maps(call, seen.again(shown))
    return Given(call.label, [(seen.images, first.maps), (shown, again.maps)])


def _maps(call: Explainer, seen: Capture) -> Maps:
    found = explained(call, seen, seed=0)
    if not isinstance(found, Maps) or any(found.reasons):
        raise RuntimeError(f"{call.label} has no maps here")
    return found


# --- the peers ------------------------------------------------------------------------------------


class _Peer:
    """The peers' classes, called as their documentation has it, on all photographs at once."""

    def __init__(self, subject: Subject, pixels_per_step: int) -> None:
        self.model, self.images = subject.theirs, subject.images
        self.layer = subject.theirs.get_submodule(subject.layer)
        self.labels = subject.targets.tolist()
        targets = "pytorch_grad_cam.utils.model_targets"
        logit = load(targets, "ClassifierOutputTarget")
        softmax = load(targets, "ClassifierOutputSoftmaxTarget")
        self.logits = [logit(label) for label in self.labels]
        self.shares = [softmax(label) for label in self.labels]
        self.canvas = insertion_canvas(subject.images)
        self.features = pixels_per_step * subject.images.shape[1]

    def all(self, methods: Sequence[str], given: Mapping[str, Given]) -> Values:
        """Every figure of every method."""
        found: dict[tuple[str, str], Sequence[float]] = {}
        whole, blurred = self._shares(self.images), self._shares(self.canvas)
        for name in methods:
            with quiet():
                figures = self._figures(name, given.get(name), whole, blurred)
            found.update({(metric, name): values for metric, values in figures.items()})
        return found

    def _figures(
        self, name: str, given: Given | None, whole: Pixels, blurred: Pixels
    ) -> dict[str, list[float]]:
        if given is not None:
            return self._measured(_as_theirs(given), whole, blurred)
        explainer = load("pytorch_grad_cam", GRAD_CAM[name.partition("(")[0]])
        with explainer(model=self.model, target_layers=[self.layer]) as cam:
            return self._measured(cam, whole, blurred)

    def _measured(
        self, cam: Callable[..., Pixels], whole: Pixels, blurred: Pixels
    ) -> dict[str, list[float]]:
        change, parts = "pytorch_grad_cam.metrics.cam_mult_image", "pytorch_grad_cam.metrics.arcc"
        maps = np.asarray(cam(input_tensor=self.images, targets=self.logits))
        each = self.images, maps[:, None], self.shares, self.model
        drop = load(change, "DropInConfidence")()(*each) / whole
        rise = load(change, "IncreaseInConfidence")()(*each)
        complexity = load(parts, "Complexity")()(maps)
        coherency = load(parts, "Coherency")()(self.images, maps, self.logits, self.model, cam)
        adcc = 3 / (1 / coherency + 1 / (1 - complexity) + 1 / (1 - drop))
        figures = {
            "average-drop": 100 * drop,
            "increase-in-confidence": 100 * rise,
            "coherency": coherency,
            "map-complexity": complexity,
            "adcc": adcc,
            "insertion-auc": self._area(self.canvas, maps, blurred, self._revealed),
            "deletion-auc": self._area(self.images, maps, whole, None),
        }
        return {metric: np.asarray(values).tolist() for metric, values in figures.items()}

    def _area(
        self, images: Tensor, maps: Pixels, first: Pixels, perturb: Callable[..., Any] | None
    ) -> NDArray[Any]:
        """Quantus's curve from `images` on, with its `first` point, and the area below it."""
        flipping = load("quantus", "PixelFlipping")
        unchecked = type("PixelFlipping", (flipping,), {"custom_preprocess": lambda *_, **__: None})
        made = unchecked(
            features_in_step=self.features, perturb_baseline=0.0, perturb_func=perturb,
            normalise=False, disable_warnings=True, display_progressbar=False,
        )  # fmt: skip
        curves = made(
            model=self.model, x_batch=images.cpu().numpy(), y_batch=np.asarray(self.labels),
            a_batch=_ranks(maps)[:, None], channel_first=True, softmax=True,
            device=str(images.device),
        )  # fmt: skip
        whole = np.concatenate([first[:, None], np.asarray(curves)], axis=1)
        area: NDArray[Any] = np.trapezoid(whole, axis=1) / (whole.shape[1] - 1)
        return area

    def _revealed(self, arr: Pixels, indices: NDArray[Any], **_: Any) -> Pixels:
        """Insertion as a perturbation: features of the photographs in place of the canvas's."""
        rows = np.arange(len(arr))[:, None]
        changed = arr.copy()
        changed[rows, indices] = self.images.cpu().numpy().reshape(len(arr), -1)[rows, indices]
        return changed

    def _shares(self, images: Tensor) -> Pixels:
        with torch.no_grad():
            found: Pixels = self.model(images).softmax(dim=1).cpu().numpy()
        return found[np.arange(len(found)), self.labels]


def _as_theirs(given: Given) -> Callable[..., Pixels]:
    """Given maps as pytorch-grad-cam's explainers return theirs: in [0, 1], float32."""

    def cam(*, input_tensor: Tensor, targets: Any) -> Pixels:
        del targets
        maps = given.of(input_tensor)
        low, high = maps.amin(dim=(1, 2), keepdim=True), maps.amax(dim=(1, 2), keepdim=True)
        scaled: Pixels = ((maps - low) / (high - low)).float().cpu().numpy()
        return scaled

    return cam


def _ranks(maps: Pixels) -> NDArray[Any]:
    """Maps (N×H×W) whose values fall by 1 in the order of the pixels, without ties."""
    order, _ = pixel_order(torch.from_numpy(maps).double())
    count = order.shape[1]
    falling = torch.arange(count, 0, -1, dtype=torch.float64).expand(len(order), -1)
    ranks = torch.empty_like(falling).scatter_(1, order, falling.contiguous())
    return ranks.reshape(maps.shape).numpy()


# --- the comparison -------------------------------------------------------------------------------


def _values(found: Evaluation) -> Values:
    return {
        (row.metric, row.method): [inf if value is None else value for value in row.values]
        for row in found.rows
        if row.metric in FIGURES
    }


def _differences(theirs: Values, ours: Values) -> dict[str, float]:
    """The largest difference of each metric over methods and images; percents as shares."""
    figures: dict[str, float] = {}
    for (metric, method), values in theirs.items():
        unit = 100 if metric in FIGURES[:2] else 1
        for one, other in zip(values, ours[metric, method], strict=True):
            apart = abs(one - other) / unit
            name = f"difference of {metric}"
            figures[name] = max(figures.get(name, 0.0), inf if isnan(apart) else apart)
    return {"map_difference": max(figures.values()), **figures}
