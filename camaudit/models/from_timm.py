"""timm's networks by name: `timm:resnet18(num_classes=10, in_chans=1)`; nothing is downloaded."""

from __future__ import annotations

from typing import Any

from torch import nn

from camaudit.errors import MissingExtraError, ModelError
from camaudit.importing import described
from camaudit.models.built import Built, Expected, standardisation
from camaudit.models.options import named_options, near_names, refuse_weights

__all__ = ["from_timm"]


def from_timm(text: str, *, num_classes: int | None = None) -> Built:
    """The network of `NAME(option=value, …)`, at its own initialisation, in eval mode.

    A name may have a tag (`resnet18.a1_in1k`), whose configuration of images then holds; options
    are those of `timm.create_model`. Raises :class:`MissingExtraError` without the extra `timm`,
    and :class:`ModelError`.
    """
    try:
        import timm
    except ImportError as error:
        raise MissingExtraError(
            "timm's models need the extra timm: run pip install 'camaudit[timm]'"
        ) from error
    spec = f"timm:{text}"
    name, options = named_options(text, spec=spec)
    refuse_weights(options, spec=spec)
    if not timm.is_model(name):
        near = near_names(name.partition(".")[0], timm.list_models())
        raise ModelError(f"timm {timm.__version__} has no model {name!r}; near names: {near}")
    if num_classes is not None:
        options["num_classes"] = num_classes
    try:
        model: nn.Module = timm.create_model(name, pretrained=False, **options)
    except (TypeError, ValueError, RuntimeError, AssertionError) as error:
        raise ModelError(f"timm cannot build {spec!r}: {described(error)}") from error
    channels = int(options.get("in_chans", 3))
    return Built(model.eval(), expected=_expected(model, channels))


def _expected(model: nn.Module, channels: int) -> Expected | None:
    """What the network's `pretrained_cfg` (`default_cfg` in older versions) says of its images."""
    config = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None)
    if not config:
        return None
    values: dict[str, Any] = dict(config)
    size = (values.get("input_size") or (None, None))[1:]
    mean, std = values.get("mean"), values.get("std")
    tag = ".".join(str(values[key]) for key in ("architecture", "tag") if values.get(key))
    return Expected(
        source=f"timm's configuration of {tag or type(model).__name__}",
        size=size[0] if len(set(size)) == 1 else None,
        channels=channels,
        preprocess=standardisation(mean, std, channels) if mean and std else None,
        crop=values.get("crop_pct"),
        interpolation=values.get("interpolation"),
    )
