"""Where a layer stands in a forward pass: naming its run, and tracing what ran before it."""

from __future__ import annotations

import copy
import difflib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from camaudit.errors import LayerError, ModelError

__all__ = [
    "Reached",
    "Site",
    "Tracer",
    "Visit",
    "find_site",
    "map_tensors",
    "maps_of",
    "require_earlier",
    "require_eval",
    "settings_kept",
    "traced_site",
    "visits_of",
]

_PASSED_OVER = (
    nn.AdaptiveAvgPool2d, nn.AvgPool2d, nn.AdaptiveMaxPool2d, nn.MaxPool2d,
    nn.Dropout, nn.Dropout2d,
)  # fmt: skip


class Reached(BaseException):
    """Raised by a hook to leave a forward pass; caught by the `owner` of that hook alone."""

    def __init__(self, owner: object, output: Any) -> None:
        super().__init__()
        self.owner = owner
        self.output = output


@dataclass(frozen=True)
class Site:
    """A layer's place in a forward pass: module `name`, its `call`-th run of `runs`, from 1."""

    name: str
    module: nn.Module
    call: int
    runs: int

    @property
    def label(self) -> str:
        """`name`, or `name#call` where the module runs more than once."""
        return self.name if self.runs == 1 else f"{self.name}#{self.call}"

    def place(self, visits: list[Visit]) -> int:
        """The position of this run among the finished calls of a whole forward pass."""
        runs = [i for i, visit in enumerate(visits) if visit.module is self.module]
        return runs[self.call - 1]


@dataclass(frozen=True)
class Visit:
    """One finished module call during a traced forward pass."""

    name: str
    module: nn.Module
    call: int
    shape: tuple[int, ...] | None


class Tracer:
    """Forward hooks on every module that rebuild the tree of calls of one forward pass.

    After :meth:`run`, `visits` lists the finished calls. Of the call to `watch` (a module, and
    which of its runs), `at_watch` is the output and `before_watch` the outermost calls that had
    finished, with what they returned; all copied, for what follows may write into them. With
    `stop` the pass ends there, and nothing is copied.
    """

    def __init__(
        self, model: nn.Module, watch: tuple[nn.Module, int] | None = None, *, stop: bool = False
    ) -> None:
        self._names = {module: name for name, module in model.named_modules()}
        self._watch, self._stop = watch, stop
        self._calls: dict[nn.Module, int] = {}
        self._frames: list[list[tuple[nn.Module, Any]]] = [[]]
        self.visits: list[Visit] = []
        self.at_watch: Any = None
        self.before_watch: list[tuple[nn.Module, Any]] = []

    def run(self, model: nn.Module, images: Tensor) -> Any:
        """One forward pass with the hooks in place; they are removed whatever happens."""
        handles = []
        try:
            for module in self._names:
                handles.append(module.register_forward_pre_hook(self._enter))
                handles.append(module.register_forward_hook(self._leave))
            return model(images)
        except Reached as reached:
            if reached.owner is not self:
                raise
            return reached.output
        finally:
            for handle in handles:
                handle.remove()

    def _enter(self, _module: nn.Module, _args: Any) -> None:
        self._frames.append([])

    def _leave(self, module: nn.Module, _args: Any, output: Any) -> None:
        self._frames.pop()
        call = self._calls[module] = self._calls.get(module, 0) + 1
        shape = tuple(output.shape) if isinstance(output, Tensor) else None
        self.visits.append(Visit(self._names[module], module, call, shape))
        if self._watch == (module, call):
            finished = [done for frame in self._frames for done in frame]
            if self._stop:
                self.at_watch, self.before_watch = output, finished
                raise Reached(self, output)
            self.at_watch = map_tensors(torch.clone, output)
            self.before_watch = [(done, map_tensors(torch.clone, kept)) for done, kept in finished]
        self._frames[-1].append((module, output))


def map_tensors(change: Callable[[Tensor], Tensor], value: Any) -> Any:
    """`value` with every tensor in it changed, through nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        changed = copy.copy(value)
        for key in value:
            changed[key] = map_tensors(change, value[key])
        return changed
    if isinstance(value, (tuple, list)):
        items = [map_tensors(change, item) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def require_eval(model: nn.Module) -> None:
    """Raise :class:`ModelError` if any part of `model` is in training mode."""
    training = [name or type(model).__name__ for name, m in model.named_modules() if m.training]
    if training:
        raise ModelError(
            f"the model is in training mode ({_listing(training)}), so dropout and batch "
            "statistics would change its answers from run to run: call model.eval() first"
        )


@contextmanager
def settings_kept(model: nn.Module) -> Iterator[list[str]]:
    """Within the context the model may run on images of other sizes; its settings are put back.

    Some models change a module's numbers to what an image allows (a window no larger than the
    grid) and keep them so. The list names what had changed, once the context is left.
    """
    kept = {
        (name, key): (module, value)
        for name, module in model.named_modules()
        for key, value in vars(module).items()
        if isinstance(value, (int, float, str, tuple))
    }
    changed: list[str] = []
    try:
        yield changed
    finally:
        for (name, key), (module, value) in kept.items():
            if vars(module).get(key) is not value:
                changed.append(f"{name}.{key}")
                vars(module)[key] = value


def find_site(model: nn.Module, layer: str, example: Tensor) -> Site:
    """The place that `layer` names: a module's dotted name, or `name#k` for its k-th run.

    Raises :class:`LayerError` for an unknown name (near names are listed), for a module that does
    not run, and for one that runs several times while no `#k` says which run is meant; raises
    :class:`ModelError` in training mode, where a forward pass would move batch statistics.
    """
    named = _named(model, layer)
    return _site(named, visits_of(model, example))


def traced_site(model: nn.Module, layer: str, image: Tensor) -> tuple[Site, Tracer, Any]:
    """:func:`find_site`, with the trace of its pass on `image` that watches it, and the output.

    `image` itself is shown to the model, so that its version tells whether the model wrote into it.
    """
    require_eval(model)
    named = _named(model, layer)
    tracer = Tracer(model, (named.module, max(1, named.number or 1)))
    with torch.no_grad():
        output = tracer.run(model, image)
    return _site(named, tracer.visits), tracer, output


@dataclass(frozen=True)
class _Named:
    """A layer's name taken apart; `number` is None where what stands behind the # is no number."""

    layer: str
    name: str
    module: nn.Module
    mark: str
    number: int | None


def _named(model: nn.Module, layer: str) -> _Named:
    name, mark, number = layer.partition("#")
    modules = dict(model.named_modules())
    if not name or name not in modules:
        known = [n for n in modules if n]
        near = difflib.get_close_matches(name, known, n=5, cutoff=0.3) or known[-5:]
        raise LayerError(f"the model has no layer {name!r}; near names: {', '.join(near) or '-'}")
    return _Named(layer, name, modules[name], mark, int(number) if number.isdecimal() else None)


def _site(named: _Named, visits: list[Visit]) -> Site:
    name, mark = named.name, named.mark
    runs = sum(visit.module is named.module for visit in visits)
    if runs == 0:
        raise LayerError(f"layer {name!r} never runs in a forward pass: name one that does")
    if not mark and runs > 1:
        raise LayerError(
            f"layer {name!r} runs {runs} times in one forward pass: say which run is meant, "
            f"{name}#1 to {name}#{runs} (the last is usually the one before the head)"
        )
    call = (named.number or 0) if mark else 1
    if not 1 <= call <= runs:
        number = named.layer.partition("#")[2]
        raise LayerError(f"layer {named.layer!r}: the run must be 1 to {runs}, got {number!r}")
    return Site(name, named.module, call, runs)


def visits_of(model: nn.Module, example: Tensor) -> list[Visit]:
    """Every finished module call of one forward pass, in the order in which they ended."""
    require_eval(model)
    tracer = Tracer(model)
    with torch.no_grad():
        tracer.run(model, example[:1].clone())
    return tracer.visits


def require_earlier(model: nn.Module, layer: str, target: Site, example: Tensor) -> Site:
    """The place of `layer`, which must be `target` itself or run before it.

    Raises :class:`LayerError` for an unknown layer and for a later one.
    """
    site, visits = find_site(model, layer, example), visits_of(model, example)
    if site.place(visits) > target.place(visits):
        raise LayerError(
            f"layer {site.label!r} runs after the target layer {target.label!r}: name one before it"
        )
    return site


def maps_of(visits: list[Visit], stop: int | None = None) -> list[tuple[str, int]]:
    """Labels and places of the visits before `stop` that gave cells and are no pooling."""
    runs = Counter(visit.name for visit in visits)
    return [
        (Site(visit.name, visit.module, visit.call, runs[visit.name]).label, place)
        for place, visit in enumerate(visits[:stop])
        if visit.name
        and visit.shape
        and len(visit.shape) in (3, 4)
        and not isinstance(visit.module, _PASSED_OVER)
    ]


def _listing(names: list[str], limit: int = 3) -> str:
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
