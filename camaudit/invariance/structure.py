"""The same function of the image by other layers: split, merged, nested, folded, or opaque."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from camaudit.invariance.networks import LAYER
from camaudit.invariance.situation import Situation
from camaudit.invariance.transforms import after, head_of, linear, reheaded, weights_of

__all__ = [
    "Associated",
    "Functional",
    "Side",
    "associated",
    "flat",
    "functional",
    "merged",
    "nested",
    "norms_folded",
    "split",
]

Side = Literal["input", "output"]


def split(given: Situation, index: int, side: Side) -> Situation:
    """A drawn network, the index-th Linear layer of its head in two: `W = V U`.

    side "input": U adds the inputs up, `(Uf)_i = Σ_{j ≥ i} f_j`, and V takes the differences of
    W's columns; "output": U gives the sums of the outputs and V their differences.
    """
    head = copy.deepcopy(head_of(given))
    place = [i for i, layer in enumerate(head) if isinstance(layer, nn.Linear)][index]
    weight, bias = weights_of(head[place])
    size = weight.shape[1] if side == "input" else weight.shape[0]
    sums = torch.ones(size, size).triu().to(weight)
    differences = (2 * torch.eye(size) - torch.ones(size, size).triu().tril(1)).to(weight)
    if side == "input":
        first, second = sums, weight @ differences
    else:
        first, second = sums @ weight, differences
    return reheaded(given, [*head[:place], linear(first), linear(second, bias), *head[place + 1 :]])


def merged(given: Situation) -> Situation:
    """A drawn network, Linear layers of its head that follow each other multiplied into one."""
    layers: list[nn.Module] = []
    for layer in copy.deepcopy(head_of(given)):
        before = layers[-1] if layers else None
        if isinstance(layer, nn.Linear) and isinstance(before, nn.Linear):
            layers[-1] = _product(before, layer)
        else:
            layers.append(layer)
    return reheaded(given, layers)


def _product(first: nn.Linear, second: nn.Linear) -> nn.Linear:
    (inner, first_bias), (outer, bias) = weights_of(first), weights_of(second)
    if first_bias is not None:
        bias = outer @ first_bias + (0 if bias is None else bias)
    return linear(outer @ inner, bias)


_FUNCTIONS: dict[type[nn.Module], Callable[[Tensor], Tensor]] = {
    nn.AdaptiveAvgPool2d: lambda maps: maps.mean(dim=(2, 3), keepdim=True),
    nn.Flatten: lambda maps: maps.reshape(len(maps), -1),
    nn.ReLU: F.relu,
    nn.LeakyReLU: F.leaky_relu,
    nn.SiLU: F.silu,
    nn.GELU: F.gelu,
}


class Functional(nn.Module):
    """The layers of a drawn network's head as one module without modules in it."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self._steps = [type(layer) for layer in layers]
        self.weights = nn.ParameterList([part for layer in layers for part in layer.parameters()])
        self._biased = [getattr(layer, "bias", None) is not None for layer in layers]

    def forward(self, x: Tensor) -> Tensor:
        weights = iter(self.weights)
        for step, biased in zip(self._steps, self._biased, strict=True):
            if step is nn.Linear:
                x = F.linear(x, next(weights), next(weights) if biased else None)
            else:
                x = _FUNCTIONS[step](x)
        return x


def functional(given: Situation) -> Situation:
    """A drawn network whose head is a single :class:`Functional` module."""
    trunk, head = given.model.get_submodule(LAYER), Functional(copy.deepcopy(head_of(given)))
    return given.changed(model=nn.Sequential(OrderedDict(trunk=trunk, head=head)).eval())


def norms_folded(given: Situation) -> Situation:
    """Every BatchNorm that follows a convolution in a Sequential multiplied into its weights."""
    model = copy.deepcopy(given.model)
    for parent in list(model.modules()):
        if isinstance(parent, nn.Sequential):
            _fold_norms(parent)
    return given.changed(model=model.eval())


def _fold_norms(parent: nn.Sequential) -> None:
    names = list(parent._modules)
    for name, following in pairwise(names):
        conv, norm = parent._modules[name], parent._modules[following]
        if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
            parent._modules[name] = _folded(conv, norm)
            parent._modules[following] = nn.Identity()


def _folded(conv: nn.Conv2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """The convolution that gives what `norm(conv(x))` gives in eval mode.

    What the norm makes of 0 and of 1 in each channel says how it scales and shifts.
    """
    made = copy.deepcopy(conv)
    with torch.no_grad():
        probe = conv.weight.new_tensor([0.0, 1.0]).expand(len(conv.weight), 2)
        low, high = norm(probe.T[:, :, None, None])[:, :, 0, 0]
        scale, bias = high - low, conv.bias
        made.weight.copy_(conv.weight * scale[:, None, None, None])
        made.bias = nn.Parameter(low if bias is None else low + scale * bias)
    return made


def nested(given: Situation) -> Situation:
    """The layers deeper in containers; those of a drawn network, or the whole model."""
    if given.plan is None:
        return after(given, nn.Sequential(nn.Identity()))
    trunk = nn.Sequential(*(nn.Sequential(nn.Sequential(s)) for s in _children(given, LAYER)))
    head = nn.Sequential(*(nn.Sequential(layer) for layer in head_of(given)))
    return given.changed(model=nn.Sequential(OrderedDict(trunk=trunk, head=head)).eval())


def flat(given: Situation) -> Situation:
    """A drawn network whose trunk holds its layers side by side, without a Sequential between."""
    trunk = nn.Sequential(*(leaf for stage in _children(given, LAYER) for leaf in _leaves(stage)))
    head = given.model.get_submodule("head")
    return given.changed(model=nn.Sequential(OrderedDict(trunk=trunk, head=head)).eval())


def _children(given: Situation, name: str) -> list[nn.Module]:
    return list(given.model.get_submodule(name).children())


def _leaves(module: nn.Module) -> Iterator[nn.Module]:
    if not isinstance(module, nn.Sequential):
        yield module
        return
    for child in module:
        yield from _leaves(child)


class Associated(nn.Module):
    """`z ↦ z + max(d, max(e, 0)) − max(max(d, e), 0)`, `d_c = z_c − t` and `e_c = z_{c+1} − t`.

    The two maxima are the same number, reached in another order: the logits stay what they are,
    and so does every derivative of theirs.
    """

    def __init__(self, level: float) -> None:
        super().__init__()
        self.level = level
        self.relus = nn.ModuleList(nn.ReLU() for _ in range(4))

    def forward(self, logits: Tensor) -> Tensor:
        d, e = logits - self.level, logits.roll(-1, dims=1) - self.level
        inner: Tensor = self.relus[0](e)
        one: Tensor = inner + self.relus[1](d - inner)
        other: Tensor = self.relus[3](e + self.relus[2](d - e))
        return logits + (one - other)


def associated(given: Situation, level: float) -> Situation:
    """The model followed by an :class:`Associated` module with `t = level`."""
    return after(given, Associated(level))
