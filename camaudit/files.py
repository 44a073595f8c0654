"""Files that are written whole or not at all; an earlier file is kept on failure."""

from __future__ import annotations

import errno
import json
import math
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

from camaudit.errors import OutputError

__all__ = [
    "Content",
    "alone",
    "append_line",
    "check_folder",
    "made_folder",
    "output_error",
    "parsed_json",
    "replacing",
    "sync_folder",
    "write_files",
    "write_json",
    "write_paths",
    "write_text",
]

Content: TypeAlias = bytes | Iterable[bytes]
"""What a file is to hold: at once, or part after part where it is large."""

_DEPTH = 100  # of JSON; what we write is less than 20 deep
_TOO_DEEP = f"it is nested more than {_DEPTH} deep"


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


@contextmanager
def alone(folder: Path, doing: str) -> Iterator[None]:
    """Hold `folder` for this process, until the context or the process ends.

    Raises :class:`OutputError`, saying what another one is `doing` there, if it is held already.
    """
    try:
        import fcntl
    except ImportError:  # Windows cannot lock a folder
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise OutputError(
                f"another camaudit is {doing} {folder}: wait for it, or choose another folder with "
                "--out"
            ) from error
        yield
    finally:
        os.close(handle)


def append_line(path: Path, line: bytes) -> None:
    """Append one line to a file, durably; what a failure left of it is cut off again.

    Raises :class:`OutputError` if it cannot be written.
    """
    try:
        is_new = not path.exists()
        with path.open("ab", buffering=0) as file:
            before = file.seek(0, os.SEEK_END)
            left = memoryview(line + b"\n")
            try:
                while left:
                    left = left[file.write(left) :]
                os.fsync(file.fileno())
            except OSError:
                with suppress(OSError):
                    os.truncate(path, before)
                raise
        if is_new:
            sync_folder(path.parent)
    except OSError as error:
        raise output_error(path, error) from error


def write_files(contents: Mapping[str, Content], folder: Path) -> list[Path]:
    """Write files of the given names into `folder`, and return their paths.

    All are written beside their targets and synced before the first is renamed, in the order
    given: readers see the old files or the new. Raises :class:`OutputError`, and what a content
    raises that comes in parts; earlier files are then unchanged.
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


def write_paths(contents: Mapping[Path, Content]) -> list[Path]:
    """Write files in any folders, all or none, and return their paths.

    As :func:`write_files`, but where one cannot take its place, those that have taken theirs
    already give it back to the earlier files. Raises :class:`OutputError`.
    """
    staged = {path: _temporary(path.parent, path.name) for path in contents}
    kept = {path: _temporary(path.parent, path.name) for path in contents}
    done: list[Path] = []
    target = next(iter(contents), Path())
    try:
        for target, data in contents.items():
            _write_synced(staged[target], data)
            _keep(target, kept[target])
        for target, temporary in staged.items():
            temporary.replace(target)
            done.append(target)
    except OSError as error:
        lost = [path for path in done if not _put_back(path, kept[path])]
        if lost:
            raise OutputError(
                _lost(target, error, {path: kept.pop(path) for path in lost})
            ) from error
        raise output_error(target, error) from error
    finally:
        for temporary in (*staged.values(), *kept.values()):
            with suppress(OSError):
                temporary.unlink()
    for folder in {path.parent for path in contents}:
        sync_folder(folder)
    return list(contents)


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A stream whose content takes the place of `path` when the context ends without an error.

    For what is too large to be held as bytes, such as a checkpoint. It is written beside `path`,
    always under the same hidden name (what a killed process left is overwritten, not piled up),
    synced to the disk and renamed. Raises :class:`OutputError` where the system refuses (a full
    disk, no permission); the earlier file is then unchanged.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
        sync_folder(path.parent)
    except Exception as error:
        refused = _system_error(error)
        if refused is None:
            raise
        raise output_error(path, refused) from error
    finally:
        with suppress(OSError):
            temporary.unlink()


def write_text(path: Path, text: str) -> None:
    """Replace `path` by `text` in UTF-8; lone surrogates become backslash escapes."""
    with replacing(path) as stream:
        stream.write(text.encode("utf-8", "backslashreplace"))


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Replace `path` by `content` as indented JSON; NaN and infinity are refused."""
    text = json.dumps(content, allow_nan=False, indent=2, ensure_ascii=False)
    write_text(path, text + "\n")


def parsed_json(text: str | bytes, *, finite: bool = True) -> Any:
    """The JSON value in `text`, which may come from a stranger.

    Raises :class:`ValueError` where it is none, is nested more than 100 deep, or, where it must be
    `finite`, holds a number that is NaN or infinite.

    >>> parsed_json('{"a": [1, 2.5]}')
    {'a': [1, 2.5]}
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    level = [value]
    for _ in range(_DEPTH):
        for item in level:
            if finite and isinstance(item, float) and not math.isfinite(item):
                raise ValueError(f"{item} is no JSON number")
        level = [inner for item in level for inner in _inside(item)]
        if not level:
            return value
    raise ValueError(_TOO_DEEP)


def _inside(item: Any) -> Iterable[Any]:
    if isinstance(item, dict):
        return item.values()
    return item if isinstance(item, list) else ()


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
        f"{target} cannot be written: {error.strerror or error}; what was there before is "
        "unchanged: free some space, change the permissions or choose another output folder"
    )


def _system_error(error: BaseException | None) -> OSError | None:
    """The system's error behind `error`: serialisers replace it by one of their own."""
    while error is not None:
        if isinstance(error, OSError):
            return error
        error = error.__cause__ or error.__context__
    return None


def _temporary(folder: Path, name: str) -> Path:
    return folder / f".{name}.{secrets.token_hex(6)}.tmp"


def _keep(path: Path, backup: Path) -> None:
    """A second name for the file at `path`, or a copy where the file system has no such names."""
    if not path.exists():
        return
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "a folder stands in its place", str(path))
    try:
        os.link(path, backup)
    except OSError:
        _write_synced(backup, path.read_bytes())


def _put_back(path: Path, backup: Path) -> bool:
    """Whether what was at `path` before is there again; nothing where nothing was."""
    try:
        if backup.exists():
            backup.replace(path)
        else:
            path.unlink()
    except OSError:
        return False
    return True


def _lost(target: Path, error: OSError, kept: Mapping[Path, Path]) -> str:
    """What to say where even the way back was refused."""
    where = ", ".join(
        f"{path} (before: {backup if backup.exists() else 'no file'})"
        for path, backup in kept.items()
    )
    return (
        f"{target} cannot be written: {error.strerror or error}; these are new already and could "
        f"not be put back: {where}: free some space or change the permissions, then rename them"
    )


def _write_synced(path: Path, data: Content) -> None:
    with path.open("xb") as file:
        for part in [data] if isinstance(data, bytes) else data:
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
