"""A verdict in markdown, for a CI's job summary and a comment on a pull request.

The verdict stands first, then what keeps the gate shut, then everything else folded away. Names
and reasons are text of others, so all of them are escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from camaudit.gates.text import markdown_code, markdown_text
from camaudit.gates.verdict import Verdict
from camaudit.report.gate import GateRow, GateView, gate_view

__all__ = ["MARKER", "markdown"]

#: Begins the text, invisibly: by it a bot finds its earlier comment.
MARKER = "<!-- camaudit gate -->"
_LIMIT = 60_000  # bytes; GitHub refuses a comment of more than 65536
_LONGEST = 600  # characters of one reason or detail
_MOST = 30  # rulings, problems or notes at full length


def markdown(
    verdict: Verdict, results: Mapping[str, Any] | None = None, *, report: str = ""
) -> str:
    """The text, at most 60 000 bytes long; what is left out is counted.

    results: those of results.json, for the model, the images and the hashes. report: where the
    HTML report is, an address or a path; said as it is.
    Raises :class:`AuditError` where a figure is NaN or infinite.
    """
    view = gate_view(verdict.to_dict())
    most = _MOST
    text = _document(view, results, report, most)
    while len(text.encode()) > _LIMIT and most:
        most //= 2
        text = _document(view, results, report, most)
    return text


def _document(view: GateView, results: Mapping[str, Any] | None, report: str, most: int) -> str:
    open_rows = [row for row in view.rows if row.decision != "pass"]
    passing = [row for row in view.rows if row.decision == "pass"]
    parts = [
        MARKER,
        f"## {markdown_text(view.headline)}",
        f"Policy {markdown_code(_cut(view.policy))}, exit code {view.exit_code}."
        + (f" Report: {markdown_code(_cut(report))}." if report else ""),
        _bullets(view, most),
        _table(open_rows, most),
        _reasons(open_rows, most),
        _folded(f"Passed: {len(passing)}", _table(passing, most)) if passing else "",
        _folded("How it was decided", markdown_text(view.verdict.rule)),
        _folded("What was audited", _origin(results)) if results else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(rows: Sequence[GateRow], most: int) -> str:
    """The rulings, a row each."""
    if not rows:
        return ""
    lines = [
        "| Outcome | Ruling | Figure [95 % interval] | Demanded | n |",
        "|---|---|---|---|--:|",
    ]
    lines += [
        f"| {_status(row)} | {markdown_code(_cut(row.name))} | {markdown_text(row.measured)} "
        f"| {markdown_text(_cut(row.demanded))} | {row.n} |"
        for row in rows[:most]
    ]
    return "\n".join(lines) + _rest(len(rows) - most, "ruling")


def _status(row: GateRow) -> str:
    if row.decision == "pass":
        return "pass"
    decision, _, rest = row.status.partition(", ")
    return f"**{decision.upper()}**" if row.binds else f"{decision.upper()}, {rest}"


def _reasons(rows: Sequence[GateRow], most: int) -> str:
    """Why each of the rulings did not pass."""
    lines = []
    for row in rows[:most]:
        said = " ".join(markdown_text(_cut(part)) for part in row.details)
        reason = markdown_text(_cut(row.reason)) or "no reason was given"
        lines.append(f"- {markdown_code(_cut(row.name))}: {reason}{_stop(reason)} {said}".rstrip())
    return "\n".join(lines)


def _bullets(view: GateView, most: int) -> str:
    """Problems, then notes, in one list."""
    said = [("Problem", text) for text in view.problems] + [("Note", text) for text in view.notes]
    lines = [f"- {label}: {markdown_text(_cut(text))}" for label, text in said[:most]]
    return "\n".join(lines) + _rest(len(said) - most, "line")


def _rest(number: int, noun: str) -> str:
    if number <= 0:
        return ""
    return f"\n\nAnd {number} more {noun}{'' if number == 1 else 's'}; all stand in gate.json."


def _folded(summary: str, content: str) -> str:
    """The blank lines are what lets markdown be read inside of the HTML."""
    return f"<details><summary>{summary}</summary>\n\n{content}\n\n</details>" if content else ""


def _origin(results: Mapping[str, Any]) -> str:
    """Model, images and hashes, as far as the run recorded them."""
    subject = results.get("subject") or {}
    settings, environment = results.get("settings") or {}, results.get("environment") or {}
    listed = (
        ("Model", subject.get("model")),
        ("Target layer", subject.get("layer")),
        ("SHA-256 of the weights file", subject.get("weights_sha256")),
        ("SHA-256 of the model's state", subject.get("state_sha256")),
        ("Images", subject.get("images")),
        ("SHA-256 of the images", subject.get("images_sha256")),
        ("Seed", settings.get("seed")),
        ("torch", environment.get("torch")),
        ("camaudit", results.get("camaudit")),
    )
    return "\n".join(_facts(listed))


def _facts(listed: Iterable[tuple[str, Any]]) -> list[str]:
    return [
        f"- {label}: {markdown_code(_cut(str(value)))}" for label, value in listed
        if value is not None
    ]  # fmt: skip


def _stop(text: str) -> str:
    return "" if text.endswith((".", "!", "?")) else "."


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
