"""RISE: the model as a black box, asked about the image behind random masks."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from camaudit.capture import Capture
from camaudit.maps import upsample
from camaudit.methods.base import MethodInfo, method
from camaudit.methods.masking import asked, mask_logits
from camaudit.methods.noise import generator
from camaudit.methods.options import between, count
from camaudit.methods.rows import accumulating, each_row

__all__ = ["rise"]


@method(
    "rise",
    MethodInfo(
        paper="Petsiuk et al. 2018, RISE: Randomized Input Sampling for Explanation",
        equation="eqs. 4-6",
        formula="(1/(n·½)) Σ_i p_c(x ⊙ M_i) M_i, M_i random 7×7 grids, raised and shifted",
        family="perturbation",
        cost="4000 model forwards",
        seeded=True,
        many_passes=True,
    ),
)
def rise(
    capture: Capture, *, seed: int = 0, masks: int = 4000, cells: int = 7, keep: float = 0.5
) -> Tensor:
    """`L = ReLU((1/(n·keep)) Σ_i p_c(x ⊙ M_i) M_i)` over n = `masks` random masks in [0, 1].

    Petsiuk et al. 2018 (RISE), eqs. 4-6; `p_c` is the score of the probabilities. Returns
    N×H×W. A mask is a grid of `cells`×`cells`, each cell 1 with probability `keep`, raised
    bilinearly to one cell more than the image has and cut to H×W at a random shift of less than a
    cell. Masked images are run once for all scores. Raises :class:`UsageError` for other values
    of the options.
    """
    count("masks", masks)
    count("cells", cells)
    between("keep", keep, 0, 1, open_low=True)
    maps_size = capture.size
    steps = (-(-maps_size[0] // cells), -(-maps_size[1] // cells))

    def one(row: int) -> Tensor:
        image, memo = capture.images[row], capture.memo[row]
        grids, shifts = _draws(seed, image, masks, cells, keep, steps)

        def raised(start: int, stop: int) -> Tensor:
            return _raised(grids[start:stop], shifts[start:stop], steps, maps_size)

        key = ("rise", seed, masks, cells, keep)
        if key not in memo:
            memo[key] = mask_logits(capture, row, masks, raised)
        asked(memo, key, range(masks))
        probabilities = capture.probability(memo[key], row).to(accumulating(image.dtype))
        total = torch.zeros(maps_size, dtype=accumulating(image.dtype), device=image.device)
        for start in range(0, masks, capture.batch_size):
            stop = min(start + capture.batch_size, masks)
            shown = raised(start, stop).to(total.dtype)
            total += torch.einsum("m,mij->ij", probabilities[start:stop], shown)
        return (total / (masks * keep)).relu().to(capture.activations)

    return each_row(capture, one, size=maps_size)


def _draws(
    seed: int, image: Tensor, masks: int, cells: int, keep: float, steps: tuple[int, int]
) -> tuple[Tensor, list[tuple[int, int]]]:
    """Grids (masks×cells×cells, 0 or 1) and shifts in pixels: all that the masks are made of."""
    pixels = image.float().cpu()  # every draw hashes them: fetched once
    grids, shifts = [], []
    for index in range(masks):
        stream = generator(seed, pixels, index)
        grids.append(stream.random((cells, cells)) < keep)
        shifts.append((int(stream.integers(0, steps[0])), int(stream.integers(0, steps[1]))))
    return torch.from_numpy(np.stack(grids)).to(image), shifts


def _raised(
    grids: Tensor, shifts: list[tuple[int, int]], steps: tuple[int, int], size: tuple[int, int]
) -> Tensor:
    """Masks (m×H×W) of m grids, `steps` pixels to a cell."""
    cells = grids.shape[-1] + 1
    wide = upsample(grids, (cells * steps[0], cells * steps[1]))
    cut = [
        mask[down : down + size[0], across : across + size[1]]
        for mask, (down, across) in zip(wide, shifts, strict=True)
    ]
    return torch.stack(cut)
