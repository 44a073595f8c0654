"""Back end without a network: two photographs of one class, blended into each other at the wall.

The upper photograph is cut so that its object ends at the wall (see `objects`), the lower one so
that the dead rows show as much as possible of its object. Both reach into a band around the
wall, in which

1. their colours approach each other: half of the difference of the band's mean colours is taken
   from either side, fading out with the distance from the wall;
2. a path from left to right is found on which they differ least (dynamic programming, one row up
   or down a column);
3. across this path one fades into the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt
from PIL import Image

from camaudit.data.classes import Key, class_key
from camaudit.data.contact_sheet import png
from camaudit.data.folders import Collection, Photo, printable, sha256_bytes
from camaudit.data.generation.objects import Extent, extent, score
from camaudit.data.generation.request import JSON, Generated, RefusedError, Request
from camaudit.data.images import Decoded, Pixels, decode
from camaudit.data.manifest import ManifestSource, ManifestWall
from camaudit.data.pairs import ordered_pairs
from camaudit.errors import ImageError, UsageError

__all__ = ["Compositor", "blended"]

_BAND = 0.06  # half the height of the band, as a share of the image's
_FADE = 0.022  # half the width of the transition across the path, likewise
_SHIFT = 24.0  # most that a colour is moved, of 255
_FILL = 0.9  # share of the rows or columns of its window that an object is to fill
_ZOOM = 0.8  # smallest window, as a share of the largest that fits

Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Opened:
    photo: Photo
    decoded: Decoded
    sha256: str
    plane: Values

    @property
    def shape(self) -> tuple[int, int]:
        height, width = self.decoded.pixels.shape[:2]
        return height, width


@dataclass(frozen=True)
class _Window:
    """A part of a photograph in its pixels, not rounded."""

    left: float
    top: float
    width: float
    height: float


class Compositor:
    """Stacks photographs of a collection; the same request and files give the same bytes.

    Pair k of a class, k being the request's seed modulo the number of ordered pairs, in the order
    of `camaudit.data.pairs.ordered_pairs`: successive seeds give different pairs.
    """

    def __init__(self, collection: Collection, *, wall: ManifestWall, layout: str) -> None:
        self._classes: dict[Key, tuple[Photo, ...]] = {
            class_key(name): photos for name, photos in collection.classes.items()
        }
        self._wall = wall
        self._layout = layout
        self.folders = tuple(
            name for name, photos in collection.classes.items() if len(photos) > 1
        )  #: names of the classes with two photographs and more
        self._left_out = len(collection.classes) - len(self.folders)
        if not self.folders:
            raise ImageError(
                f"no class of {printable(str(collection.root))} has two photographs, so nothing "
                "can be stacked; camaudit data stack-mix makes two crops of one"
            )

    @property
    def settings(self) -> dict[str, JSON]:
        """The kind of blend and the layout of the source."""
        return {
            "backend": "composite",
            "blend": "seam in a band",
            "layout": self._layout,
            "prompt": None,
        }

    @property
    def notes(self) -> tuple[str, ...]:
        """Classes that cannot be used."""
        if not self._left_out:
            return ()
        return (f"{self._left_out} classes with a single photograph are left out",)

    def generate(self, request: Request) -> Generated:
        """Blend two photographs of the request's class at the request's size.

        Raises :class:`RefusedError` if one of them cannot be used, or both show the same.
        """
        upper, lower = (self._opened(photo, request) for photo in self._pair(request))
        if np.array_equal(upper.decoded.pixels, lower.decoded.pixels):
            raise RefusedError(f"{upper.photo.id} and {lower.photo.id} show the same pixels")
        height, width = request.size
        dead = self._wall.dead_rows or 0
        if not 0 < dead < height:
            raise UsageError(f"a wall with dead rows at the bottom of {height} is needed")
        wall, band = height - dead, _half_band(height, dead)
        above = _upper_window(upper, wall + band, wall, width)
        below = _lower_window(lower, dead + band, width)
        pixels = blended(
            _cut(upper, above, (wall + band, width)), _cut(lower, below, (dead + band, width)), wall
        )
        return Generated(
            picture=png(Image.fromarray(pixels)),
            generation={"backend": "composite", "boundary": wall / height, "prompt": None},
            sources=(_source(upper, above), _source(lower, below)),
            notes=(*_notes(upper, above, width), *_notes(lower, below, width)),
        )

    def _pair(self, request: Request) -> tuple[Photo, Photo]:
        key: Key = request.label_name if request.label is None else request.label
        photos = self._classes.get(key, ())
        if len(photos) < 2:
            raise RefusedError("its class has no two photographs")
        count = len(photos) * (len(photos) - 1)
        return next(islice(ordered_pairs(photos), request.seed % count, None))

    def _opened(self, photo: Photo, request: Request) -> _Opened:
        try:
            data = photo.read()
            decoded = decode(data, min_side=max(1, min(32, *request.size)))
        except ImageError as error:
            raise RefusedError(f"{photo.id}: {error}") from error
        return _Opened(photo, decoded, sha256_bytes(data), score(decoded.pixels))


def blended(above: Pixels, below: Pixels, wall: int) -> Pixels:
    """One image of two that overlap in a band around row `wall`.

    Args:
        above: uint8 (wall + b, W, 3), the rows from the top to b rows below the wall.
        below: uint8 (d + b, W, 3), the rows from b rows above the wall to the bottom.
        wall: the row at which the lower part begins.

    Returns:
        uint8 (wall + d, W, 3). Rows outside the band show one photograph each; colours are moved
        in the band alone.
    """
    band = above.shape[0] - wall
    upper, lower = above.astype(np.float64), below.astype(np.float64)
    top, bottom = upper[wall - band :], lower[: 2 * band]
    half = np.clip((top.mean(axis=(0, 1)) - bottom.mean(axis=(0, 1))) / 2, -_SHIFT, _SHIFT)
    rows = (np.arange(2 * band) + 0.5 - band) / band  # −1 to 1 across the band
    weight = (np.cos(np.pi * rows / 2) ** 2)[:, None, None]
    top, bottom = top - half * weight, bottom + half * weight
    path = _path(((top - bottom) ** 2).sum(axis=2), rows)
    fade = max(1.0, _FADE * (wall + below.shape[0] - band))
    past = (np.arange(2 * band)[:, None] + 0.5 - path[None]) / fade
    share = _smooth(np.clip((past + 1) / 2, 0, 1))[..., None]
    share = share * (rows > -1)[:, None, None]
    mixed = (1 - share) * top + share * bottom
    whole = np.concatenate([upper[: wall - band], mixed, lower[2 * band :]])
    return np.asarray(np.clip(np.rint(whole), 0, 255), dtype=np.uint8)


def _path(cost: Values, rows: Values) -> Values:
    """The row of the least sum of costs for every column, in a band of (2b, W)."""
    # near the band's rim a path would leave one photograph no room to fade
    walls = 1e5 * np.clip(np.abs(rows) - 0.6, 0, None)[:, None]
    cost = cost + walls + 60.0 * rows[:, None] ** 2
    total, steps = cost[:, 0], []
    for column in cost.T[1:]:
        padded = np.pad(total, 1, constant_values=np.inf)
        options = np.stack([padded[1:-1], padded[:-2], padded[2:]])  # straight on wins ties
        step = np.argmin(options, axis=0)
        steps.append(step)
        total = options[step, np.arange(len(total))] + column
    row = int(np.argmin(total))
    path = [row]
    for step in reversed(steps):
        row += (0, -1, 1)[int(step[row])]
        path.append(row)
    return np.array(path[::-1], dtype=np.float64) + 0.5


def _smooth(share: Values) -> Values:
    """0 to 1 without corners."""
    return share * share * (3 - 2 * share)


def _half_band(height: int, dead: int) -> int:
    return max(1, min(round(_BAND * height), dead // 2, (height - dead) // 2))


def _upper_window(opened: _Opened, rows: int, wall: int, width: int) -> _Window:
    """The window that shows the object from its top to its lower edge, which is put at the wall.

    `rows` × `width` are what it becomes, `wall` the row for the object's lower edge. Of an object
    that is too tall the upper part is shown: that is where its head mostly is.
    """
    tall, wide = opened.shape
    where = extent(opened.plane)
    largest = min(float(tall), wide * rows / width)
    wanted = (where.bottom - where.top) * tall * rows / (_FILL * wall)
    size = min(largest, max(_ZOOM * largest, wanted))
    bottom = where.bottom * tall + size * (rows - wall) / rows
    top = min(max(0.0, bottom - size), tall - size, where.top * tall)
    return _placed(where, wide, top, size, size * width / rows)


def _lower_window(opened: _Opened, rows: int, width: int) -> _Window:
    """The window of `rows` × `width` as wide as the object, where it holds most of it."""
    tall, wide = opened.shape
    where = extent(opened.plane)
    largest = min(float(tall), wide * rows / width)
    wanted = (where.right - where.left) * wide / _FILL * rows / width
    size = min(largest, max(_ZOOM * largest, wanted))
    profile = np.concatenate([[0.0], np.cumsum(opened.plane.sum(axis=1))])
    grid = np.linspace(0, tall, len(profile))
    tops = np.linspace(0, tall - size, 65)
    held = np.interp(tops + size, grid, profile) - np.interp(tops, grid, profile)
    return _placed(where, wide, float(tops[int(np.argmax(held))]), size, size * width / rows)


def _placed(where: Extent, wide: int, top: float, height: float, width: float) -> _Window:
    """The window with its columns around the object's."""
    left = min(max(0.0, where.centre * wide - width / 2), wide - width)
    return _Window(max(0.0, left), top, width, height)


def _box(opened: _Opened, window: _Window) -> tuple[float, float, float, float]:
    tall, wide = opened.shape
    right = min(float(wide), window.left + window.width)
    return window.left, window.top, right, min(float(tall), window.top + window.height)


def _cut(opened: _Opened, window: _Window, size: tuple[int, int]) -> Pixels:
    image = Image.fromarray(np.ascontiguousarray(opened.decoded.pixels))
    method, box = Image.Resampling.BILINEAR, _box(opened, window)
    return np.array(image.resize((size[1], size[0]), method, box=box))


def _source(opened: _Opened, window: _Window) -> ManifestSource:
    tall, wide = opened.shape
    left, top, right, bottom = _box(opened, window)
    crop = (left / wide, top / tall, right / wide, bottom / tall)
    return ManifestSource(opened.photo.id, opened.sha256, crop, opened.photo.credit)


def _notes(opened: _Opened, window: _Window, width: int) -> list[str]:
    notes = [f"{opened.photo.id}: {note}" for note in opened.decoded.notes]
    if window.width < width:
        notes.append(f"{opened.photo.id}: {window.width:.0f} columns, enlarged to {width}")
    return notes
