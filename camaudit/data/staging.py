"""A data set takes its place whole: it is built beside it and renamed when it is complete."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from camaudit.data.folders import printable
from camaudit.data.manifest import (
    IMAGES_NAME,
    MANIFEST_NAME,
    Manifest,
    foreign_files,
    read_manifest,
    verify,
)
from camaudit.errors import OutputError, UsageError
from camaudit.files import made_folder, output_error, sync_folder

__all__ = ["claim", "staged"]


def claim(folder: Path) -> Manifest | None:
    """The manifest of the data set in `folder`; None where it is missing or empty.

    A data set that an interruption left under its temporary name is put back first. Raises
    :class:`OutputError` if `folder` holds anything that is no part of a data set: building there
    would destroy it.
    """
    target, shown = folder.resolve(), printable(str(folder))
    old = _beside(target, "replaced")
    try:
        if old.is_dir() and not target.exists():
            old.rename(target)
        if target.exists() and not target.is_dir():
            raise OutputError(f"{shown} is a file: choose another output folder")
        if not target.exists() or not any(target.iterdir()):
            return None
    except OSError as error:
        raise output_error(target, error) from error
    if not (target / MANIFEST_NAME).is_file():
        raise OutputError(
            f"{shown} is neither empty nor a data set (it has no {MANIFEST_NAME}): choose another "
            "output folder"
        )
    try:
        manifest = read_manifest(target)
    except UsageError as error:
        raise OutputError(f"{error}; or choose another output folder") from error
    foreign = foreign_files(target, manifest, hidden=True)
    if foreign:
        raise OutputError(
            f"{shown} also holds files that are no part of its data set ({printable(foreign[0])}"
            f"{f' and {len(foreign) - 1} more' if len(foreign) > 1 else ''}): move them away or "
            "choose another output folder"
        )
    return manifest


@contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """An empty folder, with one for images, that replaces `folder` when the context ends well.

    It is removed when the context ends with an exception or an interruption; what a killed
    process left is removed by the next one. Raises :class:`OutputError` if it cannot be written,
    or if the data set in it does not verify (another process builds in the same place).
    """
    target = folder.resolve()
    made_folder(target.parent)
    work, old = _beside(target, "building"), _beside(target, "replaced")
    try:
        shutil.rmtree(work, ignore_errors=True)
        try:
            (work / IMAGES_NAME).mkdir(parents=True)
        except OSError as error:
            raise output_error(target, error) from error
        yield work
        outcome = verify(work)
        if not outcome.passed:
            raise OutputError(
                f"the new data set does not verify ({outcome.problems[0]}): is another build "
                f"writing into {printable(str(folder))}? Build again"
            )
        _swap(work, target, old)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _swap(work: Path, target: Path, old: Path) -> None:
    """Put `work` in the place of `target`; on failure what was there stays there."""
    try:
        shutil.rmtree(old, ignore_errors=True)
        if target.exists():
            target.rename(old)
        try:
            work.rename(target)
        except BaseException:
            with suppress(OSError):
                old.rename(target)
            raise
        sync_folder(target.parent)
    except OSError as error:
        raise output_error(target, error) from error
    shutil.rmtree(old, ignore_errors=True)


def _beside(target: Path, what: str) -> Path:
    return target.parent / f".{target.name}.{what}"
