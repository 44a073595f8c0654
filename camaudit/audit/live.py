"""An audit of objects: a model, explainers and images that a program holds already."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from camaudit.data.preprocess import Normalisation
from camaudit.data.stack_mix import StackImage
from camaudit.errors import UsageError
from camaudit.invariance.loading import ExplainerSpec
from camaudit.methods import method_call
from camaudit.models.built import Expected
from camaudit.models.classifier import Objective
from camaudit.models.factories import taken
from camaudit.models.loading import LoadedModel

__all__ = ["AS_GIVEN", "Live", "TensorImage", "as_given", "stacked", "tensor_images"]

AS_GIVEN = "as given"  #: what images that come as tensors went through


@dataclass(frozen=True, eq=False)
class TensorImage(StackImage):
    """An image as the model reads it: `values` (C×H×W, floating); `pixels` are for the eye."""

    values: Tensor = field(repr=False, kw_only=True)


@dataclass(frozen=True, eq=False, kw_only=True)
class Live:
    """What is audited instead of what the settings name.

    model: in eval mode, images N×C×H×W to logits, or to what `objective` or the settings' `output`
    makes logits of; it is left as it is, on its device. DataParallel, what torch.compile returned
    and a torch.export program are taken apart.
    images: N×C×H×H, floating, standardised as the model reads them; None for the settings' own.
    objective: what the model returns to scores N×C, see :mod:`camaudit.models.classifier`.
    explainers: by name, called with (model, layer, images, targets). claims: the registered
    methods that some of them claim to be, by the same names.
    """

    model: nn.Module | torch.export.ExportedProgram
    images: Tensor | None = None
    objective: Objective | None = None
    explainers: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    claims: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.model, (nn.Module, torch.export.ExportedProgram)):
            raise UsageError(f"expected a torch.nn.Module; got {type(self.model).__name__}")
        if self.objective is not None and not callable(self.objective):
            raise UsageError(
                f"the objective is a {type(self.objective).__name__}; expected a function of what "
                "the model returns"
            )
        for name, explain in self.explainers.items():
            if not callable(explain):
                raise UsageError(
                    f"the explainer {name!r} is a {type(explain).__name__}; expected a function of "
                    "(model, layer, images, targets)"
                )
        unknown = [name for name in self.claims if name not in self.explainers]
        if unknown:
            raise UsageError(f"claims of explainers that are not given: {', '.join(unknown)}")
        if self.images is not None:
            _check_images(self.images)

    @property
    def size(self) -> int | None:
        """Height and width of the images, None where they are not given."""
        return None if self.images is None else int(self.images.shape[-1])

    def loaded(self, *, layer: str | None) -> LoadedModel:
        """The model as the rest of an audit knows it."""
        model, notes = taken(self.model, what="the audit was given")
        expected, preprocess = None, None
        if self.images is not None:
            expected = Expected("the given images", channels=int(self.images.shape[1]))
            preprocess = AS_GIVEN
        name = type(model).__name__
        return LoadedModel(model, name, "as given", None, layer, preprocess, expected, notes)

    def specs(self) -> list[ExplainerSpec]:
        """The explainers with their names and claims."""
        return [
            ExplainerSpec(
                name, explain, None if name not in self.claims
                else method_call(self.claims[name]).label, source=name,
            )
            for name, explain in self.explainers.items()
        ]  # fmt: skip


def as_given(channels: int) -> Normalisation:
    """The normalisation of images that come as tensors: none."""
    return Normalisation(AS_GIVEN, (0.0,) * channels, (1.0,) * channels)


def tensor_images(images: Tensor) -> tuple[TensorImage, ...]:
    """Images (N×C×H×W) with ids that follow from their place and values."""
    made = []
    for place, values in enumerate(images.detach().cpu()):
        digest = hashlib.sha256(np.ascontiguousarray(values.double().numpy()).tobytes())
        name = f"image-{place + 1:04d}-{digest.hexdigest()[:8]}"
        made.append(TensorImage(name, _shown(values), None, None, (), "single", values=values))
    return tuple(made)


def stacked(images: Sequence[StackImage], *, dtype: torch.dtype) -> Tensor | None:
    """The values of images that came as tensors (N×C×H×W); None where they are pixels."""
    values = [image.values for image in images if isinstance(image, TensorImage)]
    return torch.stack(values).to(dtype) if values and len(values) == len(images) else None


def _shown(values: Tensor) -> Any:
    """Pixels to look at (H×W×3, uint8): the values stretched from their lowest to their highest.

    Of another number of channels than three the mean is shown, in grey.
    """
    if len(values) != 3:
        values = values.double().mean(dim=0, keepdim=True).expand(3, -1, -1)
    low, high = float(values.min()), float(values.max())
    scaled = (values.double() - low) / ((high - low) or 1.0)
    return (scaled * 255).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()


def _check_images(images: Any) -> None:
    expected = "expected a floating tensor of images, N×C×H×H, standardised as the model reads them"
    if not isinstance(images, Tensor):
        raise UsageError(f"{expected}; got {type(images).__name__}")
    if not images.is_floating_point() or images.ndim != 4 or not images.shape[1]:
        raise UsageError(f"{expected}; got {images.dtype} {tuple(images.shape)}")
    if images.shape[2] != images.shape[3] or not len(images):
        raise UsageError(f"{expected}; got shape {tuple(images.shape)}: crop or pad them square")
    if not bool(torch.isfinite(images).all()):
        raise UsageError(f"{expected}; some values are NaN or infinite")
