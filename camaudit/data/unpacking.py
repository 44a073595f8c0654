"""Unpacking zip and tar archives from strangers: a folder appears whole, or nothing does.

Only plain files and folders are made, always with the user's default permissions, and every name
is checked before a byte is written. One bad member refuses the archive: whoever built it meant
harm or broke it, and either way a part of it is worth nothing.
"""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import re
import secrets
import shutil
import stat
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from camaudit.data.folders import printable
from camaudit.errors import ArchiveError, CamauditError, OutputError

__all__ = ["SUFFIXES", "Limits", "Unpacked", "unpack"]

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.xz", ".txz", ".tar.bz2", ".tbz2")
"""File names of the archives that can be unpacked; what a file is, its content decides."""

_CHUNK = 1 << 18
_HEADERS = 1 << 20
_DAMAGED = (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, tarfile.TarError)
_READERS = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ\x00": lzma.open}


@dataclass(frozen=True)
class Limits:
    """What an archive may unpack to: bytes, bytes for each byte of the archive, and members.

    The ratio counts from `ratio_from` bytes on: a few small files of zeros harm nobody.
    """

    size: int = 64 << 30
    ratio: float = 100.0
    ratio_from: int = 1 << 20
    members: int = 500_000


@dataclass(frozen=True)
class Unpacked:
    """The folder that appeared, with the number of its files and their bytes."""

    folder: Path
    files: int
    size: int


def unpack(archive: Path, folder: Path, *, limits: Limits | None = None) -> Unpacked:
    """Unpack a zip or tar (plain, gz, bz2, xz) into `folder`, which must not exist yet.

    Members come into a temporary folder beside it, which is renamed at the end and removed on
    failure and on Ctrl-C.

    Raises:
        ArchiveError: if the file is no archive, is damaged or encrypted, goes beyond a limit, or
            holds a path that is absolute, leads outside with `..`, comes twice or differs from
            another in case alone, a link, a device, or anything else but files and folders.
        OutputError: if `folder` exists, or the disk is full or cannot be written.
    """
    if folder.exists() or folder.is_symlink():
        raise OutputError(f"{printable(str(folder))} exists already: remove it or move it away")
    rules = _Rules(archive, limits or Limits())
    temporary = folder.with_name(f".{folder.name}.{secrets.token_hex(6)}.tmp")
    try:
        with _translated(archive, folder):
            temporary.mkdir(parents=True)
            (_zip if _kind(archive) is None else _tar)(archive, temporary, rules)
            temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return Unpacked(folder, rules.files, rules.size)


class _Rules:
    """What has been seen of an archive, checked member by member."""

    def __init__(self, archive: Path, limits: Limits) -> None:
        self.files = 0
        self.size = 0
        self._shown = printable(archive.name)
        self._limits = limits
        self._most = min(
            limits.size, max(limits.ratio_from, int(limits.ratio * archive.stat().st_size))
        )
        self._members = 0
        self._folded: dict[str, str] = {}
        self._made: dict[str, bool] = {}

    def refuse(self, why: str) -> ArchiveError:
        """The error for this archive."""
        return ArchiveError(f"{self._shown} was not unpacked: {why}")

    def admit(self, name: str, size: int, *, is_folder: bool) -> Path:
        """The relative path of a member that may be written."""
        self.count()
        path = self._path(name)
        self._enter(path, is_folder=is_folder)
        if not is_folder:
            self.files += 1
            self.size += size
        if size < 0 or self.size > self._most:
            raise self.refuse(
                f"it unpacks to more than {self._most} bytes, the limit for its own size (a "
                "decompression bomb?)"
            )
        return Path(path)

    def count(self) -> None:
        """One member more."""
        self._members += 1
        if self._members > self._limits.members:
            raise self.refuse(f"it holds more than {self._limits.members} members")

    def _path(self, name: str) -> str:
        """A member's name as a clean relative path; `./` at its start and `/` at its end go."""
        parts = [part for part in name.split("/") if part != "."]
        if parts and not parts[-1]:
            parts.pop()
        shown = repr(printable(name)[:200])
        if name.startswith(("/", "\\")) or re.match(r"[A-Za-z]:", name):
            raise self.refuse(f"the member {shown} has an absolute path")
        if ".." in parts or ".." in name.split("\\"):
            raise self.refuse(f"the member {shown} leads outside with ..")
        if "\\" in name or "" in parts or any(_unsafe(char) for char in name):
            raise self.refuse(f"the member {shown} has a name that no system reads alike")
        if any(len(part.encode("utf-8", "surrogateescape")) > 255 for part in parts):
            raise self.refuse(f"the member {shown} has a name that is too long")
        return "/".join(parts)

    def _enter(self, path: str, *, is_folder: bool) -> None:
        """Refuse a path that is taken, also by one that other systems take for the same."""
        if not path:
            if not is_folder:
                raise self.refuse("a file in it has no name")
            return
        pieces = path.split("/")
        for end in range(1, len(pieces)):
            self._claim("/".join(pieces[:end]), is_folder=True)
        self._claim(path, is_folder=is_folder)

    def _claim(self, path: str, *, is_folder: bool) -> None:
        key = unicodedata.normalize("NFC", path).casefold()
        taken = self._folded.setdefault(key, path)
        if taken != path:
            raise self.refuse(
                f"{printable(taken)!r} and {printable(path)!r} are one name where case and accents "
                "do not count"
            )
        earlier = self._made.get(path)
        if earlier is not None and not (earlier and is_folder):
            raise self.refuse(f"{printable(path)!r} comes twice")
        self._made[path] = is_folder


def _unsafe(char: str) -> bool:
    return unicodedata.category(char) in {"Cc", "Zl", "Zp"} or "\ud800" <= char <= "\udfff"


def _kind(archive: Path) -> Any:
    """None for a zip, else what opens the tar inside; by content, whatever the name says."""
    with archive.open("rb") as file:
        start = file.read(512)
    if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return None
    for magic, reader in _READERS.items():
        if start.startswith(magic):
            return reader
    if start[257:262] == b"ustar":
        return Path.open
    raise ArchiveError(
        f"{printable(archive.name)} is no archive: expected zip, or tar plain or compressed by "
        "gzip, bzip2 or xz"
    )


def _zip(archive: Path, folder: Path, rules: _Rules) -> None:
    """Check every entry of the directory, then write."""
    with _reading(rules):
        source = zipfile.ZipFile(archive)
    with source:
        members = source.infolist()
        targets = [(info, _admit_zipped(info, rules)) for info in members]
        _check_space(folder, rules.size)
        for info, path in targets:
            if info.is_dir():
                (folder / path).mkdir(parents=True, exist_ok=True)
            else:
                with _reading(rules):
                    stream = source.open(info)
                with stream:
                    _copy(stream, folder / path, info.file_size, rules)


def _admit_zipped(info: zipfile.ZipInfo, rules: _Rules) -> Path:
    shown = repr(printable(info.filename)[:200])
    if not info.filename:
        raise rules.refuse("a file in it has no name")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in {0, stat.S_IFREG, stat.S_IFDIR} or (kind == stat.S_IFDIR) > info.is_dir():
        raise rules.refuse(f"the member {shown} is a link or a device")
    if info.flag_bits & 0x1:
        raise rules.refuse(f"the member {shown} is encrypted")
    if info.filename != info.orig_filename.replace(os.sep, "/"):
        raise rules.refuse(f"the member {shown} has a name that no system reads alike")
    return rules.admit(info.filename, info.file_size, is_folder=info.is_dir())


def _tar(archive: Path, folder: Path, rules: _Rules) -> None:
    """One pass, so that a bomb is met member by member and never unpacked as a whole."""
    with _kind(archive)(archive, "rb") as plain:
        source = _Metered(plain, rules)
        stream = cast("IO[bytes]", source)  # tarfile only reads it
        with _reading(rules), tarfile.open(fileobj=stream, mode="r|") as members:
            while True:
                source.allow(_HEADERS)
                member = members.next()
                if member is None:
                    break
                path = _admit_tarred(member, rules)
                source.allow(_HEADERS + member.size)
                if member.isdir():
                    (folder / path).mkdir(parents=True, exist_ok=True)
                    continue
                _check_space(folder, member.size)
                content = members.extractfile(member)
                if content is not None:
                    _copy(content, folder / path, member.size, rules)
        source.allow(_HEADERS)
        while source.read(_CHUNK):
            pass  # to the end, where the compressed stream has its checksum


def _admit_tarred(member: tarfile.TarInfo, rules: _Rules) -> Path:
    shown = repr(printable(member.name)[:200])
    if member.issparse() or not (member.isreg() or member.isdir()):
        raise rules.refuse(f"the member {shown} is a link, a device or a sparse file")
    return rules.admit(member.name, member.size, is_folder=member.isdir())


class _Metered:
    """A decompressed stream that stops when more is read than was allowed.

    Headers are read into memory before anybody can look at them, so that a header that claims
    gigabytes must run dry here.
    """

    def __init__(self, source: IO[bytes], rules: _Rules) -> None:
        self._source = source
        self._rules = rules
        self._left = _HEADERS

    def allow(self, size: int) -> None:
        """From here on `size` bytes may be read."""
        self._left = size

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes; raises ArchiveError beyond the allowance and on damaged data."""
        try:
            data = self._source.read(size)
        except (*_DAMAGED, OSError) as error:
            raise self._rules.refuse(f"it is damaged ({error})") from error
        self._left -= len(data)
        if self._left < 0:
            raise self._rules.refuse("its headers, or what follows its end, are too large")
        return data


def _copy(stream: IO[bytes], target: Path, size: int, rules: _Rules) -> None:
    """Write one member of exactly `size` bytes, durably."""
    target.parent.mkdir(parents=True, exist_ok=True)
    left = size
    with target.open("xb") as file:
        while True:
            with _reading(rules):
                data = stream.read(_CHUNK)
            if not data:
                break
            left -= len(data)
            if left < 0:
                break
            file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if left:
        raise rules.refuse(f"{printable(target.name)!r} has not the length that it claims")


def _check_space(folder: Path, size: int) -> None:
    """Refuse early what cannot fit."""
    if size > shutil.disk_usage(folder).free:
        raise OutputError(
            f"{printable(str(folder.parent))} has no space for {size} bytes more: free some or "
            "choose another folder"
        )


@contextmanager
def _reading(rules: _Rules) -> Iterator[None]:
    """Whatever readers of archives raise on damaged data becomes ours; the system's errors stay."""
    try:
        yield
    except (CamauditError, OSError):
        raise
    except Exception as error:  # they raise a dozen unrelated types
        raise rules.refuse(f"it is damaged or of an unknown kind ({error})") from error


@contextmanager
def _translated(archive: Path, folder: Path) -> Iterator[None]:
    """Errors while reading the archive's directory and while writing become ours."""
    try:
        yield
    except _DAMAGED as error:
        raise ArchiveError(f"{printable(archive.name)} is damaged ({error})") from error
    except OSError as error:
        raise OutputError(
            f"{printable(archive.name)} cannot be unpacked into {printable(str(folder))}: "
            f"{error.strerror or error}; nothing was left there"
        ) from error
