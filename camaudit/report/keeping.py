"""Writing the maps of a run as they come, beside its results.json."""

from __future__ import annotations

import hashlib
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from camaudit.errors import OutputError
from camaudit.files import made_folder, output_error, sync_folder, write_json
from camaudit.report.gallery import DISPLAY_SIDE
from camaudit.report.kept import KeptMap, jpeg, packed, quantised
from camaudit.report.kept_maps import INDEX, MAPS_NAME, SCHEMA, KeptMaps
from camaudit.report.sanity_pictures import SanityPicture, shown_steps

__all__ = ["DEFAULT_IMAGES", "MapsWriter", "keeping"]

DEFAULT_IMAGES = 12  #: images whose maps are kept, unless another number is asked for
QUALITY = 80  #: of the JPEG photographs
_PART_BYTES = 4_000_000


class MapsWriter:
    """Takes the photographs and maps of the first images of a run and writes them at once.

    `most`: of how many images. Only what the current part has gathered is held in memory.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self.folder = folder
        self.most = most
        self._images: list[dict[str, Any]] = []
        self._pictures: list[dict[str, Any]] = []
        self._parts: list[dict[str, Any]] = []
        self._walls: dict[str, Any] = {}
        self._gathered = bytearray()

    def add(
        self,
        *,
        id: str,  # noqa: A002 - the name that results.json has
        title: str,
        caption: str,
        pixels: NDArray[np.uint8],
        maps: Mapping[str, NDArray[np.floating] | None],
        unmasked: Mapping[str, NDArray[np.floating] | None] | None = None,
        target: int | None = None,
    ) -> None:
        """The next image (uint8 H×W×3) with its raw maps, on a grid of any size.

        `unmasked` are those of the model without its wall; they are left out where there are none,
        and one that is drawn as the map in `maps` lies where that one does. `target` is the class
        that they explain, where an image has several; its photograph is kept once.
        """
        kept, twins = _quantised(maps), _quantised(unmasked or {})
        before = self._images[-1] if self._images else {}
        again = target is not None and before.get("id") == id
        if again:
            photo = before["photo"]
        else:
            photo = self._put(jpeg(pixels, side=DISPLAY_SIDE, quality=QUALITY))
        described = {name: None if one is None else self._map(one) for name, one in kept.items()}
        image: dict[str, Any] = {
            "id": id,
            "target": target,
            "title": title,
            "caption": caption,
            "size": list(pixels.shape[:2]),
            "photo": photo,
            "maps": described,
        }
        if any(twins.values()):
            image["unmasked"] = {
                name: None if one is None else self._twin(one, kept.get(name), described.get(name))
                for name, one in twins.items()
            }
        self._images.append(image)
        self._full()

    def wall(self, *, dead: NDArray[np.bool_], scored: NDArray[np.bool_]) -> None:
        """The dead pixels and those that are scored, bool H×W, of all images."""
        self._walls = {"dead": packed(dead), "scored": packed(scored)}

    def picture(self, picture: SanityPicture) -> None:
        """Maps along a cascade, at the steps that a report shows."""
        places = shown_steps(len(picture.steps))
        chosen = {
            name: [None if one is None else quantised(one) for one in (maps[p] for p in places)]
            for name, maps in picture.maps.items()
        }
        self._pictures.append(
            {
                "id": picture.id,
                "title": picture.title,
                "check": picture.check,
                "order": picture.order,
                "seed": picture.seed,
                "size": list(picture.pixels.shape[:2]),
                "photo": self._put(jpeg(picture.pixels, side=DISPLAY_SIDE, quality=QUALITY)),
                "steps": [picture.steps[place] for place in places],
                "maps": {
                    name: [one and self._map(one) for one in maps] for name, maps in chosen.items()
                },
            }
        )
        self._full()

    def finish(self) -> KeptMaps:
        """All that was written, to be read while it still has no place of its own."""
        self._flush()
        return KeptMaps(self.folder, self._index(None))

    def place(self, target: Path, results: bytes) -> None:
        """Take the place of the maps in `target`; `results` is the results.json they belong to.

        Raises :class:`OutputError` where that is refused.
        """
        self._flush()
        write_json(self.folder / INDEX, self._index(hashlib.sha256(results).hexdigest()))
        final, old = target / MAPS_NAME, target / f".{MAPS_NAME}.{secrets.token_hex(6)}.old"
        try:
            if final.exists():
                final.replace(old)
            if self._images or self._pictures:
                self.folder.replace(final)
            sync_folder(target)
        except OSError as error:
            with suppress(OSError):
                old.replace(final)
            raise output_error(final, error) from error
        shutil.rmtree(old, ignore_errors=True)

    def _index(self, results: str | None) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "results_sha256": results,
            "parts": self._parts,
            "wall": self._walls,
            "images": self._images,
            "pictures": self._pictures,
        }

    def _put(self, data: bytes) -> list[int]:
        """Part, offset and length of what is stored."""
        place = [len(self._parts), len(self._gathered), len(data)]
        self._gathered += data
        return place

    def _map(self, kept: KeptMap) -> dict[str, Any]:
        return _described(kept, self._put(kept.levels.tobytes()))

    def _twin(
        self, twin: KeptMap, walled: KeptMap | None, described: dict[str, Any] | None
    ) -> dict[str, Any]:
        """A map without the wall; levels that are those of the walled one are not stored again."""
        if walled is None or described is None or not np.array_equal(twin.levels, walled.levels):
            return self._map(twin)
        return _described(twin, described["at"])

    def _full(self) -> None:
        if len(self._gathered) >= _PART_BYTES:
            self._flush()

    def _flush(self) -> None:
        if not self._gathered:
            return
        name, data = f"{len(self._parts) + 1:04d}.bin", bytes(self._gathered)
        try:
            (self.folder / name).write_bytes(data)
        except OSError as error:
            raise output_error(self.folder / name, error) from error
        digest = hashlib.sha256(data).hexdigest()
        self._parts.append({"name": name, "bytes": len(data), "sha256": digest})
        self._gathered = bytearray()


def _quantised(maps: Mapping[str, NDArray[np.floating] | None]) -> dict[str, KeptMap | None]:
    return {name: None if values is None else quantised(values) for name, values in maps.items()}


def _described(kept: KeptMap, place: list[int]) -> dict[str, Any]:
    return {"shape": list(kept.levels.shape), "low": kept.low, "high": kept.high, "at": place}


@contextmanager
def keeping(target: Path, most: int) -> Iterator[MapsWriter]:
    """A writer into a folder beside its place in `target`, which is gone when the context ends.

    Raises :class:`OutputError` where the folder cannot be made, or where something stands in its
    place that is no earlier run's maps.
    """
    final = target / MAPS_NAME
    if final.exists() and not (final / INDEX).is_file():
        raise OutputError(
            f"{final} holds no maps of an earlier run, and those of this run have to stand there: "
            "move it, or choose another output folder"
        )
    staging = made_folder(target / f".{MAPS_NAME}.{secrets.token_hex(6)}.tmp")
    try:
        yield MapsWriter(staging, most)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
