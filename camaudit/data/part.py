"""A file that is still coming: its bytes, and which version of which file they belong to."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from camaudit.files import parsed_json

__all__ = ["Part", "Version"]


@dataclass(frozen=True)
class Version:
    """Which version of which file a part belongs to, as the server names it."""

    url: str
    etag: str | None = None
    modified: str | None = None
    total: int | None = None

    @property
    def validator(self) -> str | None:
        """What If-Range compares: a strong ETag, or else the date."""
        strong = self.etag if self.etag and not self.etag.startswith("W/") else None
        return strong or self.modified


class Part:
    """`NAME.part` beside the file `NAME` that it will be, and `NAME.part.json` with its version."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.path = target.with_name(f"{target.name}.part")
        self._note = target.with_name(f"{target.name}.part.json")

    def size(self) -> int:
        """Bytes that are there."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def version(self) -> Version | None:
        """The version that the bytes belong to; None without a readable note."""
        try:
            return Version(**parsed_json(self._note.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def restart(self, version: Version) -> None:
        """An empty part of `version`; the old bytes go first, so that they are never mistaken."""
        self.discard()
        self._note.write_text(json.dumps(asdict(version)), encoding="utf-8")

    def discard(self) -> None:
        """Remove bytes and note."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def reject(self) -> Path:
        """Keep the bytes as `NAME.rejected`, where no later run takes them for a beginning."""
        rejected = self.target.with_name(f"{self.target.name}.rejected")
        self.path.replace(rejected)
        self._note.unlink(missing_ok=True)
        return rejected

    def accept(self) -> None:
        """Put the file in its place, durably."""
        with self.path.open("rb+") as file:
            os.fsync(file.fileno())
        self.path.replace(self.target)
        self._note.unlink(missing_ok=True)
