"""Building a data set again after a review: what is rejected, what stays and must be the same."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from camaudit.data.folders import printable, sha256_bytes
from camaudit.data.images import read_file
from camaudit.data.manifest import Kind, Manifest, ManifestImage, ManifestWall
from camaudit.errors import UsageError

__all__ = ["check_same_options", "kept_bytes", "near", "rejections"]

_VERSIONS = ("pillow",)  # settings that may differ: kept files stay as they are


def rejections(
    target: Path,
    previous: Manifest | None,
    reject: Mapping[str, str],
    *,
    kind: Kind,
    review: bool,
    force: bool,
) -> dict[str, str]:
    """All rejected ids with their reasons, those of the data set in `target` first.

    Raises :class:`UsageError` if a data set is there and neither `review` nor `force` is set, and
    if `review` is set and there is none, one of another kind, or none with a rejected id.
    """
    shown = printable(str(target))
    if not review:
        if previous is not None and not force:
            raise UsageError(
                f"{shown} holds a data set already: --review redraws some of its images, --force "
                "replaces it, --out takes another folder"
            )
        return dict(reject)
    if previous is None:
        raise UsageError(f"there is no data set in {shown} to review: build it first")
    if previous.kind != kind:
        raise UsageError(f"{shown} holds a data set of the kind {previous.kind}, not {kind}")
    known = {entry.id: entry.reason for entry in previous.rejected}
    ids = [image.id for image in previous.images]
    for id_ in reject:
        if id_ not in known and id_ not in ids:
            raise UsageError(f"{id_!r} is no image of {shown}{near(id_, ids)}")
    return {**known, **{id_: why for id_, why in reject.items() if id_ not in known}}


def check_same_options(
    previous: Manifest,
    settings: Mapping[str, Any],
    *,
    seed: int,
    size: tuple[int, int],
    wall: ManifestWall,
) -> None:
    """Raise :class:`UsageError` if a data set was built with other options than these.

    One whose manifest does not say of which classes its pairs are has pairs of one class.
    """
    before = {
        "pairs": "same",
        **previous.settings,
        "seed": previous.seed,
        "size": list(previous.size),
    }
    before["seam"] = previous.wall.pixel_dead_rows
    now = {**settings, "seed": seed, "size": list(size), "seam": wall.pixel_dead_rows}
    wrong = [key for key in now if key not in _VERSIONS and before.get(key) != now[key]]
    if wrong:
        said = "; ".join(f"{key} was {before.get(key)!r}, is {now[key]!r}" for key in wrong)
        raise UsageError(
            f"a review repeats the options that the data set was built with ({said}): give the "
            "same ones, or build anew with --force"
        )


def kept_bytes(target: Path, image: ManifestImage) -> bytes:
    """The file of an image that stays.

    Raises :class:`UsageError` if it was changed, and :class:`camaudit.errors.ImageError` if it
    cannot be read.
    """
    data = read_file(target / image.file)
    if sha256_bytes(data) != image.sha256:
        raise UsageError(
            f"{printable(str(target / image.file))} was changed since it was built: see "
            "camaudit data verify, and build anew with --force"
        )
    return data


def near(id_: str, ids: Sequence[str]) -> str:
    """The end of a message: ids that are spelt like `id_`."""
    close = difflib.get_close_matches(id_, ids, n=3)
    return f"; near ids: {', '.join(close)}" if close else "; its ids are those in manifest.json"
