"""A graph's convolutions with what lies around them: zeros before, norm, sum, activation after."""

from __future__ import annotations

import operator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from camaudit.engine.activations import activation_of
from camaudit.engine.convolution import FusedConv, Source

__all__ = ["fuse"]

_SETTINGS = (("stride", 1), ("padding", 0), ("dilation", 1), ("groups", 1))
_ADDITIONS = (operator.add, operator.iadd, torch.add, "add", "add_")
_NOTHING = (nn.Identity, nn.Dropout, nn.Dropout2d)  # in evaluation mode

_Plain = tuple[Source, Source | None, tuple[Any, ...]]  # weight, bias, settings


def fuse(model: nn.Module, graph: fx.Graph, *given: Tensor) -> list[FusedConv]:
    """Replace in `graph` each convolution, and what can go with it, by one call.

    model: what the names in the graph belong to, in evaluation mode. given: an example of the
    graph's inputs (two images, so that no map is taken for one that is added to all); what a call
    writes into and the sizes of maps are seen on it. The size of what a call returns becomes its
    `meta["size"]`, None for what is no tensor. Raises :class:`LookupError` where a call writes
    into the model's own tensors.
    """
    watcher = _Watcher(model, graph)
    watcher.run(*given)
    written = {node for seen in watcher.seen.values() for node in seen.written}
    if any(node.op == "get_attr" for node in written):
        raise LookupError("the model writes into its own weights")
    return _Fusion(model, graph, watcher.seen).run()


@dataclass(frozen=True)
class _Seen:
    """What one call did: the size and type of its output, and which of its arguments it wrote into.

    `returned` are the arguments that are its output.
    """

    size: torch.Size | None
    dtype: torch.dtype | None
    written: frozenset[fx.Node]
    returned: frozenset[fx.Node]


class _Watcher(fx.Interpreter):
    """Runs a graph and notes what every call does."""

    def __init__(self, model: nn.Module, graph: fx.Graph) -> None:
        super().__init__(model, graph=graph)
        self.seen: dict[fx.Node, _Seen] = {}

    def run_node(self, n: fx.Node) -> Any:
        """Run one call and compare the versions of what it was given."""
        given = {node: self.env[node] for node in n.all_input_nodes}
        before = {node: v._version for node, v in given.items() if isinstance(v, Tensor)}
        output = super().run_node(n)
        is_tensor = isinstance(output, Tensor)
        self.seen[n] = _Seen(
            output.shape if is_tensor else None,
            output.dtype if is_tensor else None,
            frozenset(node for node in before if given[node]._version != before[node]),
            frozenset(node for node in before if given[node] is output),
        )
        return output


@dataclass(frozen=True)
class _Group:
    """A convolution, the calls that it replaces, and what it is given."""

    conv: FusedConv
    calls: list[fx.Node]
    given: list[Any]


class _Fusion:
    """One graph's convolutions, taken in the order in which they run."""

    def __init__(self, model: nn.Module, graph: fx.Graph, seen: dict[fx.Node, _Seen]) -> None:
        self._model, self._graph, self._seen = model, graph, seen
        self._order = {node: place for place, node in enumerate(graph.nodes)}

    def run(self) -> list[FusedConv]:
        """The calls made, in order."""
        self._drop_what_does_nothing()
        found = [(node, self._conv(node)) for node in self._graph.nodes]
        for node, conv in found:
            if conv is not None:
                self._replace(node, conv)
        for node in reversed(self._graph.nodes):  # weights that nobody reads any longer
            if node.op == "get_attr" and not node.users:
                self._graph.erase_node(node)
        for node in self._graph.nodes:
            node.meta["size"] = self._seen[node].size
        return [conv for _, conv in found if conv is not None]

    def _drop_what_does_nothing(self) -> None:
        """Take out layers, and functions told that this is no training, that return their input."""
        for node in list(self._graph.nodes):
            source = node.args[0] if node.args else None
            told = node.op == "call_function" and (
                node.kwargs.get("training") is False or False in node.args
            )
            same = source in self._seen[node].returned and not self._seen[node].written
            if same and (told or type(self._layer(node)) in _NOTHING):
                node.replace_all_uses_with(source)
                self._graph.erase_node(node)
                del self._order[node]

    def _replace(self, node: fx.Node, conv: FusedConv) -> None:
        """One call in the place of a convolution and of what lies around it."""
        group = self._padded(node, conv) or _Group(conv, [node], [node.args[0]])
        for join in (self._join_norm, self._join_sum, self._join_activation):
            after = self._next(group.calls)
            if after is not None and join(group, after):
                group.calls.append(after)
        last = group.calls[-1]
        with self._graph.inserting_before(last):
            given = tuple(group.given)
            fused = self._graph.create_node("call_function", conv, given, name="fused")
        self._seen[fused] = replace(self._seen[last], written=frozenset())
        self._order[fused] = self._order[last]
        last.replace_all_uses_with(fused)
        for done in reversed(group.calls):
            self._graph.erase_node(done)
            del self._order[done]

    def _padded(self, node: fx.Node, conv: FusedConv) -> _Group | None:
        """The convolution and the zeros that are put around its maps for it alone."""
        around: Any = node.args[0]
        margin = self._margin(around)
        if margin is None or self._next([around]) is not node:
            return None
        maps = around.args[0]
        taken = conv.pad(margin, tuple(self._seen[maps].size or ()))
        return _Group(conv, [around, node], [maps]) if taken else None

    def _margin(self, node: fx.Node) -> tuple[int, ...] | None:
        """How many zeros a call puts left, right, above and below of maps, where it does that."""
        layer, value, margin = self._layer(node), None, None
        if type(layer) in (nn.ZeroPad2d, nn.ConstantPad2d):
            value, margin = layer.value, layer.padding  # type: ignore[union-attr]
        elif node.target is F.pad and node.kwargs.get("mode") == "constant":
            value, margin = node.kwargs.get("value") or 0, node.args[1]
        if value != 0 or not isinstance(margin, (tuple, list)) or len(margin) != 4:
            return None
        known = all(type(side) is int and side >= 0 for side in margin)
        return tuple(margin) if known else None

    def _join_norm(self, group: _Group, after: fx.Node) -> bool:
        """Batch norm by running statistics."""
        layer = self._layer(after)
        if type(layer) is not nn.BatchNorm2d or layer.running_mean is None or len(after.args) != 1:
            return False
        group.conv.norm = layer
        return True

    def _join_sum(self, group: _Group, after: fx.Node) -> bool:
        """The sum with another map of the same size."""
        if after.target not in _ADDITIONS or len(after.args) != 2 or after.kwargs:
            return False
        ours = group.calls[-1]
        other = after.args[1] if after.args[0] is ours else after.args[0]
        if not isinstance(other, fx.Node) or other is ours:
            return False
        one, two = self._seen[ours], self._seen[other]
        if (one.size, one.dtype) != (two.size, two.dtype):
            return False
        group.given.append(other)
        group.conv.adds = True
        return True

    def _join_activation(self, group: _Group, after: fx.Node) -> bool:
        made = activation_of(after, self._layer(after))
        if made is None or (group.conv.adds and made.in_place is None):
            return False
        group.conv.activation = made
        return True

    def _next(self, chain: list[fx.Node]) -> fx.Node | None:
        """The only call that reads the chain's result, if the chain can run in its place.

        It may write into that result alone, and what runs in between into nothing at all.
        """
        last = chain[-1]
        if len(last.users) != 1:
            return None
        (after,) = last.users
        if after.op == "output" or self._seen[after].written - {last}:
            return None
        first, end = self._order[chain[0]], self._order[after]
        between = [n for n, k in self._order.items() if first < k < end and n not in chain]
        return None if any(self._seen[n].written for n in between) else after

    def _layer(self, node: fx.Node) -> nn.Module | None:
        if node.op != "call_module":
            return None
        return self._model.get_submodule(str(node.target))

    def _conv(self, node: fx.Node) -> FusedConv | None:
        """A convolution of maps whose weights are the model's own."""
        maps = self._seen.get(node.args[0]) if node.args else None  # type: ignore[arg-type]
        plain = self._plain_layer(node) or self._plain_function(node)
        if plain is None or maps is None or maps.size is None or len(maps.size) != 4:
            return None
        weight, bias, settings = plain
        if not all(map(_numbers, settings)):
            return None
        pairs = *map(_pair, settings[:3]), settings[3]
        made = FusedConv(weight, bias, pairs, tuple(maps.size))
        float32 = all(tensor.dtype == torch.float32 for tensor in made.tensors())
        return made if float32 and maps.dtype == torch.float32 else None

    def _plain_layer(self, node: fx.Node) -> _Plain | None:
        layer = self._layer(node)
        if type(layer) is not nn.Conv2d or layer.padding_mode != "zeros" or len(node.args) != 1:
            return None
        bias = None if layer.bias is None else (layer, "bias")
        return (layer, "weight"), bias, (layer.stride, layer.padding, layer.dilation, layer.groups)

    def _plain_function(self, node: fx.Node) -> _Plain | None:
        if node.op != "call_function" or node.target is not torch.conv2d:
            return None
        names = "input", "weight", "bias", *(name for name, _ in _SETTINGS)
        named = dict(zip(names, node.args, strict=False)) | node.kwargs
        weight, bias = self._source(named.get("weight")), self._source(named.get("bias"))
        if weight is None or (bias is None and named.get("bias") is not None):
            return None
        return weight, bias, tuple(named.get(name, default) for name, default in _SETTINGS)

    def _source(self, given: object) -> Source | None:
        if not isinstance(given, fx.Node) or given.op != "get_attr":
            return None
        path, _, name = str(given.target).rpartition(".")
        return self._model.get_submodule(path), name


def _numbers(setting: object) -> bool:
    several = setting if isinstance(setting, (tuple, list)) else [setting]
    return all(type(one) is int for one in several)


def _pair(setting: Any) -> tuple[int, ...]:
    return (setting, setting) if isinstance(setting, int) else tuple(setting)
