"""What a map explains: the scalar score made of the logits, and its derivative's direction.

The class logit is the default. The contrastive score subtracts the logits of other classes, the
counterfactual one turns the sign, and any callable of the logits can take its place.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from camaudit.errors import NotApplicableError, UsageError

__all__ = ["Objective", "Score", "contrastive", "counterfactual", "custom"]

ScoreFunction = Callable[[Tensor], Tensor]


@dataclass(frozen=True, eq=False)
class Objective:
    """`s = sign · (s_c − strength · mean_r s_{d_r})`, or `s = sign · function(logits)`.

    against: R, the number of other classes taken by nearest logit, or the classes themselves
    (int64, R or N×R); 0 for none. `function` maps logits (M×C) to scores (M).
    """

    against: int | Tensor = 0
    strength: float = 1.0
    sign: float = 1.0
    function: ScoreFunction | None = None

    def bind(self, logits: Tensor, classes: Tensor) -> Score:
        """The score of these images: `logits` (N×C) and `classes` (N, int64) fix the others."""
        against = self.against
        if isinstance(against, int):
            others = None if against == 0 else _nearest(logits.detach(), classes, against)
        else:
            others = _given(against, logits, classes)
        return Score(classes, others, self.strength, self.sign, self.function)


@dataclass(frozen=True, eq=False)
class Score:
    """An objective bound to N images: `classes` (N) and the classes `against` them (N×R)."""

    classes: Tensor
    against: Tensor | None
    strength: float
    sign: float
    function: ScoreFunction | None

    def __call__(self, logits: Tensor, rows: Tensor) -> Tensor:
        """Scores (M) of logits (M×C) of which the m-th belongs to image `rows[m]`."""
        if self.function is not None:
            return self.sign * _custom(self.function, logits)
        scores = logits.gather(1, self.classes[rows][:, None]).squeeze(1)
        if self.against is not None:
            scores = scores - self.strength * logits.gather(1, self.against[rows]).mean(dim=1)
        return scores if self.sign == 1 else self.sign * scores

    def rows(self, start: int, stop: int) -> Score:
        """The scores of images start … stop − 1."""
        against = None if self.against is None else self.against[start:stop]
        return replace(self, classes=self.classes[start:stop], against=against)

    def repeated(self, times: int) -> Score:
        """The scores of N·times images, of which each `times` in a row share one of these."""
        against = None if self.against is None else self.against.repeat_interleave(times, dim=0)
        classes = self.classes.repeat_interleave(times)
        return replace(self, classes=classes, against=against)

    def coefficients(self, like: Tensor) -> Tensor:
        """`v` (N×C) with `s_n = v_n · logits_n`; `like` (M×C) gives width, dtype and device.

        Raises :class:`NotApplicableError` for a custom function, which need not be linear.
        """
        if self.function is not None:
            raise NotApplicableError(
                "this method needs a score that is linear in the logits; a custom function is "
                "not known to be (use a class, contrastive or counterfactual objective)"
            )
        v = like.new_zeros(len(self.classes), like.shape[1])
        v.scatter_(1, self.classes[:, None], 1)
        if self.against is not None:
            share = self.strength / self.against.shape[1]
            v.scatter_add_(
                1, self.against, torch.full_like(self.against, 1, dtype=v.dtype) * -share
            )
        return self.sign * v


def contrastive(against: int | Tensor = 1, *, strength: float = 1.0) -> Objective:
    """`s_c − strength · mean_r s_{d_r}`: what speaks for c rather than for the classes d.

    `against`: how many classes of nearest logit (Zhang et al. 2025, Finer-CAM), or the classes.
    """
    if isinstance(against, int) and against < 1:
        raise UsageError(f"a contrast needs at least one other class; got {against}")
    return Objective(against=against, strength=strength)


def counterfactual() -> Objective:
    """`−s_c`: what speaks against the class (Selvaraju et al. 2017, section 3.3)."""
    return Objective(sign=-1.0)


def custom(function: ScoreFunction) -> Objective:
    """`function(logits)`: any differentiable map of logits (M×C) to scores (M), row by row."""
    return Objective(function=function)


def _nearest(logits: Tensor, classes: Tensor, count: int) -> Tensor:
    """The classes (N×R) of nearest logit to the target's own, itself left out."""
    available = min(count, logits.shape[1] - 1)
    if available < 1:
        raise UsageError("a contrast needs a model with at least two classes")
    own = logits.gather(1, classes[:, None])
    distances = (logits - own).abs().scatter(1, classes[:, None], torch.inf)
    return distances.sort(dim=1, stable=True).indices[:, :available]


def _given(against: Tensor, logits: Tensor, classes: Tensor) -> Tensor:
    if against.dtype == torch.bool or against.is_floating_point():
        raise UsageError(f"classes to contrast with must be integers; got {against.dtype}")
    against = against.to(device=logits.device, dtype=torch.int64)
    if against.ndim == 1:
        against = against.expand(len(classes), -1)
    if against.ndim != 2 or len(against) != len(classes) or not against.shape[1]:
        raise UsageError(
            f"expected the classes to contrast with as R or {len(classes)}×R; got shape "
            f"{tuple(against.shape)}"
        )
    if bool(((against < 0) | (against >= logits.shape[1])).any()):
        raise UsageError(f"classes to contrast with must be 0 to {logits.shape[1] - 1}")
    if bool((against == classes[:, None]).any()):
        raise UsageError("a class cannot be contrasted with itself")
    return against.contiguous()


def _custom(function: ScoreFunction, logits: Tensor) -> Tensor:
    scores = function(logits)
    if not isinstance(scores, Tensor) or scores.shape != logits.shape[:1]:
        came = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise UsageError(
            f"a custom objective must return one score a row, shape ({len(logits)},); got {came}"
        )
    return scores
