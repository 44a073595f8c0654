"""Loading: photographs are decoded when they are first needed, once, and refused once."""

from __future__ import annotations

from dataclasses import dataclass, field

from camaudit.data.folders import Photo, Skipped, sha256_bytes
from camaudit.data.images import (
    Box,
    Decoded,
    Pixels,
    cover_box,
    decode,
    resize_center_crop,
)
from camaudit.data.pairs import CropBox
from camaudit.data.stored import Recent, Stored
from camaudit.errors import ImageError

__all__ = ["Loader", "Source", "View"]


@dataclass(frozen=True)
class Source:
    """Which part of which file an image shows.

    `id` is the photograph's, `sha256` that of the file's bytes. `crop` is (left, top, right,
    bottom) as fractions, in [0, 1], of the width and height of the decoded photograph, that is
    after its EXIF orientation was applied and before any resizing.
    """

    id: str
    sha256: str
    crop: Box


@dataclass(frozen=True, eq=False)
class View:
    """A photograph, or a crop of it, at the size of the model's input: uint8 (H, W, 3).

    `content` holds the pixels, or reads them again. `native` is the height and width in pixels of
    what was resized to that.
    """

    content: Stored = field(repr=False)
    source: Source
    notes: tuple[str, ...]
    native: tuple[int, int]

    @property
    def pixels(self) -> Pixels:
        """The pixels. Raises :class:`ImageError` where the file was changed or is gone."""
        return self.content.pixels


@dataclass(frozen=True, eq=False)
class _Opened:
    """A decoded file and the digest of its bytes."""

    photo: Photo
    decoded: Decoded
    sha256: str


class Loader:
    """Views of photographs at one size; what cannot be used is in `skipped`.

    A view stays known; its pixels are held in `recent` for a while, and read again after that.

    Besides unreadable files it refuses a photograph that shows the very pixels of an earlier one
    of its class: a copy is no second image. Sides below 32 pixels are refused too, unless the
    views are that small themselves. `keep` is the central share of both sides that is shown of a
    photograph that is not of that size already: 224/256 is a resize to 256 and a crop of 224.
    """

    def __init__(self, size: tuple[int, int], *, keep: float = 1.0) -> None:
        self.size = size
        self._keep = keep
        self._min_side = max(1, min(32, *size))
        self.recent = Recent()
        self._views: dict[str, View] = {}
        self._refused: dict[str, str] = {}
        self._seen: dict[tuple[str | None, str], str] = {}
        # One photograph at full size is worth keeping: two crops are cut from the last one.
        self._last: _Opened | None = None

    @property
    def skipped(self) -> tuple[Skipped, ...]:
        """(photograph, reason) for everything that was refused, sorted by photograph."""
        return tuple(sorted(self._refused.items()))

    def refused(self, photo: Photo) -> bool:
        """Whether the photograph was tried and cannot be used."""
        return photo.id in self._refused

    def view(self, photo: Photo) -> View | None:
        """The whole photograph, resized and centre-cropped; None if it cannot be used."""
        if photo.id in self._views:
            return self._views[photo.id]
        opened = self._open(photo)
        if opened is None:
            return None
        view = self._cut(opened, self._shown(*opened.decoded.pixels.shape[:2]))
        key = (photo.label_name, view.content.sha256)
        if key in self._seen:
            self._refused[photo.id] = f"shows the same pixels as {self._seen[key]}"
            return None
        self._seen[key] = photo.id
        self._views[photo.id] = view
        return view

    def shape(self, photo: Photo) -> tuple[int, int] | None:
        """Height and width of the decoded photograph; None if it cannot be used."""
        opened = self._open(photo)
        if opened is None:
            return None
        height, width = opened.decoded.pixels.shape[:2]
        return height, width

    def crop(self, photo: Photo, box: CropBox) -> View | None:
        """A part of the photograph at the loader's size; None if it cannot be used."""
        opened = self._open(photo)
        return None if opened is None else self._cut(opened, box)

    def _open(self, photo: Photo) -> _Opened | None:
        """Decode, or give the last one again; a failure is recorded and never retried."""
        if photo.id in self._refused:
            return None
        if self._last is not None and self._last.photo == photo:
            return self._last
        try:
            data = photo.read()
            self._last = _Opened(photo, decode(data, min_side=self._min_side), sha256_bytes(data))
        except ImageError as error:
            self._refused[photo.id] = str(error)
            return None
        return self._last

    def _shown(self, height: int, width: int) -> CropBox:
        """The part of a photograph that a view of it shows."""
        if (height, width) == self.size:
            return 0, 0, width, height
        left, top = (round(side * (1 - self._keep) / 2) for side in (width, height))
        return left, top, width - left, height - top

    def _cut(self, opened: _Opened, box: CropBox) -> View:
        """Crop to `box`, then resize and centre-crop; the record composes both crops."""
        left, top, right, bottom = box
        height, width = opened.decoded.pixels.shape[:2]
        inner = cover_box(bottom - top, right - left, self.size)
        crop = (
            (left + inner[0] * (right - left)) / width,
            (top + inner[1] * (bottom - top)) / height,
            (left + inner[2] * (right - left)) / width,
            (top + inner[3] * (bottom - top)) / height,
        )
        photo, digest = opened.photo, opened.sha256
        pixels = self._scaled(opened, box)
        content = Stored(lambda: self._again(photo, digest, box), pixels, self.recent)
        notes = tuple(f"{photo.id}: {note}" for note in opened.decoded.notes)
        credit = (photo.credit,) if photo.credit else ()
        source = Source(photo.id, digest, crop)
        return View(content, source, (*notes, *credit), (bottom - top, right - left))

    def _scaled(self, opened: _Opened, box: CropBox) -> Pixels:
        left, top, right, bottom = box
        return resize_center_crop(opened.decoded.pixels[top:bottom, left:right], self.size)

    def _again(self, photo: Photo, sha256: str, box: CropBox) -> Pixels:
        """The pixels of a view that was made before."""
        try:
            data = photo.read()
            if sha256_bytes(data) != sha256:
                raise ImageError("it holds other bytes than at the beginning")
        except ImageError as error:
            raise ImageError(
                f"{photo.id} was changed or removed while it was in use: {error}; begin again"
            ) from error
        opened = _Opened(photo, decode(data, min_side=self._min_side), sha256)
        return self._scaled(opened, box)
