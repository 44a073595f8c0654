"""The explorer's view: what a browser needs to show any kept image with any of its maps.

The index (names, figures, reasons) is read at once; photographs and maps come in parts of a few
images, which a browser unpacks when they are looked at.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from camaudit.report import figures
from camaudit.report.gallery import Wall, wall
from camaudit.report.kept import KeptImage, KeptMap, jpeg, photograph
from camaudit.report.kept_maps import KeptMaps
from camaudit.report.names import title
from camaudit.report.panels import reason_of, target_of, unmasked_reason
from camaudit.report.printable import printable
from camaudit.report.verdict import CONTROL, Finding, finding
from camaudit.report.view import ranked
from camaudit.types import DeadZoneFigures, Record, Status, Summary

__all__ = [
    "ONE_FILE",
    "SIZES",
    "Explorer",
    "PageLink",
    "Photos",
    "embedded",
    "fitted",
    "part",
    "script_json",
    "served",
]

PART = 20  #: images in a part
ONE_FILE = 25_000_000  #: bytes that a report in one file may have
_SHOWN = 4  # methods side by side at first
_SAME = "same"  # a map without the wall that looks like the one with it
_ESCAPED = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


@dataclass(frozen=True)
class Photos:
    """How photographs are shown: pixels on the longer side, and the JPEG's quality."""

    side: int
    quality: int


#: Tried in this order until a report fits; None is as they were kept.
SIZES: tuple[Photos | None, ...] = (None, Photos(192, 72), Photos(128, 68))


@dataclass(frozen=True)
class PageLink:
    """A page of images: where it lies, seen from the report's folder, and what is on it."""

    address: str
    label: str


@dataclass(frozen=True)
class Explorer:
    """The parts as JSON texts, safe inside a script element; `wall` is that of every image.

    `parts` is empty where a server hands them out, which the page then `asks`. `unmasked` is
    whether any image has a map of the model without its wall. `note` says what was made smaller.
    """

    index: str
    parts: tuple[str, ...]
    wall: Wall | None
    width: int
    height: int
    count: int
    total: int
    unmasked: bool
    note: str = ""
    asks: bool = False

    @property
    def size(self) -> int:
        """Bytes in the page."""
        return len(self.index) + sum(map(len, self.parts))


def embedded(
    kept: KeptMaps,
    summary: Sequence[Summary],
    records: Sequence[Record],
    *,
    places: range | None = None,
    total: int,
    photos: Photos | None = None,
) -> Explorer:
    """An explorer that carries the images at `places` (default: all) in its page.

    `total` is how many images were audited.
    """
    chosen = range(len(kept)) if places is None else places
    names, view = _view(kept, summary, records, chosen, total=total, is_served=False)
    parts = tuple(
        script_json(part(kept, names, chosen[start : start + PART], photos))
        for start in range(0, len(chosen), PART)
    )
    note = ""
    if photos is not None:
        note = f"Photographs are reduced to {photos.side} pixels so that the report fits one file."
    return Explorer(**{**view, "parts": parts, "note": note})


def fitted(
    kept: KeptMaps,
    summary: Sequence[Summary],
    records: Sequence[Record],
    *,
    total: int,
    room: int,
) -> Explorer | None:
    """The explorer of all images in at most `room` bytes; None where none of the sizes fits."""
    for photos in SIZES:
        found = embedded(kept, summary, records, total=total, photos=photos)
        if found.size <= room:
            return found
    return None


def served(
    kept: KeptMaps, summary: Sequence[Summary], records: Sequence[Record], *, total: int
) -> tuple[list[str], Explorer]:
    """The methods in the order of the parts, and an explorer that asks a server for these."""
    names, view = _view(kept, summary, records, range(len(kept)), total=total, is_served=True)
    return names, Explorer(**view, parts=(), asks=True)


def part(
    kept: KeptMaps, names: Sequence[str], places: Sequence[int], photos: Photos | None = None
) -> list[dict[str, Any]]:
    """Photographs and maps of the images at `places`: JPEG and levels in base64.

    Of an image with maps of the model without its wall these come too; one that looks like the
    walled model's is `"same"`.
    """
    found = []
    for image in (kept[place] for place in places):
        shown: dict[str, Any] = {
            "photo": _base64(_photo(image, photos)),
            "maps": [_cells(image.maps.get(name)) for name in names],
        }
        if _has_unmasked(image):
            shown["unmasked"] = [_unmasked_cells(image, name) for name in names]
        found.append(shown)
    return found


def script_json(value: Any) -> str:
    """`value` as JSON that can stand in a script element, whatever text is in it."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    for mark, escape in _ESCAPED.items():
        text = text.replace(mark, escape)
    return text


def _view(
    kept: KeptMaps,
    summary: Sequence[Summary],
    records: Sequence[Record],
    places: Sequence[int],
    *,
    total: int,
    is_served: bool,
) -> tuple[list[str], dict[str, Any]]:
    images = [kept[place] for place in places]
    ordered = ranked(summary)
    names = [entry.method for entry in ordered]
    names += list(dict.fromkeys(n for image in images for n in image.maps if n not in set(names)))
    controls = {entry.method for entry in ordered if entry.family == CONTROL}
    silent = {entry.method for entry in ordered if finding(entry) is Finding.UNDEFINED}
    names.sort(key=lambda name: name in controls)  # stable
    known = _indexed(records, {entry.check for entry in summary})
    unmasked = any(map(_has_unmasked, images))
    index = {
        "served": is_served,
        "unmasked": unmasked,
        "part": PART,
        "methods": [
            {"name": name, "title": printable(title(name)), "control": name in controls}
            for name in names
        ],
        "shown": _shown([name for name in names if name not in controls | silent] or names),
        "images": [
            _entry(
                image,
                [known.get((name, image.id, image.target)) for name in names],
                unmasked=unmasked,
            )
            for image in images
        ],
    }
    zone = kept.wall
    height, width = (images[0].height, images[0].width) if images else (1, 1)
    return names, {
        "index": script_json(index),
        "wall": None if zone is None else wall(*zone),
        "width": width,
        "height": height,
        "count": len(images),
        "total": total,
        "unmasked": unmasked,
    }


def _indexed(
    records: Sequence[Record], checks: set[str]
) -> dict[tuple[str, str, int | None], Record]:
    """Records by method, image and target; a target of None stands for an image's first one."""
    known: dict[tuple[str, str, int | None], Record] = {}
    for record in records:
        if record.check in checks:
            known.setdefault((record.method, record.image, None), record)
            known.setdefault((record.method, record.image, record.target), record)
    return known


def _shown(names: Sequence[str]) -> list[str]:
    """What stands side by side at first: the worst ones and the best."""
    if len(names) <= _SHOWN:
        return list(names)
    return [*names[: _SHOWN // 2], *names[-(_SHOWN // 2) :]]


def _entry(image: KeptImage, records: Sequence[Record | None], *, unmasked: bool) -> dict[str, Any]:
    """The figures of an image, and why there are none; text is safe to show.

    With `unmasked` also those of the model without its wall.
    """
    found = [record for record in records if record is not None]
    entry = {
        "id": image.id if image.target is None else f"{image.id}/{image.target}",
        "title": printable(image.title),
        "caption": printable(image.caption),
        "target": printable(target_of(found)),
        **_figures(records, [_reason(record) for record in records]),
    }
    if unmasked:
        twins = [None if record is None else record.unmasked for record in records]
        entry["unmasked"] = _figures(twins, [unmasked_reason(record) for record in records])
    return entry


def _figures(
    found: Sequence[Record | DeadZoneFigures | None], reasons: Sequence[str]
) -> dict[str, Any]:
    shares = [None if one is None else one.mu_l1 for one in found]
    return {
        "text": ["" if one is None else figures.percent(one.mu_l1) for one in found],
        "mu": [None if share is None else float(f"{share:.6g}") for share in shares],
        "reasons": {str(at): printable(reason) for at, reason in enumerate(reasons) if reason},
    }


def _reason(record: Record | None) -> str:
    scored = record is not None and record.status is Status.OK
    return "" if scored else reason_of(record, kept=False)


def _photo(image: KeptImage, photos: Photos | None) -> bytes:
    if photos is None:
        return image.photo
    pixels = photograph(image.photo, (image.height, image.width))
    return jpeg(pixels, side=photos.side, quality=photos.quality)


def _cells(kept: KeptMap | None) -> list[Any] | None:
    if kept is None:
        return None
    height, width = kept.levels.shape
    return [height, width, _base64(kept.levels.tobytes())]


def _has_unmasked(image: KeptImage) -> bool:
    return any(one is not None for one in image.unmasked.values())


def _unmasked_cells(image: KeptImage, name: str) -> list[Any] | str | None:
    walled, twin = image.maps.get(name), image.unmasked.get(name)
    if walled is not None and twin is not None and np.array_equal(walled.levels, twin.levels):
        return _SAME
    return _cells(twin)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
