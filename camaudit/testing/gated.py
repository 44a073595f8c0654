"""The run that a policy asks for, as plain values that processes can share."""

from __future__ import annotations

import datetime
import json
import sys
import traceback
from collections.abc import Mapping
from contextlib import redirect_stdout, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from camaudit.errors import CamauditError
from camaudit.gates.policy import Policy
from camaudit.gates.records import read_results
from camaudit.testing.explained import causes
from camaudit.testing.options import Options

if TYPE_CHECKING:
    from camaudit.audit.gating import Gated
    from camaudit.audit.run import Outcome

__all__ = ["baseline_of", "baseline_path", "changed", "gated", "report_files"]


def gated(policy: Policy, options: Options) -> dict[str, Any]:
    """Run the audit and judge it; whatever goes wrong is in "error", and no exception.

    "gate": the verdict, None where there is none. "causes": what was found, by rulings. "files":
    texts of the report, where one is asked for. "baseline": the text of a new baseline, or None.
    """
    empty: dict[str, Any] = {
        "error": None, "gate": None, "causes": {}, "files": {}, "baseline": None,
    }  # fmt: skip
    try:
        # what the user's model prints belongs to the test that runs it
        with redirect_stdout(sys.stderr):
            return {**empty, **_run(_relative(changed(policy, options)), options)}
    except CamauditError as error:
        return {**empty, "error": str(error)}
    except (Exception, SystemExit):
        return {**empty, "error": traceback.format_exc()}


def changed(policy: Policy, options: Options) -> Policy:
    """The policy with the seed of the options, and fewer images where it is to be quick.

    A quick run sees the first images alone, so that a hash of all of them says nothing of it.
    """
    from camaudit.audit.gating import adjusted

    made = adjusted(policy, seed=options.seed, quick=options.quick)
    if options.quick:
        made = replace(made, pins={k: pin for k, pin in made.pins.items() if k != "images_sha256"})
    return made


def baseline_of(policy: Policy) -> dict[str, Any] | None:
    """The policy's baseline, None where the file is not there; raises AuditError for a broken one.

    A folder stands for the results.json in it.
    """
    if policy.baseline is None:
        return None
    path = baseline_path(policy)
    return read_results(path) if path.is_file() else None


def baseline_path(policy: Policy) -> Path:
    """The file of a policy's baseline."""
    path = policy.folder / (policy.baseline or "")
    return path / "results.json" if path.is_dir() else path


def report_files(
    outcome: Outcome, results: Mapping[str, Any], gate: Mapping[str, Any] | None
) -> dict[str, str]:
    """results.json and report.html of an audit, and gate.json where there is a verdict."""
    from camaudit.report.html import render

    shown = outcome.results if gate is None else replace(outcome.results, gate=dict(gate))
    files = {
        "results.json": _json(results if gate is None else {**results, "gate": gate}),
        "report.html": render(shown, outcome.gallery, outcome.pictures),
    }
    return files if gate is None else {**files, "gate.json": _json(gate)}


def _relative(policy: Policy) -> Policy:
    """The policy by its path from here, so that results and baseline are the same elsewhere."""
    with suppress(ValueError):
        return replace(policy, path=policy.path.relative_to(Path.cwd()))
    return policy


def _run(policy: Policy, options: Options) -> dict[str, Any]:
    from camaudit.audit.gating import gate
    from camaudit.gates.markdown import markdown

    today = datetime.date.today()
    baseline = None if options.update_baseline else baseline_of(policy)
    made: Gated = gate(policy, today=today, baseline=baseline)
    if options.update_baseline:
        itself = gate(policy, today=today, results=made.results, baseline=made.results)
        made = replace(itself, outcome=made.outcome)
    verdict: dict[str, Any] = made.results["gate"]
    found: dict[str, Any] = {"gate": verdict, "causes": causes(verdict, made.results)}
    if options.report is not None and made.outcome is not None:
        files = report_files(made.outcome, made.results, verdict)
        found["files"] = {**files, "gate.md": markdown(made.verdict, made.results, report="")}
    if options.update_baseline and verdict["decision"] != "error":
        plain = {name: part for name, part in made.results.items() if name != "gate"}
        found["baseline"] = _json(plain)
    return found


def _json(content: Any) -> str:
    return json.dumps(content, allow_nan=False, indent=2, ensure_ascii=False) + "\n"
