"""Transformations of a model, exact in real arithmetic, whatever the model is.

A transformed model is a module around the old one, so that every explainer that hooks a layer of
a model can explain it. In a drawn network the change can also be folded into the head's own Linear
layers: for explainers that read a Linear layer's weight, and nothing shows that it was changed.
"""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Callable

import torch
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from torch import Tensor, nn
from torch.nn import functional as F

from camaudit.cut import cut_at
from camaudit.errors import LayerError, NotApplicableError, UsageError
from camaudit.invariance.networks import LAYER
from camaudit.invariance.situation import Situation

__all__ = [
    "Added",
    "Affine",
    "Mixed",
    "Rewired",
    "Seen",
    "after",
    "before",
    "copied",
    "folds",
    "head_of",
    "linear",
    "reheaded",
    "rescored",
    "rewired",
    "seen",
    "weights_of",
]


def after(given: Situation, module: nn.Module) -> Situation:
    """`x ↦ module(model(x))`: the logits changed, the target layer the model's own."""
    model = nn.Sequential(OrderedDict(model=given.model, after=module)).eval()
    return given.changed(model=model, layer=f"model.{given.layer}")


def before(given: Situation, module: nn.Module) -> Situation:
    """`x ↦ model(module(x))`: the images changed before the model reads them."""
    model = nn.Sequential(OrderedDict(before=module, model=given.model)).eval()
    return given.changed(model=model, layer=f"model.{given.layer}")


class Affine(nn.Module):
    """`z ↦ M z + c` of logits z (N×C): M is C'×C, c has C' numbers, 0 by default."""

    matrix: Tensor
    offset: Tensor

    def __init__(self, matrix: Tensor, offset: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("matrix", matrix)
        self.register_buffer("offset", matrix.new_zeros(len(matrix)) if offset is None else offset)

    def forward(self, logits: Tensor) -> Tensor:
        return F.linear(logits, self.matrix, self.offset)


def rescored(
    given: Situation, matrix: Tensor, offset: Tensor | None = None, *, folded: bool = False
) -> Situation:
    """Logits `M z + c` in place of z, see :class:`Affine`; folded: by the last Linear layer.

    Raises :class:`UsageError` for `folded` where the network is not a drawn one.
    """
    matrix = matrix.to(given.images)
    offset = None if offset is None else offset.to(given.images)
    if not folded:
        return after(given, Affine(matrix, offset))
    *layers, last = copy.deepcopy(head_of(given))
    weight, bias = weights_of(last)
    bias = None if bias is None else matrix @ bias
    if offset is not None:
        bias = offset if bias is None else bias + offset
    return reheaded(given, [*layers, linear(matrix @ weight, bias)])


class Rewired(nn.Module):
    """`x ↦ read(back(target(trunk(x))))` with `back(target(A)) = A`; target layer `target`.

    The same function of the image, with other channels or another layout at the target layer.
    """

    def __init__(
        self, trunk: nn.Module, target: nn.Module, back: nn.Module, read: nn.Module
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.target = target
        self.back = back
        self.read = read

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.read(self.back(self.target(self.trunk(images))))
        return logits


class Mixed(nn.Module):
    """`A ↦ Σ_k M_lk A_k` of maps A (N×K×h×w): M is L×K."""

    matrix: Tensor

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.register_buffer("matrix", matrix)

    def forward(self, maps: Tensor) -> Tensor:
        return torch.einsum("lk,nkij->nlij", self.matrix, maps)


class Added(nn.Module):
    """Maps (N×K×h×w) with one more channel: `size · (1 + (i + 2j) mod 5)` at cell (i, j).

    The first cell has ten times as much: a peak among what varies.
    """

    def __init__(self, size: float) -> None:
        super().__init__()
        self.size = size

    def forward(self, maps: Tensor) -> Tensor:
        down, across = (torch.arange(cells, device=maps.device) for cells in maps.shape[-2:])
        pattern = self.size * (1 + (down[:, None] + 2 * across) % 5).to(maps)
        pattern[0, 0] *= 10
        return torch.cat([maps, pattern.expand(len(maps), 1, -1, -1)], dim=1)


def rewired(
    given: Situation, target: nn.Module, back: nn.Module | Tensor, *, folded: bool = False
) -> Situation:
    """The situation with a :class:`Rewired` model, whose target layer is `target`.

    back: a module, or the matrix (K×L) of a :class:`Mixed` one. folded: the matrix is multiplied
    into the first Linear layer of the head, which then reads `target` directly. Raises
    :class:`NotApplicableError` where the model cannot be cut at its layer, and :class:`UsageError`
    for `folded` where the network is not a drawn one.
    """
    if isinstance(back, Tensor):
        back = back.to(given.images)
    if folded and isinstance(back, Tensor):
        trunk = given.model.get_submodule(LAYER)
        read: nn.Module = nn.Sequential(*_reading(copy.deepcopy(head_of(given)), back))
        back = nn.Identity()
    elif given.plan is not None:
        trunk, read = given.model.get_submodule(LAYER), given.model.get_submodule("head")
    else:
        try:
            cut = cut_at(given.model, given.layer, given.images[:1])
        except LayerError as error:
            raise NotApplicableError(f"the model cannot be rewired: {error}") from error
        if cut.trunk.grid.prefix:
            raise NotApplicableError(
                "the model cannot be rewired: its head reads prefix tokens too"
            )
        trunk, read = cut.trunk, cut.head
    back = Mixed(back) if isinstance(back, Tensor) else back
    return given.changed(model=Rewired(trunk, target, back, read).eval(), layer="target")


def _reading(head: list[nn.Module], back: Tensor) -> list[nn.Module]:
    """The layers of a head whose first Linear reads L channels in place of `back` of them."""
    place = next(i for i, layer in enumerate(head) if isinstance(layer, nn.Linear))
    weight, bias = weights_of(head[place])
    by_channel = weight.view(len(weight), len(back), -1)
    mixed = torch.einsum("okc,kl->olc", by_channel, back).flatten(1)
    return [*head[:place], linear(mixed, bias), *head[place + 1 :]]


def folds(given: Situation) -> SearchStrategy[bool]:
    """Whether a change is folded into the head: in drawn networks alone, and mostly there."""
    return st.just(False) if given.plan is None else st.sampled_from([True, True, True, False])


def head_of(given: Situation) -> list[nn.Module]:
    """The layers of a drawn network's head; raises :class:`UsageError` for another network."""
    if given.plan is None:
        raise UsageError(
            "only a drawn network has a head that is known layer by layer; this model is another "
            "one (its plan is None)"
        )
    return list(given.model.get_submodule("head").children())


def reheaded(given: Situation, layers: list[nn.Module]) -> Situation:
    """A drawn network with other layers in its head."""
    modules = OrderedDict(trunk=given.model.get_submodule(LAYER), head=nn.Sequential(*layers))
    return given.changed(model=nn.Sequential(modules).eval())


def linear(weight: Tensor, bias: Tensor | None = None) -> nn.Linear:
    """A Linear layer of this weight (O×I) and bias (O); no random number is drawn."""
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    made.weight = nn.Parameter(weight.clone())
    if bias is not None:
        made.bias = nn.Parameter(bias.clone())
    return made


def weights_of(layer: nn.Module) -> tuple[Tensor, Tensor | None]:
    """Weight (O×I) and bias (O) of a Linear layer; raises :class:`UsageError` for another one."""
    if not isinstance(layer, nn.Linear):
        raise UsageError(f"expected a Linear layer; got {type(layer).__name__}")
    bias: Tensor | None = layer.bias
    return layer.weight.detach(), None if bias is None else bias.detach()


class Seen(nn.Module):
    """`x ↦ model(change(x))`.

    The change is a function and no module: methods that look for the model's own layers find no
    other ones than before.
    """

    def __init__(self, model: nn.Module, change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.model = model
        self.change = change

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.model(self.change(images))
        return logits


def seen(given: Situation, change: Callable[[Tensor], Tensor]) -> Situation:
    """`x ↦ model(change(x))`, see :class:`Seen`; the images stay what they are."""
    return given.changed(model=Seen(given.model, change).eval(), layer=f"model.{given.layer}")


def copied(given: Situation) -> Situation:
    """The situation with a deep copy of its model; NotApplicableError where there is none."""
    try:
        model = copy.deepcopy(given.model)
    except Exception as error:
        raise NotApplicableError(f"the model cannot be copied: {error}") from error
    walled = model if given.walled is given.model else given.walled
    return given.changed(model=model, plan=given.plan, walled=walled)
