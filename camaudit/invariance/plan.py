"""A small network as plain values: what is drawn, written to JSON, built, and printed as code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from camaudit.errors import UsageError

__all__ = ["Activation", "Axis", "Block", "Head", "Plan", "Pool", "Stage"]

Activation = Literal["relu", "leaky_relu", "silu", "gelu"]
Block = Literal["chain", "residual", "branching"]
Pool = Literal["none", "max", "average"]
Axis = Literal["vertical", "horizontal"]
PaddingMode = Literal["zeros", "circular", "reflect", "replicate"]


@dataclass(frozen=True, kw_only=True)
class Stage:
    """A convolution with what follows it: norm, activation, a second path, pooling.

    `channels` are those that come out of the convolution; a branching stage puts two such paths
    side by side and so gives twice as many. `norm` is a BatchNorm with drawn statistics, in eval
    mode. A residual stage gives `y + act(conv1×1(y))` where y = act(norm(conv(x))). `pool` takes
    2×2 cells to one.
    """

    channels: int = 1
    kernel: int = 1
    stride: int = 1
    padding: int = 0
    padding_mode: PaddingMode = "zeros"
    bias: bool = False
    norm: bool = False
    activation: Activation = "relu"
    block: Block = "chain"
    pool: Pool = "none"

    @property
    def out(self) -> int:
        """Channels that the stage gives."""
        return self.channels * (2 if self.block == "branching" else 1)

    def size(self, cells: int) -> int:
        """Cells along one axis that the stage makes of `cells`."""
        made = (cells + 2 * self.padding - self.kernel) // self.stride + 1
        return made // 2 if self.pool != "none" else made

    def flips(self, cells: int) -> bool:
        """Whether its windows cover `cells` symmetrically, so that flipping kernels is exact."""
        made = (cells + 2 * self.padding - self.kernel) // self.stride + 1
        odd = self.pool != "none" and made % 2
        return not odd and (cells + 2 * self.padding - self.kernel) % self.stride == 0


@dataclass(frozen=True, kw_only=True)
class Head:
    """What reads the map: global average pooling (or every cell), then Linear layers.

    `hidden` are the widths of the Linear layers before the last one, each followed by `activation`
    (None leaves them linear). `bias` is that of all Linear layers.
    """

    pooled: bool = False
    hidden: tuple[int, ...] = ()
    activation: Activation | None = "relu"
    bias: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A network of one to three stages and a head, in eval mode and float64.

    `seed` draws all weights, see :func:`camaudit.invariance.networks.draw_weights`.
    """

    stages: tuple[Stage, ...] = (Stage(),)
    head: Head = Head()
    classes: int = 1
    channels: int = 1
    height: int = 1
    width: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.stages or min(self.classes, self.channels, self.height, self.width) < 1:
            raise UsageError(f"a network needs a stage, a class, a channel and a pixel; got {self}")
        if min(self.map_size) < 1:
            raise UsageError(
                f"{self.height}×{self.width} pixels leave no cell after {len(self.stages)} "
                "stages: take larger images, smaller kernels or less stride"
            )

    @property
    def map_size(self) -> tuple[int, int]:
        """Cells (h, w) of the target layer."""
        height, width = self.height, self.width
        for stage in self.stages:
            height, width = max(stage.size(height), 0), max(stage.size(width), 0)
        return height, width

    @property
    def map_channels(self) -> int:
        """Channels K of the target layer."""
        return self.stages[-1].out

    @property
    def stride(self) -> int:
        """Pixels from one cell of the target layer to the next."""
        steps = 1
        for stage in self.stages:
            steps *= stage.stride * (2 if stage.pool != "none" else 1)
        return steps

    @property
    def relu_only(self) -> bool:
        """Whether every activation of the trunk is a ReLU, so that the map is never negative."""
        return all(stage.activation == "relu" for stage in self.stages)

    @property
    def homogeneous_head(self) -> bool:
        """Whether logits are positively homogeneous in the map: no bias, ReLU, leaky or linear."""
        kinds = ("relu", "leaky_relu", None)
        return not self.head.bias and (not self.head.hidden or self.head.activation in kinds)

    @property
    def linear_head(self) -> bool:
        """Whether logits are linear (affine, with biases) in the map."""
        return not self.head.hidden or self.head.activation is None

    @property
    def circular(self) -> bool:
        """Whether translations by the stride commute with the trunk: circular padding, whole
        strides, and no cell that only an edge has."""
        height, width = self.height, self.width
        for stage in self.stages:
            around = stage.padding_mode == "circular" or stage.kernel == 1
            whole = 2 * stage.padding == stage.kernel - 1
            step = stage.stride * (2 if stage.pool != "none" else 1)
            if not (around and whole and height % step == 0 and width % step == 0):
                return False
            height, width = height // step, width // step
        return True

    def flips(self, axis: Axis) -> bool:
        """Whether the network with flipped kernels sees flipped images as this one sees images.

        Exact only where (size + 2·padding − kernel) is a multiple of the stride at every stage.
        """
        cells = self.height if axis == "vertical" else self.width
        for stage in self.stages:
            if not stage.flips(cells):
                return False
            cells = stage.size(cells)
        return True

    def changed(self, **fields: Any) -> Plan:
        """The same plan with some fields replaced."""
        return replace(self, **fields)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, read back by :meth:`from_dict`."""
        return asdict(self)

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Plan:
        """The plan that :meth:`to_dict` wrote; raises :class:`UsageError` for anything else."""
        try:
            head = {**values["head"], "hidden": tuple(values["head"]["hidden"])}
            stages = tuple(Stage(**stage) for stage in values["stages"])
            return Plan(**{**values, "stages": stages, "head": Head(**head)})
        except (KeyError, TypeError) as error:
            raise UsageError(f"expected a network plan as to_dict writes it; {error}") from error
