"""What an explainer is asked: a model, a layer of it, images and the classes to explain."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from camaudit.errors import UsageError
from camaudit.invariance.networks import LAYER, build
from camaudit.invariance.plan import Plan
from camaudit.probability import link_of
from camaudit.walls import WalledModel, insert_wall

__all__ = ["Drawn", "ImageKind", "Situation", "drawn_images"]

ImageKind = str  #: "normal", "uniform", "constant" or "zero"
IMAGE_KINDS = ("uniform", "normal", "constant", "zero")


@dataclass(frozen=True, eq=False)
class Situation:
    """A question to an explainer.

    model: in eval mode; images N×C×H×W to logits N×C. `layer`: its target layer by the name in
    `named_modules()`. images (N×C×H×W) and targets (N, int64). `plan` is that of a drawn network,
    None for a model of the user's own or a network that a transformation has changed. `walled` is
    the wall, where there is one; the model then cannot see the pixels of its dead zone.
    """

    model: nn.Module
    layer: str
    images: Tensor
    targets: Tensor
    plan: Plan | None = None
    walled: WalledModel | None = None

    def changed(self, **fields: Any) -> Situation:
        """The same situation with some fields replaced; another model has no plan."""
        if "model" in fields:
            fields = {"plan": None, **fields}
            link = link_of(self.model)
            if link_of(fields["model"]) != link:  # a rebuilt model says nothing of its own
                fields["model"].link = link
        return replace(self, **fields)

    def rows(self, order: list[int]) -> Situation:
        """Only these images, in this order."""
        chosen = torch.tensor(order, device=self.images.device)
        return self.changed(images=self.images[chosen], targets=self.targets[chosen])

    def logits(self) -> Tensor:
        """Logits (N×C) of the images, without autograd."""
        with torch.no_grad():
            logits: Tensor = self.model(self.images)
        return logits


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A drawn situation as plain values, from which it is made again exactly.

    `images` of `kind`, drawn from `seed`: "normal", "uniform" in [0, 1), "constant" (one value
    in the whole image) or "zero". `live_rows` puts a wall behind so many rows of the target layer.
    """

    plan: Plan
    targets: tuple[int, ...]
    kind: ImageKind = "uniform"
    seed: int = 0
    live_rows: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in IMAGE_KINDS:
            raise UsageError(f"expected images of {', '.join(IMAGE_KINDS)}; got {self.kind!r}")
        if not self.targets or not all(0 <= t < self.plan.classes for t in self.targets):
            raise UsageError(
                f"expected at least one target in 0 … {self.plan.classes - 1}; got {self.targets}"
            )

    def situation(self) -> Situation:
        """Build the network, with its wall, and the images."""
        plan = self.plan
        model, layer = build(plan), LAYER
        images = drawn_images(self.kind, len(self.targets), plan, self.seed)
        targets = torch.tensor(self.targets)
        if self.live_rows is None:
            return Situation(model, layer, images, targets, plan)
        walled = insert_wall(model, layer, images[:1], live_rows=self.live_rows)
        return Situation(walled, "trunk", images, targets, None, walled)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, read back by :meth:`from_dict`."""
        return {**vars(self), "plan": self.plan.to_dict(), "targets": list(self.targets)}

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Drawn:
        """What :meth:`to_dict` wrote; raises :class:`UsageError` for anything else."""
        try:
            plan, targets = Plan.from_dict(values["plan"]), tuple(values["targets"])
            return Drawn(**{**values, "plan": plan, "targets": targets})
        except (KeyError, TypeError) as error:
            raise UsageError(f"expected a drawn situation as to_dict writes it; {error}") from error


def drawn_images(kind: ImageKind, count: int, plan: Plan, seed: int) -> Tensor:
    """`count` images (N×C×H×W, float64) for a plan, see :class:`Drawn`."""
    generator = torch.Generator().manual_seed(seed)
    shape = (count, plan.channels, plan.height, plan.width)
    if kind == "zero":
        return torch.zeros(shape, dtype=torch.float64)
    if kind == "constant":
        level = torch.rand(count, 1, 1, 1, generator=generator, dtype=torch.float64)
        return level.expand(shape).clone()
    if kind == "normal":
        return torch.randn(shape, generator=generator, dtype=torch.float64)
    return torch.rand(shape, generator=generator, dtype=torch.float64)
