"""Tiny networks, one for each habit of real ones, all in eval mode with seeded weights."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

CHANNELS = 3
CLASSES = 5
SIZE = 16


def images(count: int, size: int | tuple[int, int] = SIZE, *, seed: int = 1) -> Tensor:
    """Standard normal images (count×3×H×W)."""
    height, width = (size, size) if isinstance(size, int) else size
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, CHANNELS, height, width, generator=generator)


def settle(model: nn.Module, seed: int = 0) -> nn.Module:
    """Draw weights that keep activations alive, BatchNorm statistics included; eval mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
            if not tensor.is_floating_point() or tensor.numel() == 0:
                continue
            draw = torch.randn(tensor.shape, generator=generator)
            if "running_var" in name or (tensor.ndim == 1 and name.endswith("weight")):
                tensor.copy_(0.5 + draw.abs())
            else:
                fan = tensor[0].numel() if tensor.ndim > 1 else 4
                tensor.copy_(draw * (2 / fan) ** 0.5)
    return model.eval()


class Mean(nn.Module):
    """Global average pooling to N×K."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


def chain() -> nn.Module:
    """Conv, BatchNorm, ReLU, max and average pooling in a flat Sequential, GAP + Linear head."""
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3, padding=1),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, CLASSES),
    )


def flat() -> nn.Module:
    """A chain whose head is flatten + Linear, so that it has a fixed size."""
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(4, 5, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(5 * 36, 7),
        nn.ReLU(),
        nn.Dropout(),
        nn.Linear(7, CLASSES),
    )


class Block(nn.Module):
    """A residual block with functional ReLU."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.conv2(F.relu(self.norm1(self.conv1(x)))) + x)


class Residual(nn.Module):
    """A stem, two residual blocks and a GAP + Linear head, as in a ResNet."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.blocks = nn.Sequential(Block(6), Block(6))
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.blocks(self.stem(x)).mean(dim=(2, 3)))


class Dense(nn.Module):
    """Concatenation and a functional in-place ReLU on the last maps, as in a DenseNet."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, stride=2, padding=1)
        self.grow1 = nn.Conv2d(4, 3, 3, padding=1)
        self.grow2 = nn.Conv2d(7, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(10)
        self.fc = nn.Linear(10, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = torch.cat([x, self.grow1(F.relu(x))], dim=1)
        x = torch.cat([x, self.grow2(F.relu(x))], dim=1)
        x = F.relu(self.norm(x), inplace=True)
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


class Reused(nn.Module):
    """One in-place ReLU module run three times."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 4, 3, padding=1)
        self.conv2 = nn.Conv2d(4, 4, 3, stride=2)
        self.conv3 = nn.Conv2d(4, 6, 3)
        self.relu = nn.ReLU(inplace=True)
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        for conv in (self.conv1, self.conv2, self.conv3):
            x = self.relu(conv(x))
        return self.fc(x.mean(dim=(2, 3)))


class Functional(nn.Module):
    """Raw parameters and functional calls only: there is no layer to name."""

    def __init__(self) -> None:
        super().__init__()
        self.kernel = nn.Parameter(torch.zeros(4, 3, 3, 3))
        self.matrix = nn.Parameter(torch.zeros(CLASSES, 4))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(F.conv2d(x, self.kernel).relu().mean(dim=(2, 3)), self.matrix)


class Headed(nn.Module):
    """Two convolutions with a given head on an N×6×7×7 map named `body.2`."""

    def __init__(self, *head: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 5, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(5, 6, 2)
        )
        self.head = nn.Sequential(*head)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))


def gap_linear() -> nn.Module:
    return Headed(Mean(), nn.Linear(6, CLASSES))


def gap_relu_mlp() -> nn.Module:
    return Headed(Mean(), nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, CLASSES))


def gap_layernorm() -> nn.Module:
    return Headed(Mean(), nn.LayerNorm(6), nn.Linear(6, CLASSES))


def max_linear() -> nn.Module:
    return Headed(nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(6, CLASSES))


def flatten_linear() -> nn.Module:
    return Headed(nn.Flatten(), nn.Linear(6 * 49, CLASSES))


def conv_head() -> nn.Module:
    """A 1×1 convolution to class maps, then GAP: linear up to its bias, so it averages."""
    return Headed(nn.Conv2d(6, CLASSES, 1), Mean())


def conv_relu_head() -> nn.Module:
    """SqueezeNet's head: a ReLU between the 1×1 convolution and GAP, which a bias disturbs."""
    return Headed(nn.Conv2d(6, CLASSES, 1), nn.ReLU(), Mean())


def inplace_head() -> nn.Module:
    """An in-place ReLU first thing after the maps, and one more after BatchNorm."""
    return Headed(
        nn.ReLU(inplace=True),
        nn.BatchNorm2d(6),
        nn.ReLU6(inplace=True),
        Mean(),
        nn.Linear(6, CLASSES),
    )


def broken_gradient_head() -> nn.Module:
    """Overwrites what ReLU saved for its backward pass, so that autograd refuses it."""
    return Headed(nn.ReLU(), nn.Hardswish(inplace=True), Mean(), nn.Linear(6, CLASSES))


def fixed_pool_head() -> nn.Module:
    """AvgPool2d of the maps' own size, which fails on any other size."""
    return Headed(nn.AvgPool2d(7), nn.Flatten(), nn.Linear(6, CLASSES))


class Squeezed(nn.Module):
    """Squeeze-and-excitation: every cell reads every pixel."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, stride=2, padding=1)
        self.excite = nn.Linear(6, 6)
        self.body = nn.Sequential(nn.Conv2d(6, 6, 2), nn.SiLU())
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = x * self.excite(x.mean(dim=(2, 3))).sigmoid()[:, :, None, None]
        return self.fc(self.body(x).mean(dim=(2, 3)))


class BatchReshape(nn.Module):
    """Reshapes its maps by the batch size that it takes from the input."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, stride=2)
        self.act = nn.ReLU()
        self.fc = nn.Linear(6 * 49, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        bs = x.shape[0]
        return self.fc(self.act(self.conv(x)).reshape(bs, -1))


class WritesInput(nn.Module):
    """Standardises its input in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, stride=2)
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x -= 0.5
        x.mul_(2)
        return self.fc(self.conv(x).relu().mean(dim=(2, 3)))


class Returning(nn.Module):
    """gap_linear with its logits handed to `wrap`."""

    def __init__(self, wrap: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.inner = gap_linear()
        self.wrap = wrap

    def forward(self, x: Tensor) -> object:
        return self.wrap(self.inner(x))


class Counting(nn.Module):
    """Adds the number of its calls to the logits."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = gap_linear()
        self.calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.inner(x) + self.calls


class Keeps(nn.Module):
    """Identity that keeps what went through it on the module."""

    def forward(self, x: Tensor) -> Tensor:
        self.kept = x.mean(dim=(2, 3))
        return x


class KeptSkip(nn.Module):
    """A skip connection through a module's attribute, which no returned value shows."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3)
        self.keeper = Keeps()
        self.conv = nn.Conv2d(6, 6, 3)
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        maps = self.conv(self.keeper(self.stem(x)))
        return self.fc(maps.mean(dim=(2, 3)) + self.keeper.kept)


class DetachedSkip(nn.Module):
    """A skip connection that autograd does not see."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3)
        self.conv = nn.Conv2d(6, 6, 3)
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        y = self.stem(x)
        return self.fc(self.conv(y).mean(dim=(2, 3)) + y.detach().mean(dim=(2, 3)))


class Pair(nn.Module):
    """Two convolutions of one image, returned as a tuple, a list or a dict."""

    def __init__(self, pack: Callable[[Tensor, Tensor], object]) -> None:
        super().__init__()
        self.left = nn.Conv2d(3, 4, 3)
        self.right = nn.Conv2d(3, 4, 3)
        self.pack = pack

    def forward(self, x: Tensor) -> object:
        return self.pack(self.left(x), self.right(x))


class PairStem(nn.Module):
    """The second tensor of a stem's tuple, list or dict leads around `conv`."""

    def __init__(
        self,
        pack: Callable[[Tensor, Tensor], object],
        unpack: Callable[[object], tuple[Tensor, Tensor]],
        *,
        skip: bool = True,
    ) -> None:
        super().__init__()
        self.stem = Pair(pack)
        self.conv = nn.Conv2d(4, 4, 3)
        self.fc = nn.Linear(4, CLASSES)
        self.unpack = unpack
        self.skip = skip

    def forward(self, x: Tensor) -> Tensor:
        left, right = self.unpack(self.stem(x))
        pooled = self.conv(left).mean(dim=(2, 3))
        return self.fc(pooled + right.mean(dim=(2, 3)) if self.skip else pooled)


class Unused(nn.Module):
    """Has a layer that never runs and one whose output goes nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, stride=2)
        self.aside = nn.Conv2d(3, 6, 3, stride=2)
        self.spare = nn.Conv2d(3, 6, 3)
        self.fc = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        self.aside(x)
        return self.fc(self.conv(x).mean(dim=(2, 3)))


class Fails(nn.Module):
    """Raises after its maps, once armed."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, stride=2)
        self.act = nn.ReLU()
        self.fc = nn.Linear(6, CLASSES)
        self.armed = False

    def forward(self, x: Tensor) -> Tensor:
        maps = self.act(self.conv(x))
        if self.armed:
            raise ArithmeticError("armed")
        return self.fc(maps.mean(dim=(2, 3)))


#: Every layer at which each network can be cut; all its other layers must be refused.
CUTTABLE: dict[str, tuple[Callable[[], nn.Module], tuple[str, ...]]] = {
    "chain": (chain, ("0", "1", "2", "3", "4", "5", "6", "7")),
    "flat": (flat, ("0", "1", "2", "3")),
    "residual": (Residual, ("stem", "blocks", "blocks.0", "blocks.1")),
    "dense": (Dense, ("stem", "norm")),
    "reused": (
        Reused,
        ("conv1", "conv2", "conv3", "relu#1", "relu#2", "relu#3"),
    ),
    "squeezed": (Squeezed, ("stem", "body", "body.0", "body.1")),
    "gap linear": (gap_linear, ("body", "body.0", "body.1", "body.2")),
    "gap relu mlp": (gap_relu_mlp, ("body", "body.0", "body.1", "body.2")),
    "gap layernorm": (gap_layernorm, ("body", "body.0", "body.1", "body.2")),
    "max linear": (max_linear, ("body", "body.0", "body.1", "body.2", "head.0")),
    "flatten linear": (flatten_linear, ("body", "body.0", "body.1", "body.2")),
    "conv head": (conv_head, ("body", "body.0", "body.1", "body.2", "head.0")),
    "conv relu head": (
        conv_relu_head,
        ("body", "body.0", "body.1", "body.2", "head.0", "head.1"),
    ),
    "inplace head": (
        inplace_head,
        ("body", "body.0", "body.1", "body.2", "head.0", "head.1", "head.2"),
    ),
    "fixed pool head": (fixed_pool_head, ("body", "body.0", "body.1", "body.2", "head.0")),
    "batch reshape": (BatchReshape, ("conv", "act")),
    "writes input": (WritesInput, ("conv",)),
}


def build(name: str, seed: int = 0) -> nn.Module:
    """A network of :data:`CUTTABLE` with settled weights."""
    return settle(CUTTABLE[name][0](), seed)
