"""One network in training: a step, a validation, and its state."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from camaudit.errors import TrainingError
from camaudit.training.distributed import World
from camaudit.training.networks import NetworkSpec, apply_masks_, leaking, trainable
from camaudit.training.recipe import Recipe, make_optimiser

__all__ = ["Learner", "Scores"]

_TOP = 5


@dataclass
class Scores:
    """Sums over images: losses, correct first guesses, correct ones among five, and the count."""

    values: Tensor

    @classmethod
    def zero(cls, device: torch.device) -> Scores:
        """No image yet; float64 (4)."""
        kind = torch.float32 if device.type == "mps" else torch.float64
        return cls(torch.zeros(4, dtype=kind, device=device))

    def add(self, logits: Tensor, labels: Tensor, loss: Tensor) -> None:
        """The figures of a batch: `logits` (N×C), `labels` (N), their mean loss."""
        logits = logits.detach()
        best = logits.topk(min(_TOP, logits.shape[1]), dim=1).indices == labels[:, None]
        found = (loss.detach() * len(labels), best[:, 0].sum(), best.sum())
        for place, value in enumerate((*found, loss.new_tensor(len(labels)))):
            self.values[place] += value

    def means(self, classes: int, prefix: str) -> dict[str, float | None]:
        """Loss, top-1 and top-5 as means; top-5 is undefined for five classes or fewer."""
        total, top1, top5, count = self.values.tolist()
        if count == 0:
            return dict.fromkeys((f"{prefix}_loss", f"{prefix}_top1", f"{prefix}_top5"))
        return {
            f"{prefix}_loss": total / count,
            f"{prefix}_top1": top1 / count,
            f"{prefix}_top5": top5 / count if classes > _TOP else None,
        }


@dataclass(eq=False)
class Learner:
    """A network with its optimiser; `module` is what is trained, `network` what is kept.

    `leaks` counts the weights of dead features that a step had moved away from 0 before the mask
    was applied again; it should stay 0.
    """

    spec: NetworkSpec
    network: nn.Module
    module: nn.Module
    optimiser: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    world: World
    amp: bool
    sums: Scores
    leaks: int = 0
    bare: nn.Module = field(init=False)

    @classmethod
    def of(cls, spec: NetworkSpec, network: nn.Module, recipe: Recipe, world: World) -> Learner:
        """A network about to be trained on the world's device, channels last in memory."""
        network.to(world.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        module = trainable(spec, network).to(world.device)
        cuda = world.device.type == "cuda"
        amp = cuda if recipe.amp is None else recipe.amp
        learner = cls(
            spec, network, world.shared(module), make_optimiser(recipe, network.parameters()),
            torch.amp.GradScaler(world.device.type, enabled=amp and cuda), world, amp,
            Scores.zero(world.device),
        )  # fmt: skip
        learner.bare = module
        return learner

    def step(self, images: Tensor, labels: Tensor, *, lr: float, seed: int) -> None:
        """One optimiser step; afterwards every weight of a dead feature is exactly 0.

        Raises :class:`TrainingError` where one is not.
        """
        for group in self.optimiser.param_groups:
            group["lr"] = lr
        self.module.train()
        torch.manual_seed(seed)
        logits = self._logits(self.module, images)
        loss = F.cross_entropy(logits, labels)
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.sums.add(logits, labels, loss)
        self._remask()

    def validate(self, batches: Iterable[tuple[Tensor, Tensor]]) -> Scores:
        """The scores on this process's part of the validation images, summed over all."""
        self.module.eval()
        self.world.same(self.network)
        scores = Scores.zero(self.world.device)
        with torch.no_grad():
            for images, labels in batches:
                logits = self._logits(self.bare, images)
                scores.add(logits, labels, F.cross_entropy(logits, labels))
        self.world.sum(scores.values)
        return scores

    def require_finite(self, place: str) -> None:
        """Raise :class:`TrainingError` where the loss is NaN or infinite."""
        if not bool(torch.isfinite(self.sums.values[0])):
            raise TrainingError(
                f"the loss is not finite {place}: training diverged; lower --lr (the last "
                "checkpoint is unchanged)"
            )

    def state(self) -> dict[str, Any]:
        """Weights, optimiser and gradient scaler."""
        return {
            "network": self.network.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "leaks": self.leaks,
        }

    def restore(self, state: dict[str, Any], sums: list[float]) -> None:
        """Go on from :meth:`state`."""
        self.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.scaler.load_state_dict(state["scaler"])
        self.leaks = int(state["leaks"])
        self.sums.values.copy_(torch.tensor(sums, dtype=self.sums.values.dtype))

    def _logits(self, module: nn.Module, images: Tensor) -> Tensor:
        half = torch.float16 if images.device.type == "cuda" else torch.bfloat16
        with torch.autocast(images.device.type, dtype=half, enabled=self.amp):
            logits: Tensor = module(images)
        return logits.float()

    def _remask(self) -> None:
        moved = leaking(self.network)
        if moved:
            self.leaks += moved
            apply_masks_(self.network)
            if leaking(self.network):
                raise TrainingError("the mask does not hold: weights of dead features are not 0")
