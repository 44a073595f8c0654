"""Maps along a cascade as small pictures: a row a method, a column a step.

The layout is that of the figures in Adebayo et al. 2018. Maps are drawn as the gallery draws
them: each stretched to its own range, over the photograph.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from camaudit.errors import ImageError
from camaudit.report.gallery import jpeg_uri, overlay_uri
from camaudit.report.names import check_title, order_title, title
from camaudit.report.verdict import CONTROL

__all__ = ["MOST_STEPS", "SanityPicture", "Strip", "StripCell", "shown_steps", "strips"]

MOST_STEPS = 8
_SIDE = 128  # pixels: two for each of the page's at the usual size

Maps = tuple[NDArray[np.floating] | None, ...]


@dataclass(frozen=True, eq=False)
class SanityPicture:
    """One image under one cascade of one seed.

    `pixels` is uint8 H×W×3. `steps` names what is shown: "trained", then the layer of each step.
    Each method has one map a step, float H×W and raw, or None where it has none. `id` is the
    image's under `images`; of several pictures, id, check, order and seed together are unique.

    Raises
    ------
    ImageError
        if a shape or a dtype differs from these, or a method has another number of maps.
    """

    id: str
    title: str
    pixels: NDArray[np.uint8]
    check: str
    order: str
    seed: int
    steps: tuple[str, ...]
    maps: Mapping[str, Maps]

    def __post_init__(self) -> None:
        if self.pixels.ndim != 3 or self.pixels.shape[2] != 3 or self.pixels.dtype != np.uint8:
            raise ImageError(
                f"picture {self.id!r}: expected uint8 pixels of shape (H, W, 3), got "
                f"{self.pixels.dtype} {self.pixels.shape}; convert the image to RGB first"
            )
        for method, maps in self.maps.items():
            if len(maps) != len(self.steps):
                raise ImageError(
                    f"picture {self.id!r}: expected {len(self.steps)} maps of {method!r}, one a "
                    f"step, got {len(maps)}"
                )
            shapes = {saliency.shape for saliency in maps if saliency is not None}
            if shapes - {self.pixels.shape[:2]}:
                raise ImageError(
                    f"picture {self.id!r}: expected the maps of {method!r} in the image's size "
                    f"{self.pixels.shape[:2]}, got {sorted(shapes)}; upsample them first"
                )


@dataclass(frozen=True)
class StripCell:
    """One map over its photograph; without an `overlay`, `reason` says why."""

    overlay: str | None
    reason: str
    alternative: str


@dataclass(frozen=True)
class Strip:
    """One picture: its columns, and for each method a cell a column."""

    number: int
    title: str
    note: str
    width: int
    height: int
    photo: str
    steps: tuple[str, ...]
    methods: tuple[tuple[str, bool, tuple[StripCell, ...]], ...]


def shown_steps(count: int, most: int = MOST_STEPS) -> tuple[int, ...]:
    """At most `most` of `count` steps: the first, evenly spaced ones, and the last.

    >>> shown_steps(3), shown_steps(55)
    ((0, 1, 2), (0, 8, 15, 23, 31, 39, 46, 54))
    """
    if count <= most:
        return tuple(range(count))
    return tuple(round((count - 1) * place / (most - 1)) for place in range(most))


def strips(pictures: Sequence[SanityPicture], sanity: Mapping[str, Any]) -> tuple[Strip, ...]:
    """The pictures in their order, methods as they come and controls last."""
    families = sanity.get("families") or {}
    return tuple(_strip(number, picture, families) for number, picture in enumerate(pictures, 1))


def _strip(number: int, picture: SanityPicture, families: Mapping[str, str]) -> Strip:
    places = shown_steps(len(picture.steps))
    height, width = picture.pixels.shape[:2]
    methods = [
        (
            title(method),
            families.get(method) == CONTROL,
            tuple(_cell(picture, method, maps[place], picture.steps[place]) for place in places),
        )
        for method, maps in picture.maps.items()
    ]
    order = order_title(picture.order)
    return Strip(
        number=number,
        title=picture.title,
        note=f"{check_title(picture.check)}, {order[:1].lower()}{order[1:]}, seed {picture.seed}",
        width=width,
        height=height,
        photo=jpeg_uri(picture.pixels, side=_SIDE),
        steps=tuple(picture.steps[place] for place in places),
        methods=tuple(sorted(methods, key=lambda row: row[1])),
    )


def _cell(
    picture: SanityPicture, method: str, saliency: NDArray[np.floating] | None, step: str
) -> StripCell:
    overlay = None if saliency is None else overlay_uri(saliency, side=_SIDE)
    reason = "no map" if saliency is None else "" if overlay else "zero or not finite"
    name = f"{title(method)} on {picture.title}, {step}"
    return StripCell(overlay, reason, f"{name}: {reason}" if reason else name)
