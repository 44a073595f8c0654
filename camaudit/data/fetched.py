"""What was fetched into a folder: `fetched.json`, with the hash that each file had the first time.

Where nobody publishes a hash, the first download is trusted and its hash is written down; from
then on the file must have it, wherever it comes from. Deleting the entry trusts anew.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from camaudit.data.folders import printable
from camaudit.errors import UsageError
from camaudit.files import parsed_json, write_json

__all__ = ["RECORD_NAME", "Entry", "Record"]

RECORD_NAME = "fetched.json"
_FORMAT = "camaudit-fetched-1"


@dataclass(frozen=True)
class Entry:
    """One file: where it came from, its hash, and whether somebody had published that hash.

    `unpacked` names the folder that it was unpacked into; None if it was not.
    """

    url: str
    sha256: str
    size: int
    published: bool
    fetched: str
    unpacked: str | None = None
    licence: str | None = None
    citation: str | None = None


class Record:
    """The entries of one folder, by file name; each change is written whole or not at all."""

    def __init__(self, folder: Path) -> None:
        """Read the record; UsageError if there is one that cannot be understood."""
        self.path = folder / RECORD_NAME
        self.entries = self._read()

    def put(self, name: str, entry: Entry) -> None:
        """Add or replace an entry.

        Raises:
            OutputError: if the record cannot be written; the earlier one is then unchanged.
        """
        self.entries[name] = entry
        files = {key: asdict(self.entries[key]) for key in sorted(self.entries)}
        write_json(self.path, {"format": _FORMAT, "files": files})

    def _read(self) -> dict[str, Entry]:
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return {}
        except (OSError, UnicodeDecodeError) as error:
            raise self._unusable(str(error)) from error
        try:
            content = parsed_json(text)
            if content["format"] != _FORMAT:
                raise ValueError(f"its format is {content['format']!r}, expected {_FORMAT!r}")
            return {name: _entry(value) for name, value in content["files"].items()}
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise self._unusable(f"{type(error).__name__}: {error}") from error

    def _unusable(self, why: str) -> UsageError:
        return UsageError(
            f"{printable(str(self.path))} holds the hashes that are trusted and cannot be read "
            f"({why}): restore it, or remove it to trust what is fetched next"
        )


def _entry(value: dict[str, Any]) -> Entry:
    known = {field.name for field in fields(Entry)}
    entry = Entry(**{key: item for key, item in value.items() if key in known})
    if not (isinstance(entry.sha256, str) and len(entry.sha256) == 64):
        raise ValueError(f"no sha256: {entry.sha256!r}")
    return entry
