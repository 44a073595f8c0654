"""Files that are written whole or not at all; an earlier file is kept on failure."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from camaudit.errors import OutputError

__all__ = ["check_folder", "made_folder", "output_error", "sync_folder", "write_files"]


def made_folder(folder: str | os.PathLike[str]) -> Path:
    """The folder, created with its parents.

    Raises :class:`OutputError` if it cannot be, or if a file stands in its place.
    """
    target = Path(folder)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise OutputError(
            f"the output folder {target} cannot be created, because a file stands in its place "
            "or above it: remove that file or choose another folder"
        ) from error
    except OSError as error:
        raise output_error(target, error) from error
    return target


def check_folder(folder: Path) -> None:
    """Write a small file into `folder` and remove it; :class:`OutputError` if that fails."""
    probe = _temporary(folder, "probe")
    try:
        _write_synced(probe, b"camaudit\n")
    except OSError as error:
        raise output_error(folder, error) from error
    finally:
        with suppress(OSError):
            probe.unlink()


def write_files(contents: Mapping[str, bytes], folder: Path) -> list[Path]:
    """Write files of the given names into `folder`, and return their paths.

    All are written beside their targets and synced before the first is renamed, in the order
    given: readers see the old files or the new. Raises :class:`OutputError`; earlier files are
    then unchanged.
    """
    staged = {name: _temporary(folder, name) for name in contents}
    try:
        for name, data in contents.items():
            _write_synced(staged[name], data)
        for name, temporary in staged.items():
            temporary.replace(folder / name)
        sync_folder(folder)
    except OSError as error:
        raise output_error(folder, error) from error
    finally:
        for temporary in staged.values():
            with suppress(OSError):
                temporary.unlink()
    return [folder / name for name in contents]


def sync_folder(folder: Path) -> None:
    """Make a rename durable where the system can sync a folder; the file is in place anyway."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def output_error(target: Path, error: OSError) -> OutputError:
    """`error` as one of ours, saying what to do."""
    return OutputError(
        f"{target} cannot be written: {error.strerror or error}; free some space, change the "
        "permissions or choose another output folder"
    )


def _temporary(folder: Path, name: str) -> Path:
    return folder / f".{name}.{secrets.token_hex(6)}.tmp"


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
