"""Models by spec: lite0, torchvision:NAME, timm:NAME, hf:FOLDER, or a factory by import or file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from camaudit.errors import DeviceError, ModelError
from camaudit.models import lite0
from camaudit.models.built import Built, Expected
from camaudit.models.factories import from_factory
from camaudit.models.from_timm import from_timm
from camaudit.models.from_torchvision import from_torchvision
from camaudit.models.from_transformers import from_transformers
from camaudit.models.weights import file_sha256, load_weights

__all__ = ["LoadedModel", "load_model", "resolve_device"]


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A network in eval mode and what is known of it.

    `name` is what a reader calls it and `weights` says where the values come from; `layer` is the
    spec's own target layer, None if it has none; `preprocess` names the normalisation that the
    weights expect, None if unknown. `expected` is what the model's own configuration says of its
    images, `notes` what it was taken out of, `unpickled` the weights files that were free to run
    code.
    """

    model: nn.Module
    name: str
    weights: str
    weights_sha256: str | None
    layer: str | None
    preprocess: str | None
    expected: Expected | None = None
    notes: tuple[str, ...] = ()
    unpickled: tuple[str, ...] = ()


def load_model(
    spec: str,
    *,
    weights: Path | None = None,
    seed: int = 0,
    num_classes: int | None = None,
    unsafe_pickle: bool = False,
) -> LoadedModel:
    """Build the network that `spec` names, load `weights` into it, put it in eval mode.

    `num_classes` is for torchvision's and timm's networks; None keeps their own number.
    Without a weights file networks keep their own initialisation, drawn from `seed`, but for those
    that are saved with their weights. A factory must return its model in eval mode. With
    `unsafe_pickle` the weights file may run code, see :func:`camaudit.models.weights.read_weights`.
    Raises :class:`ModelError`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        built = _build(spec, num_classes)
    known, digest = built.weights or f"as built by {spec} (seed {seed})", built.weights_sha256
    expected = built.expected
    name, layer, preprocess = spec, None, None if expected is None else expected.preprocess
    if spec == "lite0":
        path = lite0.weights_file()
        known, digest = f"ImageNet ({path.name})", file_sha256(path)
        name, layer, preprocess = lite0.NAME, lite0.LAYER, "lite"
    unpickled: tuple[str, ...] = ()
    if weights is not None:
        if load_weights(built.model, weights, unsafe_pickle=unsafe_pickle):
            unpickled = (weights.name,)
        known, digest = weights.name, file_sha256(weights)
    return LoadedModel(
        built.model, name, known, digest, layer, preprocess, expected, built.notes, unpickled
    )


def resolve_device(name: str) -> torch.device:
    """`name` as a device that is there; raises :class:`DeviceError` otherwise."""
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise DeviceError(f"unknown device {name!r}: expected cpu, cuda, cuda:N or mps") from error
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            raise DeviceError(f"no device {name!r}: {count} CUDA device(s) found; use --device cpu")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise DeviceError(f"no device {name!r} on this machine; use --device cpu")
    if device.type not in ("cpu", "cuda", "mps"):
        raise DeviceError(f"device {name!r} is not supported: expected cpu, cuda, cuda:N or mps")
    return device


def _build(spec: str, num_classes: int | None) -> Built:
    if spec == "lite0":
        return Built(lite0.build())
    kind, _, rest = spec.partition(":")
    if rest and kind == "torchvision":
        return from_torchvision(rest, num_classes=num_classes)
    if rest and kind == "timm":
        return from_timm(rest, num_classes=num_classes)
    if rest and kind in ("hf", "transformers"):
        return from_transformers(rest)
    source, _, name = spec.rpartition(":")
    if not source or not name:
        raise ModelError(
            f"cannot read the model spec {spec!r}: expected lite0, torchvision:NAME, timm:NAME, "
            "hf:FOLDER, package.module:factory or file.py:factory"
        )
    return from_factory(source, name)
