"""The wide 3×3 convolutions of a random model, by Winograd's algorithm while they run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from torch import Tensor, nn

from camaudit.engine.winograd import WinogradConv, suits

__all__ = ["FastConvs"]


class FastConvs:
    """The convolutions of `model` for which the algorithm is worth it, filters and all.

    Those are plain 3×3 ones of many channels, in float32 on a CPU
    (:func:`camaudit.engine.winograd.suits`); a result differs from a direct convolution's by
    rounding, 1e-5 to 3e-5 of its largest value. Filters are made again where weights have changed.
    """

    def __init__(self, model: nn.Module) -> None:
        self._convs = [m for m in model.modules() if isinstance(m, nn.Conv2d) and suits(m)]
        self._made: dict[nn.Conv2d, WinogradConv] = {}

    def __len__(self) -> int:
        return len(self._convs)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Within the context they run fast, if nobody else has taken over their `forward`."""
        mine = [conv for conv in self._convs if "forward" not in vars(conv)]
        for conv in mine:
            vars(conv)["forward"] = self._forward(conv)
        try:
            yield
        finally:
            for conv in mine:
                vars(conv).pop("forward", None)

    def _forward(self, conv: nn.Conv2d) -> Callable[[Tensor], Tensor]:
        def forward(images: Tensor) -> Tensor:
            found = self._made.get(conv)
            if found is None or not found.same_weights():
                found = self._made[conv] = WinogradConv(conv, rectify=False)
            return found(images)

        return forward
