"""MPRT beside Quantus, and ten methods beside one."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from camaudit.capture import Capture, capture
from camaudit.cut import cut_at
from camaudit.maps import upsample
from camaudit.methods import select
from camaudit.sanity import Explainer, Options, SanityResult, run_sanity, similarity
from camaudit.walls import paper_twins
from camaudit.walls.vgg16 import TARGET_LAYER
from tests.benchmarks.pairs import photograph
from tests.benchmarks.peers import load, quiet
from tests.benchmarks.timing import Contest, Setting

__all__ = ["TEN", "mprt_ten_methods", "mprt_vgg16"]

PHOTOGRAPHS = ("chelsea", "coffee", "rocket", "astronaut")
SEED = 42
#: Ten methods that one forward and one backward pass are enough for.
TEN = (
    "gradcam", "gradcam++", "xgradcam", "hirescam", "layercam", "elementwise", "eigencam",
    "eigengradcam", "segeigencam", "lafam",
)  # fmt: skip


class Absolute:
    """`|Σ_k w_k A_k|`: GradCAM with the magnitude in place of its ReLU.

    Quantus stops where the maps of a random model are all 0, or all negative.
    """

    label = "gradcam, absolute"
    from_tensors = True

    def __call__(self, seen: Capture, *, seed: int) -> Tensor:
        del seed
        weights = seen.gradients.mean(dim=(2, 3), keepdim=True)
        return (weights * seen.activations).sum(dim=1).abs()


def mprt_vgg16(setting: Setting) -> Contest:
    """GradCAM's MPRT on the paper's VGG16: 16 layers, 4 images, Spearman, one seed, top-down."""
    images = _images(setting)
    ours, theirs = _network(setting), _network(setting)
    with torch.no_grad():
        targets = theirs(images).argmax(dim=1)

    def compare(found: Mapping[str, Sequence[float]], _: SanityResult) -> dict[str, float]:
        """Their scores beside our similarity of our maps of their random models."""
        first = _maps(ours, images, targets)
        worst = 0.0
        for name, random in _their_models(theirs):
            maps = _maps(random, images, targets)
            for a, b, score in zip(first, maps, found[name], strict=True):
                value, _ = similarity("spearman", a, b)
                worst = max(worst, abs((np.nan if value is None else value) - score))
        return {"map_difference": worst}

    return Contest(
        peer=lambda: _quantus(theirs, images, targets),
        ours=lambda: _mprt(
            ours, images, targets, [Absolute()], similarities=("spearman",), exact=False
        ),
        compare=compare,
        details={
            "images": len(PHOTOGRAPHS),
            "layers": 16,
            "seeds": 1,
            "similarities": ["spearman"],
        },
        notes=(
            "the last column is the largest difference of a similarity: Quantus's score of a step "
            "beside ours of our maps of its random model",
        ),
    )


def mprt_ten_methods(setting: Setting) -> Contest:
    """The same for ten methods and all four similarities, beside GradCAM alone with these."""
    images = _images(setting)
    network = _network(setting)
    with torch.no_grad():
        targets = network(images).argmax(dim=1)

    def compare(ten: SanityResult, one: SanityResult) -> dict[str, float]:
        alone = {curve.similarity: curve.values for curve in one.curves}
        shared = {c.similarity: c.values for c in ten.curves if c.method == "gradcam"}
        return {"map_difference": 0.0 if alone == shared else float("inf")}

    return Contest(
        peer=lambda: _mprt(network, images, targets, select(TEN)),
        ours=lambda: _mprt(network, images, targets, select(["gradcam"])),
        compare=compare,
        details={"images": len(PHOTOGRAPHS), "layers": 16, "seeds": 1, "methods": list(TEN)},
        notes=("peer is ten methods in one run, ours one: the ratio is what nine more cost",),
    )


def _network(setting: Setting) -> nn.Module:
    network, _ = paper_twins(seed=0)
    return network.to(setting.device)


def _images(setting: Setting) -> Tensor:
    return torch.cat([photograph(name) for name in PHOTOGRAPHS]).to(setting.device)


def _mprt(
    network: nn.Module,
    images: Tensor,
    targets: Tensor,
    methods: Sequence[Explainer],
    **options: Any,
) -> SanityResult:
    return run_sanity(
        network, TARGET_LAYER, images, methods=methods, targets=targets,
        options=Options(seeds=(SEED,), batch_size=len(PHOTOGRAPHS), **options),
    )  # fmt: skip


def _maps(network: nn.Module, images: Tensor, targets: Tensor) -> Tensor:
    cut = cut_at(network, TARGET_LAYER, images[:1])
    maps = Absolute()(capture(cut, images, targets=targets), seed=0)
    return upsample(maps, (224, 224))


def _quantus(network: nn.Module, images: Tensor, targets: Tensor) -> dict[str, list[float]]:
    """Quantus's MPRT as documented, with captum's GradCAM raised to the image as explainer."""
    metric = load("quantus", "MPRT")(
        similarity_func=load("quantus.functions.similarity_func", "correlation_spearman"),
        layer_order="top_down", seed=SEED, abs=False, normalise=False,
        return_average_correlation=False, return_last_correlation=False,
        disable_warnings=True, display_progressbar=False,
    )  # fmt: skip
    with quiet():
        scores: dict[str, list[float]] = metric(
            model=network, x_batch=images.cpu().numpy(), y_batch=targets.cpu().numpy(),
            a_batch=None, explain_func=_captum, device=str(images.device),
            batch_size=len(images),
        )  # fmt: skip
    return scores


def _captum(model: nn.Module, inputs: Any, targets: Any, **options: Any) -> Any:
    """What a user of Quantus gives it: captum's LayerGradCam at the image's size."""
    device = options.get("device") or "cpu"
    explainer = load("captum.attr", "LayerGradCam")(model, model.get_submodule(TARGET_LAYER))
    images = torch.as_tensor(inputs, device=device)
    classes = torch.as_tensor(targets, device=device)
    maps = explainer.attribute(images, target=classes).abs()
    raised = nn.functional.interpolate(maps, images.shape[-2:], mode="bilinear")
    return raised.detach().cpu().numpy()


def _their_models(network: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Quantus's random model step by step; it is one model, which changes."""
    wrapped = load("quantus.helpers.model.pytorch_model", "PyTorchModel")(
        network, channel_first=True, device=str(next(network.parameters()).device)
    )
    yield from wrapped.get_random_layer_generator(order="top_down", seed=SEED)
