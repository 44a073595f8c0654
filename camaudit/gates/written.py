"""Writing every output that was asked for: all of them or none, and never a pass without them."""

from __future__ import annotations

import datetime
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from camaudit.errors import AuditError, OutputError, UsageError
from camaudit.files import check_folder, made_folder, write_paths
from camaudit.gates.badge import badge
from camaudit.gates.card import card, card_markdown
from camaudit.gates.junit import junit
from camaudit.gates.markdown import markdown
from camaudit.gates.verdict import Verdict

__all__ = ["Outputs", "check_outputs", "write_outputs"]


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """The files that were asked for; None: not this one.

    record: gate.json. summary: the file that a CI shows as the job's summary; the markdown is
    added at its end. card: the model card's section, in JSON where the name ends in .json, else in
    markdown. others: texts of further files that belong to the same whole, such as report.html.
    """

    record: Path | None = None
    junit: Path | None = None
    markdown: Path | None = None
    summary: Path | None = None
    badge: Path | None = None
    card: Path | None = None
    others: Mapping[Path, str] = field(default_factory=dict)


def check_outputs(outputs: Outputs, inputs: Collection[Path] = ()) -> None:
    """Make the folders and see that the files can be put there; call it before a long run.

    inputs: resolved paths of files that are read, which no output may replace.

    Raises
    ------
    UsageError
        if two outputs are to be one and the same file, one is to be an input, or a folder or a
        device stands in the place of one.
    AuditError
        if a folder cannot be made or written.
    """
    taken: dict[Path, str] = {}
    for name, path in _all(outputs):
        if path.exists() and not path.is_file():
            what = "a folder: name a file in it" if path.is_dir() else "no file: name one"
            raise UsageError(f"{path}, where {name} has to be written, is {what}")
        where = path.resolve()
        if where in inputs:
            raise UsageError(
                f"{path} is read, so {name} cannot be written there: name another file"
            )
        if where in taken:
            raise UsageError(
                f"{name} and {taken[where]} are to be written to the same file, {path}: give each "
                "a file of its own"
            )
        taken[where] = name
    try:
        for folder in {path.parent for path in taken}:
            check_folder(made_folder(folder))
    except OutputError as error:
        raise AuditError(str(error)) from error


def write_outputs(
    verdict: Verdict,
    results: Mapping[str, Any],
    outputs: Outputs,
    *,
    date: datetime.datetime,
    seconds: float = 0.0,
    report: str = "",
) -> list[Path]:
    """Write what was asked for, and return the paths; on a failure earlier files are unchanged.

    results: those of results.json. date: when the gate decided. seconds: how long it took.
    report: where the HTML report is, for the summary.

    Raises
    ------
    UsageError
        as :func:`check_outputs`.
    AuditError
        if a file cannot be written (a read-only or a full disk), or a figure is NaN or infinite.
    """
    check_outputs(outputs)
    makers = {
        "record": lambda: _json(verdict.to_dict()),
        "junit": lambda: junit(verdict, seconds=seconds, date=date),
        "markdown": lambda: markdown(verdict, results, report=report),
        "summary": lambda: markdown(verdict, results, report=report),
        "badge": lambda: badge(verdict),
        "card": lambda: _card(verdict, results, outputs, date.date()),
    }
    verdict.to_dict()  # a verdict on NaN is refused even where no output would show it
    contents = {
        path: makers[name]().encode("utf-8", "backslashreplace") for name, path in _own(outputs)
    }
    contents |= {
        path: text.encode("utf-8", "backslashreplace") for path, text in outputs.others.items()
    }
    try:
        if outputs.summary is not None:
            contents[outputs.summary] = _before(outputs.summary) + contents[outputs.summary]
        return write_paths({path.resolve(): data for path, data in contents.items()})
    except OutputError as error:
        raise AuditError(str(error)) from error


def _own(outputs: Outputs) -> list[tuple[str, Path]]:
    asked = (
        ("record", outputs.record), ("junit", outputs.junit), ("markdown", outputs.markdown),
        ("summary", outputs.summary), ("badge", outputs.badge), ("card", outputs.card),
    )  # fmt: skip
    return [(name, path) for name, path in asked if path is not None]


def _all(outputs: Outputs) -> list[tuple[str, Path]]:
    return [*_own(outputs), *((path.name, path) for path in outputs.others)]


def _before(path: Path) -> bytes:
    """What the summary holds already, with the blank line after it that markdown needs."""
    try:
        earlier = path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise AuditError(
            f"{path} cannot be read, so nothing can be added to it ({error.strerror or error}): "
            "make it readable, or name another file for the summary"
        ) from error
    return earlier.rstrip(b"\n") + b"\n\n" if earlier.strip() else b""


def _card(
    verdict: Verdict, results: Mapping[str, Any], outputs: Outputs, date: datetime.date
) -> str:
    if outputs.card is not None and outputs.card.suffix.lower() == ".json":
        return _json(card(verdict, results, date=date))
    return card_markdown(verdict, results, date=date)


def _json(content: Mapping[str, Any]) -> str:
    try:
        return json.dumps(content, allow_nan=False, indent=2, ensure_ascii=False) + "\n"
    except (TypeError, ValueError) as error:
        raise AuditError(
            f"an output has no JSON form ({error}): an undefined figure must be null"
        ) from error
