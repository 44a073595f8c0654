"""Logits to probabilities: one class of many (softmax), or each class for itself (sigmoid)."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import Tensor

__all__ = ["Link", "link_of", "probabilities"]

Link = Literal["softmax", "sigmoid"]


def probabilities(
    logits: Tensor, link: Link = "softmax", *, dtype: torch.dtype | None = None
) -> Tensor:
    """`p` (M×C) of logits (M×C): `softmax(s)_c`, or `1/(1 + exp(−s_c))`; in `dtype` if given.

    A single logit z stands as the two logits (−z, z), so that its sigmoids sum to 1.
    """
    logits = logits if dtype is None else logits.to(dtype)
    return logits.sigmoid() if link == "sigmoid" else logits.softmax(dim=1)


def link_of(model: Any) -> Link:
    """What turns the logits of `model` into probabilities: its attribute `link`, else softmax."""
    link: Link = getattr(model, "link", "softmax")
    return link
