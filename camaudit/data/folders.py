"""Folders of photographs: a flat one, or one sub-folder a class.

Scanning only lists names. No image is opened, so a folder with a million files is quick, and
whether a file is readable is found out when it is needed.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from camaudit.data.images import SUFFIXES, read_file
from camaudit.errors import ImageError

__all__ = ["Collection", "Photo", "Skipped", "printable", "scan", "sha256_bytes", "sha256_file"]

Skipped = tuple[str, str]
"""What was left out (a name or a pattern), and why."""


@dataclass(frozen=True)
class Photo:
    """One photograph on disk.

    `id` is its posix path relative to the scanned folder, made printable. `label_name` is the
    name of its class, that is of its folder; None in a flat folder. `credit` names the
    photographer and the licence where they are known.
    """

    id: str
    path: Path
    label_name: str | None = None
    credit: str | None = None

    def read(self) -> bytes:
        """The bytes of its file. Raises :class:`ImageError` where it cannot be read."""
        return read_file(self.path)


@dataclass(frozen=True)
class Collection:
    """Photographs in the order of their ids, and the same by class.

    `classes` is empty for a flat folder. `skipped` lists what was left out while scanning.
    """

    root: Path
    photos: tuple[Photo, ...]
    classes: dict[str, tuple[Photo, ...]] = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()

    @classmethod
    def of(cls, root: Path, photos: Iterable[Photo], skipped: Iterable[Skipped] = ()) -> Collection:
        """Sort the photographs and group them by class."""
        ordered = tuple(sorted(photos, key=lambda photo: photo.id))
        classes: dict[str, list[Photo]] = {}
        for photo in ordered:
            if photo.label_name is not None:
                classes.setdefault(photo.label_name, []).append(photo)
        grouped = {name: tuple(classes[name]) for name in sorted(classes)}
        return cls(root, ordered, grouped, tuple(skipped))


@dataclass
class _Listing:
    """The entries of one folder, sorted by name."""

    images: list[Path] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    others: Counter[str] = field(default_factory=Counter)
    skipped: list[Skipped] = field(default_factory=list)


def scan(folder: Path | str) -> Collection:
    """List the photographs of a folder.

    If any sub-folder holds images, each such sub-folder is a class, and images beside the
    sub-folders are skipped; otherwise the images of the folder itself are taken, without a class.
    Hidden entries (`.name`) are ignored. Files that are no images by their extension are counted
    by extension, folders inside class folders are counted and not followed; both stand in
    `Collection.skipped`. Links to files and folders are followed once.

    Raises:
        ImageError: if the folder is missing, is a file, cannot be listed, or holds no image.
    """
    root = Path(folder)
    _check_folder(root)
    top = _list(root, "")
    inner = {printable(path.name): _list(path, f"{printable(path.name)}/") for path in top.folders}
    if any(listing.images for listing in inner.values()):
        photos, skipped = _by_class(top, inner)
    else:
        photos = [Photo(printable(path.name), path) for path in top.images]
        skipped = _skipped(top, _merged(top.others, inner)) + _nested(top, "")
        skipped += [entry for listing in inner.values() for entry in listing.skipped]
    if not photos:
        raise ImageError(_nothing_found(root, inner, skipped))
    return Collection.of(root, photos, skipped)


def sha256_bytes(data: bytes) -> str:
    """SHA-256 of some bytes, as 64 lower-case hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's bytes, as 64 lower-case hexadecimal digits.

    Raises:
        ImageError: if the file is missing or cannot be read.
    """
    return sha256_bytes(read_file(path))


def printable(name: str) -> str:
    r"""A file name with every unprintable or undecodable character, and ``\``, escaped.

    Different names stay different. Names that are not valid UTF-8 reach Python with lone
    surrogates, which can be neither printed nor written as JSON.

    >>> print(printable("two\nlines.jpg"))
    two\nlines.jpg
    """
    return "".join(
        char if char.isprintable() and char != "\\" else char.encode("unicode_escape").decode()
        for char in name
    )


def _check_folder(root: Path) -> None:
    """Refuse whatever is no folder, and say what to do."""
    wanted = "expected a folder of images, or one with a sub-folder for each class"
    shown = printable(str(root))
    try:
        exists, is_folder = root.exists(), root.is_dir()
    except OSError as error:
        raise ImageError(f"{wanted}; {shown} cannot be reached: {error.strerror}") from error
    if not exists:
        raise ImageError(f"{wanted}; {shown} does not exist: check the path")
    if not is_folder:
        raise ImageError(f"{wanted}; {shown} is a file: pass the folder it lies in")


def _list(folder: Path, prefix: str) -> _Listing:
    """Sort one folder's entries into images, folders, other files, and what cannot be used."""
    listing = _Listing()
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        listing.skipped.append((prefix or "./", f"cannot be listed: {error.strerror}"))
        return listing
    for name in names:
        if not name.startswith("."):
            _sort_entry(folder / name, prefix + printable(name), listing)
    return listing


def _sort_entry(path: Path, shown: str, listing: _Listing) -> None:
    """Put one entry where it belongs."""
    try:
        is_folder, is_file = path.is_dir(), path.is_file()
    except OSError as error:
        listing.skipped.append((shown, f"cannot be reached: {error.strerror}"))
        return
    if is_folder:
        listing.folders.append(path)
    elif not is_file:
        what = "a link that leads nowhere" if path.is_symlink() else "not a regular file"
        listing.skipped.append((shown, what))
    elif path.suffix.lower() in SUFFIXES:
        listing.images.append(path)
    else:
        listing.others[printable(path.suffix.lower())] += 1


def _by_class(top: _Listing, inner: dict[str, _Listing]) -> tuple[list[Photo], list[Skipped]]:
    """Photographs of the class folders, and everything that is left out."""
    photos = [
        Photo(f"{label}/{printable(path.name)}", path, label)
        for label, listing in inner.items()
        for path in listing.images
    ]
    beside = "lies beside the class folders, so it has no class"
    skipped = [(printable(path.name), beside) for path in top.images]
    skipped += _skipped(top, _merged(top.others, inner))
    for label, listing in inner.items():
        skipped += [*listing.skipped, *_nested(listing, f"{label}/")]
        if not listing.images:
            skipped.append((f"{label}/", "a folder without images"))
    return photos, skipped


def _merged(others: Counter[str], inner: dict[str, _Listing]) -> Counter[str]:
    """Counts by extension over the folder and its sub-folders."""
    return sum((listing.others for listing in inner.values()), start=others)


def _skipped(top: _Listing, others: Counter[str]) -> list[Skipped]:
    """Unusable entries, and one entry for each extension that is none of an image."""
    counted = [
        (f"*{suffix}" if suffix else "*", f"{count} × no image file by its extension")
        for suffix, count in sorted(others.items())
    ]
    return [*top.skipped, *counted]


def _nested(listing: _Listing, prefix: str) -> list[Skipped]:
    """One entry that counts the folders which were not followed, or none."""
    if not listing.folders:
        return []
    return [(f"{prefix}*/", f"{len(listing.folders)} × nested folder, not followed")]


def _nothing_found(root: Path, inner: dict[str, _Listing], skipped: list[Skipped]) -> str:
    """Why the folder gave nothing, and what to do about it."""
    wanted = "expected a folder of images, or one with a sub-folder for each class"
    shown = printable(str(root))
    deeper = [name for name, listing in inner.items() if listing.folders]
    if deeper:
        return f"{wanted}; {shown} nests them deeper: pass {shown}/{deeper[0]} instead"
    found = "; ".join(f"{name}: {reason}" for name, reason in skipped[:3]) or "it is empty"
    kinds = " ".join(sorted(SUFFIXES))
    return f"{wanted}; {shown} holds no image ({found}): put files in it with one of {kinds}"
