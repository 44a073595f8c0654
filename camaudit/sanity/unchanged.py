"""Maps that cannot have changed: named with their reason instead of being scored.

EigenCAM reads the activations of the target layer alone: as long as only layers after it are
random its map is the original one, whatever the model has learned. A similarity of 1 would then
say nothing of the method.
"""

from __future__ import annotations

from torch import Tensor

from camaudit.capture import Capture
from camaudit.sanity.explain import Explained

__all__ = ["class_blind", "reads_images_alone", "unchanged"]

_INPUTS = frozenset({"images", "memo"})
_FIXED = _INPUTS | {"targets"}  #: what a cascade leaves as it is


def unchanged(
    found: Explained,
    original: Explained,
    seen: Capture,
    first: Capture,
    *,
    above: bool,
    changed: bool,
    layer: str,
) -> list[str | None]:
    """Why each map `found` on capture `seen` must equal the `original` one of `first`, or None.

    above: every random layer runs after the target `layer`. changed: some weight differs. A
    method that looks at the images alone is not excused: that its map stays the same is the
    finding. Nothing is claimed of an image whose maps are not equal bit for bit.
    """
    if found.maps is None or original.maps is None:
        return [None] * len(seen)
    same = _identical(found.maps, original.maps)
    read = found.read | original.read
    why: str | None = None
    if not changed:
        why = "the random weights equal the original ones bit for bit: the model is unchanged"
    elif reads_images_alone(found) and reads_images_alone(original):
        why = None
    elif above and read <= _FIXED | {"activations"}:
        why = (
            f"it reads the activations of layer {layer!r} and nothing after them, and every layer "
            "randomised so far runs later"
        )
    elif read <= _FIXED | {"activations", "gradients"} and any(same):
        why = (
            f"it reads activations and gradients of layer {layer!r}, which the layers randomised "
            "so far left bit-equal"
        )
        inputs = zip(
            same, _identical(seen.activations, first.activations),
            _identical(seen.gradients, first.gradients), strict=True,
        )  # fmt: skip
        same = [all(equal) for equal in inputs]
    return [why if equal else None for equal in same]


def reads_images_alone(found: Explained) -> bool:
    """Whether a method's map is the same for every model."""
    return found.read <= _FIXED


def class_blind(found: Explained, other: Explained) -> list[str | None]:
    """Why a method's maps, `found` and those of `other` classes, cannot differ, or None.

    Nothing is claimed of an image whose two maps are not equal bit for bit.
    """
    if found.maps is None or other.maps is None:
        return []
    blind = found.read | other.read <= _INPUTS | {"activations"}
    why = "it reads nothing that depends on the class" if blind else None
    return [why if equal else None for equal in _identical(found.maps, other.maps)]


def _identical(a: Tensor, b: Tensor) -> list[bool]:
    """Whether each row of two tensors of equally many rows is the same; NaN equals NaN."""
    if a.shape != b.shape:
        return [False] * len(a)
    equal = (a == b) | (a.isnan() & b.isnan())
    return [bool(row) for row in equal.flatten(1).all(dim=1).tolist()]
