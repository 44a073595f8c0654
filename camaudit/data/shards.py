"""Photographs in tar shards, as WebDataset lays them out; they are read where they lie.

A shard is a plain tar. Its members `KEY.EXTENSION`, the key up to the first dot of the file's name,
make a sample: an image, and in `KEY.cls` its class (a number or a name). What else a sample has is
counted and not read. Listing reads headers and classes alone; nothing is unpacked.
"""

from __future__ import annotations

import re
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, cast

from camaudit.data.folders import Collection, Photo, Skipped, printable
from camaudit.data.images import MAX_BYTES, SUFFIXES
from camaudit.errors import ImageError

__all__ = ["ShardPhoto", "named_shards", "open_shards"]

_SUFFIX = ".tar"
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_MOST = 100_000  # shards that a range may name
_HEADER = 1 << 20  # bytes that tarfile may read at once: names that are longer are no names
_CLASS = 4096  # bytes of a class
_GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class ShardPhoto(Photo):
    """A photograph that lies in a shard, `length` bytes from `offset` on."""

    shard: Path = Path()
    offset: int = 0
    length: int = 0

    def read(self) -> bytes:
        """Its bytes. Raises :class:`ImageError` where the shard is gone or too short."""
        if self.length > MAX_BYTES:
            raise ImageError(f"more than {MAX_BYTES >> 20} MiB, the most that is read")
        try:
            with self.shard.open("rb") as file:
                file.seek(self.offset)
                data = file.read(self.length)
        except OSError as error:
            raise ImageError(f"its shard cannot be read: {error.strerror or error}") from error
        if len(data) < self.length:
            raise ImageError("its shard ends before it does")
        return data


def named_shards(place: Path) -> list[Path]:
    """The shards that `place` stands for; none where it stands for something else.

    That is a file `….tar`, a folder in which such files lie and no images beside them, or a range
    of files, `name-{000000..000049}.tar`. Raises :class:`ImageError` for a range of too many.
    """
    text = str(place)
    if _RANGE.search(text) and text.endswith(_SUFFIX) and not place.exists():
        return list(map(Path, _expanded(text)))
    try:
        if place.is_file():
            return [place] if place.suffix == _SUFFIX else []
        inside = [path for path in place.iterdir() if not path.name.startswith(".")]
    except OSError:
        return []
    if any(path.suffix.lower() in SUFFIXES for path in inside):
        return []
    return sorted(path for path in inside if path.suffix == _SUFFIX and path.is_file())


def open_shards(shards: Sequence[Path], root: Path) -> Collection:
    """List the photographs of shards, in classes where the samples name them.

    Ids are `SHARD/NAME`, as the members are called. A shard that cannot be read to its end gives
    what it has until there; that, other members, and samples without a class where others have one,
    stand in `Collection.skipped`. Raises :class:`ImageError` where no shard has a photograph.
    """
    names = Counter(shard.name for shard in shards)
    photos: list[Photo] = []
    skipped: list[Skipped] = []
    for shard in shards:
        shown = shard.stem if names[shard.name] == 1 else shard.with_suffix("").as_posix()
        found = _Shard(shard, printable(shown))
        found.read()
        photos += found.photos()
        skipped += found.skipped()
    labelled = [photo for photo in photos if photo.label_name is not None]
    if labelled and len(labelled) < len(photos):
        bare = len(photos) - len(labelled)
        skipped.append(("*", f"{bare} × no class (KEY.cls), where other samples have one"))
        photos = labelled
    if not photos:
        why = "; ".join(f"{name}: {reason}" for name, reason in skipped[:3]) or "they are empty"
        raise ImageError(
            f"expected tar shards with images (KEY.jpg and, for its class, KEY.cls) at "
            f"{printable(str(root))}; found none ({why})"
        )
    return Collection.of(root, photos, skipped)


def _expanded(text: str) -> Iterator[str]:
    found = _RANGE.search(text)
    if found is None:
        yield text
        return
    first, last = int(found[1]), int(found[2])
    if not 0 <= last - first < _MOST:
        raise ImageError(
            f"expected a range of shards from its first number to its last, at most {_MOST} of "
            f"them; got {found[0]}"
        )
    for number in range(first, last + 1):
        name = str(number).zfill(len(found[1]))
        yield from _expanded(text[: found.start()] + name + text[found.end() :])


@dataclass
class _Sample:
    """Images of a sample by their extension (name, offset, length), and its class."""

    images: dict[str, tuple[str, int, int]] = field(default_factory=dict)
    label: str | None = None


class _Shard:
    """What one shard holds."""

    def __init__(self, path: Path, shown: str) -> None:
        self._path = path
        self._shown = shown
        self._samples: dict[str, _Sample] = {}
        self._others: Counter[str] = Counter()
        self._faults: list[Skipped] = []

    def read(self) -> None:
        """Read the headers, up to the end or the first that is damaged."""
        try:
            with self._path.open("rb") as file:
                if file.read(2) == _GZIP:
                    self._fault("compressed: unpack it with gunzip, so that images can be read")
                    return
                file.seek(0)
                stream = cast("IO[bytes]", _Bounded(file))  # all that tarfile needs
                with tarfile.open(fileobj=stream, mode="r:") as members:
                    while (member := members.next()) is not None:
                        self._add(member, file)
                        members.members = []  # type: ignore[attr-defined] # it keeps them all
                    self._check_end(file, members.offset)
        except (OSError, tarfile.TarError, ValueError) as error:
            # tarfile raises ValueError too, for numbers that are none
            said = getattr(error, "strerror", None) or error
            known = len(self._samples)
            before = f"not read to its end, {known} samples until there" if known else "not read"
            self._fault(f"{before}: {said}")

    def _check_end(self, file: IO[bytes], offset: int) -> None:
        """tarfile takes a header that is none for the end of the archive, which is a block of 0."""
        file.seek(offset)
        block = file.read(tarfile.BLOCKSIZE)
        if not block:
            raise tarfile.ReadError("the mark of its end is missing")
        if block.strip(b"\0"):
            raise tarfile.ReadError("a header is damaged")

    def _fault(self, why: str) -> None:
        self._faults.append((f"{self._shown}{_SUFFIX}", why))

    def _add(self, member: tarfile.TarInfo, file: IO[bytes]) -> None:
        if not member.isreg() or member.issparse():
            if not member.isdir():
                self._others["a link or no plain file"] += 1
            return
        path = PurePosixPath(member.name)
        key, dot, extension = path.name.partition(".")
        kind = f".{extension.lower()}"
        sample = self._samples.setdefault(str(path.parent / key), _Sample())
        if kind in SUFFIXES:
            sample.images[kind] = (member.name, member.offset_data, member.size)
        elif kind == ".cls" and member.size <= _CLASS:
            back = file.tell()
            file.seek(member.offset_data)
            text = file.read(member.size).decode("utf-8", "backslashreplace").strip()
            file.seek(back)
            sample.label = printable(text) or None
        else:
            self._others[f"no image ({dot}{printable(extension)})"] += 1

    def photos(self) -> list[Photo]:
        """The image of each sample that has one; of several the first by its extension."""
        return [
            ShardPhoto(
                f"{self._shown}/{printable(name)}", self._path / name, sample.label, None,
                self._path, offset, length,
            )
            for sample in self._samples.values()
            for name, offset, length in [sample.images[kind] for kind in sorted(sample.images)[:1]]
        ]  # fmt: skip

    def skipped(self) -> list[Skipped]:
        """What of the shard is not used."""
        more = sum(max(0, len(sample.images) - 1) for sample in self._samples.values())
        counts = {**self._others, **({"a second image of its sample": more} if more else {})}
        return self._faults + [
            (f"{self._shown}{_SUFFIX}", f"{count} × {what}")
            for what, count in sorted(counts.items())
        ]


class _Bounded:
    """A file of which no more than a header is read at once, whatever a header claims."""

    def __init__(self, file: IO[bytes]) -> None:
        self.seek = file.seek
        self.tell = file.tell
        self._file = file

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes; raises :class:`tarfile.ReadError` for too many."""
        if not 0 <= size <= _HEADER:
            raise tarfile.ReadError(f"a header claims {size} bytes")
        return self._file.read(size)
