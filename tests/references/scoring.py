"""What the references have in common: scores of one picture, and ReLU of a sum over the cells."""

from collections.abc import Callable

import torch
from torch import Tensor

from camaudit.maps import blur

from .cams import Network

Score = Callable[[Tensor], Tensor]


def chosen(score: Score | None, target: int) -> Score:
    """``score``, or the logit of the target: logits (M×C) to scores (M)."""
    return (lambda logits: logits[:, target]) if score is None else score


def score_of(network: Network, single: Tensor, target: int, score: Score | None) -> float:
    """s: the score of one input, which is sent through the network alone (n = 1)."""
    with torch.no_grad():
        logits = network(single.unsqueeze(0)).to(torch.float64)
        return float(chosen(score, target)(logits)[0])


def probability_of(network: Network, single: Tensor, target: int, score: Score | None) -> float:
    """p: the same score, taken of softmax(logits)."""
    return score_of(lambda x: network(x).to(torch.float64).softmax(1), single, target, score)


def blurred(image: Tensor, sigma: float) -> Tensor:
    """Gaussian blur of one (C, H, W) image in float64."""
    return blur(image.to(torch.float64)[None], sigma=sigma)[0]


def reference_picture(image: Tensor, baseline: str, sigma: float) -> Tensor | None:
    """x_b of a baseline: "none" (there is none), "black", "input" or "blur"."""
    if baseline == "none":
        return None
    if baseline == "black":
        return torch.zeros(image.shape, dtype=torch.float64)
    if baseline == "input":
        return image.to(torch.float64)
    if baseline == "blur":
        return blurred(image, sigma)
    raise ValueError(f"unknown baseline {baseline!r}")
