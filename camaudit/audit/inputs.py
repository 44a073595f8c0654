"""What images a subject reads: channels and size, and what its own configuration says of them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn

from camaudit.audit.live import AS_GIVEN, Live
from camaudit.audit.settings import Settings
from camaudit.errors import ModelError, UsageError
from camaudit.models.classifier import as_classifier
from camaudit.models.loading import LoadedModel

__all__ = ["DEFAULT_SIZE", "classifier", "dtype_of", "example_of", "input_of", "notes_of"]

DEFAULT_SIZE = 224  #: height and width of the images where nothing says otherwise


def classifier(
    settings: Settings, loaded: LoadedModel, device: torch.device, live: Live | None
) -> tuple[nn.Module, Tensor]:
    """The model as a classifier, and an image (1×C×H×H) that it reads.

    H is the settings', the configuration's or the default size. C is the number of channels of the
    given images or of the configuration; else that of the first convolution, and 3 where the model
    takes that and not the other. Raises the errors of
    :func:`camaudit.models.classifier.as_classifier`, and :class:`UsageError` where photographs
    cannot be what the model reads.
    """
    expected, model = loaded.expected, loaded.model
    size = settings.image_size or (expected and expected.size) or DEFAULT_SIZE
    known = expected and expected.channels
    counts = [known] if known else list(dict.fromkeys([_first_channels(model), 3]))
    objective = None if live is None else live.objective
    for count in counts:
        example = example_of(size, device, count).to(dtype_of(model))
        try:
            found = as_classifier(
                model, example, output=settings.output, head=settings.head, objective=objective
            )
        except ModelError:
            if count == counts[-1]:
                raise
        else:
            break
    if live is None or live.images is None:
        _require_photographs(count)
    return found, example


def example_of(size: int, device: torch.device, channels: int = 3) -> Tensor:
    """An image (1×C×H×H) of standard normal noise, always the same."""
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, channels, size, size, generator=generator).to(device)


def dtype_of(model: nn.Module) -> torch.dtype:
    """That of the first floating-point parameter or buffer; float32 where there is none."""
    tensors = (*model.parameters(), *model.buffers())
    return next((t.dtype for t in tensors if t.is_floating_point()), torch.float32)


def input_of(settings: Settings, loaded: LoadedModel, example: Tensor) -> dict[str, Any]:
    """What results.json says of the images that the model is given.

    `crop` is the central share of both sides of a single photograph that is shown: the
    configuration's, where its size and standardisation are kept.
    """
    expected, size = loaded.expected, example.shape[-1]
    kept = expected is not None and expected.size == size and settings.preprocess is None
    return {
        "channels": example.shape[1],
        "size": size,
        "crop": expected.crop or 1.0 if expected is not None and kept else 1.0,
        "configuration": None if expected is None else asdict(expected),
    }


def notes_of(settings: Settings, loaded: LoadedModel, example: Tensor) -> list[str]:
    """What is said of images that are prepared as the model's own configuration has it."""
    expected, size = loaded.expected, example.shape[-1]
    if expected is None or loaded.preprocess == AS_GIVEN:
        return []
    own = [f"{size}×{size} pixels (--image-size)"] if expected.size == size else []
    if expected.preprocess is not None and settings.preprocess is None:
        own.append(f"standardised by {expected.preprocess} (--preprocess)")
    if not own:
        return []
    resized = expected.interpolation not in (None, "bilinear")
    more = f"; it resizes by {expected.interpolation}, camaudit bilinearly" if resized else ""
    return [f"images are prepared as {expected.source} says: {', '.join(own)}{more}"]


def _first_channels(model: nn.Module) -> int:
    """Channels that the first convolution reads; 3 where there is none."""
    return next((m.in_channels for m in model.modules() if isinstance(m, nn.Conv2d)), 3)


def _require_photographs(channels: int) -> None:
    if channels not in (1, 3):
        raise UsageError(
            f"the model reads {channels} channels; photographs have 3, or 1 as grey: give images "
            "as tensors, from Python (run_audit(…, live=Live(model=…, images=…)), or images= of "
            "the pytest fixture), or wrap the model so that it takes 3"
        )
