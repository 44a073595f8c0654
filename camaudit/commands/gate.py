"""`camaudit gate`."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from camaudit.commands.options import UNSAFE_PICKLE, executed, reader_may_leave
from camaudit.errors import CamauditError, UsageError

if TYPE_CHECKING:
    from camaudit.audit.gating import Gated
    from camaudit.gates.policy import Policy
    from camaudit.gates.written import Outputs

__all__ = ["gate"]

_FILE = click.Path(path_type=Path)
_SUMMARY = "GITHUB_STEP_SUMMARY"  # the file whose text a CI shows with the job


@click.command()
@click.option(
    "--policy",
    type=_FILE,
    metavar="FILE",
    help="camaudit.toml, or a pyproject.toml with [tool.camaudit]. Default: the one in the working "
    "folder.",
)
@click.option(
    "--run",
    "finished",
    type=_FILE,
    metavar="RUN",
    help="Judge this results.json, or the one in this folder. Default: run the policy's audit.",
)
@click.option(
    "--baseline",
    type=_FILE,
    metavar="RUN",
    help="The run that conditions mean by baseline. Default: that of the policy.",
)
@click.option(
    "--update-baseline",
    is_flag=True,
    help="Make this run the baseline, and judge it as such; not where the verdict is an error.",
)
@click.option(
    "--escalate",
    is_flag=True,
    help="Where too few images decide nothing, run more, up to escalate = N of the policy.",
)
@click.option(
    "--out",
    type=_FILE,
    metavar="DIR",
    help="Where results.json, report.html and gate.json go. Default: reports/gate.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Keep what is found in the output folder, and take from there what an earlier gate with "
    "--resume found and nothing has changed. Whoever can write there decides the verdict. Default: "
    "everything is computed anew.",
)
@executed
@UNSAFE_PICKLE
@click.option("--junit", type=_FILE, metavar="FILE", help="Write JUnit XML.")
@click.option("--markdown", type=_FILE, metavar="FILE", help="Write a comment in markdown.")
@click.option("--badge", type=_FILE, metavar="FILE", help="Write a badge (SVG).")
@click.option(
    "--card", type=_FILE, metavar="FILE", help="Write a section for a model card (.md or .json)."
)
@click.option("--json", "as_json", is_flag=True, help="Print gate.json instead of the table.")
def gate(policy: Path | None, as_json: bool, **options: Any) -> int:
    """Decide by a policy whether these explanations may ship.

    Runs the audit that the policy asks for, or judges a finished one (--run), and holds its figures
    against the conditions. Exit codes: 0 every condition is shown to hold; 1 one is shown not to; 2
    the policy is wrong; 3 the audit went wrong, or the run is not the one that the policy is about;
    4 too little is known (too few images, maps that are empty, a method that does not apply).
    """
    from camaudit.report.gate_table import print_gate

    made = _judged(policy, options)
    with reader_may_leave():
        if as_json:
            click.echo(json.dumps(made.results["gate"], indent=2, allow_nan=False))
        else:
            print_gate(made.results["gate"])
    return made.verdict.exit_code


def _judged(given: Path | None, options: dict[str, Any]) -> Gated:
    """The verdict, written; whatever else happens, no output is left that passes."""
    from camaudit.gates.pending import UNFINISHED, unsummarised, void
    from camaudit.gates.reading import read_policy
    from camaudit.gates.source import find_policy
    from camaudit.gates.written import check_outputs

    today = datetime.datetime.now(tz=datetime.UTC)
    folder = options["out"] or Path("reports") / "gate"
    outputs = _outputs(folder, options)
    path = given or Path.cwd()
    inputs = {path.resolve()}
    try:
        path = given or find_policy(Path())  # relative: results are read on other machines
        found = read_policy(path, today=today.date())
        base = _baseline_file(found, options)
        inputs |= _inputs(path, base, options)
        check_outputs(_with_baseline(outputs, base, options), inputs)
        void(unsummarised(outputs), UNFINISHED, policy=str(path), date=today, inputs=inputs)
        started = time.monotonic()
        records = folder if options["resume"] else None
        made = _gated(found, options, today.date(), records)
        _write(made, folder, outputs, base, today, time.monotonic() - started, options)
    except BaseException as error:
        with contextlib.suppress(Exception):  # the first error is the one to be told
            void(outputs, _reason(error), policy=str(path), date=today, inputs=inputs)
        raise
    return made


def _reason(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "the gate was interrupted"
    return str(error) if isinstance(error, CamauditError) else f"{type(error).__name__}: {error}"


def _outputs(folder: Path, options: dict[str, Any]) -> Outputs:
    """What is to be written; what a run makes without its text.

    A finished run is not written again; an earlier one's verdict that lies in its place goes.
    """
    from camaudit.gates.written import Outputs

    summary = os.environ.get(_SUMMARY)
    files = {name: options[name] for name in ("junit", "markdown", "badge", "card")}
    run = options["finished"]
    judged_here = run is not None and _file(run).parent.resolve() == folder.resolve()
    made = () if judged_here else ("results.json", "report.html")
    return Outputs(
        record=folder / "gate.json", summary=Path(summary) if summary else None,
        others={folder / name: "" for name in made}, **files,
    )  # fmt: skip


def _inputs(path: Path, base: Path | None, options: dict[str, Any]) -> set[Path]:
    """The files that are read, which no output may replace."""
    found = [path]
    if options["finished"] is not None:
        found.append(_file(options["finished"]))
    if base is not None and not options["update_baseline"]:
        found.append(base)
    return {one.resolve() for one in found}


def _with_baseline(outputs: Outputs, base: Path | None, options: dict[str, Any]) -> Outputs:
    if not options["update_baseline"]:
        return outputs
    if base is None:
        raise UsageError(
            "there is no place for a baseline: give --baseline FILE, or write baseline in [run]"
        )
    return replace(outputs, others={**outputs.others, base: ""})


def _gated(
    policy: Policy, options: dict[str, Any], today: datetime.date, records: Path | None
) -> Gated:
    """The verdict; a run that becomes the baseline is held against itself."""
    from rich.console import Console

    from camaudit.audit.allocator import keep_freed_memory
    from camaudit.audit.gating import gate as decided
    from camaudit.audit.placing import Place
    from camaudit.console import ConsoleProgress
    from camaudit.gates.records import read_results

    results = None if options["finished"] is None else read_results(_file(options["finished"]))
    if results is not None and options["escalate"]:
        raise UsageError(
            "--escalate runs more images, and --run judges what was run: give one of them"
        )
    if results is not None and records is not None:
        raise UsageError(
            "--resume goes on with a run, and --run judges one that is done: give one of them"
        )
    place = Place(options["executor"], options["workers"], options["address"])
    if results is not None and place != Place():
        raise UsageError(
            "--executor says where a run is computed, and --run judges one that is done: give one "
            "of them"
        )
    base = None if options["update_baseline"] else _baseline_file(policy, options)
    baseline = read_results(base) if base is not None and base.is_file() else None
    if base is not None and baseline is None and _refers(policy, options):
        raise UsageError(
            f"{base}, the baseline, is no file: name the results.json of an earlier run, or make "
            "this run the baseline with --update-baseline"
        )
    keep_freed_memory()
    # what the user's model prints must not end up in the table or in the JSON
    with ConsoleProgress(Console(stderr=True)) as progress, contextlib.redirect_stdout(sys.stderr):
        made = decided(
            policy, today=today, results=results, baseline=baseline,
            escalate=options["escalate"], progress=progress,
            unsafe_pickle=options["unsafe_pickle"], records=records, place=place,
        )  # fmt: skip
        if not options["update_baseline"]:
            return made
        itself = decided(policy, today=today, results=made.results, baseline=made.results)
        return replace(itself, outcome=made.outcome)


def _refers(policy: Policy, options: dict[str, Any]) -> bool:
    """Whether a baseline is needed: a condition refers to it, or it was asked for."""
    from camaudit.gates.policy import BASELINE

    if options["baseline"] is not None:
        return True
    return any(condition.bound.reference == BASELINE for condition in policy.conditions)


def _write(
    made: Gated,
    folder: Path,
    outputs: Outputs,
    base: Path | None,
    date: datetime.datetime,
    seconds: float,
    options: dict[str, Any],
) -> None:
    from camaudit.gates.annotations import ci_annotations
    from camaudit.gates.written import write_outputs
    from camaudit.redaction import cleaner
    from camaudit.report.html import render

    others: dict[Path, str] = {}
    report = folder / "report.html"
    if made.outcome is not None:
        shown = replace(made.outcome.results, gate=made.results["gate"])
        others[folder / "results.json"] = json.dumps(made.results, indent=2, allow_nan=False)
        others[report] = render(shown, made.outcome.gallery, made.outcome.pictures)
    if options["update_baseline"] and base is not None and made.verdict.decision != "error":
        plain = {name: part for name, part in made.results.items() if name != "gate"}
        others[base] = json.dumps(plain, indent=2, allow_nan=False) + "\n"
    written = write_outputs(
        made.verdict, made.results, replace(outputs, others=others), date=date, seconds=seconds,
        report=cleaner()(str(report)) if report in others else "",
    )  # fmt: skip
    for path in written:
        click.echo(f"wrote {path}", err=True)
    click.echo(ci_annotations(made.verdict, os.environ), nl=False, err=True)


def _baseline_file(policy: Policy, options: dict[str, Any]) -> Path | None:
    if options["baseline"] is not None:
        return _file(options["baseline"])
    return None if policy.baseline is None else _file(policy.folder / policy.baseline)


def _file(path: Path) -> Path:
    return path / "results.json" if path.is_dir() else path
