"""The subject of an audit: a walled model on a device, with what is known of where it came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from camaudit.audit.settings import Settings
from camaudit.cut import default_layer
from camaudit.data.preprocess import Normalisation, parse_preprocess
from camaudit.errors import DegenerateModelError, LayerError, ModelError, WallError
from camaudit.models.loading import LoadedModel, load_model, resolve_device
from camaudit.models.weights import file_sha256, read_state_dict, state_sha256
from camaudit.sites import require_eval
from camaudit.walls import (
    PaperVGG16,
    WalledModel,
    insert_wall,
    paper_twins,
    paper_wall,
    split_trunk,
)  # fmt: skip

__all__ = ["Subject", "build_subject"]

_ENOUGH = 0.1  # share of the image that a receptive-field zone must score to be preferred


@dataclass(frozen=True, eq=False)
class Subject:
    """A walled model in eval mode on `device`, its normalisation, and its description.

    `dtype` is that of the model's parameters; images are given to it in the same.
    """

    walled: WalledModel
    normalisation: Normalisation
    device: torch.device
    dtype: torch.dtype
    description: dict[str, Any]
    warnings: tuple[str, ...]


def build_subject(settings: Settings) -> Subject:
    """Load the model, build its wall and say what was built.

    Raises the errors of :mod:`camaudit.models.loading` and :mod:`camaudit.walls`, and
    :class:`WallError` where the wall leaves no pixel dead zone to score.
    """
    device = resolve_device(settings.device)
    size = settings.image_size
    example = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0)).to(device)
    if settings.wall == "vgg16":
        loaded, walled = _paper(settings, example)
    else:
        loaded = load_model(settings.model, weights=settings.weights, seed=settings.seed)
        model = loaded.model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        example = example.to(_dtype(model))
        walled = _walled(model, loaded, settings, example)
    if not walled.zone.exists:
        advice = "use fewer live rows" if settings.wall == "split" else "try --wall split"
        raise WallError(f"this wall leaves no pixel to score: {walled.zone.why} Then {advice}")
    normalisation = parse_preprocess(settings.preprocess or loaded.preprocess or "imagenet")
    warnings = []
    if loaded.weights_sha256 is None:
        warnings.append(
            f"no weights file was given: the network is {loaded.weights}; give --weights unless "
            "that is what you want to audit"
        )
    if settings.preprocess is None and loaded.preprocess is None:
        warnings.append("no --preprocess was given: images are standardised as for ImageNet")
    description = _describe(loaded, walled, normalisation, example)
    return Subject(walled, normalisation, device, example.dtype, description, tuple(warnings))


def _dtype(model: nn.Module) -> torch.dtype:
    """That of the first floating-point parameter or buffer; float32 where there is none."""
    tensors = (*model.parameters(), *model.buffers())
    return next((t.dtype for t in tensors if t.is_floating_point()), torch.float32)


def _paper(settings: Settings, example: Tensor) -> tuple[LoadedModel, WalledModel]:
    """The paper's VGG16: masked and unmasked twin at He initialisation, or a checkpoint alone."""
    if settings.layer is not None:
        raise LayerError("the paper's VGG16 has its wall after layer 29: leave --layer out")
    if settings.image_size != 224:
        raise WallError(
            f"the paper's VGG16 reads images of 224×224 pixels; got {settings.image_size}: leave "
            "--image-size out"
        )
    device = example.device
    masked, unmasked = paper_twins(seed=settings.seed, live_rows=settings.live_rows or 5)
    twin: PaperVGG16 | None = unmasked
    weights, digest = f"He initialisation (seed {settings.seed})", None
    if settings.weights is not None:
        masked.load_paper_state(read_state_dict(settings.weights))
        twin, weights, digest = None, settings.weights.name, file_sha256(settings.weights)
    masked.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    loaded = LoadedModel(masked, "the paper's VGG16", weights, digest, "29", "imagenet")
    if twin is not None:
        twin.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return loaded, paper_wall(masked, example, unmasked=twin)


def _walled(
    model: nn.Module, loaded: LoadedModel, settings: Settings, example: Tensor
) -> WalledModel:
    require_eval(model)
    _probe(model, example)
    layer = settings.layer or loaded.layer or default_layer(model, example)
    if settings.wall == "split":
        return split_trunk(model, layer, example, live_rows=settings.live_rows)
    inserted = insert_wall(model, layer, example, live_rows=settings.live_rows)
    if settings.wall == "insert" or inserted.zone.scored_fraction >= _ENOUGH:
        return inserted
    return split_trunk(model, layer, example, live_rows=settings.live_rows)


def _probe(model: nn.Module, example: Tensor) -> None:
    """One forward pass, so that a model that cannot run says so in its own words."""
    shape = "×".join(map(str, example.shape))
    try:
        with torch.no_grad():
            logits = model(example)
    except (Exception, SystemExit) as error:
        raise ModelError(
            f"the model fails on a {shape} image: {type(error).__name__}: {error} (expected a "
            "model that takes one batch of three-channel images; wrap yours so that it does, or "
            "choose another --image-size)"
        ) from error
    if isinstance(logits, Tensor) and bool(torch.isnan(logits).any()):
        raise DegenerateModelError(
            f"the model's logits are NaN on a {shape} image of standard normal noise: check the "
            "weights"
        )


def _describe(
    loaded: LoadedModel, walled: WalledModel, normalisation: Normalisation, example: Tensor
) -> dict[str, Any]:
    with torch.no_grad():
        shape = list(walled.trunk(example).shape[1:])
    wall = dict(walled.description)
    return {
        "model": loaded.name,
        "class": type(loaded.model).__name__,
        "parameters": sum(p.numel() for p in loaded.model.parameters()),
        "weights": loaded.weights,
        "weights_sha256": loaded.weights_sha256,
        "state_sha256": state_sha256(loaded.model),
        "layer": wall.pop("layer"),
        "layer_shape": shape,
        "wall": wall,
        "preprocess": {
            "name": normalisation.name,
            "mean": list(normalisation.mean),
            "std": list(normalisation.std),
        },
    }
