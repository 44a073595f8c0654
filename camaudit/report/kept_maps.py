"""Reading the maps that a run has kept, for its report."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from camaudit.errors import AuditError
from camaudit.report.gallery import GalleryImage
from camaudit.report.kept import MOST_CELLS, KeptImage, KeptMap, photograph, unpacked, upsampled
from camaudit.report.sanity_pictures import SanityPicture

__all__ = ["INDEX", "MAPS_NAME", "SCHEMA", "KeptMaps", "read_maps"]

MAPS_NAME = "maps"
INDEX = "index.json"
SCHEMA = 1


class KeptMaps(Sequence[KeptImage]):
    """The images of a run that have been kept, read from the disk one by one.

    A part is read and its hash compared when the first image in it is asked for; the last part is
    remembered. Raises :class:`AuditError` where a file is not as the index says.
    """

    def __init__(self, folder: Path, index: Mapping[str, Any]) -> None:
        self._folder = folder
        self._index = index
        self._last: tuple[int, bytes] = (-1, b"")

    def __len__(self) -> int:
        return len(self._index["images"])

    def __getitem__(self, place: Any) -> Any:
        if isinstance(place, slice):
            return [self[number] for number in range(*place.indices(len(self)))]
        return self._guarded(self._image, self._index["images"][place])

    @property
    def wall(self) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
        """The dead and the scored pixels of all images, bool H×W; None where there is no wall."""
        if not self._index["wall"]:
            return None
        dead, scored = (
            self._guarded(unpacked, self._index["wall"][name]) for name in ("dead", "scored")
        )
        return dead, scored

    def gallery(self, most: int) -> list[GalleryImage]:
        """The first images as the report's gallery takes them; empty without a wall."""
        if self.wall is None:
            return []
        dead, scored = self.wall
        return [self._guarded(self._drawn, image, dead, scored) for image in self[:most]]

    def pictures(self) -> list[SanityPicture]:
        """The maps along cascades."""
        return [self._guarded(self._picture, plain) for plain in self._index["pictures"]]

    def _guarded(self, read: Any, *given: Any) -> Any:
        try:
            return read(*given)
        except (KeyError, IndexError, AttributeError, TypeError, ValueError, OSError) as error:
            raise AuditError(
                f"{self._folder} does not hold the maps that its index describes ({error}): "
                "run camaudit run again, or remove the folder to do without maps"
            ) from error

    def _image(self, plain: Mapping[str, Any]) -> KeptImage:
        height, width = map(int, plain["size"])
        return KeptImage(
            id=str(plain["id"]), title=str(plain["title"]), caption=str(plain["caption"]),
            height=height, width=width, photo=self._bytes(plain["photo"]),
            maps=self._maps(plain["maps"]),
            target=None if plain["target"] is None else int(plain["target"]),
            unmasked=self._maps(plain.get("unmasked", {})),  # runs of before have none
        )  # fmt: skip

    def _drawn(
        self, image: KeptImage, dead: NDArray[np.bool_], scored: NDArray[np.bool_]
    ) -> GalleryImage:
        size = (image.height, image.width)
        maps = {
            name: None if one is None else upsampled(one, size) for name, one in image.maps.items()
        }
        return GalleryImage(
            image.id,
            image.title,
            image.caption,
            photograph(image.photo, size),
            dead,
            scored,
            maps,
            image.target,
        )

    def _picture(self, plain: Mapping[str, Any]) -> SanityPicture:
        height, width = map(int, plain["size"])
        maps = {
            str(name): tuple(
                None if one is None else upsampled(self._map(one), (height, width)) for one in row
            )
            for name, row in plain["maps"].items()
        }
        return SanityPicture(
            id=str(plain["id"]), title=str(plain["title"]), check=str(plain["check"]),
            order=str(plain["order"]), seed=int(plain["seed"]),
            pixels=photograph(self._bytes(plain["photo"]), (height, width)),
            steps=tuple(map(str, plain["steps"])), maps=maps,
        )  # fmt: skip

    def _maps(self, plain: Any) -> dict[str, KeptMap | None]:
        if not isinstance(plain, dict):
            raise TypeError(f"expected maps by their methods, got {type(plain).__name__}")
        return {str(name): None if one is None else self._map(one) for name, one in plain.items()}

    def _map(self, plain: Mapping[str, Any]) -> KeptMap:
        height, width = map(int, plain["shape"])
        if not (0 < height <= MOST_CELLS and 0 < width <= MOST_CELLS):
            raise ValueError(f"a map of {height}×{width} cells, expected 1 to {MOST_CELLS} a side")
        data = np.frombuffer(self._bytes(plain["at"]), dtype=np.uint8)
        return KeptMap(data.reshape(height, width), float(plain["low"]), float(plain["high"]))

    def _bytes(self, place: Sequence[int]) -> bytes:
        part, offset, length = place
        if part != self._last[0]:
            self._last = (part, self._part(part))
        found = self._last[1][offset : offset + length]
        if offset < 0 or len(found) != length:
            raise ValueError(f"part {part} has no {length} bytes at {offset}")
        return found

    def _part(self, number: int) -> bytes:
        described = self._index["parts"][number]
        if number < 0 or described["name"] != f"{number + 1:04d}.bin":
            raise ValueError(f"part {number} is named {described['name']!r}")
        data = (self._folder / f"{number + 1:04d}.bin").read_bytes()
        if hashlib.sha256(data).hexdigest() != described["sha256"]:
            raise ValueError(f"{described['name']} has another hash than its index says")
        return data


def read_maps(run: Path, results: bytes) -> KeptMaps | None:
    """The maps beside a results.json with these bytes; None where none were kept.

    Raises :class:`AuditError` where the index cannot be read, or is that of other results.
    """
    path = run / MAPS_NAME / INDEX
    if not path.is_file():
        return None
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        found = index["schema"], index["results_sha256"]
        parts = [index[name] for name in ("parts", "images", "pictures")]
        if not (all(isinstance(part, list) for part in parts) and isinstance(index["wall"], dict)):
            raise TypeError("a part of it is missing")
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise AuditError(
            f"{path} cannot be read ({error}): run camaudit run again, or remove the folder to do "
            "without maps"
        ) from error
    if found != (SCHEMA, hashlib.sha256(results).hexdigest()):
        raise AuditError(
            f"{path} belongs to another results.json than the one beside it, or to another version "
            "of camaudit: run camaudit run again, or remove the folder to do without maps"
        )
    return KeptMaps(run / MAPS_NAME, index)
