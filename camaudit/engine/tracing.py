"""A classifier's own code as two graphs of calls: images → maps of a layer, and maps → logits.

`torch.fx` runs the model's code once on stand-ins that write down what is done to them. Layers of
`torch.nn` stay as they are, everything else is looked into. Code that branches on its input, keeps
state or makes tensors of its own cannot be written down so, and is refused.
"""

from __future__ import annotations

import copy
import operator
import warnings
from collections import deque
from dataclasses import dataclass
from typing import Any

import torch
from torch import fx, nn

from camaudit.cut import Trunk

__all__ = ["Graphs", "same", "state_of", "trace"]

_SHAPE_METHODS = ("size", "dim")
_SHAPE_ATTRIBUTES = ("shape", "device", "dtype", "ndim")
_TENSORS = ("_parameters", "_buffers")
_HELD = (list, set, deque)


@dataclass(frozen=True)
class Graphs:
    """The model's calls before and after a layer; layers are named as in the :class:`Trunk`.

    `trunk` takes images and gives the layer's output; `head` takes images of the same number, of
    which it reads sizes alone, and the layer's output, and gives logits.
    """

    trunk: fx.Graph
    head: fx.Graph


def trace(trunk: Trunk) -> Graphs | None:
    """The graphs of the trunk's model at its layer, or None where it cannot be written down.

    The model itself is not run: its code runs in a copy that shares the parameters alone.
    """
    site = trunk.site
    shared = {id(parameter): parameter for parameter in trunk.parameters()}
    try:
        with warnings.catch_warnings(), torch.random.fork_rng(devices=[]), torch.no_grad():
            warnings.simplefilter("ignore")
            whole = _Whole(copy.deepcopy(trunk.model, shared))
            before = [*state_of(whole), *whole.buffers()]
            written = [buffer._version for buffer in whole.buffers()]
            tracer = _Tracer(whole.model.get_submodule(site.name), site.call)
            graph = tracer.trace(whole)
    except Exception:  # whatever the model's code raises on stand-ins
        return None
    # a tensor that the code makes by itself is kept on the copy, too
    kept = same(before, [*state_of(whole), *whole.buffers()])
    if not kept or written != [buffer._version for buffer in whole.buffers()]:
        return None
    return None if tracer.found is None else _divided(graph, tracer.found)


def state_of(model: nn.Module) -> list[object]:
    """All that makes the modules of `model` behave as they do, save the tensors they hold.

    Every attribute of every module, and what a list, dictionary or set among them holds: modules
    and hooks, modes and settings.
    """
    found: list[object] = []
    for module in model.modules():
        found.append(module)
        for name, value in vars(module).items():
            found += name, value
            if isinstance(value, dict):
                if name not in _TENSORS:
                    found += (*value.keys(), *value.values())
            elif isinstance(value, _HELD):
                found += value
    return found


def same(before: list[object], after: list[object]) -> bool:
    """Whether both lists hold the same objects."""
    return len(before) == len(after) and all(map(operator.is_, before, after))


class _Whole(nn.Module):
    """A model with its images as the only argument."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Any) -> Any:
        return self.model(images)


class _Tracer(fx.Tracer):
    """Notes the node that one run of a module returns."""

    def __init__(self, watched: nn.Module, call: int) -> None:
        super().__init__()
        self._watched, self._left = watched, call
        self.found: fx.Node | None = None

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        """What the tracer does for every layer, also those that it looks into."""
        output = super().call_module(m, forward, args, kwargs)
        if m is self._watched:
            self._left -= 1
            if self._left == 0 and isinstance(output, fx.Proxy):
                self.found = output.node
        return output


def _divided(graph: fx.Graph, layer: fx.Node) -> Graphs | None:
    """The graph cut after `layer`; None where what follows reads anything else from before it."""
    nodes = list(graph.nodes)
    place = nodes.index(layer)
    trunk, head = fx.Graph(), fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    for node in nodes[: place + 1]:
        copies[node] = trunk.node_copy(node, copies.__getitem__)
    trunk.output(copies[layer])
    images = nodes[0]
    after = {images: head.placeholder("images"), layer: head.placeholder("maps")}

    def taken(node: fx.Node) -> fx.Node:
        if node not in after:
            after[node] = head.node_copy(node, taken)
        return after[node]

    for node in nodes[place + 1 :]:
        after[node] = head.node_copy(node, taken)
    sizes_alone = all(_is_size(user) for user in after[images].users)
    return Graphs(trunk, head) if sizes_alone else None


def _is_size(node: fx.Node) -> bool:
    """Whether a call reads nothing of its argument but its form."""
    if node.op == "call_method":
        return node.target in _SHAPE_METHODS
    return node.target is getattr and node.args[1] in _SHAPE_ATTRIBUTES
