"""torchvision's classifiers by name: `torchvision:resnet18(num_classes=10, in_chans=1)`."""

from __future__ import annotations

from typing import Any

import torchvision
from torch import nn

from camaudit.errors import ModelError
from camaudit.importing import described
from camaudit.models.built import Built
from camaudit.models.options import named_options, near_names, refuse_weights

__all__ = ["from_torchvision"]


def from_torchvision(text: str, *, num_classes: int | None = None) -> Built:
    """The network of `NAME(option=value, …)`, at its own initialisation, in eval mode.

    Options are those of torchvision's builder, and `in_chans`, the image's channels: with another
    number than 3 the first convolution is drawn anew. Raises :class:`ModelError`.
    """
    spec = f"torchvision:{text}"
    name, options = named_options(text, spec=spec)
    refuse_weights(options, spec=spec)
    names = torchvision.models.list_models(module=torchvision.models)
    if name not in names:
        near = near_names(name, names)
        raise ModelError(f"torchvision has no classification model {name!r}; near names: {near}")
    channels = options.pop("in_chans", 3)
    if num_classes is not None:
        options["num_classes"] = num_classes
    if name in ("googlenet", "inception_v3"):
        options.setdefault("init_weights", True)
    try:
        model: nn.Module = torchvision.models.get_model(name, weights=None, **options)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ModelError(f"torchvision cannot build {spec!r}: {described(error)}") from error
    if channels != 3:
        _read_channels(model, channels, spec)
    return Built(model.eval())


def _read_channels(model: nn.Module, channels: Any, spec: str) -> None:
    """Another first convolution, of the same geometry, for images of `channels`."""
    if not isinstance(channels, int) or channels < 1:
        raise ModelError(f"{spec!r}: in_chans must be a whole number above 0; got {channels!r}")
    name, first = next((n, m) for n, m in model.named_modules() if isinstance(m, nn.Conv2d))
    parent, _, own = name.rpartition(".")
    fresh = nn.Conv2d(
        channels, first.out_channels, first.kernel_size,  # type: ignore[arg-type]
        stride=first.stride, padding=first.padding, dilation=first.dilation,  # type: ignore[arg-type]
        bias=first.bias is not None, padding_mode=first.padding_mode,
    )  # fmt: skip
    setattr(model.get_submodule(parent), own, fresh)
