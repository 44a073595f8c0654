"""Tiny networks that are hard to randomise, all in eval mode with seeded weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, parametrize
from torchvision.ops import FrozenBatchNorm2d

from tests.networks import CLASSES, Mean, settle


class Raw(nn.Module):
    """Two raw parameters used by two calls, and a scalar."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.5))
        self.matrix = nn.Parameter(torch.zeros(CLASSES, 4))
        self.kernel = nn.Parameter(torch.zeros(4, 3, 3, 3))
        self.maps = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        maps = self.maps(F.conv2d(x, self.kernel).relu())
        return F.linear(maps.mean(dim=(2, 3)) * self.scale, self.matrix)


class Tied(nn.Module):
    """Two convolutions with one weight, the second named first."""

    def __init__(self) -> None:
        super().__init__()
        self.second = nn.Conv2d(3, 3, 3, padding=1)
        self.first = nn.Conv2d(3, 3, 3, padding=1)
        self.first.weight = self.second.weight
        self.fc = nn.Linear(3, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.second(self.first(x).relu()).relu().mean(dim=(2, 3)))


class Reversed(nn.Module):
    """Registered in the opposite order of execution, with one layer never run."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, CLASSES)
        self.spare = nn.Conv2d(3, 4, 3)
        self.late = nn.Conv2d(4, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.early = nn.Conv2d(3, 4, 3)
        self.register_buffer("shift", torch.full((1, 4, 1, 1), 0.1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.early(x)).relu() + self.shift
        return self.fc(self.late(x).relu().mean(dim=(2, 3)))


class Symmetric(nn.Module):
    """A parametrisation without a right inverse."""

    def forward(self, weight: Tensor) -> Tensor:
        return weight + weight.flip(2)


class Keeper(nn.Module):
    """Identity that keeps what went through it."""

    def forward(self, x: Tensor) -> Tensor:
        self.kept = [x]
        return x


class Attributed(nn.Module):
    """A skip connection through what a module keeps on itself."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.keeper = Keeper()
        self.body = nn.Conv2d(4, 4, 3, padding=1)
        self.mix = nn.Conv2d(4, 4, 1)
        self.fc = nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(self.keeper(self.stem(x)))
        return self.fc(self.mix(x.relu() + self.keeper.kept[0]).relu().mean(dim=(2, 3)))


def body(*first: nn.Module) -> nn.Module:
    """The given layers on N×3×h×w, a convolution and a pooled Linear head."""
    return nn.Sequential(
        *first, nn.ReLU(), nn.Conv2d(4, 6, 3), nn.ReLU(), Mean(), nn.Linear(6, CLASSES)
    )


def weight_normed() -> nn.Module:
    """body with its first convolution under the parametrised weight norm."""
    model = settle(body(nn.Conv2d(3, 4, 3)))
    parametrizations.weight_norm(model[0])
    return model.eval()


def old_weight_normed() -> nn.Module:
    """body with its first convolution under the old, hooked weight norm."""
    model = settle(body(nn.Conv2d(3, 4, 3)))
    nn.utils.weight_norm(model[0])
    return model


def spectral_normed() -> nn.Module:
    """body with its first convolution under the parametrised spectral norm."""
    model = settle(body(nn.Conv2d(3, 4, 3)))
    parametrizations.spectral_norm(model[0])
    return model.eval()


def one_way() -> nn.Module:
    """body with a parametrisation that cannot be inverted."""
    model = settle(body(nn.Conv2d(3, 4, 3)))
    parametrize.register_parametrization(model[0], "weight", Symmetric())
    return model.eval()


def frozen() -> nn.Module:
    """body with a frozen BatchNorm and no parameter that requires a gradient."""
    model = settle(body(nn.Conv2d(3, 4, 3), FrozenBatchNorm2d(4)))
    return model.requires_grad_(False)


def scripted() -> nn.Module:
    """body whose first convolution is TorchScript."""
    model = settle(body(nn.Conv2d(3, 4, 3)))
    model[0] = torch.jit.script(model[0])
    return model


class Replacing(nn.Module):
    """A layer of its own whose initialiser `reset` does as `how` says, in a small network."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.mix = Initialised(how)
        self.fc = nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.mix(self.conv(x).relu()).relu().mean(dim=(2, 3)))


class Initialised(nn.Conv2d):
    """A convolution whose initialiser is unusual in one way, after a child that it also writes."""

    def __init__(self, how: str) -> None:
        self.how = "plain"
        super().__init__(4, 4, 3)
        self.child = nn.Conv2d(4, 4, 1)
        self.how = how

    def forward(self, x: Tensor) -> Tensor:
        return self.child(super().forward(x))

    def reset_parameters(self) -> None:
        """Write the weights in the way that the test asks for."""
        if self.how == "parameter":
            self.weight = nn.Parameter(torch.randn(4, 4, 3, 3))
            self.bias = nn.Parameter(torch.randn(4))
        elif self.how == "data":
            self.weight.data = torch.randn(4, 4, 3, 3)
            self.bias.data = torch.randn(4)
        else:
            super().reset_parameters()
        if self.how in ("raises", "interrupts"):
            nn.init.ones_(self.child.weight)
            raise RuntimeError("no\nluck") if self.how == "raises" else KeyboardInterrupt


class Argued(Initialised):
    """Its initialiser needs an argument."""

    def __init__(self) -> None:
        super().__init__("plain")
        self.reset_parameters = lambda std: nn.init.normal_(self.weight, std=std)


class TiedByStorage(nn.Module):
    """Two layers whose weights are two parameters on one memory, equal or overlapping."""

    def __init__(self, *, overlapping: bool = False) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 3, 3, padding=1)
        self.b = nn.Conv2d(3, 3, 3, padding=1)
        self.c = nn.Conv2d(3, 3, 3, padding=1)
        self.fc = nn.Linear(3, CLASSES)
        settle(self)
        if overlapping:
            memory = torch.randn(100)
            self.b.weight = nn.Parameter(memory[:81].view(3, 3, 3, 3))
            self.c.weight = nn.Parameter(memory[19:].view(3, 3, 3, 3))
        else:
            self.c.weight = nn.Parameter(self.b.weight.data)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.c(self.b(self.a(x).relu()).relu()).relu().mean(dim=(2, 3)))


def orthogonal() -> nn.Module:
    """body with its Linear head under torch's orthogonal parametrisation."""
    model = settle(body(nn.Conv2d(3, 4, 3)))
    parametrizations.orthogonal(model[5])
    return model.eval()


class Counting(nn.Module):
    """Counts its passes in a buffer, an attribute, a number and a list."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4, CLASSES)
        self.register_buffer("n", torch.zeros(()))
        self.m = torch.zeros(())
        self.passes = 0
        self.kept: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.n += 1
        self.m = self.m + 1
        self.passes += 1
        self.kept.append(self.passes)
        return self.fc(self.conv(x).relu().mean(dim=(2, 3)))


#: Name → factory and a layer at which the network can be cut.
MODELS = {
    "raw": (lambda: settle(Raw()), "maps"),
    "tied": (lambda: settle(Tied()), "second"),
    "reversed": (lambda: settle(Reversed()), "late"),
    "weight norm": (weight_normed, "3"),
    "spectral norm": (spectral_normed, "3"),
    "one way": (one_way, "3"),
    "frozen": (frozen, "4"),
    "orthogonal": (orthogonal, "3"),
    "replaced": (lambda: settle(Replacing("parameter")), "mix"),
    "new memory": (lambda: settle(Replacing("data")), "mix"),
    "tied by storage": (lambda: TiedByStorage().eval(), "c"),
    "attributed": (lambda: settle(Attributed()), "mix"),
}
