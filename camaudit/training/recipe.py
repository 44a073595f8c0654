"""The training recipe: the paper's, one for small images, and any change of a single setting."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from camaudit.errors import UsageError

__all__ = ["PRESETS", "Recipe", "learning_rate", "make_optimiser", "recipe"]

Optimiser = Literal["sgd", "adam", "adamw", "rmsprop"]
Schedule = Literal["step", "cosine", "constant"]
Crop = Literal["area", "shift", "none"]

_WARM_UP = 0.1  # of the run, for the cosine schedule
_ADAPTIVE_LR = 1e-3


@dataclass(frozen=True)
class Recipe:
    """How a network is trained; every field may be changed on its own.

    `schedule`: "step" multiplies the learning rate by `gamma` every `step_epochs` epochs; "cosine"
    raises it over the first tenth of the run and lowers it to 0 along a cosine. `crop`: "area"
    cuts a part of 10-100 % of the image (aspect 0.8-1.25) and resizes it; "shift" moves the image
    by up to 1/16 of its side, mirrored at the border. `flip`: left-right, with probability ½.
    `amp`: mixed precision; None means on CUDA alone.
    """

    epochs: int
    batch_size: int
    lr: float
    optimiser: Optimiser = "sgd"
    momentum: float = 0.9
    nesterov: bool = False
    weight_decay: float = 1e-4
    schedule: Schedule = "step"
    step_epochs: int = 30
    gamma: float = 0.1
    crop: Crop = "area"
    flip: bool = True
    amp: bool | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


PRESETS = {
    "paper": Recipe(epochs=90, batch_size=256, lr=0.03),
    "small": Recipe(
        epochs=18, batch_size=64, lr=0.05, nesterov=True, weight_decay=5e-4, schedule="cosine",
        crop="shift", amp=False,
    ),
}  # fmt: skip
"""`paper`: *CAM-Based Methods Can See through Walls*, the authors' ImageNet run. `small`: for
images of 28-64 px."""


def recipe(preset: str, **changes: Any) -> Recipe:
    """A preset with those of `changes` that are not None.

    Raises :class:`UsageError` for an unknown preset, or a setting out of range.
    """
    if preset not in PRESETS:
        raise UsageError(f"expected a preset among {', '.join(PRESETS)}; got {preset!r}")
    given = {name: value for name, value in changes.items() if value is not None}
    if given.get("optimiser", "sgd") != "sgd":
        given.setdefault("lr", _ADAPTIVE_LR)
    made = replace(PRESETS[preset], **given)
    _check(made)
    return made


def learning_rate(recipe: Recipe, step: int, steps_per_epoch: int) -> float:
    """The learning rate of a step, counted from 0 over the whole run."""
    if recipe.schedule == "constant":
        return recipe.lr
    if recipe.schedule == "step":
        return recipe.lr * recipe.gamma ** (step // (steps_per_epoch * recipe.step_epochs))
    done = (step + 1) / (recipe.epochs * steps_per_epoch + 1)
    if done < _WARM_UP:
        return recipe.lr * done / _WARM_UP
    return recipe.lr * (1 + math.cos(math.pi * (done - _WARM_UP) / (1 - _WARM_UP))) / 2


def make_optimiser(recipe: Recipe, parameters: Iterable[Tensor]) -> torch.optim.Optimizer:
    """The optimiser, its learning rate to be set before each step."""
    weights = list(parameters)
    lr, decay = recipe.lr, recipe.weight_decay
    fused = all(weight.device.type in ("cpu", "cuda") for weight in weights)
    if recipe.optimiser == "sgd":
        return torch.optim.SGD(
            weights, lr=lr, momentum=recipe.momentum, weight_decay=decay,
            nesterov=recipe.nesterov and recipe.momentum > 0, fused=fused,
        )  # fmt: skip
    if recipe.optimiser == "rmsprop":
        return torch.optim.RMSprop(weights, lr=lr, momentum=recipe.momentum, weight_decay=decay)
    kind = torch.optim.AdamW if recipe.optimiser == "adamw" else torch.optim.Adam
    return kind(weights, lr=lr, weight_decay=decay, fused=fused)


def _check(made: Recipe) -> None:
    for name, kinds in (("optimiser", Optimiser), ("schedule", Schedule), ("crop", Crop)):
        if getattr(made, name) not in get_args(kinds):
            allowed = ", ".join(get_args(kinds))
            raise UsageError(f"expected {name} among {allowed}; got {getattr(made, name)!r}")
    for name in ("epochs", "batch_size", "step_epochs"):
        if getattr(made, name) < 1:
            raise UsageError(f"expected {name} of 1 or more; got {getattr(made, name)}")
    for name, low, high in (
        ("lr", 0.0, math.inf),
        ("momentum", 0.0, 1.0),
        ("weight_decay", 0.0, math.inf),
        ("gamma", 0.0, math.inf),
    ):
        value = getattr(made, name)
        inside = low <= value < high and (value > 0 or name not in ("lr", "gamma"))
        if not inside:
            raise UsageError(f"{name} is out of range: got {value}")
