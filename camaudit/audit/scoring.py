"""One method on one capture: maps, figures, and what went wrong, as values."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from camaudit.capture import Capture
from camaudit.errors import MethodError, NotApplicableError
from camaudit.maps import upsample
from camaudit.methods import compute, method_call
from camaudit.metrics.dead_zone import dead_zone_figures
from camaudit.types import DeadZoneFigures, Status

__all__ = ["Scored", "score", "score_pair"]


@dataclass(frozen=True, eq=False)
class Scored:
    """Figures of every image of a capture, with the upsampled raw maps (N×H×W), CPU float32.

    `raw` are the same maps on the method's own grid (N×h×w). Where the method failed or does not
    apply, both are None and `message` says why.
    """

    figures: list[DeadZoneFigures]
    maps: Tensor | None
    message: str | None = None
    raw: Tensor | None = None


def score(method: str, capture: Capture, scored: Tensor, *, seed: int) -> Scored:
    """Run `method` on `capture` and take μ over the `scored` pixels (H×W).

    A failing method does not end the audit: it becomes a figure with status error (or not
    applicable) and its message. So does one that returns no rectified N×h×w maps, or that writes
    into the capture that other methods read. An unknown name still raises.
    """
    method_call(method)
    before = _versions(capture)
    try:
        maps = _checked(method, compute(method, capture, seed=seed), capture)
        if _versions(capture) != before:
            raise MethodError(f"{method} wrote into its capture, which other methods read too")
        large = upsample(maps, capture.size)
        figures = dead_zone_figures(large, scored)
        return Scored(figures, large.float().cpu(), raw=maps.float().cpu())
    except NotApplicableError as error:
        return _without_maps(capture, Status.NOT_APPLICABLE, str(error))
    except Exception as error:  # whatever a method raises is its own outcome, not the run's
        return _without_maps(capture, Status.ERROR, f"{type(error).__name__}: {error}")


def score_pair(
    method: str, seen: Capture, twin: Capture | None, part: slice, scored: Tensor, *, seed: int
) -> tuple[Scored, Scored | None, str | None]:
    """:func:`score` on rows `part` with the wall and, if there is a `twin`, without; and why not.

    The message is that of the walled model, else that of the twin, named so.
    """
    found = score(method, seen.rows(part.start, part.stop), scored, seed=seed)
    if twin is None:
        return found, None, found.message
    control = score(method, twin.rows(part.start, part.stop), scored, seed=seed)
    message = found.message
    if message is None and control.message is not None:
        message = f"on the unmasked twin: {control.message}"
    return found, control, message


def _versions(capture: Capture) -> list[int]:
    """Counters that torch raises whenever a tensor is written to, also through a view."""
    return [tensor._version for tensor in (capture.images, capture.activations, capture.gradients)]


def _checked(method: str, maps: Tensor, capture: Capture) -> Tensor:
    if maps.ndim != 3 or len(maps) != len(capture) or not torch.is_floating_point(maps):
        raise MethodError(
            f"{method} returned {maps.dtype} {tuple(maps.shape)}; expected {len(capture)} floating "
            "maps N×h×w"
        )
    if bool((maps < 0).any()) and method_call(method).info.family != "foreign":
        raise MethodError(f"{method} returned negative values; expected a rectified map")
    return maps


def _without_maps(capture: Capture, status: Status, message: str) -> Scored:
    return Scored([DeadZoneFigures(None, None, None, status)] * len(capture), None, message)
