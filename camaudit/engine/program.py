"""A graph's calls one after the other, on as many images at a time as stay in a CPU's cache."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import prod
from typing import Any

import torch
from torch import Tensor, fx, nn

__all__ = ["Program"]

_CACHED = 2**23  # bytes of maps that a call may read and write before they leave the cache


@dataclass(frozen=True)
class _Step:
    """One call, and the values that nothing reads after it."""

    node: fx.Node
    run: Callable[..., Any]
    done: list[fx.Node]


@dataclass
class _Stage:
    """Calls that run on `block` images at a time at most, and the last one's result."""

    block: int
    steps: list[_Step] = field(default_factory=list)
    result: Any = None


class Program:
    """`graph`, prepared by :func:`camaudit.engine.fusion.fuse`, as a function of its inputs.

    Large maps of early layers leave the cache between one call and the next where many images run
    together; small maps of late ones make calls too short where few do. So the calls are divided
    into stages wherever a single tensor goes on, and each has a block of images of its own, a
    power of 2: a stage runs once the ones before it have run on its block, part by part. All
    tensors that go on must hold one image after another.
    """

    def __init__(self, model: nn.Module, graph: fx.Graph) -> None:
        self._inputs = [node for node in graph.nodes if node.op == "placeholder"]
        (output,) = (node for node in graph.nodes if node.op == "output")
        self._images = self._inputs[0].meta["size"][0]
        self._stages = self._divided(list(_steps(model, graph)))
        self._stages[-1].result = output.args[0]

    def __call__(self, *given: Tensor) -> Tensor:
        return self._run(len(self._stages) - 1, given)

    def _run(self, place: int, given: tuple[Tensor, ...]) -> Tensor:
        """The result of a stage, and of all before it, for all images of the inputs."""
        block = self._stages[place].block
        parts = zip(*(torch.split(tensor, block) for tensor in given), strict=True)
        found = [self._run_block(place, part) for part in parts]
        return found[0] if len(found) == 1 else torch.cat(found)

    def _run_block(self, place: int, given: tuple[Tensor, ...]) -> Tensor:
        values: dict[fx.Node, Any] = dict(zip(self._inputs, given, strict=True))
        if place:
            values[self._stages[place - 1].result] = self._run(place - 1, given)
        for step in self._stages[place].steps:
            args = fx.node.map_arg(step.node.args, values.__getitem__)
            kwargs = fx.node.map_arg(step.node.kwargs, values.__getitem__)
            values[step.node] = step.run(*args, **kwargs)
            for unread in step.done:
                del values[unread]
        result: Tensor = values[self._stages[place].result]
        return result

    def _divided(self, steps: list[_Step]) -> list[_Stage]:
        """The steps as stages, of blocks that grow from one to the next."""
        pieces = [_Stage(2**62)]
        live = set[fx.Node]()
        for step in steps:
            piece = pieces[-1]
            piece.steps.append(step)
            piece.block = min(piece.block, _block(step.node))
            live = (live | {step.node}) - set(step.done)
            if live - set(self._inputs) == {step.node} and self._goes_on(step.node):
                piece.result = step.node
                pieces.append(_Stage(2**62))
        stages = [pieces.pop()]
        for piece in reversed(pieces):
            piece.block = min(piece.block, stages[0].block)
            if piece.block == stages[0].block:
                stages[0].steps[:0] = piece.steps
            else:
                stages.insert(0, piece)
        return stages

    def _goes_on(self, node: fx.Node) -> bool:
        size = node.meta["size"]
        return bool(size) and size[0] == self._images


def _block(node: fx.Node) -> int:
    """Images, a power of 2, whose maps stay in the cache through a call."""
    given = [one for one in node.all_input_nodes if one.op != "get_attr"]
    sizes = [tuple(one.meta["size"] or (1,)) for one in (*given, node)]
    floats = sum(prod(size) for size in sizes) // max(size[0] for size in sizes)
    fits: int = _CACHED // max(1, 4 * floats)
    return 1 << max(0, fits.bit_length() - 1)


def _steps(model: nn.Module, graph: fx.Graph) -> Iterator[_Step]:
    """The calls in order."""
    (output,) = (node for node in graph.nodes if node.op == "output")
    read = {output.args[0]}
    found: list[_Step] = []
    for node in reversed(graph.nodes):
        if node.op in ("placeholder", "output"):
            continue
        done = [given for given in node.all_input_nodes if given not in read]
        read.update(done)
        if node not in read:
            done.append(node)
        found.append(_Step(node, _function(model, node), done))
    return reversed(found)


def _function(model: nn.Module, node: fx.Node) -> Callable[..., Any]:
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
