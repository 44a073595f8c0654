"""A method's maps on one capture, ready for metrics: upsampled, and why a map says nothing."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from camaudit.capture import Capture
from camaudit.evaluation.outcomes import Missing
from camaudit.maps import constant, minmax, upsample
from camaudit.sanity.explain import Explainer, explain
from camaudit.sanity.outcomes import Outcome

__all__ = ["Explainer", "Maps", "NoMaps", "explained", "explained_each"]


@dataclass(frozen=True)
class NoMaps:
    """The method has no maps, and why."""

    why: Missing
    message: str


@dataclass(frozen=True, eq=False)
class Maps:
    """Raw maps at the images' size (N×H×W, float64).

    Those of a foreign explainer may be signed: `lit` is their positive part. `reasons` tells for
    each map why metrics of it are undefined, None where they are not.
    """

    maps: Tensor
    reasons: tuple[Missing | None, ...]

    @cached_property
    def defined(self) -> Tensor:
        """Whether each map says something (N, bool)."""
        known = [reason is None for reason in self.reasons]
        return torch.tensor(known, device=self.maps.device)

    @cached_property
    def lit(self) -> Tensor:
        """What is lit: the maps' positive part (N×H×W)."""
        return self.maps.clamp(min=0)

    @cached_property
    def weights(self) -> Tensor:
        """`m = minmax(map)` (N×H×W in [0, 1]); 1 everywhere for a map that says nothing."""
        return torch.where(self.defined[:, None, None], minmax(self.maps), 1.0)


def explained(method: Explainer, seen: Capture, *, seed: int) -> Maps | NoMaps:
    """Run `method` on a capture; a failure is an outcome, not the end of the run.

    A map that is not finite, or the same everywhere (an all-zero one too), has no min-max form:
    it keeps its place, with its reason.
    """
    found = explain(method, seen, seed=seed)
    if found.maps is None:
        missing = found.outcome is Outcome.NOT_APPLICABLE
        return NoMaps(Missing.NOT_APPLICABLE if missing else Missing.ERROR, found.message or "")
    if 0 in found.maps.shape:
        shape = tuple(found.maps.shape)
        return NoMaps(Missing.ERROR, f"expected maps N×h×w with pixels; got the shape {shape}")
    raw = found.maps.to(seen.images.device)
    finite = torch.isfinite(raw).flatten(1).all(dim=1)
    flat = constant(raw)  # before upsampling, which adds rounding to what it was
    maps = upsample(raw.double(), seen.size)
    maps = torch.where(flat[:, None, None], raw[:, :1, :1].double(), maps)
    reasons = tuple(
        Missing.NOT_FINITE if not good else Missing.CONSTANT if same else None
        for good, same in zip(finite.tolist(), flat.tolist(), strict=True)
    )
    return Maps(maps, reasons)


def explained_each(
    method: Explainer, seen: Capture, *, seed: int
) -> tuple[Tensor, dict[int, NoMaps]]:
    """Maps (N×H×W) of a capture, NaN for an image that has none, and why those rows have none.

    Where `method` fails on the batch it runs image by image, so that one spoils itself alone.
    """
    found = explained(method, seen, seed=seed)
    if isinstance(found, Maps):
        return found.maps, {}
    if len(seen) == 1:
        blank = seen.images.new_full((1, *seen.size), torch.nan, dtype=torch.float64)
        return blank, {0: found}
    parts = [explained_each(method, seen.rows(row, row + 1), seed=seed) for row in range(len(seen))]
    failed = {row: why[0] for row, (_, why) in enumerate(parts) if why}
    return torch.cat([maps for maps, _ in parts]), failed
