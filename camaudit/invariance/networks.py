"""Plans as modules, and as code that runs with torch alone."""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise

import torch
from torch import Tensor, nn

from camaudit.invariance.plan import Activation, Plan, Stage

__all__ = ["LAYER", "Branches", "Residual", "build", "code_of", "draw_weights"]

LAYER = "trunk"  #: the target layer of a network that :func:`build` made

_ACTIVATIONS: dict[str, tuple[type[nn.Module], str]] = {
    "relu": (nn.ReLU, "nn.ReLU()"),
    "leaky_relu": (nn.LeakyReLU, "nn.LeakyReLU()"),
    "silu": (nn.SiLU, "nn.SiLU()"),
    "gelu": (nn.GELU, "nn.GELU()"),
}
_POOLS: dict[str, tuple[type[nn.Module], str]] = {
    "max": (nn.MaxPool2d, "nn.MaxPool2d(2)"),
    "average": (nn.AvgPool2d, "nn.AvgPool2d(2)"),
}


class Residual(nn.Module):
    """`x + body(x)`."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.body(x)
        return out


class Branches(nn.Module):
    """`cat(left(x), right(x))` along the channels."""

    def __init__(self, left: nn.Module, right: nn.Module) -> None:
        super().__init__()
        self.left = left
        self.right = right

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.left(x), self.right(x)], dim=1)


def build(plan: Plan) -> nn.Module:
    """The network of a plan: `head(trunk(images))`, float64, eval mode; the same every time.

    images N×C×H×W → logits N×classes. The target layer is :data:`LAYER`, the whole trunk. The
    global random state is left alone.
    """
    with torch.device("cpu"), torch.random.fork_rng(devices=[]):
        trunk, channels = [], plan.channels
        for stage in plan.stages:
            trunk.append(_stage(stage, channels))
            channels = stage.out
        modules: OrderedDict[str, nn.Module] = OrderedDict(trunk=nn.Sequential(*trunk))
        modules["head"] = nn.Sequential(*_head(plan))
        model = nn.Sequential(modules).double().eval()
    draw_weights(model, plan.seed)
    return model


def _stage(stage: Stage, channels: int) -> nn.Module:
    paths = [_path(stage, channels) for _ in range(2 if stage.block == "branching" else 1)]
    layers: list[nn.Module] = [Branches(*paths)] if len(paths) == 2 else [paths[0]]
    if stage.block == "residual":
        again = nn.Conv2d(stage.channels, stage.channels, 1, bias=stage.bias)
        layers.append(Residual(nn.Sequential(again, _activation(stage.activation))))
    if stage.pool != "none":
        layers.append(_POOLS[stage.pool][0](2))
    return nn.Sequential(*layers)


def _path(stage: Stage, channels: int) -> nn.Module:
    layers: list[nn.Module] = [
        nn.Conv2d(
            channels, stage.channels, stage.kernel, stride=stage.stride, padding=stage.padding,
            padding_mode=stage.padding_mode, bias=stage.bias,
        )
    ]  # fmt: skip
    if stage.norm:
        layers.append(nn.BatchNorm2d(stage.channels))
    return nn.Sequential(*layers, _activation(stage.activation))


def _activation(name: Activation) -> nn.Module:
    return _ACTIVATIONS[name][0]()


def _widths(plan: Plan) -> list[int]:
    height, width = plan.map_size
    read = plan.map_channels * (1 if plan.head.pooled else height * width)
    return [read, *plan.head.hidden, plan.classes]


def _head(plan: Plan) -> list[nn.Module]:
    layers: list[nn.Module] = [nn.AdaptiveAvgPool2d(1)] if plan.head.pooled else []
    layers.append(nn.Flatten())
    widths = _widths(plan)
    for place, (read, given) in enumerate(pairwise(widths)):
        layers.append(nn.Linear(read, given, bias=plan.head.bias))
        if place < len(widths) - 2 and plan.head.activation:
            layers.append(_activation(plan.head.activation))
    return layers


def draw_weights(model: nn.Module, seed: int) -> None:
    """Fill all parameters and BatchNorm statistics from `seed`, in the order of `state_dict`.

    Matrices and kernels: (normal + 0.5) / √fan_in; the mean above 0 leaves fewer maps empty.
    One-dimensional `weight`, `running_var` and `running_mean` (less 1): uniform in [0.5, 1.5).
    Biases: normal, standard deviation 0.1.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            drawn = torch.randn(value.shape, generator=generator, dtype=torch.float64)
            if value.ndim > 1:
                value.copy_((drawn + 0.5) / value[0].numel() ** 0.5)
            elif name.endswith("bias"):
                value.copy_(0.1 * drawn)
            elif value.ndim == 1:
                uniform = torch.rand(value.shape, generator=generator, dtype=torch.float64) + 0.5
                value.copy_(uniform - 1.0 if name.endswith("running_mean") else uniform)


def code_of(plan: Plan) -> str:
    """Code that makes the same network with torch alone, as `model`; its layer is `model.trunk`."""
    return "\n".join([_PREAMBLE, *_classes(plan), _MODEL.format(**_expressions(plan))])


def _classes(plan: Plan) -> list[str]:
    blocks = {stage.block for stage in plan.stages}
    return [text for block, text in _CLASSES.items() if block in blocks]


def _expressions(plan: Plan) -> dict[str, str]:
    trunk, channels = [], plan.channels
    for stage in plan.stages:
        trunk.append(_stage_code(stage, channels))
        channels = stage.out
    widths = _widths(plan)
    head = ["nn.AdaptiveAvgPool2d(1)"] if plan.head.pooled else []
    head.append("nn.Flatten()")
    for place, (read, given) in enumerate(pairwise(widths)):
        head.append(f"nn.Linear({read}, {given}, bias={plan.head.bias})")
        if place < len(widths) - 2 and plan.head.activation:
            head.append(_ACTIVATIONS[plan.head.activation][1])
    lines = {"trunk": ",\n        ".join(trunk), "head": ", ".join(head)}
    return {**lines, "seed": str(plan.seed)}


def _stage_code(stage: Stage, channels: int) -> str:
    path = _path_code(stage, channels)
    layers = [f"Branches({path}, {path})" if stage.block == "branching" else path]
    activation = _ACTIVATIONS[stage.activation][1]
    if stage.block == "residual":
        again = f"nn.Conv2d({stage.channels}, {stage.channels}, 1, bias={stage.bias})"
        layers.append(f"Residual(nn.Sequential({again}, {activation}))")
    if stage.pool != "none":
        layers.append(_POOLS[stage.pool][1])
    return f"nn.Sequential({', '.join(layers)})"


def _path_code(stage: Stage, channels: int) -> str:
    given = {"stride": (stage.stride, 1), "padding": (stage.padding, 0),
             "padding_mode": (stage.padding_mode, "zeros"), "bias": (stage.bias, True)}  # fmt: skip
    options = [f"{name}={value!r}" for name, (value, usual) in given.items() if value != usual]
    conv = ", ".join([str(channels), str(stage.channels), str(stage.kernel), *options])
    layers = [f"nn.Conv2d({conv})"]
    if stage.norm:
        layers.append(f"nn.BatchNorm2d({stage.channels})")
    return f"nn.Sequential({', '.join([*layers, _ACTIVATIONS[stage.activation][1]])})"


_PREAMBLE = """\
from collections import OrderedDict

import torch
from torch import nn
"""

_CLASSES = {
    "residual": """
class Residual(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return x + self.body(x)
""",
    "branching": """
class Branches(nn.Module):
    def __init__(self, left, right):
        super().__init__()
        self.left, self.right = left, right

    def forward(self, x):
        return torch.cat([self.left(x), self.right(x)], dim=1)
""",
}

_MODEL = """
model = nn.Sequential(OrderedDict(
    trunk=nn.Sequential(
        {trunk},
    ),
    head=nn.Sequential({head}),
)).double().eval()

generator = torch.Generator().manual_seed({seed})
with torch.no_grad():
    for name, value in model.state_dict().items():
        drawn = torch.randn(value.shape, generator=generator, dtype=torch.float64)
        if value.ndim > 1:
            value.copy_((drawn + 0.5) / value[0].numel() ** 0.5)
        elif name.endswith("bias"):
            value.copy_(0.1 * drawn)
        elif value.ndim == 1:
            uniform = torch.rand(value.shape, generator=generator, dtype=torch.float64) + 0.5
            value.copy_(uniform - 1.0 if name.endswith("running_mean") else uniform)
"""
