"""GradCAM of many random networks at once: Monte Carlo means with standard errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from camaudit.errors import UsageError
from camaudit.initialisation import Law
from camaudit.theory.design import Design

__all__ = ["Simulation", "simulate"]

_FLOATS = 2**23  # of the maps and the weights of one block of networks


@dataclass(frozen=True, eq=False)
class Simulation:
    """Mean and standard error of GradCAM_ij (h×w, float64) over `draws` networks.

    `share` is the mean over networks of the share of the map's sum that lies in dead cells, of
    the `defined` networks whose map is not zero everywhere.
    """

    draws: int
    mean: Tensor
    standard_error: Tensor
    share: float | None
    defined: int


def simulate(
    design: Design,
    image: Tensor,
    *,
    draws: int,
    seed: int,
    advance: Callable[[int], None] = lambda _: None,
) -> Simulation:
    """GradCAM, `ReLU(Σ_v mean_ij(∂s/∂B_vij) B_v)`, of `draws` networks on one image (C×H×W).

    Every network has its own weights by the design's laws; the gradients are autograd's, through
    max pooling and all Linear layers, of the logit of class 0. float32, sums in float64;
    `advance(n)` is told of every n networks. Raises :class:`UsageError` for fewer than 2 draws.
    """
    design.check_image(image)
    if draws < 2:
        raise UsageError(f"a standard error needs at least 2 draws; got {draws}")
    generator = torch.Generator().manual_seed(seed)
    patches = F.unfold(image[None].float(), design.kernel)[0]
    h, w = design.cells
    dead = design.feature_dead
    total, squares = torch.zeros(2, h, w, dtype=torch.float64)
    shares: list[Tensor] = []
    block = _block(design)
    for start in range(0, draws, block):
        count = min(block, draws - start)
        maps = _gradcam(design, patches, count, generator).double()
        total += maps.sum(dim=0)
        squares += maps.square().sum(dim=0)
        shares.append(maps[:, dead].sum(dim=1) / maps.sum(dim=(1, 2)))
        advance(count)
    mean = total / draws
    variance = (squares / draws - mean.square()).clamp(min=0) * draws / (draws - 1)
    found = torch.cat(shares)
    found = found[torch.isfinite(found)]
    share = float(found.mean()) if len(found) else None
    return Simulation(draws, mean, (variance / draws).sqrt(), share, len(found))


def _block(design: Design) -> int:
    h, w = design.cells
    inputs = design.filters * (1 if design.head == "pooled" else design.live_count)
    widths = (inputs, *design.hidden, 1)
    weights = sum(i * o for i, o in pairwise(widths))
    return max(1, _FLOATS // (design.filters * h * w + weights))


def _gradcam(design: Design, patches: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Maps (n×h×w) of `count` networks."""
    h, w = design.cells
    filter_law, *laws = design.laws
    filters = filter_law.draw((count * design.filters, len(patches)), generator)
    with torch.enable_grad():
        B = (filters @ patches).clamp_(min=0).view(count, design.filters, h, w)
        B.requires_grad_(True)
        logits = _head(design, B, laws, generator)
        (G,) = torch.autograd.grad(logits.sum(), B)
    B = B.detach()
    alpha = G.mean(dim=(2, 3))
    return torch.einsum("nv,nvij->nij", alpha, B).clamp_(min=0)


def _head(design: Design, B: Tensor, laws: Sequence[Law], generator: torch.Generator) -> Tensor:
    """Logits of class 0 (n): every network reads its own maps."""
    live = ~design.grid_dead
    if design.head == "pooled":
        x = B[:, :, live].mean(dim=2)
    else:
        pooled = F.max_pool2d(B, design.pool)
        x = pooled[:, :, live].flatten(1)
    for place, its_law in enumerate(laws):
        last = place == len(laws) - 1
        width = 1 if last else design.hidden[place]
        weights = its_law.draw((len(B), width, x.shape[1]), generator)
        x = torch.bmm(weights, x[:, :, None])[:, :, 0]
        if not last:
            x = torch.relu(x)
    return x[:, 0]
