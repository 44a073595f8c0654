"""One forward and one gradient of the head: everything that saliency methods read.

`A` = output of the target layer (N×K×h×w), `G = ∂s/∂A`, `s` the score that is explained (the
target logit unless an :class:`camaudit.objective.Objective` says otherwise). The trunk runs
without autograd and the gradient stops at `A`: nothing below the target layer is differentiated,
and no parameter's `.grad` is touched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor

from camaudit.errors import DegenerateModelError, NotApplicableError, UsageError
from camaudit.linear_head import pooled_linear_weight
from camaudit.objective import Objective, Score
from camaudit.probability import Link, link_of, probabilities

__all__ = ["Capture", "Divided", "Forwards", "capture"]

_TENSORS = ("images", "activations", "gradients", "logits", "targets", "scores")


class Divided(Protocol):
    """A model cut at its target layer (a :class:`camaudit.cut.Cut`, with or without a wall).

    More is optional. `link` says what turns logits into probabilities; softmax where it is
    missing. `at(layer, example) → Divided` is the same model, logits included, cut at an earlier
    layer, and `stages(example) → list[str]` names layers for it, earliest first and the target
    layer last (`example` is 1×C×H×W). `frame`, the pixel box (top, left, height, width) that the
    module `framed` alone reads in `logits`, is missing or None where everything reads the whole
    image.

    `look(images) → (activations, rest)` is there where the target layer may have tokens that
    belong to no cell (a class token): they are each image's `rest` (N×p×K, None where there are
    none), and `read(activations, rest)` then needs those of its M activations. Methods that
    follow attention read `grid`, `keep`, `model`, `whole` and `after` besides, see
    :class:`camaudit.methods.blocks.Transformer`.
    """

    def trunk(self, images: Tensor) -> Tensor:
        """Activations (N×K×h×w) of images (N×C×H×W)."""

    def read(self, activations: Tensor) -> Tensor:
        """Logits (M×C) of activations (M×K×h×w)."""

    def logits(self, images: Tensor) -> Tensor:
        """Logits (N×C) of images."""


class Forwards(Protocol):
    """How masked images are run: logits (M×C) of at most `batch_size` images at a time."""

    @property
    def batch_size(self) -> int:
        """Images in one call."""

    def __call__(self, images: Tensor) -> Tensor:
        """Logits (M×C) of images (M×C×H×W)."""


@dataclass(frozen=True, eq=False)
class Capture:
    """What a batch left at the target layer.

    images (N×C×H×W), activations and gradients (N×K×h×w), logits (N×C), targets (N, int64) and
    scores (N). `read` maps M×K×h×w to logits M×C and `model` M×C×H×W to logits M×C; both can be
    differentiated, and :func:`camaudit.methods.compute` runs methods without autograd.
    `head` is the divided model's own `read`, which of a token grid takes the `rest` too (N×p×K, the
    prefix tokens of each image; None where there are none).
    `linear_weight()` is the class weight (C×K) of a pooled Linear head or raises
    :class:`camaudit.errors.NotApplicableError`. `objective` binds logits to scores.
    `batch_size` bounds the images of one perturbation forward. `memo` holds, for each image, what
    methods have in common (the logits of masked images).
    """

    images: Tensor
    activations: Tensor
    gradients: Tensor
    logits: Tensor
    targets: Tensor
    scores: Tensor
    head: Callable[..., Tensor]
    model: Callable[[Tensor], Tensor]
    linear_weight: Callable[[], Tensor]
    objective: Score
    divided: Divided
    batch_size: int = 16
    rest: Tensor | None = None
    memo: tuple[dict[Any, Any], ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._share(tuple({} for _ in self.images))

    def _share(self, memo: tuple[dict[Any, Any], ...]) -> Capture:
        """Take over what another capture of the same activations has computed already."""
        object.__setattr__(self, "memo", memo)
        return self

    def __len__(self) -> int:
        return len(self.images)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width (H, W) of the images."""
        return int(self.images.shape[-2]), int(self.images.shape[-1])

    @property
    def link(self) -> Link:
        """What turns logits into probabilities, the divided model's `link`."""
        return link_of(self.divided)

    def rows(self, start: int, stop: int) -> Capture:
        """The capture of images start … stop − 1, without computing anything again."""
        sliced: dict[str, Any] = {name: getattr(self, name)[start:stop] for name in _TENSORS}
        rest = None if self.rest is None else self.rest[start:stop]
        part = replace(self, **sliced, rest=rest, objective=self.objective.rows(start, stop))
        return part._share(self.memo[start:stop])

    def read(self, activations: Tensor, row: int | None = None) -> Tensor:
        """Logits (M×C) of activations (M×K×h×w) of all images in order, or all of image `row`.

        All images may come several times over: M is a multiple of N then. Each is read with the
        prefix tokens of its own image, where the layer has any.
        """
        if self.rest is None:
            return self.head(activations)
        rest = self.rest if row is None else self.rest[row : row + 1]
        return self.head(activations, rest.repeat(len(activations) // len(rest), 1, 1))

    def score(self, logits: Tensor, row: int) -> Tensor:
        """Scores (M) of logits (M×C) that all belong to image `row`."""
        return self.objective(logits, torch.full((len(logits),), row, device=logits.device))

    def probability(self, logits: Tensor, row: int) -> Tensor:
        """The score (M) of the probabilities (by `link`) instead of the logits (M×C).

        In float64, where the device has it: of two probabilities near 1 float32 leaves a
        difference of 1e-5 two digits.
        """
        wide = torch.float32 if logits.device.type == "mps" else torch.float64
        return self.score(probabilities(logits, self.link, dtype=wide), row)

    def gradient_at(self, activations: Tensor, objective: Score | None = None) -> Tensor:
        """`∂s/∂A` (N×K×h×w) of the head at other activations of the same images."""
        score = objective or self.objective
        return _differentiated(self.read, activations, lambda _: score)[3]

    def explaining(self, objective: Objective, *, targets: Tensor | None = None) -> Capture:
        """The same images and activations, explained by another score; one head pass.

        `targets` (N, int64) default to the present ones. Masked images are not run again.
        """
        classes = self.targets if targets is None else _resolve_targets(targets, self.logits)
        bound = objective.bind(self.logits, classes)
        _, _, scores, gradients = _differentiated(self.read, self.activations, lambda _: bound)
        other = replace(self, gradients=gradients, targets=classes, scores=scores, objective=bound)
        return other._share(self.memo)

    def stages(self, count: int | None = None) -> list[str]:
        """Layers for :meth:`at`, earliest first and the target layer last; the last `count`.

        There is one for each larger size of maps before the target layer. Raises
        :class:`NotApplicableError` where the divided model knows none.
        """
        if count is not None and count < 1:
            raise UsageError(f"count must be at least 1; got {count}")
        names: list[str] = self._optional("stages")(self.images[:1])
        return names if count is None else names[-count:]

    def at(self, layer: str) -> Capture:
        """The same images, targets and score at an earlier layer; one trunk and one head pass.

        Activations and gradients are that layer's, the logits stay what they are. Raises
        :class:`LayerError` for a layer that is unknown, later or not the only path to the logits,
        and :class:`NotApplicableError` where the divided model cannot be cut there.
        """
        stage: Divided = self._optional("at")(layer, self.images[:1])
        if stage is self.divided:
            return self
        activations, rest = _looked(stage, self.images)
        logits, _, scores, gradients = _differentiated(
            partial(_read, stage.read, rest), activations, lambda _: self.objective
        )
        return replace(
            self,
            activations=activations,
            gradients=gradients,
            logits=logits,
            scores=scores,
            head=stage.read,
            linear_weight=lambda: pooled_linear_weight(stage, activations, rest),
            divided=stage,
            rest=rest,
        )

    def _optional(self, name: str) -> Callable[..., Any]:
        """What a divided model may have; :class:`NotApplicableError` where this one does not."""
        found: Callable[..., Any] | None = getattr(self.divided, name, None)
        if found is None:
            raise NotApplicableError(
                f"{type(self.divided).__name__} cannot be looked at in other layers than its "
                f"target layer (it has no {name!r})"
            )
        return found

    def again(self, images: Tensor) -> Capture:
        """The capture of other images (N×C×H×W) with the same score, image for image."""
        activations, rest = _looked(self.divided, images)
        logits, _, scores, gradients = _differentiated(
            partial(_read, self.head, rest), activations, lambda _: self.objective
        )
        return replace(
            self,
            images=images,
            activations=activations,
            gradients=gradients,
            logits=logits,
            scores=scores,
            rest=rest,
        )


def capture(
    divided: Divided,
    images: Tensor,
    *,
    targets: Tensor | None = None,
    objective: Objective | None = None,
    batch_size: int = 16,
    forwards: Forwards | None = None,
) -> Capture:
    """Run `divided` once on `images` (N×C×H×W) and differentiate its head once.

    `targets` (N, int64) defaults to the model's top-1, `objective` to the target's logit.
    `forwards` (of :func:`camaudit.engine.prepare`) runs masked images, and brings its own
    `batch_size`; without it the divided model's own `logits` does. Raises
    :class:`DegenerateModelError` where logits are not finite and :class:`UsageError` for targets
    or objectives that do not fit.
    """
    activations, rest = _looked(divided, images)

    def bind(logits: Tensor) -> Score:
        return (objective or Objective()).bind(logits, _resolve_targets(targets, logits))

    logits, bound, scores, gradients = _differentiated(
        partial(_read, divided.read, rest), activations, bind
    )
    return Capture(
        images=images,
        activations=activations,
        gradients=gradients,
        logits=logits,
        targets=bound.classes,
        scores=scores,
        head=divided.read,
        model=forwards or divided.logits,
        linear_weight=lambda: pooled_linear_weight(divided, activations, rest),
        objective=bound,
        divided=divided,
        batch_size=forwards.batch_size if forwards else batch_size,
        rest=rest,
    )


def _looked(divided: Divided, images: Tensor) -> tuple[Tensor, Tensor | None]:
    """Activations and rest of images, detached."""
    look = getattr(divided, "look", None)
    with torch.no_grad():
        activations, rest = look(images) if look else (divided.trunk(images), None)
    return activations.detach(), None if rest is None else rest.detach()


def _read(head: Callable[..., Tensor], rest: Tensor | None, activations: Tensor) -> Tensor:
    return head(activations) if rest is None else head(activations, rest)


def _differentiated(
    head: Callable[[Tensor], Tensor], activations: Tensor, bind: Callable[[Tensor], Score]
) -> tuple[Tensor, Score, Tensor, Tensor]:
    """Logits, the score that `bind` makes of them, its values and `∂s/∂A`, all detached."""
    with torch.inference_mode(False), torch.enable_grad():
        leaf = activations.detach().clone().requires_grad_(True)
        logits = head(leaf)
        score = bind(logits.detach())
        scores = score(logits, torch.arange(len(logits), device=logits.device))
        (gradients,) = torch.autograd.grad(scores.sum(), leaf)
    return logits.detach(), score, scores.detach(), gradients


def _resolve_targets(targets: Tensor | None, logits: Tensor) -> Tensor:
    if not bool(torch.isfinite(logits).all()):
        bad = (~torch.isfinite(logits).all(dim=1)).nonzero().flatten().tolist()
        raise DegenerateModelError(
            f"the model's logits are NaN or infinite for {len(bad)} of {len(logits)} image(s) "
            f"(rows {bad[:5]} of the batch): there is no decision to explain; check the weights "
            "and the preprocessing"
        )
    if targets is None:
        return logits.argmax(dim=1)
    if targets.is_floating_point() or targets.dtype == torch.bool:
        raise UsageError(f"target classes must be integers; got {targets.dtype}")
    targets = targets.to(device=logits.device, dtype=torch.int64)
    if targets.shape != logits.shape[:1]:
        raise UsageError(
            f"expected one target class an image, {len(logits)} in all; got shape "
            f"{tuple(targets.shape)}"
        )
    if bool(((targets < 0) | (targets >= logits.shape[1])).any()):
        raise UsageError(
            f"target classes must be 0 to {logits.shape[1] - 1}; got {targets.tolist()[:5]}"
        )
    return targets
