"""Writing results.json and report.html: all or nothing, and an earlier file is kept on failure."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from camaudit.errors import AuditError, OutputError
from camaudit.files import Content, check_folder, made_folder, write_files, write_paths
from camaudit.types import Record, Results

__all__ = [
    "REPORT_NAME",
    "RESULTS_NAME",
    "check_writable",
    "encoded",
    "write_pages",
    "write_report",
    "write_results",
    "write_run",
]

RESULTS_NAME = "results.json"
REPORT_NAME = "report.html"
_PIECES = 100_000  #: of JSON that are written at once, some of them a character


def check_writable(folder: str | os.PathLike[str]) -> None:
    """Create `folder` and make sure that a report can be put there; call it before a long run.

    Raises
    ------
    OutputError
        if the folder cannot be created or written, or if one of the report's names is taken by
        a folder.
    """
    target = made_folder(folder)
    for name in (RESULTS_NAME, REPORT_NAME):
        if (target / name).is_dir():
            raise OutputError(
                f"{target / name} is a folder, but a file of that name has to be written there: "
                "remove it or choose another output folder"
            )
    check_folder(target)


def write_results(results: Results, folder: str | os.PathLike[str]) -> Path:
    """Write `results.json` into `folder` and return its path.

    Raises
    ------
    AuditError
        if a figure is NaN or infinite, or a value has no JSON form: undefined is null.
    OutputError
        if the file cannot be written; an earlier one is then unchanged.
    """
    (path,) = write_files({RESULTS_NAME: _chunks(results)}, made_folder(folder))
    return path


def write_report(html: str, folder: str | os.PathLike[str]) -> Path:
    """Write `report.html` into `folder` and return its path.

    Raises
    ------
    OutputError
        if the file cannot be written; an earlier one is then unchanged.
    """
    (path,) = write_files({REPORT_NAME: encoded(html)}, made_folder(folder))
    return path


def write_pages(
    pages: Mapping[str, str], folder: str | os.PathLike[str], results: Results | None = None
) -> list[Path]:
    """Write the files of :func:`camaudit.report.pages.report_files`, and results.json where given.

    All are written or none; pages of images that an earlier report had are removed afterwards.
    Raises as :func:`write_run` does.
    """
    target = made_folder(folder)
    files: dict[Path, Content] = {}
    if results is not None:
        files[target / RESULTS_NAME] = _chunks(results)
    files.update({target / name: encoded(text) for name, text in pages.items()})
    for parent in {path.parent for path in files}:
        made_folder(parent)
    written = write_paths(files)
    for old in target.glob("report/images-[0-9]*.html"):
        if old not in files:
            with suppress(OSError):
                old.unlink()
    return written


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
    contents: dict[str, Content] = {RESULTS_NAME: _chunks(results), REPORT_NAME: encoded(html)}
    results_path, report_path = write_files(contents, made_folder(folder))
    return results_path, report_path


def encoded(text: str) -> bytes:
    """A file's text in UTF-8.

    Lone surrogates, as undecodable file names bring them, are written as backslash escapes,
    which is also their JSON form.
    """
    return text.encode("utf-8", "backslashreplace")


class _Entries(list[Any]):
    """The entries of records, each made when it is written; a list, because json asks for one."""

    def __init__(self, records: Sequence[Record]) -> None:
        super().__init__()
        self._records = records

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Any]:
        return (record.to_dict() for record in self._records)


def _chunks(results: Results) -> Iterator[bytes]:
    """The file's bytes, part after part: an audit of many images has hundreds of megabytes."""
    plain = {**replace(results, records=[]).to_dict(), "records": _Entries(results.records)}
    encoder = json.JSONEncoder(allow_nan=False, indent=2, ensure_ascii=False)
    held: list[str] = []
    try:
        for piece in encoder.iterencode(plain):
            held.append(piece)
            if len(held) == _PIECES:
                yield encoded("".join(held))
                held.clear()
        yield encoded("".join(held) + "\n")
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
