"""results.json as a gate reads it: checked before anything is decided on it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import NoneType
from typing import Any

from camaudit.errors import AuditError, UsageError
from camaudit.files import parsed_json
from camaudit.types import SCHEMA_VERSION

__all__ = ["defects", "image_keys", "read_results"]

_PARTS: dict[str, type] = {
    "subject": dict,
    "zone": dict,
    "settings": dict,
    "images": list,
    "records": list,
    "summary": list,
}

_LARGEST_WHOLE = 2**64  # no seed, count or place is larger


def read_results(path: Path) -> dict[str, Any]:
    """The object in a results.json.

    Raises :class:`UsageError` where there is no such file, and :class:`AuditError` where it cannot
    be read or is no results.json that can be relied on.
    """
    if not path.is_file():
        raise UsageError(f"{path} is no file: name the results.json that camaudit run wrote")
    try:
        found = parsed_json(path.read_text(encoding="utf-8"), finite=False)
    except (OSError, ValueError) as error:
        raise AuditError(
            f"{path} cannot be read as JSON ({error}): run camaudit run again"
        ) from error
    wrong = defects(found)
    if wrong:
        raise AuditError(f"{path}: {'; '.join(wrong)}")
    results: dict[str, Any] = found
    return results


def defects(results: Any) -> list[str]:
    """What keeps a gate from relying on `results`, in words; nothing for a sound run.

    Another version, missing parts, an image that is listed twice, and a number that is NaN or
    infinite, wherever it stands.
    """
    if not isinstance(results, dict):
        return [f"results.json must hold an object, not {type(results).__name__}"]
    version = results.get("schema")
    if type(version) is not int or version != SCHEMA_VERSION:
        return [
            f"results.json has schema {version!r}, expected {SCHEMA_VERSION}: run the audit with "
            "this version of camaudit"
        ]
    wrong = [
        f"results.json lacks {name}, or it is no {kind.__name__}"
        for name, kind in _PARTS.items()
        if not isinstance(results.get(name), kind)
    ]
    if not isinstance(results.get("environment", {}), (dict, NoneType)):
        wrong.append("results.json has an environment that is no dict")
    if wrong:
        return wrong
    seed = results["settings"].get("seed")
    if type(seed) is not int or seed < 0:
        wrong.append(f"results.json has the seed {seed!r}: its settings are lost")
    places = list(_not_finite(results, "results.json"))
    if places:
        wrong.append(
            f"{places[0]} is NaN, infinite or beyond 64 bits"
            + (f", as are {len(places) - 1} other numbers" if len(places) > 1 else "")
        )
    return [*wrong, *_image_defects(results["images"])]


def image_keys(results: Mapping[str, Any]) -> dict[str, tuple[str, str | None]]:
    """What makes an image the same in two runs, by its id: the id and the hash of the pixels."""
    return {image["id"]: (image["id"], image.get("sha256")) for image in results["images"]}


def _image_defects(images: list[Any]) -> list[str]:
    if not all(isinstance(one, dict) and isinstance(one.get("id"), str) for one in images):
        return ["results.json lists an image without an id"]
    if not all(isinstance(one.get("sha256", ""), (str, NoneType)) for one in images):
        return ["results.json lists an image whose sha256 is no text"]
    if not images:
        return ["results.json lists no image: there is nothing to decide on"]
    twice = [name for name, count in Counter(one["id"] for one in images).items() if count > 1]
    if twice:
        return [f"results.json lists the image {twice[0]!r} more than once"]
    hashes = Counter(one["sha256"] for one in images if one.get("sha256") is not None)
    same = [one["id"] for one in images if hashes[one.get("sha256")] > 1]
    if same:
        return [
            f"{len(same)} images have the same pixels as another ({', '.join(same[:3])} …): each "
            "counts as one only once, so remove the copies"
        ]
    return []


def _not_finite(value: Any, place: str) -> Iterator[str]:
    """Places of numbers that are NaN or infinite, or too large to be calculated with."""
    if isinstance(value, (int, float)):
        most = _LARGEST_WHOLE if isinstance(value, int) else sys.float_info.max
        if not abs(value) <= most:  # so for NaN too
            yield place
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _not_finite(item, f"{place}.{key}")
    elif isinstance(value, (list, tuple)):
        for number, item in enumerate(value):
            yield from _not_finite(item, f"{place}[{number}]")
