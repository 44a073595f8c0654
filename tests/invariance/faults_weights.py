"""Faults in the formulas of methods that weigh maps by gradients, or by nothing at all."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.invariance.literal import (
    Seen,
    Weights,
    class_row,
    combined,
    conserving_weights,
    curved,
    final_linear,
    mean_gradient,
    plus_plus,
    weighted,
)
from tests.invariance.planting import step


def weighing(claims: str, name: str, fault: str, weights: Weights) -> None:
    """Add the method with other channel weights."""
    step(claims, name, fault, map=weighted(weights))


def blurred(maps: Tensor) -> Tensor:
    """Each cell (of N×K×h×w) averaged with its neighbours that lie inside."""
    return F.avg_pool2d(maps, 3, stride=1, padding=1, count_include_pad=False)


def nonzero(values: Tensor) -> Tensor:
    """The values, 1 where they are 0."""
    return torch.where(values == 0, 1, values)


def strongest(weights: Tensor) -> Tensor:
    """The larger half of the weights (N×K), 0 for the others."""
    kept = weights.abs().topk((weights.shape[1] + 1) // 2, dim=1).indices
    return torch.zeros_like(weights).scatter(1, kept, weights.gather(1, kept))


def numbers(seen: Seen) -> Tensor:
    """0 … K − 1."""
    return torch.arange(seen.A.shape[1]).to(seen.A)


def total(seen: Seen) -> Tensor:
    """`Σ_ij A_kij` (N×K)."""
    return seen.A.sum(dim=(2, 3))


def product(seen: Seen) -> Tensor:
    """`Σ_ij G_kij A_kij` (N×K)."""
    return (seen.G * seen.A).sum(dim=(2, 3))


def alpha(seen: Seen, below: Tensor) -> Tensor:
    """`Σ_ij G² ReLU(G) / below` (N×K), terms 0 where G is not positive."""
    share = torch.where(seen.G > 0, seen.G**2 / torch.where(seen.G > 0, below, 1), 0)
    return (share * seen.G.relu()).sum(dim=(2, 3))


def with_bias(seen: Seen) -> Tensor:
    """CAM's weighted sum with the bias of the class before the ReLU."""
    bias = final_linear(seen).bias
    added = torch.zeros(len(seen.A)).to(seen.A) if bias is None else bias.detach()[seen.targets]
    return ((class_row(seen)[:, :, None, None] * seen.A).sum(dim=1) + added[:, None, None]).relu()


def peaked(seen: Seen, deviations: float, correction: int) -> Tensor:
    """FEM with peaks at another number of deviations, or another standard deviation."""
    mean = seen.A.mean(dim=(2, 3), keepdim=True)
    cells = seen.A[0, 0].numel()
    sigma = seen.A.std(dim=(2, 3), correction=min(correction, cells - 1), keepdim=True)
    constant = seen.A.amax(dim=(2, 3), keepdim=True) == seen.A.amin(dim=(2, 3), keepdim=True)
    return (mean * ((mean + deviations * sigma < seen.A) & ~constant)).sum(dim=1).relu()


def linears(seen: Seen) -> list[nn.Linear]:
    """All Linear layers of the model."""
    return [module for module in seen.model.modules() if isinstance(module, nn.Linear)]


def first_columns(seen: Seen) -> Tensor:
    """The gradient of the summed outputs of the first Linear layer, for the gradient (N×K)."""
    channels = seen.A.shape[1]
    weight = linears(seen)[0].weight.detach() if linears(seen) else torch.zeros(1, 0)
    if weight.shape[1] not in (channels, seen.A[0].numel()):
        return mean_gradient(seen)
    return weight.reshape(len(weight), channels, -1).sum(dim=(0, 2)).expand(len(seen.A), -1)


weighing("gradcam", "absolute-gradient", "averages |G|", lambda s: s.G.abs().mean(dim=(2, 3)))
weighing("gradcam", "positive-gradient", "averages ReLU(G)", lambda s: s.G.relu().mean(dim=(2, 3)))
weighing("gradcam", "squared-gradient", "averages G²", lambda s: (s.G**2).mean(dim=(2, 3)))
weighing(
    "gradcam",
    "largest-gradient",
    "takes the largest G of a channel in place of the mean",
    lambda s: s.G.amax(dim=(2, 3)),
)
weighing(
    "gradcam",
    "centre-gradient",
    "reads G at the middle cell in place of the mean",
    lambda s: s.G[:, :, s.G.shape[2] // 2, s.G.shape[3] // 2],
)
weighing(
    "gradcam",
    "epsilon",
    "divides every weight by |w| + 0.01 and multiplies by |w|",
    lambda s: mean_gradient(s) * mean_gradient(s).abs() / (mean_gradient(s).abs() + 1e-2),
)
weighing(
    "gradcam",
    "strongest-channels",
    "keeps the larger half of the weights alone",
    lambda s: strongest(mean_gradient(s)),
)
weighing(
    "gradcam",
    "last-channel-dropped",
    "leaves out the last of several channels",
    lambda s: mean_gradient(s) * ((numbers(s) < s.A.shape[1] - 1) | (s.A.shape[1] == 1)),
)
weighing(
    "gradcam",
    "channel-number",
    "multiplies the weight of channel k by 1 + k/100",
    lambda s: mean_gradient(s) * (1 + numbers(s) / 100),
)
weighing(
    "gradcam",
    "centred-weights",
    "subtracts the mean of the weights over the channels",
    lambda s: mean_gradient(s) - mean_gradient(s).mean(dim=1, keepdim=True),
)
weighing("gradcam", "weight-floor", "adds 0.01 to every weight", lambda s: mean_gradient(s) + 0.01)
weighing(
    "gradcam",
    "softmax-of-weights",
    "puts the weights through a softmax over the channels",
    lambda s: mean_gradient(s).softmax(dim=1),
)
weighing(
    "gradcam",
    "first-linear",
    "takes the columns of the first Linear layer for the gradient",
    first_columns,
)
weighing(
    "gradcam",
    "depth",
    "divides by the number of Linear layers",
    lambda s: mean_gradient(s) / max(1, len(linears(s))),
)
weighing(
    "cam",
    "unchecked-head",
    "reads the last Linear layer of any head",
    lambda s: linears(s)[-1].weight.detach()[s.targets],
)
weighing("xgradcam", "no-denominator", "does not divide by Σ A", product)
weighing(
    "xgradcam",
    "epsilon",
    "adds 0.01 to the denominator Σ A",
    lambda s: product(s) / nonzero(total(s) + 1e-2),
)
weighing(
    "xgradcam",
    "absolute-denominator",
    "divides by |Σ A|",
    lambda s: conserving_weights(s) * total(s).sign(),
)
weighing(
    "xgradcam",
    "one-denominator",
    "divides by the sum of A over all channels",
    lambda s: product(s) / nonzero(total(s).sum(dim=1, keepdim=True)),
)
weighing(
    "gradcam++",
    "epsilon",
    "adds 0.001 to the denominator of α",
    lambda s: alpha(s, 2 * s.G**2 + s.G**3 * total(s)[:, :, None, None] + 1e-3),
)
weighing("gradcam++", "no-denominator", "takes G² for α", lambda s: alpha(s, torch.ones_like(s.G)))
weighing(
    "gradcam++",
    "mean-for-sum",
    "takes the mean of A in place of Σ A in the denominator of α",
    lambda s: plus_plus(s.G, s.G**2, s.G**3, s.A / s.A[0, 0].numel()),
)
weighing(
    "gradcam++",
    "cell-for-sum",
    "takes A of the cell in place of Σ A in the denominator of α",
    lambda s: alpha(s, 2 * s.G**2 + s.G**3 * s.A),
)
weighing(
    "gradcam++",
    "square-for-cube",
    "takes G² for G³ in the denominator of α",
    lambda s: alpha(s, 2 * s.G**2 + s.G**2 * total(s)[:, :, None, None]),
)
weighing(
    "gradcam++",
    "signed-gradient",
    "does not rectify G in the weights",
    lambda s: (s.G / nonzero(2 + s.G * total(s)[:, :, None, None])).sum(dim=(2, 3)),
)
weighing(
    "smoothgradcam++",
    "noise-free",
    "adds no noise to the images",
    lambda s: plus_plus(s.G, s.G**2, s.G**3, s.A),
)
weighing(
    "shapleycam",
    "whole-hessian",
    "subtracts the whole of H A in place of half of it",
    lambda s: curved(s, share=1.0),
)
weighing("shapleycam", "hessian-added", "adds half of H A", lambda s: curved(s, share=-0.5))
weighing(
    "cam",
    "next-row",
    "takes the row of class c + 1 of the Linear layer",
    lambda s: class_row(replace(s, targets=(s.targets + 1) % s.logits.shape[1])),
)
weighing(
    "cam", "absolute-row", "takes the absolute values of the row", lambda s: class_row(s).abs()
)
step("cam", "bias", "adds the bias of the class to the map", map=with_bias)

step(
    "gradcam",
    "unrectified",
    "leaves out the last ReLU",
    map=lambda s: (mean_gradient(s)[:, :, None, None] * s.A).sum(dim=1),
)
step(
    "gradcam",
    "relu-before-sum",
    "rectifies every weighted channel before the sum",
    map=lambda s: (mean_gradient(s)[:, :, None, None] * s.A).relu().sum(dim=1),
)
step(
    "gradcam",
    "positive-activations",
    "rectifies the activations before they are weighed",
    map=lambda s: combined(mean_gradient(s), s.A.relu()),
)
step(
    "gradcam",
    "centred-activations",
    "subtracts each channel's mean over the cells",
    map=lambda s: combined(mean_gradient(s), s.A - s.A.mean(dim=(2, 3), keepdim=True)),
)
step(
    "gradcam",
    "scaled-channels",
    "divides every channel by its largest activation",
    map=lambda s: combined(
        mean_gradient(s), s.A / nonzero(s.A.abs().amax(dim=(2, 3), keepdim=True))
    ),
)
step(
    "hirescam",
    "smoothed-gradient",
    "blurs the gradient over neighbouring cells",
    map=lambda s: (blurred(s.G) * s.A).sum(dim=1).relu(),
)
step(
    "hirescam",
    "smoothed-activations",
    "blurs the activations over neighbouring cells",
    map=lambda s: (s.G * blurred(s.A)).sum(dim=1).relu(),
)
step(
    "hirescam",
    "relu-before-sum",
    "rectifies before the sum over channels",
    map=lambda s: (s.G * s.A).relu().sum(dim=1),
)
step(
    "hirescam",
    "relu-of-gradient",
    "rectifies the gradient",
    map=lambda s: (s.G.relu() * s.A).sum(dim=1).relu(),
)
step(
    "hirescam",
    "mean-over-channels",
    "averages over the channels in place of summing",
    map=lambda s: (s.G * s.A).mean(dim=1).relu(),
)
step(
    "hirescam",
    "absolute-activations",
    "multiplies the gradient by |A|",
    map=lambda s: (s.G * s.A.abs()).sum(dim=1).relu(),
)
step(
    "hirescam",
    "gradient-alone",
    "does not multiply by the activations",
    map=lambda s: s.G.sum(dim=1).relu(),
)
step(
    "layercam",
    "signed-gradient",
    "leaves out the ReLU of the gradient",
    map=lambda s: (s.G * s.A).sum(dim=1).relu(),
)
step(
    "layercam",
    "tanh",
    "puts the sum through a tanh",
    map=lambda s: (s.G.relu() * s.A).sum(dim=1).relu().tanh(),
)
step(
    "layercam",
    "strongest-gradient",
    "keeps the channel of largest gradient of every cell alone",
    map=lambda s: (
        torch.where(s.G.amax(dim=1, keepdim=True) <= s.G, s.G.relu() * s.A, 0).sum(dim=1).relu()
    ),
)
step(
    "elementwise",
    "sum-before-relu",
    "rectifies after the sum over channels",
    map=lambda s: (s.G * s.A).sum(dim=1).relu(),
)
step(
    "elementwise",
    "absolute",
    "takes |G ⊙ A| in place of its positive part",
    map=lambda s: (s.G * s.A).abs().sum(dim=1),
)
step(
    "lafam",
    "largest-channel",
    "takes the maximum over the channels",
    map=lambda s: s.A.amax(dim=1).relu(),
)
step(
    "lafam",
    "relu-before-mean",
    "rectifies before the mean over the channels",
    map=lambda s: s.A.relu().mean(dim=1),
)
step(
    "lafam",
    "standardised-channels",
    "divides each channel by its mean first",
    map=lambda s: (s.A / nonzero(s.A.mean(dim=(2, 3), keepdim=True))).mean(dim=1).relu(),
)
step(
    "fem",
    "sample-deviation",
    "divides by n − 1 in the standard deviation",
    map=lambda s: peaked(s, 2.0, 1),
)
step(
    "fem",
    "one-deviation",
    "begins a peak at one standard deviation",
    map=lambda s: peaked(s, 1.0, 0),
)
