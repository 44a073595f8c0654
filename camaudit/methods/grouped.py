"""Group-CAM: the maps of groups of channels, each scored on a blurred image."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from camaudit.capture import Capture
from camaudit.maps import blur, minmax, upsample
from camaudit.methods.base import MethodInfo, method
from camaudit.methods.masking import mask_logits
from camaudit.methods.options import between, count
from camaudit.methods.rows import each_row
from camaudit.methods.scores import varying_channels

__all__ = ["groupcam"]

_SIGMA = 10.0  # pixels


@method(
    "groupcam",
    MethodInfo(
        paper="Zhang, Rao & Yang 2021, Group-CAM: Group Score-Weighted Visual Explanations",
        equation="eqs. 2-8",
        formula="ReLU(Σ_g ReLU(r_g) M_g), r_g = p_c(x ⊙ M_g + blur(x) ⊙ (1 − M_g)) − p_c(blur(x))",
        family="perturbation",
        cost="≤ 33 model forwards",
        needs_gradients=True,
        many_passes=True,
    ),
)
def groupcam(capture: Capture, *, groups: int = 32, percentile: float = 70.0) -> Tensor:
    """`L = ReLU(Σ_g ReLU(r_g) M_g)`, what the groups of channels bring back to a blurred image.

    Zhang, Rao & Yang 2021 (Group-CAM); returns N×H×W. `M_g = minmax(Up(D_g))` with
    `D_g = ReLU(Σ_{k∈g} w_k A_k)`, `w_k = mean_ij G_kij`, over contiguous `groups` of channels
    (at most K), and the values of `D_g` below its `percentile` set to 0;
    `r_g = p_c(x ⊙ M_g + b ⊙ (1 − M_g)) − p_c(b)`, b the image under a Gaussian blur of 10 pixels
    and `p_c` the score of the probabilities. An empty group adds nothing and is not run.
    Raises :class:`UsageError` for other values of the options.
    """
    count("groups", groups)
    between("percentile", percentile, 0, 100)

    def one(row: int) -> Tensor:
        maps = _group_maps(capture, row, groups, percentile)
        background = blur(capture.images[row : row + 1], sigma=_SIGMA)

        def masks(start: int, stop: int) -> Tensor:
            return minmax(upsample(maps[start:stop], capture.size))

        total = maps.new_zeros(capture.size)
        if not len(maps):
            return total
        seen = mask_logits(capture, row, len(maps), masks, background=background[0])
        scores = capture.probability(torch.cat([seen, capture.model(background)]), row)
        gains = (scores[:-1] - scores[-1]).relu().to(maps.dtype)
        for start in range(0, len(maps), capture.batch_size):
            stop = min(start + capture.batch_size, len(maps))
            total += torch.einsum("g,gij->ij", gains[start:stop], masks(start, stop))
        return total.relu()

    return each_row(capture, one, size=capture.size)


def _group_maps(capture: Capture, row: int, groups: int, percentile: float) -> Tensor:
    """`D_g` (m×h×w) of the groups that are not constant, values below the percentile set to 0."""
    A = capture.activations[row]
    weighted = capture.gradients[row].mean(dim=(1, 2))[:, None, None] * A
    parts = torch.tensor_split(weighted, min(groups, len(A)))
    maps = torch.stack([part.sum(dim=0) for part in parts]).relu()
    maps = torch.where(maps >= _percentile(maps, percentile)[:, None, None], maps, 0)
    return maps[varying_channels(maps)]


def _percentile(maps: Tensor, percentile: float) -> Tensor:
    """The percentile (m) of each map (m×h×w), linear between neighbours in order of size.

    `torch.quantile` multiplies by a rounded share: where the place falls on a value exactly, its
    result may lie above that value, which would then be cut.
    """
    ordered = maps.flatten(1).sort(dim=1).values
    place = percentile * (ordered.shape[1] - 1) / 100
    low = math.floor(place)
    high = min(low + 1, ordered.shape[1] - 1)
    return ordered[:, low] + (place - low) * (ordered[:, high] - ordered[:, low])
