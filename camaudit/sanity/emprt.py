"""eMPRT: how much more complex a map becomes when the whole model is random."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from camaudit.sanity.similarity import is_constant

__all__ = ["BINS", "complexity", "complexity_rise"]

BINS = 100


def complexity(saliency: Tensor, *, bins: int = BINS) -> tuple[float | None, str | None]:
    """Entropy (nats) of the histogram of one map at its native resolution, or why there is none.

    `H = −Σ_b p_b ln p_b`, p the shares of `bins` equal bins from the map's least to its largest
    value (Hedström et al. 2024, Sanity Checks Revisited, eq. 4). Undefined for a map that is
    constant or not finite.
    """
    raw = saliency.detach().cpu()
    values = (raw if raw.dtype in (torch.float32, torch.float64) else raw.float()).numpy()
    if not np.isfinite(values).all():
        return None, "the map is not finite"
    if is_constant(values):
        return None, "the map is constant"
    try:
        counts, _ = np.histogram(values.astype(np.float64), bins=bins)
    except ValueError:  # too few numbers between the least and the largest value for the bins
        return None, "the map is constant but for the last digits"
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log(shares)).sum()), None


def complexity_rise(original: Tensor, random: Tensor) -> tuple[float | None, str | None]:
    """`(H_rand − H_orig) / H_orig` of two maps of one image, or why it is undefined.

    Above 0 where the random model's map is the more complex one, as it should be. Both maps vary,
    so that the least and the largest value lie in different bins and `H_orig` > 0.
    """
    before, why = complexity(original)
    after, why_not = complexity(random)
    if before is None or after is None:
        which = "the original's" if before is None else "the random model's"
        return None, f"{which} complexity is undefined: {why or why_not}"
    return (after - before) / before, None
