"""Looking through a data set by eye: the list to look at, and the ids that were rejected."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from camaudit.data.folders import printable
from camaudit.data.images import read_file
from camaudit.data.manifest import Manifest
from camaudit.errors import ImageError, UsageError

__all__ = ["listing", "parse_rejections", "read_rejections", "with_boundaries"]

_REASON = "rejected by eye"
_BOUNDARY = re.compile(r"boundary\s*[=:]?\s*([0-9.]+)")


def listing(manifest: Manifest) -> str:
    """One line an image: id, label, name, sources."""
    lines = []
    for image in manifest.images:
        label = "-" if image.label is None else str(image.label)
        parts = " + ".join(printable(part.id) for part in image.sources)
        lines.append(f"{image.id}  {label:>3} {printable(image.label_name or '-')}  ({parts})")
    return "\n".join(lines)


def read_rejections(path: Path) -> dict[str, str]:
    """Rejected ids and reasons from a text file; see :func:`parse_rejections`."""
    shown = printable(str(path))
    try:
        text = read_file(path).decode("utf-8-sig")
    except (ImageError, UnicodeDecodeError) as error:
        raise UsageError(f"{shown} is no list of rejected ids: {error}") from error
    found = parse_rejections(text)
    if not found:
        raise UsageError(f"{shown} rejects nothing: expected an id and a reason a line")
    return found


def parse_rejections(text: str) -> dict[str, str]:
    """Ids to reasons: an id a line, then a reason if there is one; `#` starts a comment.

    >>> parse_rejections("jay-0123456789ab  the bird is cut off")
    {'jay-0123456789ab': 'the bird is cut off'}
    """
    found: dict[str, str] = {}
    for line in text.splitlines():
        words = line.partition("#")[0].split(maxsplit=1)
        if words:
            found[words[0].removesuffix(".png")] = words[1].strip() if words[1:] else _REASON
    return found


def with_boundaries(entries: Mapping[str, str]) -> tuple[dict[str, str], dict[str, float]]:
    """Rejected ids with reasons, and apart from them the ids whose reason is a boundary.

    Such an image is no other one: it is cut around this fraction of its picture's height. Raises
    :class:`UsageError` for a fraction that does not lie between 0 and 1.

    >>> with_boundaries({"jay-01": "boundary 0.4", "tench-02": "blurred"})
    ({'tench-02': 'blurred'}, {'jay-01': 0.4})
    """
    rejected: dict[str, str] = {}
    boundaries: dict[str, float] = {}
    for id_, reason in entries.items():
        found = _BOUNDARY.fullmatch(reason)
        if found is None:
            rejected[id_] = reason
            continue
        try:
            boundaries[id_] = float(found[1])
        except ValueError:
            boundaries[id_] = 0.0
        if not 0 < boundaries[id_] < 1:
            raise UsageError(f"{id_}: the boundary must lie between 0 and 1, got {found[1]}")
    return rejected, boundaries
