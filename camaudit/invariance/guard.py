"""An explainer that may be wrong in any way, called so that every way is named."""

from __future__ import annotations

import time
import traceback
from enum import StrEnum
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from camaudit.errors import NotApplicableError
from camaudit.invariance.explainer import Explain, Registered

__all__ = ["Fault", "FaultError", "Guarded"]


class Fault(StrEnum):
    """In which way an explainer gave no maps that can be compared."""

    RAISED = "raised"
    NOT_FINITE = "not finite"
    WRONG_SHAPE = "wrong shape"
    WRONG_TYPE = "wrong type"
    OTHER_DEVICE = "other device"
    TOO_SLOW = "too slow"
    NONDETERMINISTIC = "nondeterministic"


class FaultError(Exception):
    """An explainer's fault; `trace` is its own traceback where it raised."""

    def __init__(self, fault: Fault, message: str, trace: str | None = None) -> None:
        super().__init__(message)
        self.fault = fault
        self.trace = trace


class Guarded:
    """The explainer, its answers checked: N×h×w, floating, finite, on the images' device.

    A registered method's map that is NaN everywhere is its way to say that the map is undefined
    (AblationCAM of a score of 0), and passes; any other NaN is a fault. NumPy arrays are taken as
    tensors (`converted` says so). Raises :class:`FaultError`;
    :class:`camaudit.errors.NotApplicableError` passes through. `seconds` adds up what the calls
    took; once it exceeds `budget` the next call raises a fault, Fault.TOO_SLOW.
    """

    def __init__(self, explain: Explain, *, budget: float | None = None) -> None:
        self.explain = explain
        self.budget = budget
        self.seconds = 0.0
        self.calls = 0
        self.converted = False

    def __call__(self, model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
        """Maps N×h×w."""
        if self.budget is not None and self.seconds > self.budget:
            raise FaultError(
                Fault.TOO_SLOW,
                f"{self.calls} calls took {self.seconds:.1f} s, the budget is {self.budget:g} s",
            )
        started = time.perf_counter()
        try:
            maps: Any = self.explain(model, layer, images, targets)
        except NotApplicableError:
            raise
        except (Exception, SystemExit) as error:  # sys.exit(0) must not look like success
            trace = "".join(traceback.format_exception(error))
            message = f"{type(error).__name__}: {error}"
            raise FaultError(Fault.RAISED, message, trace) from error
        finally:
            self.seconds += time.perf_counter() - started
            self.calls += 1
        return self._checked(maps, images)

    def _checked(self, maps: Any, images: Tensor) -> Tensor:
        if isinstance(maps, np.ndarray):
            self.converted = True
            maps = torch.from_numpy(np.ascontiguousarray(maps)).to(images.device)
        if not isinstance(maps, Tensor) or not maps.is_floating_point():
            got = f"a {maps.dtype} tensor" if isinstance(maps, Tensor) else type(maps).__name__
            raise FaultError(
                Fault.WRONG_TYPE, f"expected a floating tensor or array of maps; got {got}"
            )
        if maps.ndim != 3 or len(maps) != len(images) or 0 in maps.shape:
            advice = (
                ": reduce N×C×h×w to one map an image, by the sum over channels, that of absolute "
                "values or that of positive parts (of captum's attributions reduce=sum, abs-sum or "
                "positive-sum)"
                if maps.ndim == 4
                else ""
            )
            raise FaultError(
                Fault.WRONG_SHAPE,
                f"expected {len(images)} maps, N×h×w; got the shape {tuple(maps.shape)}{advice}",
            )
        (height, width), (h, w) = images.shape[-2:], maps.shape[-2:]
        if h != w and h * height == w * width:
            raise FaultError(
                Fault.WRONG_SHAPE,
                f"the maps are transposed: expected h×w as the images are {height}×{width}; got "
                f"{h}×{w}; return their transposes",
            )
        if maps.device != images.device:
            raise FaultError(
                Fault.OTHER_DEVICE, f"expected maps on {images.device}; got {maps.device}"
            )
        undefined = torch.isnan(maps).flatten(1).all(dim=1)
        if not isinstance(self.explain, Registered):
            undefined = torch.zeros_like(undefined)
        if not torch.isfinite(maps[~undefined]).all():
            raise FaultError(Fault.NOT_FINITE, "the maps hold NaN or infinity")
        return maps.detach()
