"""The section that camaudit has at the end of pytest's output."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from camaudit.gates.text import one_line
from camaudit.report.gate import gate_view
from camaudit.testing.session import POLICY

if TYPE_CHECKING:
    import pytest

    from camaudit.testing.session import AuditSession

__all__ = ["summarise"]


def summarise(session: AuditSession, terminal: pytest.TerminalReporter) -> None:
    """Print the section; nothing where no policy was run and nothing written."""
    lines = [*_verdict(session), *_written(session)]
    if lines:
        terminal.section("camaudit")
        for line in lines:
            terminal.line(one_line(line), red=line.startswith("error:"))


def _verdict(session: AuditSession) -> Iterator[str]:
    run = session.shared.known(POLICY)
    if run is None:
        return
    if run["error"] is not None:
        yield f"error: the audit went wrong: {run['error'].strip().splitlines()[-1]}"
        return
    view = gate_view(run["gate"])
    yield view.headline
    yield from (f"problem: {text}" for text in view.problems)
    for row in view.rows:
        if row.waived and not row.binds:
            yield f"waived: {row.name} ({row.decision}): {row.excuse}"
        elif row.decision != "pass" and not row.binds:
            yield f"warning: {row.name}: {row.decision}: {row.demanded}, came {row.measured}"
    yield from (f"note: {text}" for text in view.notes)
    if session.options.quick:
        yield "note: --camaudit-quick: few images, seeds and examples; not what the policy asks for"


def _written(session: AuditSession) -> Iterator[str]:
    run = session.shared.known(POLICY)
    if session.baseline is not None and (run is None or run["baseline"] is None):
        why = "none of the policy's tests was run" if run is None else "the run went wrong"
        yield f"warning: the baseline is as it was, for {why}"
    if session.problem:
        yield f"error: {session.problem}"
    folders: dict[str, list[str]] = {}
    for path in session.written:
        folders.setdefault(os.path.relpath(path.parent), []).append(path.name)
    for folder, names in folders.items():
        yield f"wrote {', '.join(names)} in {folder}"
