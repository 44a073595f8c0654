"""A verdict as the annotations that GitHub, Gitea and Forgejo read from a job's log.

Each is a line `::error file=…,line=…,title=…::message`. No other text may end up on such a line
unescaped: a line break in a name would let it give commands of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from camaudit.gates.text import one_line
from camaudit.gates.verdict import Verdict
from camaudit.report.gate import GateRow, gate_view

__all__ = ["ci_annotations"]

_MOST = 10  # of a kind that GitHub shows for one step; the rest it drops without a word


def ci_annotations(verdict: Verdict, environment: Mapping[str, str]) -> str:
    """The lines, gravest first; empty outside of a CI that reads them (GITHUB_ACTIONS).

    Errors are what keeps the gate shut, warnings the conditions that only warn, notices the
    waived ones. Beyond ten of a kind the last one says how many more there are.
    Raises :class:`AuditError` where a figure is NaN or infinite.
    """
    if environment.get("GITHUB_ACTIONS", "").lower() != "true":
        return ""
    view = gate_view(verdict.to_dict())
    file = _relative(view.policy, environment.get("GITHUB_WORKSPACE", ""))
    by_kind: dict[str, list[tuple[int, str, str]]] = {"error": [], "warning": [], "notice": []}
    by_kind["error"] += [(0, "camaudit gate", text) for text in view.problems]
    for row in view.rows:
        if row.decision != "pass":
            by_kind[_kind(row)].append((row.line, row.name, _message(row)))
    if verdict.exit_code != 0 and not by_kind["error"]:
        by_kind["error"].append((0, "camaudit gate", view.headline))
    lines = [
        _line(kind, file, *entry)
        for kind, entries in by_kind.items()
        for entry in _shortened(entries)
    ]
    return "".join(f"{line}\n" for line in lines)


def _kind(row: GateRow) -> str:
    if row.binds:
        return "error"
    return "notice" if row.waived else "warning"


def _message(row: GateRow) -> str:
    parts = (f"{row.status}: {row.demanded}, came {row.measured}: {row.reason}", *row.details)
    return " ".join(part.strip().rstrip(".") + "." for part in parts if part.strip())


def _shortened(entries: list[tuple[int, str, str]]) -> list[tuple[int, str, str]]:
    """As many as are shown; the last one then stands for the rest."""
    if len(entries) <= _MOST:
        return entries
    rest = len(entries) - _MOST + 1
    more = f"{rest} more; all of them stand in the log and in the report."
    return [*entries[: _MOST - 1], (0, "camaudit gate", more)]


def _relative(policy: str, workspace: str) -> str:
    """The policy's path as the CI's checkout has it; as it is where it lies elsewhere."""
    if not workspace:
        return policy
    path, root = Path(policy).expanduser().resolve(), Path(workspace).resolve()
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else policy


def _line(kind: str, file: str, line: int, title: str, message: str) -> str:
    place = f"file={_property(file)},"
    place += f"line={line}," if line else ""
    return f"::{kind} {place}title={_property(title)}::{_data(message)}"


def _data(text: str) -> str:
    """A message as the format demands; control characters and line breaks are gone already."""
    return one_line(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
