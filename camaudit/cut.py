"""A classifier cut in two at one layer: the trunk (image → maps) and the head (maps → logits).

The cut works on any `nn.Module` that runs eagerly, without tracing its Python code. The trunk is
the model stopped right after the layer. The head is the model *replayed*: every module call that
finished before the layer returns what it returned once on an example image, the layer returns
the given maps, and everything after runs as it stands. That equals the true head exactly when
the layer is the only path from the image to the logits, and :func:`cut_at` proves this on the
autograd graph before it returns (a skip connection around the layer is refused).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from camaudit.errors import LayerError, ModelError, NotApplicableError

__all__ = ["Cut", "Head", "Site", "Trunk", "cut_at", "default_layer", "find_site", "require_eval"]


class _Reached(BaseException):
    """Raised by a hook to leave a forward pass; never escapes this module."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output


@dataclass(frozen=True)
class Site:
    """A layer's place in a forward pass: module `name`, its `call`-th run (1 is the first)."""

    name: str
    module: nn.Module
    call: int

    @property
    def label(self) -> str:
        """`name`, or `name#call` where the module runs more than once."""
        return self.name if self.call == 1 else f"{self.name}#{self.call}"


@dataclass(frozen=True)
class _Visit:
    """One finished module call during a traced forward pass."""

    name: str
    module: nn.Module
    call: int
    shape: tuple[int, ...] | None


class _Tracer:
    """Forward hooks on every module that rebuild the tree of calls of one forward pass."""

    def __init__(self, model: nn.Module, stop: Site | None = None) -> None:
        self._names = {module: name for name, module in model.named_modules()}
        self._stop = stop
        self._calls: dict[nn.Module, int] = {}
        self._frames: list[list[tuple[nn.Module, Any]]] = [[]]
        self.visits: list[_Visit] = []
        self.before_stop: list[tuple[nn.Module, Any]] = []

    def run(self, model: nn.Module, images: Tensor) -> Any:
        """One forward pass with the hooks in place; they are removed whatever happens."""
        handles = []
        try:
            for module in self._names:
                handles.append(module.register_forward_pre_hook(self._enter))
                handles.append(module.register_forward_hook(self._leave))
            return model(images)
        except _Reached as reached:
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
        self.visits.append(_Visit(self._names[module], module, call, shape))
        if self._stop is not None and self._stop.module is module and self._stop.call == call:
            self.before_stop = [finished for frame in self._frames for finished in frame]
            raise _Reached(output)
        self._frames[-1].append((module, output))


def require_eval(model: nn.Module) -> None:
    """Raise :class:`ModelError` if any part of `model` is in training mode."""
    training = [name or type(model).__name__ for name, m in model.named_modules() if m.training]
    if training:
        raise ModelError(
            f"the model is in training mode ({_listing(training)}), so dropout and batch "
            "statistics would change its answers from run to run: call model.eval() first"
        )


def find_site(model: nn.Module, layer: str, example: Tensor) -> Site:
    """The place that `layer` names: a module's dotted name, or `name#k` for its k-th run.

    Raises :class:`LayerError` for an unknown name (near names are listed), for a module that does
    not run, and for one that runs several times while no `#k` says which run is meant.
    """
    name, _, number = layer.partition("#")
    modules = dict(model.named_modules())
    if not name or name not in modules:
        near = difflib.get_close_matches(name, [n for n in modules if n], n=5, cutoff=0.3)
        raise LayerError(f"the model has no layer {name!r}; near names: {', '.join(near) or '-'}")
    runs = sum(visit.module is modules[name] for visit in _visits(model, example))
    if runs == 0:
        raise LayerError(f"layer {name!r} never runs in a forward pass: name one that does")
    if not number and runs > 1:
        raise LayerError(
            f"layer {name!r} runs {runs} times in one forward pass: say which run is meant, "
            f"{name}#1 to {name}#{runs} (the last is usually the one before the head)"
        )
    call = int(number) if number.isdigit() else (0 if number else 1)
    if not 1 <= call <= runs:
        raise LayerError(f"layer {layer!r}: the run must be 1 to {runs}, got {number!r}")
    return Site(name, modules[name], call)


def default_layer(model: nn.Module, example: Tensor) -> str:
    """The last layer that still is a map (h·w > 1) and the only path to the logits.

    Pooling and dropout layers are passed over: their input is the map that one wants to see.
    Raises :class:`LayerError` where there is none.
    """
    visits = _visits(model, example)
    totals: dict[str, int] = {}
    for visit in visits:
        totals[visit.name] = totals.get(visit.name, 0) + 1
    passed_over = (nn.AdaptiveAvgPool2d, nn.AvgPool2d, nn.AdaptiveMaxPool2d, nn.Dropout)
    for visit in reversed(visits):
        spatial = visit.shape is not None and len(visit.shape) == 4 and max(visit.shape[2:]) > 1
        if not spatial or not visit.name or isinstance(visit.module, passed_over):
            continue
        label = visit.name if totals[visit.name] == 1 else f"{visit.name}#{visit.call}"
        try:
            cut_at(model, label, example)
        except LayerError:
            continue
        return label
    raise LayerError(
        "no layer of the model gives an N×K×h×w map through which everything passes: "
        "name the target layer"
    )


class Trunk(nn.Module):
    """The model up to and including a layer.

    `forward(images (N×C×H×W)) → activations (N×K×h×w)`; nothing after the layer runs.
    """

    def __init__(self, model: nn.Module, site: Site) -> None:
        super().__init__()
        self.model = model
        self._site = (site,)

    def forward(self, images: Tensor) -> Tensor:
        site = self._site[0]
        calls = 0

        def hook(_module: nn.Module, _args: Any, output: Any) -> None:
            nonlocal calls
            calls += 1
            if calls == site.call:
                raise _Reached(output)

        handle = site.module.register_forward_hook(hook)
        try:
            self.model(images)
        except _Reached as reached:
            return _require_map(reached.output, site)
        finally:
            handle.remove()
        raise LayerError(f"layer {site.label!r} did not run on a {tuple(images.shape)} input")


class Head(nn.Module):
    """The model after a layer, replayed: `forward(activations (M×K×h×w)) → logits (M×C)`.

    `finished` are the module calls that ended before the layer, with what they returned on
    `example` (1×C×H×W). Their values never reach the logits, which :func:`cut_at` checks.
    """

    def __init__(
        self, model: nn.Module, site: Site, example: Tensor, finished: list[tuple[nn.Module, Any]]
    ) -> None:
        super().__init__()
        self._model = (model,)  # in a tuple: the trunk registers it, once
        self._site = site
        self._example = (example,)
        self._finished = finished
        self.mutates_input = False

    def forward(self, activations: Tensor) -> Tensor:
        example = self._example[0].to(activations)
        images = example.expand(len(activations), *example.shape[1:])
        given = activations.clone() if self.mutates_input else activations
        return self.replay(images, given, self._finished)

    def replay(
        self, images: Tensor, activations: Tensor, finished: list[tuple[nn.Module, Any]]
    ) -> Tensor:
        """The model on `images` with `finished` and the layer's own output put in place."""
        with _answers([*finished, (self._site.module, activations)]):
            logits = self._model[0](images)
        return _require_logits(logits, len(activations))


class Cut(nn.Module):
    """A model as `head(trunk(images))`.

    `read(activations)` gives logits from the layer's output, `logits(images)` from the image.
    """

    def __init__(self, trunk: nn.Module, head: nn.Module, *, layer: str) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = head
        self.layer = layer

    def forward(self, images: Tensor) -> Tensor:
        return self.read(self.trunk(images))

    def read(self, activations: Tensor) -> Tensor:
        """Logits (M×C) of activations (M×K×h×w)."""
        logits: Tensor = self.head(activations)
        return logits

    def logits(self, images: Tensor) -> Tensor:
        """Logits (N×C) of images (N×C×H×W)."""
        logits: Tensor = self(images)
        return logits


def cut_at(model: nn.Module, layer: str, example: Tensor) -> Cut:
    """Cut `model` at `layer`; the model itself is left as it is.

    Parameters
    ----------
    model: a classifier in evaluation mode that returns logits (N×C).
    layer: a module's name as in `model.named_modules()`, or `name#k` for its k-th run.
    example: one image (1×C×H×W) of the size that will be used; its values do not matter.

    Raises :class:`ModelError` (training mode, output that is no N×C tensor) and
    :class:`LayerError` (unknown layer, no N×K×h×w output, not the only path to the logits).
    """
    require_eval(model)
    example = example[:1].detach()
    site = find_site(model, layer, example)
    with torch.no_grad():
        expected = _require_logits(model(example.clone()), 1)
        tracer = _Tracer(model, site)
        activations = _require_map(tracer.run(model, example.clone()), site)
    head = Head(model, site, example, tracer.before_stop)
    _check_only_path(head, site, example, activations, tracer.before_stop)
    _check_replay(head, activations, expected)
    return Cut(Trunk(model, site), head, layer=site.label)


def pooled_linear_weight(divided: Any, A: Tensor) -> Tensor:
    """Weight (C×K) of the Linear that reads a spatial mean of the maps (Zhou et al. 2016, eq. 1).

    The head must be `logits = W z + b` with `z_nk = Σ_ij m_ij A_nkij`, one pooling pattern `m`
    for all channels and images (global average pooling, or the mean over the live cells of a
    wall). Raises :class:`NotApplicableError` for any other head.
    """
    calls: list[tuple[nn.Linear, Tensor, Tensor]] = []

    def hook(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(module, nn.Linear):
            calls.append((module, args[0], output))

    handles = [m.register_forward_hook(hook) for m in divided.modules() if isinstance(m, nn.Linear)]
    try:
        with torch.enable_grad():
            leaf = A.detach().requires_grad_(True)
            logits = divided.read(leaf)
    finally:
        for handle in handles:
            handle.remove()
    if calls and calls[-1][2] is logits:
        linear, pooled, _ = calls[-1]
        if _is_spatial_mean(pooled, leaf):
            return linear.weight.detach()
    raise NotApplicableError(
        "CAM needs a head that is global average pooling followed by one Linear layer; this head "
        "is something else (use gradcam, which equals CAM where CAM is defined)"
    )


def _is_spatial_mean(pooled: Tensor, A: Tensor) -> bool:
    """Whether pooled (N×K) is Σ_ij m_ij A_nkij with one m for every image and channel."""
    if pooled.shape != A.shape[:2] or not pooled.requires_grad:
        return False
    with torch.enable_grad():
        (m,) = torch.autograd.grad(pooled.sum(), A)
    pattern = m[:1, :1]
    same = torch.allclose(m, pattern.expand_as(m), rtol=1e-4, atol=1e-7)
    value = (pattern * A.detach()).sum(dim=(2, 3))
    scale = float(value.abs().max()) + 1e-12
    return same and bool((pooled.detach() - value).abs().max() <= 1e-4 * scale)


def _visits(model: nn.Module, example: Tensor) -> list[_Visit]:
    tracer = _Tracer(model)
    with torch.no_grad():
        tracer.run(model, example[:1].clone())
    return tracer.visits


@contextmanager
def _answers(calls: list[tuple[nn.Module, Any]]) -> Iterator[None]:
    """Within the context the first runs of each module return the given values, in order."""
    values: dict[nn.Module, list[Any]] = {}
    for module, value in calls:
        values.setdefault(module, []).append(value)
    own = {module: module.__dict__.get("forward") for module in values}
    try:
        for module, queue in values.items():
            module.__dict__["forward"] = _scripted(module.forward, queue)
        yield
    finally:
        for module, forward in own.items():
            if forward is None:
                module.__dict__.pop("forward", None)
            else:
                module.__dict__["forward"] = forward


def _scripted(original: Callable[..., Any], queue: list[Any]) -> Callable[..., Any]:
    pending = list(queue)

    def forward(*args: Any, **kwargs: Any) -> Any:
        return pending.pop(0) if pending else original(*args, **kwargs)

    return forward


def _check_only_path(
    head: Head,
    site: Site,
    example: Tensor,
    activations: Tensor,
    finished: list[tuple[nn.Module, Any]],
) -> None:
    """Refuse a layer with a path around it: the logits must depend on its output alone."""

    def leaf(value: Any) -> Any:
        floating = isinstance(value, Tensor) and value.is_floating_point()
        return value.detach().clone().requires_grad_(True) if floating else value

    with torch.enable_grad():
        leaves = [(module, leaf(value)) for module, value in finished]
        image, maps = leaf(example), leaf(activations)
        copies = [(m, v.clone() if isinstance(v, Tensor) else v) for m, v in leaves]
        logits = head.replay(image.clone(), maps.clone(), copies)
    sources = [image, *(v for _, v in leaves if isinstance(v, Tensor) and v.requires_grad)]
    if not logits.requires_grad:
        raise LayerError(f"the logits do not depend on layer {site.label!r} at all")
    to_maps, *around = torch.autograd.grad(
        logits.sum(), [maps, *sources], allow_unused=True, materialize_grads=False
    )
    if to_maps is None:
        raise LayerError(f"the logits do not depend on layer {site.label!r} at all")
    if any(gradient is not None for gradient in around):
        parent = site.name.rpartition(".")[0]
        hint = f"its enclosing block {parent!r}" if parent else "a later layer"
        raise LayerError(
            f"layer {site.label!r} is not the only path from the image to the logits (a skip "
            f"connection leads around it), so nothing can be said of what it hides: try {hint}"
        )


def _check_replay(head: Head, activations: Tensor, expected: Tensor) -> None:
    """The replayed head must give the model's logits; notes whether it writes into its input."""
    with torch.no_grad():
        maps = activations.clone()
        version = maps._version
        logits = head(maps)
        head.mutates_input = maps._version != version
        twice = head(activations.repeat(2, 1, 1, 1))
    close = torch.allclose(logits, expected, rtol=1e-4, atol=1e-5, equal_nan=True)
    if not close or len(twice) != 2:
        raise LayerError(
            "the part after the layer cannot be replayed: it gives other logits than the model "
            "itself (does the model keep state between calls?)"
        )


def _require_map(output: Any, site: Site) -> Tensor:
    if not isinstance(output, Tensor):
        raise LayerError(
            f"layer {site.label!r} returns a {type(output).__name__}; expected one N×K×h×w tensor"
        )
    if output.ndim != 4:
        raise LayerError(
            f"layer {site.label!r} returns shape {tuple(output.shape)}; expected N×K×h×w "
            "(a layer before the maps are pooled or flattened)"
        )
    return output


def _require_logits(output: Any, images: int) -> Tensor:
    """`output` as logits (N×C), or :class:`ModelError` saying what the model returned."""
    if isinstance(output, dict):
        keys = ", ".join(map(repr, output))
        raise ModelError(f"the model returns a dict ({keys}); wrap it so that it returns logits")
    if not isinstance(output, Tensor):
        raise ModelError(
            f"the model returns a {type(output).__name__}; wrap it so that it returns one tensor "
            "of logits (N×C)"
        )
    if output.ndim != 2 or output.shape[0] != images:
        raise ModelError(
            f"the model returns shape {tuple(output.shape)} for {images} image(s); expected "
            "logits of shape N×C"
        )
    return output


def _listing(names: list[str], limit: int = 3) -> str:
    shown = ", ".join(names[:limit])
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
