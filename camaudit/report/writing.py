"""Writing results.json and report.html: all or nothing, and an earlier file is kept on failure."""

from __future__ import annotations

import json
import math
import os
import secrets
from contextlib import suppress
from pathlib import Path
from typing import Any

from camaudit.errors import AuditError, OutputError
from camaudit.types import Results

__all__ = [
    "REPORT_NAME",
    "RESULTS_NAME",
    "check_writable",
    "write_report",
    "write_results",
    "write_run",
]

RESULTS_NAME = "results.json"
REPORT_NAME = "report.html"


def check_writable(folder: str | os.PathLike[str]) -> None:
    """Create `folder` and make sure that a report can be put there; call it before a long run.

    Raises
    ------
    OutputError
        if the folder cannot be created or written, or if one of the report's names is taken by
        a folder.
    """
    target = _folder(folder)
    for name in (RESULTS_NAME, REPORT_NAME):
        if (target / name).is_dir():
            raise OutputError(
                f"{target / name} is a folder, but a file of that name has to be written there: "
                "remove it or choose another output folder"
            )
    probe = _temporary(target, "probe")
    try:
        _write_synced(probe, b"camaudit\n")
    except OSError as error:
        raise _translated(target, error) from error
    finally:
        with suppress(OSError):
            probe.unlink()


def write_results(results: Results, folder: str | os.PathLike[str]) -> Path:
    """Write `results.json` into `folder` and return its path.

    Raises
    ------
    AuditError
        if a figure is NaN or infinite, or a value has no JSON form: undefined is null.
    OutputError
        if the file cannot be written; an earlier one is then unchanged.
    """
    (path,) = _write({RESULTS_NAME: _encode(results)}, _folder(folder))
    return path


def write_report(html: str, folder: str | os.PathLike[str]) -> Path:
    """Write `report.html` into `folder` and return its path.

    Raises
    ------
    OutputError
        if the file cannot be written; an earlier one is then unchanged.
    """
    (path,) = _write({REPORT_NAME: html}, _folder(folder))
    return path


def write_run(results: Results, html: str, folder: str | os.PathLike[str]) -> tuple[Path, Path]:
    """Write `results.json` and `report.html` together and return their paths.

    Both are encoded and stored under temporary names before either takes its place, so that a
    failure or an interruption leaves the earlier pair.

    Raises
    ------
    AuditError
        if a figure is NaN or infinite, or a value has no JSON form: undefined is null.
    OutputError
        if a file cannot be written; the earlier ones are then unchanged.
    """
    texts = {RESULTS_NAME: _encode(results), REPORT_NAME: html}
    results_path, report_path = _write(texts, _folder(folder))
    return results_path, report_path


def _encode(results: Results) -> str:
    plain = results.to_dict()
    try:
        return json.dumps(plain, allow_nan=False, indent=2, ensure_ascii=False) + "\n"
    except (TypeError, ValueError) as error:
        where = _misfit(plain, "") or "an unknown place"
        raise AuditError(
            f"{RESULTS_NAME} was not written: {where} has no JSON form ({error}); an undefined "
            "figure must be None"
        ) from error


def _misfit(value: Any, path: str) -> str:
    """The path of the first value that JSON cannot hold; empty if there is none."""
    if isinstance(value, dict):
        parts = [(item, f"{path}.{key}".lstrip(".")) for key, item in value.items()]
    elif isinstance(value, (list, tuple)):
        parts = [(item, f"{path}[{index}]") for index, item in enumerate(value)]
    elif isinstance(value, float) and not math.isfinite(value):
        return f"{path} = {value}"
    elif value is None or isinstance(value, (str, int, float)):
        return ""
    else:
        return f"{path} of type {type(value).__name__}"
    return next((found for item, where in parts if (found := _misfit(item, where))), "")


def _folder(folder: str | os.PathLike[str]) -> Path:
    """The folder, created with its parents."""
    target = Path(folder)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        raise OutputError(
            f"the output folder {target} cannot be created, because a file stands in its place "
            "or above it: remove that file or choose another folder"
        ) from error
    except OSError as error:
        raise _translated(target, error) from error
    return target


def _write(texts: dict[str, str], folder: Path) -> list[Path]:
    """Write all beside their targets, sync, then rename: readers see the old files or the new.

    Lone surrogates, as undecodable file names bring them, are written as backslash escapes,
    which is also their JSON form.
    """
    staged = {name: _temporary(folder, name) for name in texts}
    try:
        for name, text in texts.items():
            _write_synced(staged[name], text.encode("utf-8", "backslashreplace"))
        for name, temporary in staged.items():
            temporary.replace(folder / name)
        _sync_folder(folder)
    except OSError as error:
        raise _translated(folder, error) from error
    finally:
        for temporary in staged.values():
            with suppress(OSError):
                temporary.unlink()
    return [folder / name for name in texts]


def _temporary(folder: Path, name: str) -> Path:
    return folder / f".{name}.{secrets.token_hex(6)}.tmp"


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Make the rename durable where the system can sync a folder; the file is in place anyway."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _translated(target: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{target} cannot be written: {error.strerror or error}; free some space, change the "
        "permissions or choose another output folder"
    )
