"""Pixels that are read again when they are wanted, so that a large set is never all in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from camaudit.data.decoding import Pixels
from camaudit.data.folders import sha256_bytes

__all__ = ["Recent", "Stored"]

_KEPT = 32 << 20  # bytes: some 200 images of 224×224


class Recent:
    """The pixels that were asked for last, `limit` bytes of them at most."""

    def __init__(self, limit: int = _KEPT) -> None:
        self._limit = limit
        self._held: OrderedDict[Stored, Pixels] = OrderedDict()
        self._bytes = 0

    def of(self, stored: Stored) -> Pixels | None:
        """The pixels of `stored`, if they are held."""
        if stored not in self._held:
            return None
        self._held.move_to_end(stored)
        return self._held[stored]

    def hold(self, stored: Stored, pixels: Pixels) -> None:
        """Hold the pixels of `stored`, in place of those that were not asked for the longest."""
        self._bytes += pixels.nbytes - (self._held[stored].nbytes if stored in self._held else 0)
        self._held[stored] = pixels
        self._held.move_to_end(stored)
        while self._bytes > self._limit and len(self._held) > 1:
            self._bytes -= self._held.popitem(last=False)[1].nbytes


class Stored:
    """Pixels (uint8, H×W×3) which `read` gives, now and again; `sha256` is that of their bytes.

    `pixels` are what it gave the first time; `recent` holds them for a while.
    """

    __slots__ = ("_read", "recent", "sha256", "shape")

    def __init__(self, read: Callable[[], Pixels], pixels: Pixels, recent: Recent) -> None:
        self.sha256 = sha256_bytes(pixels.tobytes())
        self.shape = pixels.shape
        self.recent = recent
        self._read = read
        recent.hold(self, pixels)

    @property
    def pixels(self) -> Pixels:
        """The pixels; raises what `read` raises where their file is gone or another by now."""
        found = self.recent.of(self)
        if found is None:
            found = self._read()
            self.recent.hold(self, found)
        return found
