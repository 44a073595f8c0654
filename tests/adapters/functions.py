"""Functions that options of explainers name."""

from __future__ import annotations

import torch
from torch import Tensor


def dark(images: Tensor) -> Tensor:
    """Two black images."""
    return torch.zeros_like(images[:1]).repeat(2, 1, 1, 1)


def grid(tokens: Tensor) -> Tensor:
    """Tokens (N×64×C) as maps (N×C×8×8)."""
    return tokens.transpose(1, 2).unflatten(2, (8, 8))
