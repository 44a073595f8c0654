"""How the forward passes of masked images run: chunk size, fast chains, precision, compilation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from camaudit.cut import Cut
from camaudit.engine.chain import BLOCK, FastChain
from camaudit.engine.cone import Span, span_of
from camaudit.engine.folded import folded_model
from camaudit.engine.memory import peak_bytes
from camaudit.engine.winograd import WORKSPACE_BYTES
from camaudit.errors import DegenerateModelError, UsageError
from camaudit.walls import SplitTrunk, WalledModel
from camaudit.walls.receptive import Chain, chain_of

__all__ = ["Engine", "Forwards", "Precision", "prepare"]

Precision = Literal["float32", "bfloat16", "float16"]
Logits = Callable[[Tensor], Tensor]

_CHAIN_BATCH = 64  # a chain runs in small blocks: this many share one pass of the head
_CACHED = 2**26  # bytes that a pass of the model may take on a CPU before its maps leave the cache
_COMPARED = 4  # images that run both ways where rounding differs
_IMAGE_COPIES = 3  # a masked image, its mask and what is between them


@dataclass(frozen=True)
class Engine:
    """How masked images are run; the target layer's activations and gradients are always exact.

    batch_size: images in one pass. On a CPU fewer, where the maps of as many would not stay in
        its cache: a pass of 16 images of 224×224 takes EfficientNet-Lite0 twice as long an image
        as one of 3. A chain network runs in blocks of 8 at most, and passes 64 of them at a time
        through its head, or `batch_size` where that is more. With folded batch norm every layer
        runs on as many images of a pass as stay in the cache.
    memory: bytes that one pass may take beyond the model; lowers the number of images where
        needed, to one image if it must be.
    precision: of masked images' passes; below float32 the error of the scores is measured.
    rounding: whether masked images may run by algorithms that differ from the model's own pass by
        rounding (float32 on a CPU): Winograd's for the wide 3×3 convolutions of chain networks,
        folded batch norm and fused activations elsewhere. Folded weights are a second and third
        copy of the convolutions' own.
    compile: run the passes through torch.compile.
    """

    batch_size: int = 16
    memory: int | None = None
    precision: Precision = "float32"
    rounding: bool = True
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

    `batch_size` bounds the images that run at a time. `exact` says that the bits are those of the
    model's own pass (of its trunk over blocks of images, where a chain runs in blocks); otherwise
    `error` is the largest difference of a logit seen on the images that were run both ways, and
    `spread` the range of those logits.
    """

    divided: Any
    batch_size: int
    exact: bool
    how: str
    run: Logits = field(repr=False)
    error: float = 0.0
    spread: float = 0.0
    _compared: list[Tensor] = field(default_factory=list, init=False, repr=False)

    def __call__(self, images: Tensor) -> Tensor:
        """Logits (M×C), without autograd.

        Images that require a gradient (with autograd on) run by the model's own pass, which can
        be differentiated. Raises :class:`DegenerateModelError` where rounding makes logits
        infinite or NaN that are finite in the model itself.
        """
        if torch.is_grad_enabled() and images.requires_grad:
            logits: Tensor = self.divided.logits(images)
            return logits
        with torch.no_grad():
            found = torch.cat([self.run(part) for part in torch.split(images, self.batch_size)])
            if not self.exact:
                self._compare(images, found)
        return found

    def to_dict(self) -> dict[str, Any]:
        """How masked images were run, as plain JSON values; no error where it is exact."""
        measured = bool(self._compared) and not self.exact
        return {
            "how": self.how,
            "batch_size": self.batch_size,
            "exact": self.exact,
            "max_logit_error": self.error if measured else None,
            "logit_spread": self.spread if measured else None,
        }

    def _compare(self, images: Tensor, found: Tensor) -> None:
        """Run the very first images, and the first whose logits are not finite, both ways."""
        first = range(min(len(found), _COMPARED - len(self._compared)))
        broken = (~found.isfinite()).any(dim=1).nonzero().flatten().tolist()
        for row in sorted({*first, *broken[:1]}):
            own = self.divided.logits(images[row : row + 1])[0]
            finite = own.isfinite()
            if not bool(found[row][finite].isfinite().all()):
                raise DegenerateModelError(
                    f"masked images run as {self.how} give logits that are NaN or infinite, and "
                    "the model itself gives finite ones: choose a wider precision"
                )
            if row in first and bool(finite.any()):
                self._compared.append(own[finite])
                self.error = max(self.error, float((found[row] - own)[finite].abs().max()))
        if self._compared:
            seen = torch.cat(self._compared)
            self.spread = float(seen.max() - seen.min())


def prepare(divided: Cut | WalledModel, example: Tensor, engine: Engine) -> Forwards:
    """The forwards of `divided` for images like `example` (1×C×H×W).

    A chain network runs layer by layer on what its live cells read; any other network with folded
    convolutions, if the engine allows it and its code can be written down. One that somebody has
    hooked, and images of another size, run as the model is. Weights may change afterwards; prepare
    again after a change of layers or of the wall.

    Raises :class:`UsageError` where a lower precision or compilation is asked of a model that
    cannot do it.
    """
    example = example[:1].detach()
    if engine.precision != "float32":
        found = _reduced(divided, example, engine)
    else:
        found = (
            _layer_by_layer(divided, example, engine)
            or _folded(divided, example, engine)
            or _own(divided, example, engine)
        )
    return _compiled(found, example) if engine.compile else found


def _own(divided: Cut | WalledModel, example: Tensor, engine: Engine) -> Forwards:
    batch = _in_cache(divided, example, _batch(divided, example, engine))
    return Forwards(divided, batch, True, "the model itself", divided.logits)


def _folded(divided: Cut | WalledModel, example: Tensor, engine: Engine) -> Forwards | None:
    """The model with folded batch norm and fused activations; None where that is not safe."""
    allowed = engine.rounding and not engine.compile
    found = folded_model(divided, example) if allowed else None
    if found is None:
        return None
    how = "folded batch norm, fused activations"
    return Forwards(divided, _batch(divided, example, engine), False, how, found)


def _reduced(divided: Cut | WalledModel, example: Tensor, engine: Engine) -> Forwards:
    if example.dtype == torch.float64:
        raise UsageError(
            f"precision={engine.precision!r} is for float32 models; this one's "
            "images are float64: leave it out"
        )
    dtype = getattr(torch, engine.precision)
    direct = replace(engine, rounding=False)
    found = _layer_by_layer(divided, example, direct, bits=False) or _own(divided, example, engine)

    def run(images: Tensor) -> Tensor:
        with torch.autocast(images.device.type, dtype=dtype):
            return found.run(images).to(images.dtype)

    how = engine.precision if found.run == divided.logits else f"{engine.precision}, {found.how}"
    return Forwards(divided, found.batch_size, False, how, run)


def _compiled(found: Forwards, example: Tensor) -> Forwards:
    run = torch.compile(found.run)
    try:
        with torch.no_grad():
            run(example)
    except Exception as error:  # whatever the compiler raises
        reason = str(error).strip().partition("\n")[0]
        raise UsageError(
            f"torch.compile fails here ({type(error).__name__}: {reason}): leave compile out"
        ) from error
    return Forwards(found.divided, found.batch_size, False, found.how + ", compiled", run)


def _batch(divided: Cut | WalledModel, example: Tensor, engine: Engine) -> int:
    """Images in one pass of the model, as many as the engine's memory holds."""
    if engine.memory is None:
        return engine.batch_size
    each = peak_bytes(divided.modules(), lambda: divided.logits(example))
    return _clamped(engine.memory // (each + _IMAGE_COPIES * example.nbytes), engine.batch_size)


def _in_cache(divided: Cut | WalledModel, example: Tensor, most: int) -> int:
    """Images, at most so many, whose maps stay in a CPU's cache through the model's own pass."""
    if example.device.type != "cpu" or most == 1:
        return most
    each = peak_bytes(divided.modules(), lambda: divided.logits(example))
    return _clamped(_CACHED // max(1, each), most)


def _clamped(count: int, most: int) -> int:
    return max(1, min(count, most))


# --- chains ---------------------------------------------------------------------------------------


def _inner(divided: Cut | WalledModel, images: Tensor) -> tuple[nn.Module, Tensor]:
    """The trunk that computes the live cells, and what of the images it is given."""
    trunk: nn.Module = divided.trunk
    if isinstance(trunk, SplitTrunk):
        return trunk.trunk, trunk.seen_part(images)
    return trunk, images


def _hooked(module: nn.Module) -> bool:
    """Whether anybody's hooks look at a layer or compute its weights: they must see every call."""
    return any(m._forward_hooks or m._forward_pre_hooks for m in module.modules())


def _layer_by_layer(
    divided: Cut | WalledModel, example: Tensor, engine: Engine, *, bits: bool = True
) -> Forwards | None:
    """The trunk as a fast chain; None where it is no chain, or cannot be trusted to the bit.

    Without `bits` the last ones do not matter, because a lower precision changes more.
    """
    trunk: nn.Module = divided.trunk
    inner, seen = _inner(divided, example)
    chain = "hooked" if _hooked(inner) else chain_of(inner, seen)
    if isinstance(chain, str):
        return None
    rows, columns = _live(divided, chain)
    own = inner if bits and not engine.compile else None
    winograd = engine.rounding and _roomy(engine)
    fast = FastChain(chain, rows, columns, winograd=winograd, own=own)
    if own is not None and not fast.winograd and not fast.repeatable:
        return None

    def run(images: Tensor) -> Tensor:
        if images.shape[-2:] != example.shape[-2:] or _hooked(inner):
            return divided.logits(images)
        cells = fast(_inner(divided, images)[1])
        return divided.read(trunk.placed(cells) if isinstance(trunk, SplitTrunk) else cells)

    fixed = WORKSPACE_BYTES if fast.winograd else 0
    fast.block, batch = _blocks(divided, example, engine, chain, fixed)
    how = "layer by layer" + (", Winograd convolutions" if fast.winograd else "")
    return Forwards(divided, batch, fast.winograd == 0, how, run)


def _live(divided: Cut | WalledModel, chain: Chain) -> tuple[Span, Span]:
    """Rows and columns of the chain's cells that the head reads."""
    live = torch.ones(chain.layers[-1][1], dtype=torch.bool)
    if isinstance(divided, WalledModel) and not isinstance(divided.trunk, SplitTrunk):
        live = ~divided.zone.feature_dead
    return span_of(live.any(dim=1)), span_of(live.any(dim=0))


def _blocks(
    divided: Cut | WalledModel, example: Tensor, engine: Engine, chain: Chain, fixed: int
) -> tuple[int, int]:
    """Images in one block of the chain, and in one pass of the head."""
    batch = max(engine.batch_size, _CHAIN_BATCH)
    block = BLOCK if example.device.type == "cpu" else batch
    if engine.memory is None:
        return block, batch
    quarter = (engine.memory - fixed if _roomy(engine) else engine.memory // 2) // 4
    inner, seen = _inner(divided, example)
    below = {module for module, _ in chain.layers}
    with torch.no_grad():
        A = divided.trunk(example)
    maps = peak_bytes(below, lambda: inner(seen))
    above = peak_bytes(set(divided.modules()) - below, lambda: divided.read(A))
    each = above + _IMAGE_COPIES * (example.nbytes + A.nbytes)
    return _clamped(3 * quarter // maps, block), _clamped(quarter // each, batch)


def _roomy(engine: Engine) -> bool:
    """Whether there is memory for what Winograd's algorithm takes, where it may run."""
    least = 2 * WORKSPACE_BYTES if engine.rounding else 0
    return engine.memory is None or engine.memory >= least
