"""A small float64 network, images and regions, and what an evaluation of them finds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from camaudit.cut import Cut, cut_at
from camaudit.engine import Engine, prepare
from camaudit.evaluation.options import Options
from camaudit.evaluation.outcomes import Evaluation
from camaudit.evaluation.run import evaluate
from camaudit.methods import method_call

SIZE = 12
COUNT = 5


def network(seed: int = 0) -> nn.Module:
    """Two convolutions and a flat head; 3×12×12 to four classes, the target layer is "4"."""
    torch.manual_seed(seed)
    return (
        nn.Sequential(
            nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(5, 6, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 4),
        )
        .double()
        .eval()
    )  # fmt: skip


def images(count: int = COUNT) -> Tensor:
    """N×3×12×12, float64."""
    generator = torch.Generator().manual_seed(1)
    return 2 * torch.randn(count, 3, SIZE, SIZE, generator=generator, dtype=torch.float64)


def regions(count: int = COUNT) -> Tensor:
    """A box in every image but the last, which has no label."""
    found = torch.zeros(count, SIZE, SIZE, dtype=torch.bool)
    found[:-1, 2:7, 3:9] = True
    return found


def cut(model: nn.Module | None = None) -> Cut:
    """The network at its target layer."""
    return cut_at(model or network(), "4", images(1))


def evaluated(
    *specs: str, batch_size: int = 3, methods: Sequence[Any] = (), given: Tensor | None = None,
    divided: Cut | None = None, **options: Any,
) -> Evaluation:  # fmt: skip
    """An evaluation by the checks (and other options) named."""
    arguments = {key: options.pop(key)
                 for key in ("costly_images", "progress", "targets", "black", "journal")
                 if key in options}  # fmt: skip
    given, divided = images() if given is None else given, divided or cut()
    checks = options.get("checks", ())
    return evaluate(
        divided,
        given,
        methods=[*map(method_call, specs), *methods],
        forwards=prepare(divided, given[:1], Engine(batch_size=batch_size)),
        options=Options(**{"pixels_per_step": 20, **options}),
        regions=regions(len(given)) if "localisation" in checks else None,
        batch_size=batch_size,
        **arguments,
    )


def row(found: Evaluation, metric: str, method: str, rivals: int | None = None) -> Any:
    """The one row of a metric and a method."""
    (one,) = (
        entry for entry in found.rows
        if (entry.metric, entry.method, entry.rivals) == (metric, method, rivals)
    )  # fmt: skip
    return one
