"""A divided classifier's logits by folded, fused convolutions (float32 on a CPU)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, fx, nn

from camaudit.cut import Cut, Head, Trunk
from camaudit.engine.fusion import FusedConv, fuse
from camaudit.engine.tracing import same, state_of, trace
from camaudit.walls import SplitTrunk, WalledModel

__all__ = ["FoldedModel", "folded_model"]

_BLOCK = 4  # images that go through all layers together: their maps stay in the cache
_NEAR = 1e-4  # of the range of logits: more than rounding makes of them
_LAST = torch.channels_last


def folded_model(divided: Cut | WalledModel, example: Tensor) -> FoldedModel | None:
    """`divided` with folded convolutions, for images like `example` (1×C×H×W).

    None where it is not sure to compute the same: no float32 on a CPU, code that cannot be written
    down as a graph (:func:`camaudit.engine.tracing.trace`), hooks, training mode, images that the
    model writes into, nothing to fold, or other logits than the model's on two numbers of images.
    """
    trunk = divided.trunk.trunk if isinstance(divided.trunk, SplitTrunk) else divided.trunk
    if type(trunk) is not Trunk or type(divided.head) is not Head or trunk.mutates_images:
        return None
    plain = example.dtype == torch.float32 and example.device.type == "cpu"
    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not (plain and available) or _changed_by_somebody(divided):
        return None
    try:
        with torch.no_grad():
            convs, run = _compiled(divided, trunk, example)
            made = FoldedModel(divided, example, convs, run)
            return made if _agrees(made, divided, example) else None
    except Exception:  # the model's own code has run, on stand-ins and on noise
        return None


class FoldedModel:
    """`images (N×C×H×W) → logits (N×C)` of `divided`, by `run` with the folded `convs`.

    Weights are folded anew when they have changed. The model itself runs where a layer, hook, mode
    or setting has changed, for images of another size, and where logits are not finite.
    """

    def __init__(
        self,
        divided: Cut | WalledModel,
        example: Tensor,
        convs: list[FusedConv],
        run: Callable[[Tensor], Tensor],
    ) -> None:
        self._divided, self._convs, self._run = divided, convs, run
        self._like = example.shape[1:], example.dtype, example.device
        self._state = state_of(divided)
        self._fold()

    def __call__(self, images: Tensor) -> Tensor:
        if self.current(images):
            logits = torch.cat([self._run(part) for part in torch.split(images, _BLOCK)])
            if bool(logits.isfinite().all()):
                return logits
        return self._divided.logits(images)

    def current(self, images: Tensor) -> bool:
        """Whether images and layers are those that this was made for; sees to the weights."""
        if (images.shape[1:], images.dtype, images.device) != self._like:
            return False
        if not same(self._state, state_of(self._divided)):
            return False
        weights = self._tensors()
        if len(weights) != len(self._weights):  # batch norm has lost its statistics, say
            return False
        if not all(map(torch.equal, weights, self._weights)):
            self._fold()
        return True

    def _tensors(self) -> list[Tensor]:
        return [tensor for conv in self._convs for tensor in conv.tensors()]

    def _fold(self) -> None:
        self._weights = [tensor.detach().clone() for tensor in self._tensors()]
        for conv in self._convs:
            conv.fold()


def _compiled(
    divided: Cut | WalledModel, trunk: Trunk, example: Tensor
) -> tuple[list[FusedConv], Callable[[Tensor], Tensor]]:
    """The fused convolutions, and logits of images by them.

    Raises :class:`LookupError` where there is no graph, or nothing to gain.
    """
    split = divided.trunk if isinstance(divided.trunk, SplitTrunk) else None
    wall = divided.wall if isinstance(divided, WalledModel) else nn.Identity()
    graphs = trace(trunk)
    if graphs is None:
        raise LookupError("the model's code cannot be written down")
    two = example.expand(2, *example.shape[1:]).contiguous()  # a model may view its maps
    seen = two if split is None else split.seen_part(two)
    maps = divided.trunk(two)
    below = fuse(trunk, graphs.trunk, seen, block=_BLOCK)
    above = fuse(trunk, graphs.head, two, wall(maps), block=_BLOCK)
    if not any(conv.joined for conv in (*below, *above)):
        raise LookupError("no convolution is followed by what it could take over")
    to_maps, to_logits = _Program(trunk, graphs.trunk), _Program(trunk, graphs.head)

    def run(images: Tensor) -> Tensor:
        seen = images if split is None else split.seen_part(images)
        maps = to_maps(seen.contiguous(memory_format=_LAST))
        maps = wall(maps if split is None else split.placed(maps))
        return to_logits(images, maps.contiguous(memory_format=_LAST))

    return [*below, *above], run


def _changed_by_somebody(divided: nn.Module) -> bool:
    """Whether a hook looks at a layer, a layer is in training mode or has a forward of its own."""
    return any(
        m.training or m._forward_hooks or m._forward_pre_hooks or "forward" in vars(m)
        for m in divided.modules()
    )


def _agrees(made: FoldedModel, divided: Cut | WalledModel, example: Tensor) -> bool:
    """Whether images of noise have the model's own logits, to rounding.

    One alone and three together here, four together there: who mixes them is found out.
    """
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(4, *example.shape[1:], generator=generator)
    own = divided.logits(noise)
    found = torch.cat([made(part) for part in (noise[:1], noise[1:])])
    return bool((found - own).abs().max() <= _NEAR * (own.max() - own.min()))


class _Program:
    """A graph's calls one after the other; a value is dropped once nothing reads it."""

    def __init__(self, model: nn.Module, graph: fx.Graph) -> None:
        self._steps: list[tuple[fx.Node, Callable[..., Any], list[fx.Node]]] = []
        self._inputs = [node for node in graph.nodes if node.op == "placeholder"]
        (output,) = (node for node in graph.nodes if node.op == "output")
        self._result = output.args[0]
        read = {self._result}
        for node in reversed(graph.nodes):
            if node.op in ("placeholder", "output"):
                continue
            done = [given for given in node.all_input_nodes if given not in read]
            read.update(done)
            if node not in read:
                done.append(node)
            self._steps.insert(0, (node, _run(model, node), done))

    def __call__(self, *given: Tensor) -> Tensor:
        values: dict[fx.Node, Any] = dict(zip(self._inputs, given, strict=True))
        for node, run, done in self._steps:
            args = fx.node.map_arg(node.args, values.__getitem__)
            kwargs = fx.node.map_arg(node.kwargs, values.__getitem__)
            values[node] = run(*args, **kwargs)
            for unread in done:
                del values[unread]
        result: Tensor = values[self._result]
        return result


def _run(model: nn.Module, node: fx.Node) -> Callable[..., Any]:
    target: Any = node.target
    if node.op == "call_module":
        return model.get_submodule(target)
    if node.op == "get_attr":
        path, _, name = target.rpartition(".")
        parent = model.get_submodule(path)
        return lambda: getattr(parent, name)
    if node.op == "call_method":
        # maps lie channels last here, which view cannot always make rows of
        name = "reshape" if target == "view" else target
        return lambda value, *args, **kwargs: getattr(value, name)(*args, **kwargs)
    function: Callable[..., Any] = target
    return function
