"""Faults in what is explained: another score, another class."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.invariance.literal import LITERAL, nearest, target_logit
from tests.invariance.planting import planted, step


def negated(logits: Tensor, targets: Tensor) -> Tensor:
    """`−s_c`."""
    return -target_logit(logits, targets)


def probability(logits: Tensor, targets: Tensor) -> Tensor:
    """`p_c`."""
    return target_logit(logits.softmax(dim=1), targets)


def log_probability(logits: Tensor, targets: Tensor) -> Tensor:
    """`log p_c`."""
    return target_logit(logits.log_softmax(dim=1), targets)


def loss(logits: Tensor, targets: Tensor) -> Tensor:
    """`−log p_c`."""
    return -log_probability(logits, targets)


def sum_of_logits(logits: Tensor, _targets: Tensor) -> Tensor:
    """`Σ_d s_d`."""
    return logits.sum(dim=1)


def less_mean(logits: Tensor, targets: Tensor) -> Tensor:
    """`s_c − mean_d s_d`."""
    return target_logit(logits, targets) - logits.mean(dim=1)


def squared(logits: Tensor, targets: Tensor) -> Tensor:
    """`s_c²`."""
    return target_logit(logits, targets) ** 2


def largest(logits: Tensor, _targets: Tensor) -> Tensor:
    """`max_d s_d`."""
    return logits.amax(dim=1)


def following(logits: Tensor, targets: Tensor) -> Tensor:
    """`s_{c+1}`, that of class 0 for the last class."""
    return target_logit(logits, (targets + 1) % logits.shape[1])


def class_0(logits: Tensor, _targets: Tensor) -> Tensor:
    """`s_0`."""
    return logits[:, 0]


def of_first(logits: Tensor, targets: Tensor) -> Tensor:
    """The logit of the first image's class."""
    return target_logit(logits, targets[:1].expand(len(logits)))


def ranked(logits: Tensor, targets: Tensor) -> Tensor:
    """The logit of rank c."""
    return target_logit(logits.sort(dim=1, descending=True).values, targets)


def against(logits: Tensor, targets: Tensor, strength: float) -> Tensor:
    """`s_c − strength · mean_t s_t` over the nearest classes t."""
    rows = zip(logits, targets, strict=True)
    return torch.stack(
        [row[target] - strength * row[nearest(row.detach(), target)].mean() for row, target in rows]
    )


def added(logits: Tensor, targets: Tensor) -> Tensor:
    """`s_c + 0.6 mean_t s_t`."""
    return against(logits, targets, -0.6)


def detached(logits: Tensor, targets: Tensor) -> Tensor:
    """`s_c − 0.6 mean_t s_t` whose second term has no gradient."""
    own = target_logit(logits, targets)
    return own + (against(logits, targets, 0.6) - own).detach()


def summed(logits: Tensor, targets: Tensor) -> Tensor:
    """`s_c − 0.6 Σ_t s_t`."""
    rows = zip(logits, targets, strict=True)
    return torch.stack(
        [row[target] - 0.6 * row[nearest(row.detach(), target)].sum() for row, target in rows]
    )


def first_others(logits: Tensor, targets: Tensor) -> Tensor:
    """`s_c − 0.6 mean_t s_t` over the first three classes that are not c."""
    rows = []
    for row, target in zip(logits, targets, strict=True):
        nearest(row.detach(), target)  # refuses a single class, as the right one does
        others = [place for place in range(len(row)) if place != int(target)][:3]
        rows.append(row[target] - 0.6 * row[others].mean())
    return torch.stack(rows)


step("gradcam", "negated", "differentiates −s_c", score=negated)
step("gradcam", "softmax", "differentiates the probability, not the logit", score=probability)
step("hirescam", "log-softmax", "differentiates the log-softmax", score=log_probability)
step("layercam", "loss", "differentiates the loss, which has the opposite sign", score=loss)
step("layercam", "sum-of-logits", "differentiates the sum of all logits", score=sum_of_logits)
step("gradcam", "less-mean-logit", "subtracts the mean of all logits first", score=less_mean)
step("hirescam", "squared-score", "differentiates s_c²", score=squared)
step("xgradcam", "argmax", "explains the predicted class whatever is asked", score=largest)
step("gradcam", "next-class", "explains class c + 1", score=following)
step("hirescam", "class-0", "explains class 0 whatever is asked", score=class_0)
step("gradcam++", "first-target", "explains all images for the first one's class", score=of_first)
step("elementwise", "ranked-class", "explains the c-th largest logit", score=ranked)
step("reciprocam", "probability", "scores cells by the probability", score=probability)
step("ablationcam", "probability", "scores ablations by the probability", score=probability)
step("scorecam", "probability", "scores masks by the probability", score=probability)
step("finercam", "added", "adds the nearest classes' logits", score=added)
step("finercam", "detached", "detaches the nearest classes' logits", score=detached)
step("finercam", "summed", "subtracts the nearest logits' sum, not their mean", score=summed)
step(
    "finercam", "first-others", "contrasts with the first classes, near or not", score=first_others
)


@planted("gradcam", "sorted-targets", "sorts the targets: images get each other's class")
def sorted_targets(model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
    """Grad-CAM of the wrong classes wherever the targets are not in order."""
    return LITERAL["gradcam"](model, layer, images, targets.sort().values)
