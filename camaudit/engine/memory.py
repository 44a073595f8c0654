"""How much memory one image of a forward pass takes, asked of the network itself."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["bytes_per_image"]

_SLACK = 2.0  # residual branches and library workspaces beside a layer's input and output


def bytes_per_image(model: nn.Module, example: Tensor) -> int:
    """Bytes that one image of a pass over `model` takes, from one pass over `example` (1×C×H×W).

    The largest sum of a layer's input and output, doubled for what lives beside them, and the
    masked image itself.
    """
    largest = 0

    def hook(_module: nn.Module, given: Any, output: Any) -> None:
        nonlocal largest
        held = sum(t.nbytes for t in (*given, output) if isinstance(t, Tensor))
        largest = max(largest, held)

    handles = [
        module.register_forward_hook(hook)
        for module in model.modules()
        if not list(module.children())
    ]
    try:
        with torch.no_grad():
            model(example[:1])
    finally:
        for handle in handles:
            handle.remove()
    return int(_SLACK * largest) + 3 * example[:1].nbytes
