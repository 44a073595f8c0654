"""Which simple CNNs `camaudit theory` looks at: those of the closed form, and the sweeps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from camaudit.initialisation import LAWS
from camaudit.theory.design import Design

__all__ = ["covered_designs", "picture", "simulation_work", "sweeps"]


def covered_designs() -> list[Design]:
    """Smaller designs, one of each kind that the closed form covers."""
    small = Design(filters=32, size=(13, 13))
    return [
        small,
        replace(small, hidden=(16,)),
        replace(small, hidden=(16, 8)),
        replace(small, filters=16, hidden=(12, 10, 8)),
        replace(small, channels=3, kernel=3, size=(14, 14), dead="centre:3"),
        replace(small, head="pooled"),
        replace(small, head="pooled", hidden=(16,)),
        replace(small, initialisation="he"),
        replace(small, initialisation="glorot", hidden=(16,)),
    ]


def sweeps(quick: bool) -> list[dict[str, Any]]:
    """Designs along an axis each: name, title, x, whether x is logarithmic, designs."""
    base = Design(filters=16 if quick else 64, classes=10)
    filters = [8, 16, 32, 64] if quick else [8, 16, 32, 64, 128, 256, 512]
    depths = [1, 2, 3, 4]
    live = [3, 7, 11] if quick else [1, 3, 5, 7, 9, 11, 13]
    rows = base.grid[0]
    return [
        {
            "name": "filters", "title": "Filters V", "x": filters, "log": True,
            "designs": [replace(base, filters=V) for V in filters],
        },
        {
            "name": "layers", "title": "Linear layers L (hidden width 64)", "x": depths,
            "log": False, "designs": [replace(base, hidden=(64,) * (L - 1)) for L in depths],
        },
        {
            "name": "masked fraction", "title": "Masked fraction of the cells",
            "x": [round(1 - one / rows, 4) for one in reversed(live)], "log": False,
            "designs": [replace(base, live_rows=one) for one in reversed(live)],
        },
        {
            "name": "initialisation", "title": "Initialisation", "x": list(LAWS), "log": False,
            "designs": [replace(base, initialisation=name) for name in LAWS],
        },
    ]  # fmt: skip


def picture(design: Design, seed: int) -> Tensor:
    """Seeded noise over a ramp, with a blank corner, for designs that no digit fits."""
    rng = np.random.default_rng(seed)
    H, W = design.size
    pixels = rng.random((design.channels, H, W)) * np.linspace(0.2, 1, H)[:, None]
    pixels[:, : H // 4, : W // 4] = 0
    return torch.from_numpy(pixels)


def simulation_work(design: Design) -> float:
    """Work of one simulated network, in about tenths of a second."""
    h, w = design.cells
    return design.filters * h * w / 1e7
