"""The command: options to a setting, records to a table. Exit code 1 where a case failed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import torch

from camaudit.audit.allocator import keep_freed_memory
from tests.benchmarks.cases import CASES, Case
from tests.benchmarks.record import kept_cases, new_record, read, save
from tests.benchmarks.suite import run_cases, select
from tests.benchmarks.table import markdown, plain
from tests.benchmarks.timing import Setting

__all__ = ["main"]


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--only", metavar="NAME[,NAME]", help="These cases alone. See --list.")
@click.option("--list", "listing", is_flag=True, help="Name every case and what it is held to.")
@click.option(
    "--rounds",
    type=click.IntRange(min=1),
    default=5,
    show_default=True,
    help="How often either side is timed, after one warm-up round.",
)
@click.option("--threads", type=click.IntRange(min=1), help="CPU threads. Default: torch's own.")
@click.option("--gpu", is_flag=True, help="Run on the CUDA device.")
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("benchmarks.json"),
    show_default=True,
    help="Where the record goes; written anew after every case.",
)
@click.option(
    "--resume",
    is_flag=True,
    help="Go on with the record in --out: keep its cases, measure what is missing or in --only.",
)
@click.option("--markdown", "as_markdown", is_flag=True, help="Print the README's table.")
@click.option(
    "--show",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Measure nothing: print the table of a saved record.",
)
@click.pass_context
def main(
    context: click.Context,
    only: str | None,
    listing: bool,
    rounds: int,
    threads: int | None,
    gpu: bool,
    out: Path,
    resume: bool,
    as_markdown: bool,
    show: Path | None,
) -> None:
    """Time camaudit beside its peers, in turn, and print a table of ratios."""
    cases, setting = context.obj or (CASES, Setting())
    if listing:
        click.echo(_listing(cases))
        return
    if show is not None:
        try:
            click.echo(_table(read(show), cases, as_markdown=as_markdown))
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        return
    device = _device() if gpu else torch.device("cpu")
    try:
        chosen = select(cases, only, device.type)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if threads is not None:
        torch.set_num_threads(threads)
    setting = Setting(device=device, rounds=rounds, clock=setting.clock)
    record = new_record(setting, memory_kept=keep_freed_memory())
    if resume and out.exists():
        try:
            kept = kept_cases(read(out), record, again={case.name for case in chosen if only})
        except ValueError as error:
            raise click.UsageError(str(error)) from None
        record["cases"] = kept
        chosen = [case for case in chosen if case.name not in {entry["name"] for entry in kept}]
    save(record, out)  # a path that cannot be written fails now, not after half an hour
    whole = run_cases(chosen, setting, record, write=_progress, keep=lambda r: save(r, out))
    click.echo(_table(record, cases, as_markdown=as_markdown))
    if not whole:
        sys.exit(1)


def _device() -> torch.device:
    if not torch.cuda.is_available():
        raise click.UsageError("--gpu: torch finds no CUDA device here; run without --gpu")
    return torch.device("cuda")


def _listing(cases: Sequence[Case]) -> str:
    width = max(len(case.name) for case in cases)
    lines = []
    for case in cases:
        held = ", ".join(f"{target.figure} {target.text}" for target in case.targets) or "no target"
        places = " or ".join(case.places)
        lines.append(f"{case.name:<{width}}  {case.what} ({places}): {held}")
    return "\n".join(lines)


def _table(record: dict[str, Any], cases: Sequence[Case], *, as_markdown: bool) -> str:
    return markdown(record, cases) if as_markdown else plain(record)


def _progress(line: str) -> None:
    click.echo(line, err=True)
