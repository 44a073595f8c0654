"""Models by spec: lite0, torchvision:NAME, package.module:factory or file.py:factory."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import nn

from camaudit.errors import DeviceError, ModelError
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
    home = Path(source).resolve().parent if source.endswith(".py") else Path.cwd()
    with _importable(home):
        model = _call(_factory(source, name), spec)
    require_eval(model)
    return model


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Within the context Python looks for modules in `folder` first, as for a script there."""
    before = list(sys.path)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path[:] = before


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
    module = _from_file(Path(source)) if source.endswith(".py") else _from_import(source)
    factory = getattr(module, name, None)
    if isinstance(factory, nn.Module):
        raise ModelError(
            f"{name!r} in {source!r} is a model, not a factory: write a function without arguments "
            "that returns it"
        )
    if not callable(factory):
        found = sorted(key for key, value in vars(module).items() if callable(value))
        near = ", ".join(difflib.get_close_matches(name, found, n=3)) or "none near"
        raise ModelError(f"{source!r} has no callable {name!r} (near names: {near})")
    typed: Callable[[], Any] = factory
    return typed


def _from_file(path: Path) -> Any:
    if not path.is_file():
        raise ModelError(f"no file {str(path)!r} to take the model factory from")
    spec = importlib.util.spec_from_file_location(f"camaudit_subject_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ModelError(f"{str(path)!r} cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickling inside it look themselves up
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[spec.name]
        raise ModelError(f"{str(path)!r} failed while being imported: {_reason(error)}") from error
    return module


def _from_import(source: str) -> Any:
    try:
        return importlib.import_module(source)
    except (Exception, SystemExit) as error:
        raise ModelError(
            f"cannot import {source!r} for the model factory: {_reason(error)}"
        ) from error


def _call(factory: Callable[[], Any], spec: str) -> nn.Module:
    try:
        model = factory()
    except (Exception, SystemExit) as error:
        raise ModelError(f"the factory {spec!r} failed: {_reason(error)}") from error
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


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
