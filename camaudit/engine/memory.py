"""How much memory a pass over one image takes, asked of the network itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["peak_bytes"]

_SLACK = 2.0  # residual branches and library workspaces beside a layer's input and output


def peak_bytes(modules: Iterable[nn.Module], run: Callable[[], Any]) -> int:
    """Bytes that the layers among `modules` take in `run`, beyond their weights.

    The largest sum of a layer's input and output, doubled for what lives beside them. Hooks read
    the sizes; none is left behind, also after an exception.
    """
    largest = 0

    def hook(_module: nn.Module, given: Any, output: Any) -> None:
        nonlocal largest
        held = sum(t.nbytes for t in (*given, output) if isinstance(t, Tensor))
        largest = max(largest, held)

    handles = []
    try:
        for module in modules:
            if not list(module.children()):
                handles.append(module.register_forward_hook(hook))
        with torch.no_grad():
            run()
    finally:
        for handle in handles:
            handle.remove()
    return int(_SLACK * largest)
