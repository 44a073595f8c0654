"""Models by spec: lite0, torchvision:NAME, package.module:factory or file.py:factory."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn

from camaudit.errors import DeviceError, ModelError
from camaudit.importing import described, folder_of, importable, named
from camaudit.models import lite0
from camaudit.models.weights import file_sha256, load_weights
from camaudit.sites import require_eval

__all__ = ["LoadedModel", "load_model", "resolve_device"]


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A network in eval mode and what is known of it.

    `name` is what a reader calls it and `weights` says where the values come from; `layer` is the
    spec's own target layer, None if it has none; `preprocess` names the normalisation that the
    weights expect, None if unknown.
    """

    model: nn.Module
    name: str
    weights: str
    weights_sha256: str | None
    layer: str | None
    preprocess: str | None


def load_model(
    spec: str, *, weights: Path | None = None, seed: int = 0, num_classes: int | None = None
) -> LoadedModel:
    """Build the network that `spec` names, load `weights` into it, put it in eval mode.

    `num_classes` is for torchvision's networks; None keeps their 1000.
    Without a weights file torchvision networks and factories keep their own initialisation,
    drawn from `seed`. A factory must return its model in eval mode. Raises :class:`ModelError`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = _build(spec, num_classes)
    known, digest = f"as built by {spec} (seed {seed})", None
    name, layer, preprocess = spec, None, None
    if spec == "lite0":
        path = lite0.weights_file()
        known, digest = f"ImageNet ({path.name})", file_sha256(path)
        name, layer, preprocess = lite0.NAME, lite0.LAYER, "lite"
    if weights is not None:
        load_weights(model, weights)
        known, digest = weights.name, file_sha256(weights)
    return LoadedModel(model, name, known, digest, layer, preprocess)


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


def _build(spec: str, num_classes: int | None) -> nn.Module:
    if spec == "lite0":
        return lite0.build()
    source, separator, name = spec.rpartition(":")
    if not separator or not source or not name:
        raise ModelError(
            f"cannot read the model spec {spec!r}: expected lite0, torchvision:NAME, "
            "package.module:factory or file.py:factory"
        )
    if source == "torchvision":
        return _torchvision(name, num_classes).eval()
    with importable(folder_of(source)):
        model = _call(_factory(source, name), spec)
    require_eval(model)
    return model


def _torchvision(name: str, num_classes: int | None) -> nn.Module:
    names = torchvision.models.list_models(module=torchvision.models)
    if name not in names:
        near = ", ".join(difflib.get_close_matches(name, names, n=3)) or "see its documentation"
        raise ModelError(f"torchvision has no classification model {name!r}; near names: {near}")
    extra: dict[str, Any] = {"num_classes": num_classes} if num_classes is not None else {}
    if name in ("googlenet", "inception_v3"):
        extra["init_weights"] = True
    model: nn.Module = torchvision.models.get_model(name, weights=None, **extra)
    return model


def _factory(source: str, name: str) -> Callable[[], Any]:
    factory = named(source, name, what="the model factory", error=ModelError)
    if isinstance(factory, nn.Module):
        raise ModelError(
            f"{name!r} in {source!r} is a model, not a factory: write a function without arguments "
            "that returns it"
        )
    if not callable(factory):
        raise ModelError(f"{name!r} in {source!r} is no function that returns a model")
    typed: Callable[[], Any] = factory
    return typed


def _call(factory: Callable[[], Any], spec: str) -> nn.Module:
    try:
        model = factory()
    except (Exception, SystemExit) as error:
        raise ModelError(f"the factory {spec!r} failed: {described(error)}") from error
    if isinstance(model, torch.jit.ScriptModule):
        raise ModelError(
            f"the factory {spec!r} returned a TorchScript module, which allows no hooks: return "
            "the network as ordinary Python modules"
        )
    if not isinstance(model, nn.Module):
        raise ModelError(
            f"the factory {spec!r} returned a {type(model).__name__}; expected a torch.nn.Module"
        )
    return model
