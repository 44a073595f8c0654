"""What the adapters have in common: an explainer with its origin, and how a library is loaded."""

from __future__ import annotations

import contextlib
import importlib
import io
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import metadata, util
from typing import Any

import torch
from torch import Tensor, nn

from camaudit.adapters.hygiene import drawing, untouched
from camaudit.errors import MissingExtraError, UsageError
from camaudit.spelling import EXTRAS

__all__ = ["Adapter", "Library", "differentiable", "leaves", "module_of", "watched"]


@dataclass(frozen=True, eq=False)
class Adapter:
    """An explainer of a library: maps N×h×w as the library gives them, nothing added.

    `processing` lists what the library does to a raw map on the way, in order; `distribution` and
    `version` are those of the installed distribution.
    """

    label: str
    spec: str
    distribution: str
    version: str
    processing: tuple[str, ...]
    run: Callable[[nn.Module, str, Tensor, Tensor], Tensor]

    @property
    def __name__(self) -> str:
        return self.label

    def __call__(self, model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
        """Maps of the targets; the model's hooks, modes and gradients are as before afterwards.

        So are the global random states: the same state gives the same maps.

        Raises what the library raises, :class:`camaudit.errors.MethodError` where the layer is
        none that it can explain, and :class:`camaudit.errors.NotApplicableError` where hooks
        cannot tell the runs of a layer apart.
        """
        with (
            _quiet(), untouched(model), drawing(), torch.inference_mode(False), torch.enable_grad()
        ):  # fmt: skip
            return self.run(model, layer, images, targets).detach()


@dataclass(frozen=True)
class Library:
    """A library by its import name, its distribution, and the versions that camaudit knows.

    `module` is the module that holds its classes.
    """

    package: str
    distribution: str
    module: str
    oldest: tuple[int, ...]
    below: tuple[int, ...]

    def load(self, module: str | None = None) -> Any:
        """The module with its classes, or another one of the library, imported quietly.

        Raises :class:`MissingExtraError` where it is not installed, naming the extra, and
        :class:`UsageError` where it cannot be imported or its version is not supported.
        """
        if util.find_spec(self.package) is None:
            raise MissingExtraError(
                f"explainers of {self.distribution} need {self.package}, which is not installed; "
                f'install it with: pip install "camaudit[{EXTRAS[self.package]}]"'
            )
        self._check(self.version)
        try:
            with _quiet():
                return importlib.import_module(module or self.module)
        except Exception as error:  # a broken installation raises anything
            raise UsageError(
                f"{self.distribution} {self.version} is installed and cannot be imported: "
                f"{type(error).__name__}: {error}"
            ) from error

    def classes(self, chosen: Callable[[type], bool]) -> dict[str, type]:
        """The public classes of its module that are `chosen`, by name; raises as :meth:`load`."""
        return {
            name: value
            for name, value in vars(self.load()).items()
            if isinstance(value, type) and not name.startswith("_") and chosen(value)
        }

    @property
    def version(self) -> str:
        """The installed version; "unknown" where the installation does not say."""
        try:
            return metadata.version(self.distribution)
        except metadata.PackageNotFoundError:
            return "unknown"

    def _check(self, version: str) -> None:
        numbers = tuple(map(int, re.findall(r"\d+", version.partition("+")[0])[:3]))
        if numbers and not self.oldest <= numbers < self.below:
            raise UsageError(
                f"{self.distribution} {version} is installed; supported are versions from "
                f"{_dotted(self.oldest)} and below {_dotted(self.below)}: install one with pip "
                f'install "camaudit[{EXTRAS[self.package]}]"'
            )


class Watch:
    """How often the model and some of its modules ran, and which gave no maps N×K×h×w."""

    def __init__(self, names: list[str]) -> None:
        self.passes = 0
        self.runs = dict.fromkeys(names, 0)
        self.others: dict[str, str] = {}

    def repeated(self, names: Iterable[str]) -> str | None:
        """The first of these modules that ran more often than the model."""
        return next((name for name in names if self.runs[name] > self.passes), None)

    def odd(self, names: Iterable[str]) -> str | None:
        """What one of them gave that are no maps N×K×h×w, in words; None where all gave maps."""
        return next((self.others[name] for name in names if name in self.others), None)


@contextmanager
def watched(model: nn.Module, modules: dict[str, nn.Module]) -> Iterator[Watch]:
    """Watch `modules` while `model` runs."""
    found = Watch(list(modules))

    def ran(name: str) -> Callable[..., None]:
        def note(_module: nn.Module, _given: Any, output: Any) -> None:
            found.runs[name] += 1
            if not isinstance(output, Tensor):
                found.others[name] = f"layer {name!r} gives a {type(output).__name__}"
            elif output.ndim != 4:
                found.others[name] = f"layer {name!r} gives a tensor of shape {tuple(output.shape)}"

        return note

    def began(_module: nn.Module, _given: Any) -> None:
        found.passes += 1

    handles = [one.register_forward_hook(ran(name)) for name, one in modules.items()]
    handles.append(model.register_forward_pre_hook(began))
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def module_of(model: nn.Module, name: str) -> nn.Module:
    """The module called `name`, or the only one whose name ends so (in a model with a wall).

    Raises :class:`UsageError` where there is none, several, or `name` is a later run of one.
    """
    if "#" in name:
        raise UsageError(
            f"the layer {name!r} is a later run of a module, which hooks cannot tell from the "
            "first: expected a layer that runs once; choose another with --layer"
        )
    modules: dict[str, nn.Module] = dict(model.named_modules())
    if name in modules:
        return modules[name]
    ending = [key for key in modules if key.endswith(f".{name}")]
    if len(ending) == 1:
        return modules[ending[0]]
    what = f"{len(ending)} layers whose names end so" if ending else "no such layer"
    raise UsageError(f"expected a layer as in named_modules(); {name!r}: {what}")


def leaves(model: nn.Module) -> dict[str, nn.Module]:
    """The modules that hold no others, by name."""
    return {name: one for name, one in model.named_modules() if not list(one.children())}


def differentiable(model: nn.Module, images: Tensor) -> Tensor:
    """A copy of the images; it requires a gradient where no parameter does (a frozen model)."""
    frozen = not any(value.requires_grad for value in model.parameters())
    return images.detach().clone().requires_grad_(frozen)


@contextmanager
def _quiet() -> Iterator[None]:
    """No warning and no progress bar of a library."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))
