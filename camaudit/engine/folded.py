"""A divided classifier's logits by folded, fused convolutions (float32 on a CPU)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from camaudit.cut import Cut, Head, Trunk
from camaudit.engine.convolution import FusedConv
from camaudit.engine.fusion import fuse
from camaudit.engine.program import Program
from camaudit.engine.tracing import same, state_of, trace
from camaudit.walls import SplitTrunk, WalledModel

__all__ = ["FoldedModel", "folded_model"]

_NEAR = 1e-4  # of the range of logits: more than rounding makes of them
_LAST = torch.channels_last


def folded_model(divided: Cut | WalledModel, example: Tensor) -> FoldedModel | None:
    """`divided` with folded convolutions, for images like `example` (1×C×H×W).

    None where it is not sure to compute the same: no float32 on a CPU, code that cannot be written
    down as a graph (:func:`camaudit.engine.tracing.trace`), hooks, training mode, images that the
    model writes into, nothing to fold, or other logits than the model's on two numbers of images.
    """
    trunk = divided.trunk.trunk if isinstance(divided.trunk, SplitTrunk) else divided.trunk
    if type(trunk) is not Trunk or type(divided.head) is not Head or trunk.mutates_images:
        return None
    plain = example.dtype == torch.float32 and example.device.type == "cpu"
    available = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if not (plain and available) or _changed_by_somebody(divided):
        return None
    try:
        with torch.no_grad():
            convs, run = _compiled(divided, trunk, example)
            made = FoldedModel(divided, example, convs, run)
            return made if _agrees(made, divided, example) else None
    except Exception:  # the model's own code has run, on stand-ins and on noise
        return None


class FoldedModel:
    """`images (N×C×H×W) → logits (N×C)` of `divided`, by `run` with the folded `convs`.

    Weights are folded anew when they have changed. The model itself runs where a layer, hook, mode
    or setting has changed, for images of another size, and where logits are not finite.
    """

    def __init__(
        self,
        divided: Cut | WalledModel,
        example: Tensor,
        convs: list[FusedConv],
        run: Callable[[Tensor], Tensor],
    ) -> None:
        self._divided, self._convs, self._run = divided, convs, run
        self._like = example.shape[1:], example.dtype, example.device
        self._state = state_of(divided)
        self._fold()

    def __call__(self, images: Tensor) -> Tensor:
        if self.current(images):
            logits = self._run(images)
            if bool(logits.isfinite().all()):
                return logits
        return self._divided.logits(images)

    def current(self, images: Tensor) -> bool:
        """Whether images and layers are those that this was made for; sees to the weights."""
        if (images.shape[1:], images.dtype, images.device) != self._like:
            return False
        if not same(self._state, state_of(self._divided)):
            return False
        weights = self._tensors()
        if len(weights) != len(self._weights):  # batch norm has lost its statistics, say
            return False
        if not all(map(torch.equal, weights, self._weights)):
            self._fold()
        return True

    def _tensors(self) -> list[Tensor]:
        return [tensor for conv in self._convs for tensor in conv.tensors()]

    def _fold(self) -> None:
        self._weights = [tensor.detach().clone() for tensor in self._tensors()]
        for conv in self._convs:
            conv.fold()


def _compiled(
    divided: Cut | WalledModel, trunk: Trunk, example: Tensor
) -> tuple[list[FusedConv], Callable[[Tensor], Tensor]]:
    """The fused convolutions, and logits of images by them.

    Raises :class:`LookupError` where there is no graph, or nothing to gain.
    """
    split = divided.trunk if isinstance(divided.trunk, SplitTrunk) else None
    wall = divided.wall if isinstance(divided, WalledModel) else nn.Identity()
    graphs = trace(trunk)
    if graphs is None:
        raise LookupError("the model's code cannot be written down")
    two = example.expand(2, *example.shape[1:]).contiguous()  # a model may view its maps
    seen = two if split is None else split.seen_part(two)
    maps = divided.trunk(two)
    below = fuse(trunk, graphs.trunk, seen)
    above = fuse(trunk, graphs.head, two, wall(maps))
    if not any(conv.joined for conv in (*below, *above)):
        raise LookupError("no convolution is followed by what it could take over")
    to_maps, to_logits = Program(trunk, graphs.trunk), Program(trunk, graphs.head)

    def run(images: Tensor) -> Tensor:
        seen = images if split is None else split.seen_part(images)
        maps = to_maps(seen.contiguous(memory_format=_LAST))
        maps = wall(maps if split is None else split.placed(maps))
        return to_logits(images, maps.contiguous(memory_format=_LAST))

    return [*below, *above], run


def _changed_by_somebody(divided: nn.Module) -> bool:
    """Whether a hook looks at a layer, a layer is in training mode or has a forward of its own."""
    return any(
        m.training or m._forward_hooks or m._forward_pre_hooks or "forward" in vars(m)
        for m in divided.modules()
    )


def _agrees(made: FoldedModel, divided: Cut | WalledModel, example: Tensor) -> bool:
    """Whether images of noise have the model's own logits, to rounding.

    One alone and three together here, four together there: who mixes them is found out.
    """
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(4, *example.shape[1:], generator=generator)
    own = divided.logits(noise)
    found = torch.cat([made(part) for part in (noise[:1], noise[1:])])
    return bool((found - own).abs().max() <= _NEAR * (own.max() - own.min()))
