"""Maps that cannot have changed: named with their reason instead of being scored.

EigenCAM reads the activations of the target layer alone: as long as only layers after it are
random its map is the original one, whatever the model has learned. A similarity of 1 would then
say nothing of the method.
"""

from __future__ import annotations

from torch import Tensor

from camaudit.capture import Capture
from camaudit.sanity.explain import Explained

__all__ = ["class_blind", "unchanged"]

_INPUTS = frozenset({"images", "memo"})


def unchanged(
    found: Explained,
    original: Explained,
    seen: Capture,
    first: Capture,
    *,
    above: bool,
    changed: bool,
    layer: str,
) -> str | None:
    """Why the maps `found` on capture `seen` must equal the `original` ones of `first`, or None.

    above: every random layer runs after the target `layer`. changed: some weight differs. A
    method that looks at the images alone is not excused: that its map stays the same is the
    finding. Nothing is claimed where the maps are not equal bit for bit.
    """
    if found.maps is None or original.maps is None or not _identical(found.maps, original.maps):
        return None
    if not changed:
        return "the random weights equal the original ones bit for bit: the model is unchanged"
    read = found.read | original.read
    if not read - _INPUTS:
        return None
    if above and read <= _INPUTS | {"activations"}:
        return (
            f"it reads the activations of layer {layer!r} and nothing after them, and every layer "
            "randomised so far runs later"
        )
    if read <= _INPUTS | {"activations", "gradients"} and (
        _identical(seen.activations, first.activations)
        and _identical(seen.gradients, first.gradients)
    ):
        return (
            f"it reads activations and gradients of layer {layer!r}, which the layers randomised "
            "so far left bit-equal"
        )
    return None


def class_blind(found: Explained) -> str | None:
    """Why a method's map cannot depend on the explained class, or None."""
    if found.read <= _INPUTS | {"activations"}:
        return "it reads nothing that depends on the class"
    return None


def _identical(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool(((a == b) | (a.isnan() & b.isnan())).all())
