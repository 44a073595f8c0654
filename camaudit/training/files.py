"""Files that are replaced whole: a reader sees the old content or the new, never a part."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from camaudit.errors import OutputError

__all__ = ["replacing", "write_json", "write_text"]


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A stream whose content takes the place of `path` when the context ends without an error.

    It is written beside `path`, synced to the disk and renamed. Raises :class:`OutputError` where
    the system refuses (a full disk, no permission); the earlier file is then unchanged.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except Exception as error:
        refused = _system_error(error)
        if refused is None:
            raise
        raise OutputError(
            f"{path} cannot be written: {refused.strerror or refused}; an earlier file of that "
            "name is unchanged: free some space or change the permissions"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text` in UTF-8; lone surrogates become backslash escapes."""
    with replacing(path) as stream:
        stream.write(text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Replace `path` by `content` as indented JSON; NaN and infinity are refused."""
    text = json.dumps(content, allow_nan=False, indent=2, ensure_ascii=False)
    write_text(path, text + "\n")


def _system_error(error: BaseException | None) -> OSError | None:
    """The system's error behind `error`: serialisers replace it by one of their own."""
    while error is not None:
        if isinstance(error, OSError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _sync_folder(folder: Path) -> None:
    """Make the rename durable where the system can sync a folder; the file is in place anyway."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
