"""How the forward passes of masked images run: chunk size, fast chains, precision, compilation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from camaudit.cut import Cut
from camaudit.engine.chain import FastChain
from camaudit.engine.cone import span_of
from camaudit.engine.memory import bytes_per_image
from camaudit.errors import UsageError
from camaudit.walls import SplitTrunk, WalledModel
from camaudit.walls.receptive import chain_of

__all__ = ["Engine", "Forwards", "Precision", "prepare"]

Precision = Literal["float32", "bfloat16", "float16"]
Logits = Callable[[Tensor], Tensor]

_CHAIN_BATCH = 64  # a chain runs in small blocks: this many share one pass of the head


@dataclass(frozen=True)
class Engine:
    """How masked images are run; the target layer's activations and gradients are always exact.

    batch_size: images in one pass.
    memory: bytes that one pass may take beyond the model; lowers `batch_size` where needed.
    precision: of masked images' passes; below float32 the error of the scores is measured.
    winograd: whether wide 3×3 convolutions of chain networks may run by Winograd's algorithm
        (float32 on a CPU), which differs from a direct convolution by rounding.
    compile: run the passes through torch.compile.
    """

    batch_size: int = 16
    memory: int | None = None
    precision: Precision = "float32"
    winograd: bool = True
    compile: bool = False

    def __post_init__(self) -> None:
        if self.precision not in get_args(Precision):
            known = ", ".join(get_args(Precision))
            raise UsageError(f"precision must be one of {known}; got {self.precision!r}")
        if self.batch_size < 1:
            raise UsageError(f"batch_size must be at least 1; got {self.batch_size}")
        if self.memory is not None and self.memory < 1:
            raise UsageError(f"memory must be a positive number of bytes; got {self.memory}")


@dataclass(eq=False)
class Forwards:
    """`model(images) → logits` of a divided model, run as an engine says.

    `batch_size` bounds the images of one call. `exact` is False where rounding differs from the
    model's own; `error` is then the largest difference of a logit seen on the images that were
    run both ways, `spread` the range of those logits.
    """

    divided: Any
    batch_size: int
    exact: bool
    how: str
    run: Logits = field(repr=False)
    error: float = 0.0
    spread: float = 0.0

    def __call__(self, images: Tensor) -> Tensor:
        """Logits (M×C); with autograd on, the model's own pass, which can be differentiated."""
        if torch.is_grad_enabled() and images.requires_grad:
            logits: Tensor = self.divided.logits(images)
            return logits
        found = self.run(images)
        if not self.exact and not self.spread:
            self._compare(images[:4], found[:4])
        return found

    def to_dict(self) -> dict[str, Any]:
        """How masked images were run, as plain JSON values; no error where it is exact."""
        measured = None if self.exact or not self.spread else self.error
        return {
            "how": self.how,
            "batch_size": self.batch_size,
            "exact": self.exact,
            "max_logit_error": measured,
            "logit_spread": self.spread or None,
        }

    def _compare(self, images: Tensor, found: Tensor) -> None:
        own = self.divided.logits(images)
        self.error = max(self.error, float((found - own).abs().max()))
        self.spread = float(own.max() - own.min())


def prepare(divided: Cut | WalledModel, example: Tensor, engine: Engine) -> Forwards:
    """The forwards of `divided` for images like `example` (1×C×H×W).

    A chain network runs layer by layer on what its live cells read; any other network, and any
    precision below float32, runs as it is.
    """
    batch = engine.batch_size
    fast = None
    if engine.precision == "float32":
        fast = _fast(divided, example, winograd=engine.winograd)
    if fast is not None:
        batch = max(batch, _CHAIN_BATCH)
    if engine.memory is not None:
        batch = max(1, min(batch, engine.memory // bytes_per_image(divided, example)))
    run: Logits = divided.logits
    how, exact = "the model itself", True
    if engine.precision != "float32":
        run, how, exact = _reduced(divided.logits, engine.precision), engine.precision, False
    elif fast is not None:
        run, chain = fast
        exact = chain.winograd == 0
        how = "layer by layer" + ("" if exact else ", Winograd convolutions")
    if engine.compile:
        run, how, exact = torch.compile(run), how + ", compiled", False
    return Forwards(divided, batch, exact, how, run)


def _reduced(logits: Logits, precision: Precision) -> Logits:
    dtype = getattr(torch, precision)

    def run(images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, dtype=dtype):
            return logits(images).to(images.dtype)

    return run


def _fast(
    divided: Cut | WalledModel, example: Tensor, *, winograd: bool
) -> tuple[Logits, FastChain] | None:
    """The fast run and its chain, or None where the trunk is no chain of known layers."""
    trunk: nn.Module = divided.trunk
    split = isinstance(trunk, SplitTrunk)
    inner = trunk.trunk if isinstance(trunk, SplitTrunk) else trunk
    seen = trunk.seen_part(example) if isinstance(trunk, SplitTrunk) else example
    found = chain_of(inner, seen)
    if isinstance(found, str):
        return None
    height, width = found.layers[-1][1]
    live = torch.ones(height, width, dtype=torch.bool)
    if isinstance(divided, WalledModel) and not split:
        live = ~divided.zone.feature_dead
    chain = FastChain(found, span_of(live.any(dim=1)), span_of(live.any(dim=0)), winograd=winograd)

    def run(images: Tensor) -> Tensor:
        if isinstance(trunk, SplitTrunk):
            return divided.read(trunk.placed(chain(trunk.seen_part(images))))
        return divided.read(chain(images))

    return run, chain
