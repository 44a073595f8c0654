"""Pictures as a service gave them, each with what is known of its origin, on disk.

`raw/NAME.json` says which job a picture belongs to and where it came from, `raw/NAME.png` (or
.jpg, .webp) is the picture. A picture that still lies at a link has only the first, with the link.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from camaudit.data.fields import Fields
from camaudit.data.folders import printable, sha256_bytes
from camaudit.data.generation.journal import Job
from camaudit.data.generation.request import JSON
from camaudit.data.images import decode, read_file
from camaudit.errors import ImageError, UsageError
from camaudit.files import made_folder, output_error, parsed_json, write_files

__all__ = ["Kept", "Pictures", "ending"]

_STARTS = ((b"\x89PNG\r\n\x1a\n", ".png"), (b"\xff\xd8\xff", ".jpg"))


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What is known of a picture: it lies at `link`, or its bytes are here, or neither any more."""

    generation: dict[str, JSON]
    file: str | None = None
    sha256: str | None = None
    link: str | None = field(default=None, repr=False)
    picture: bytes | None = field(default=None, repr=False)


class Pictures:
    """The folder `raw`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "raw"

    def keep_link(self, job: Job, link: str, generation: dict[str, JSON]) -> None:
        """Write down where a picture lies that was paid for, before it is fetched."""
        self._write(job, {"url": link, "generation": generation}, {})

    def keep(self, job: Job, picture: bytes, generation: dict[str, JSON]) -> Kept:
        """Write a picture with its origin; the link, which opens it to anybody, is forgotten.

        Raises:
            ImageError: if it is none, damaged, or neither PNG nor JPEG nor WebP.
            OutputError: if it cannot be written.
        """
        file = f"{job.name}{ending(picture)}"
        digest = sha256_bytes(picture)
        origin = {"file": file, "sha256": digest, "generation": generation}
        self._write(job, origin, {file: picture})
        return Kept(generation=generation, file=file, sha256=digest, picture=picture)

    def find(self, job: Job) -> Kept | None:
        """What is there for a job; None if nothing is.

        Raises :class:`UsageError` if a file was changed.
        """
        path = self.folder / f"{job.name}.json"
        if not path.exists():
            return None
        where = printable(str(path))
        try:
            entry = Fields(parsed_json(read_file(path)), where)
        except (ImageError, ValueError) as error:
            raise UsageError(f"{where} cannot be read: put an unchanged copy back") from error
        generation = entry.mapping("generation")
        if entry.text("job") != job.digest:
            raise entry.error("job", job.digest, entry.value["job"])
        if entry.text_or_none("url") is not None:
            return Kept(generation=generation, link=entry.text("url"))
        digest = entry.digest("sha256")
        file = entry.text("file")
        picture = self._picture(job, file, digest)
        return Kept(generation=generation, file=file, sha256=digest, picture=picture)

    def drop(self, job: Job) -> None:
        """Forget what is known of a picture that cannot be had."""
        path = self.folder / f"{job.name}.json"
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise output_error(path, error) from error

    def _picture(self, job: Job, name: str, digest: str) -> bytes | None:
        """The bytes of a picture; None if the file is gone."""
        path = self.folder / name
        if path.stem != job.name or path.parent != self.folder:
            raise UsageError(f"{printable(name)!r} is no picture of {printable(job.name)}")
        if not path.exists():
            return None
        try:
            picture = read_file(path)
        except ImageError as error:
            raise UsageError(f"{printable(str(path))} {error}") from error
        if sha256_bytes(picture) != digest:
            raise UsageError(
                f"{printable(str(path))} was changed since it was paid for: put an unchanged copy "
                f"back (sha256 {digest})"
            )
        return picture

    def _write(self, job: Job, origin: dict[str, Any], files: dict[str, bytes]) -> None:
        plain = {"job": job.digest, "id": job.id, "url": None, **origin}
        text = json.dumps(plain, allow_nan=False, indent=2)
        # the origin comes last: until then a link that stands in an earlier one is kept
        contents = {**files, f"{job.name}.json": text.encode("ascii") + b"\n"}
        write_files(contents, made_folder(self.folder))


def ending(picture: bytes) -> str:
    """The ending of a file for a picture, every pixel of which is decoded to be sure.

    Raises :class:`ImageError` if it is none, damaged, or neither PNG nor JPEG nor WebP.
    """
    decode(picture, min_side=1)
    for start, name in _STARTS:
        if picture.startswith(start):
            return name
    if picture[:4] == b"RIFF" and picture[8:12] == b"WEBP":
        return ".webp"
    raise ImageError("expected PNG, JPEG or WebP")
