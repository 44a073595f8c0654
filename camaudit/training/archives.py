"""Images inside a tar file, read in place: nothing is ever unpacked to the disk."""

from __future__ import annotations

import os
import tarfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from camaudit.data.folders import printable
from camaudit.data.images import SUFFIXES
from camaudit.errors import ImageError
from camaudit.training.images import Item

__all__ = ["Member", "tar_members"]

_LARGEST_MEMBER = 100 << 20
_LARGEST_RATIO = 100
_ALWAYS_ALLOWED = 64 << 20


@dataclass(frozen=True)
class Member:
    """An image file of an archive: its folders and name, and its bytes."""

    parts: tuple[str, ...]
    item: Item


def tar_members(path: Path) -> list[Member]:
    """The image files of a tar archive in the order of their names.

    Plain archives are read from their place in the file when needed; compressed ones at once.
    Raises :class:`ImageError` for a damaged or truncated archive, for members that are links or
    whose path is absolute or has "..", for an image of more than 100 MiB, and for a compressed
    archive that grows to more than 100 times its size.
    """
    try:
        with _opened(path) as archive:
            plain = archive.fileobj is not None and _is_plain(path)
            members = _members(archive, path, plain=plain)
    except (tarfile.TarError, EOFError, OSError) as error:
        raise ImageError(
            f"{printable(str(path))} is no readable tar archive, or truncated ({error}): fetch it "
            "again"
        ) from error
    return sorted(members, key=lambda member: member.parts)


def _opened(path: Path) -> tarfile.TarFile:
    return tarfile.open(path, "r:*")


def _is_plain(path: Path) -> bool:
    try:
        with tarfile.open(path, "r:"):
            return True
    except tarfile.TarError:
        return False


def _members(archive: tarfile.TarFile, path: Path, *, plain: bool) -> list[Member]:
    length = path.stat().st_size
    found, total = [], 0
    for info in archive:
        total += info.size
        if total > max(_ALWAYS_ALLOWED, _LARGEST_RATIO * length):
            raise ImageError(
                f"{printable(str(path))} grows to more than {_LARGEST_RATIO} times its size: "
                "refused as a decompression bomb"
            )
        _check(info, path)
        name = PurePosixPath(info.name)
        if info.isfile() and name.suffix.lower() in SUFFIXES and not name.name.startswith("."):
            found.append(_member(archive, info, path, plain=plain, length=length))
    return found


def _member(
    archive: tarfile.TarFile, info: tarfile.TarInfo, path: Path, *, plain: bool, length: int
) -> Member:
    if plain and not info.issparse():
        if info.offset_data + info.size > length:
            raise tarfile.ReadError(f"unexpected end in {info.name!r}")
        read = partial(_read_place, path, info.offset_data, info.size)
    else:
        stream = archive.extractfile(info)
        content = b"" if stream is None else stream.read()
        if len(content) != info.size:
            raise tarfile.ReadError(f"unexpected end in {info.name!r}")
        read = partial(bytes, content)
    parts = tuple(printable(part) for part in PurePosixPath(info.name).parts if part != ".")
    return Member(parts, Item("/".join(parts), info.size, read))


def _read_place(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb") as stream:
        return os.pread(stream.fileno(), size, offset)


def _check(info: tarfile.TarInfo, path: Path) -> None:
    name = PurePosixPath(info.name)
    shown = f"{printable(str(path))}: the member {printable(info.name)!r}"
    if name.is_absolute() or ".." in name.parts:
        raise ImageError(f"{shown} points outside the archive: refused")
    if info.issym() or info.islnk():
        raise ImageError(f"{shown} is a link: pack the files themselves")
    if info.size > _LARGEST_MEMBER:
        raise ImageError(f"{shown} has {info.size} bytes, more than an image needs: refused")
