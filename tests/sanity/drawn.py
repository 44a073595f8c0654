"""Strategies: tiny float64 networks whose layers, and the order in which they run, are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import weight_norm

from tests.references.sanity import Layer

__all__ = ["Subject", "branching", "chains", "residual", "scaled", "sizes", "subjects", "tied"]

Tensors = tuple[str, ...]


@dataclass(frozen=True)
class Subject:
    """A network, the target layer, its layers in execution order, and images that fit it."""

    kind: str
    model: nn.Module
    target: str
    layers: tuple[Layer, ...]
    images: Tensor


def sizes() -> st.SearchStrategy[tuple[int, int]]:
    """Height and width: mostly too small for HOG, sometimes too small for SSIM, some not square."""
    small = st.tuples(st.integers(16, 24), st.integers(16, 24))
    return st.one_of(small, st.sampled_from([(16, 16), (9, 16), (48, 48), (48, 50)]))


def pictures(seed: int, count: int, size: tuple[int, int]) -> Tensor:
    """Standard normal images (count×3×H×W, float64)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 3, *size, generator=generator, dtype=torch.float64)


def settle(model: nn.Module, seed: int, *, fresh: bool = False) -> nn.Module:
    """Weights that keep activations alive, a tenth of the matrices' entries 0; eval mode.

    With `fresh` the normalisation layers stay as they are built: re-initialising changes nothing.
    """
    model.double().eval()
    generator = torch.Generator().manual_seed(seed)
    norms = (nn.BatchNorm2d, nn.GroupNorm)
    kept = {id(t) for m in model.modules() if isinstance(m, norms) for t in m.parameters()}
    kept |= {id(t) for m in model.modules() if isinstance(m, norms) for t in m.buffers()}
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if not tensor.is_floating_point() or (fresh and id(tensor) in kept):
            continue
        draw = torch.randn(tensor.shape, generator=generator, dtype=torch.float64)
        if tensor.ndim == 1 and not name.endswith(("bias", "shift", "running_mean")):
            draw = 0.5 + draw.abs()
        elif tensor.ndim > 1 and tensor[0].numel() > 1:
            draw = draw * (2 / tensor[0].numel()) ** 0.5
            draw = torch.where(torch.rand(draw.shape, generator=generator) < 0.1, 0.0, draw)
        with torch.no_grad():
            tensor.copy_(draw)
    return model


def owned(path: str, module: nn.Module) -> Tensors:
    """The full names of a module's own tensors, statistics included, as its user knows them."""
    parametrised = list(getattr(module, "parametrizations", {}))
    names = [*parametrised, *(name for name, _ in module.named_parameters(recurse=False))]
    names += [name for name, _ in module.named_buffers(recurse=False) if name.startswith("running")]
    return tuple(f"{path}.{name}" for name in names)


def listed(
    model: nn.Module, order: Sequence[str | tuple[str, Tensors]], mark: int
) -> tuple[Layer, ...]:
    """Layers of module paths, or of a name with its tensors; the first `mark` by the target."""
    layers = []
    for place, entry in enumerate(order):
        known = isinstance(entry, tuple)
        name = entry[0] if known else entry
        tensors = entry[1] if known else owned(name, model.get_submodule(name))
        layers.append(Layer(name, tensors, after=place >= mark))
    return tuple(layers)


# ---------------------------------------------------------------------------------------------
# chains


class Chain(nn.Module):
    """Stages of conv, norm and activation, and a head that pools or flattens."""

    def __init__(self, body: nn.Sequential, head: nn.Sequential) -> None:
        super().__init__()
        self.head = head  # registered first on purpose: registration is not execution
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


def _stage(draw: st.DrawFn, before: int, width: int, *, normed: bool) -> nn.Sequential:
    kernel = draw(st.sampled_from([1, 3]))
    stride = draw(st.sampled_from([1, 2]))
    bias = draw(st.booleans())
    convolution = nn.Conv2d(before, width, kernel, stride, padding=kernel // 2, bias=bias)
    if normed:
        weight_norm(convolution)
    norm = draw(st.sampled_from(["none", "batch", "group"]))
    activation = draw(st.sampled_from([nn.ReLU, nn.PReLU, nn.SiLU]))
    modules: list[nn.Module] = [convolution]
    if norm != "none":
        modules.append(nn.BatchNorm2d(width) if norm == "batch" else nn.GroupNorm(1, width))
    return nn.Sequential(*modules, activation())


@st.composite
def chains(draw: st.DrawFn, *, parametrised: bool = True) -> Subject:
    """Chain conv nets; with `parametrised` the first convolution may be weight-normed."""
    size, seed = draw(sizes()), draw(st.integers(0, 2**31))
    depth, width = draw(st.integers(1, 3)), draw(st.integers(2, 5))
    normed = parametrised and draw(st.booleans())
    stages = [
        _stage(draw, width if i else 3, width, normed=normed and i == 0) for i in range(depth)
    ]
    body = nn.Sequential(*stages)
    with torch.no_grad():
        cells = body.eval()(torch.zeros(1, 3, *size)).numel()
    classes = draw(st.integers(2, 6))
    kind = draw(st.sampled_from(["pooled", "flatten", "mlp"]))
    head = {
        "pooled": lambda: [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, classes)],
        "flatten": lambda: [nn.Flatten(), nn.Linear(cells, classes)],
        "mlp": lambda: [nn.Flatten(), nn.Linear(cells, 6), nn.ReLU(), nn.Linear(6, classes)],
    }[kind]()
    model = settle(Chain(body, nn.Sequential(*head)), seed, fresh=draw(st.booleans()))
    stage = draw(st.integers(max(0, depth - 2), depth - 1))
    inner = draw(st.sampled_from([None, *range(len(stages[stage]))]))
    target = f"body.{stage}" if inner is None else f"body.{stage}.{inner}"
    paths = [f"body.{i}.{j}" for i in range(depth) for j in range(len(stages[i]))]
    last = paths.index(f"body.{stage}.{len(stages[stage]) - 1 if inner is None else inner}")
    mark = sum(bool(owned(path, model.get_submodule(path))) for path in paths[: last + 1])
    paths += [f"head.{i}" for i in range(len(head))]
    order = [path for path in paths if owned(path, model.get_submodule(path))]
    layers = listed(model, order, mark)
    return Subject(kind, model, target, layers, pictures(seed + 1, draw(_counts()), size))


def _counts() -> st.SearchStrategy[int]:
    return st.integers(1, 3)


# ---------------------------------------------------------------------------------------------
# other shapes


class Residual(nn.Module):
    """Two convolutions with a skip around them; the classifier is registered first."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.fc = nn.Linear(width, classes)
        self.spare = nn.Linear(width, classes)  # never runs
        self.stem = nn.Conv2d(3, width, 3, stride=2, padding=1)
        self.block = _Block(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.block(F.relu(self.stem(x))).mean(dim=(2, 3)))


class _Block(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.second = nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.first = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.second(F.relu(self.norm(self.first(x)))))


class Branching(nn.Module):
    """Two branches that are concatenated and mixed."""

    def __init__(self, width: int, cells: int, classes: int) -> None:
        super().__init__()
        self.mix = nn.Conv2d(2 * width, width, 1)
        self.wide = nn.Conv2d(3, width, 5, stride=2, padding=2)
        self.narrow = nn.Sequential(nn.Conv2d(3, width, 1, stride=2), nn.BatchNorm2d(width))
        self.fc = nn.Linear(width * cells, classes)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat([self.narrow(x), self.wide(x)], dim=1)
        return self.fc(self.mix(F.relu(both)).flatten(1))


class Projection(nn.Module):
    """A Linear layer by hand: two raw parameters, one call."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(classes, width))
        self.bias = nn.Parameter(torch.zeros(classes))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


class Scaled(nn.Module):
    """Raw parameters of many shapes, and a buffer that no re-initialisation touches."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.zeros(classes))
        self.offset = nn.Parameter(torch.zeros(width, 1, 1))
        self.slope = nn.Parameter(torch.zeros(width, 1, 1))
        self.gain = nn.Parameter(torch.zeros(width, 2, 1))
        self.temperature = nn.Parameter(torch.tensor(1.0))
        self.register_buffer("tint", torch.zeros(3, 1, 1))
        self.stem = nn.Conv2d(3, width, 3, stride=2, padding=1)
        self.mix = nn.Conv2d(width, width, 3, padding=1)
        self.projection = Projection(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x * self.tint)) * self.gain.mean(dim=1, keepdim=True)
        x = F.relu(torch.addcmul(self.offset, self.mix(x), self.slope))
        return self.projection(x.mean(dim=(2, 3))) * self.temperature + self.shift


class Tied(nn.Module):
    """One convolution that runs twice, and another module with the same weight."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, stride=2, padding=1)
        self.shared = nn.Conv2d(width, width, 3, padding=1)
        self.twin = nn.Conv2d(width, width, 3, padding=1)
        self.twin.weight = self.shared.weight
        self.fc = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.shared(F.relu(self.stem(x))))
        return self.fc(self.twin(F.relu(self.shared(x))).mean(dim=(2, 3)))


@st.composite
def _drawn(draw: st.DrawFn, kind: str, targets: dict[str, int], order: Sequence[Any]) -> Subject:
    """A network of this kind; `targets` says how many layers of `order` run up to each target."""
    size, seed = draw(sizes()), draw(st.integers(0, 2**31))
    width, classes = draw(st.integers(2, 5)), draw(st.integers(2, 6))
    if kind == "branching":
        cells = ((size[0] + 1) // 2) * ((size[1] + 1) // 2)
        model: nn.Module = Branching(width, cells, classes)
    else:
        model = {"residual": Residual, "scaled": Scaled, "tied": Tied}[kind](width, classes)
    target = draw(st.sampled_from(sorted(targets)))
    settle(model, seed, fresh=draw(st.booleans()))
    layers = listed(model, order, targets[target])
    return Subject(kind, model, target, layers, pictures(seed + 1, draw(_counts()), size))


def residual() -> st.SearchStrategy[Subject]:
    """A residual network, cut at its block or before it."""
    order = ["stem", "block.first", "block.norm", "block.second", "fc"]
    return _drawn("residual", {"stem": 1, "block": 4}, order)


def branching() -> st.SearchStrategy[Subject]:
    """Branches that meet by concatenation, with a flattened head."""
    return _drawn("branching", {"mix": 4}, ["narrow.0", "narrow.1", "wide", "mix", "fc"])


def scaled() -> st.SearchStrategy[Subject]:
    """Raw parameters before, between and after the modules."""
    order = [
        "stem",
        ("gain", ("gain",)),
        "mix",
        ("offset", ("offset", "slope")),
        ("projection.weight", ("projection.weight", "projection.bias")),
        ("temperature", ("temperature",)),
        ("shift", ("shift",)),
    ]
    return _drawn("scaled", {"stem": 1, "mix": 3}, order)


def tied() -> st.SearchStrategy[Subject]:
    """A shared convolution and a shared weight."""
    order = ["stem", "shared", ("twin", ("twin.bias",)), "fc"]
    return _drawn("tied", {"stem": 1, "shared#1": 2, "shared#2": 2, "twin": 3}, order)


def subjects(*, parametrised: bool = True) -> st.SearchStrategy[Subject]:
    """Every kind of network."""
    return st.one_of(chains(parametrised=parametrised), residual(), branching(), scaled(), tied())
