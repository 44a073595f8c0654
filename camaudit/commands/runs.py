"""`camaudit runs`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from camaudit.commands.options import reader_may_leave

if TYPE_CHECKING:
    from camaudit.store import Run, Store

__all__ = ["runs"]

_FOLDER = click.argument(
    "folder", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="FOLDER"
)
_NUMBER = click.option(
    "--run", "number", type=click.IntRange(min=1), metavar="N", help="Default: the latest."
)


@click.group()
def runs() -> None:
    """Look at what runs have kept: records.sqlite in their output folders."""


@runs.command("list")
@click.argument(
    "folder", type=click.Path(path_type=Path, exists=True, file_okay=False), default="reports"
)
def list_runs(folder: Path) -> None:
    """List the runs in FOLDER, or in the folders below it (default: reports).

    A run that says "running" is at work, or was killed; the next run into its folder goes on where
    it was.
    """
    from camaudit.errors import UsageError
    from camaudit.store import STORE_NAME

    paths = sorted((*folder.glob(STORE_NAME), *folder.glob(f"*/{STORE_NAME}")))
    if not paths:
        raise UsageError(f"no {STORE_NAME} in {folder} nor in a folder below it: name one")
    with reader_may_leave():
        click.echo("run   state        began                      cells  model and methods")
        for path in paths:
            with _opened(path.parent) as store:
                click.echo(f"{path.parent}")
                for run in store.runs():
                    click.echo(_line(store, run))


@runs.command()
@_FOLDER
@_NUMBER
def show(folder: Path, number: int | None) -> None:
    """Show a run's settings, and its cells by method and outcome."""
    import json

    with _opened(folder) as store, reader_may_leave():
        run = _run(store, number)
        about = {key: value for key, value in run.about.items() if key != "settings"}
        click.echo(f"run {run.number}: {', '.join(f'{k} {v}' for k, v in about.items())}")
        for check, method, status, count in store.counts(run.number):
            click.echo(f"{count:8d}  {check:12s} {status or '-':15s} {method}")
        click.echo(json.dumps(run.about.get("settings", {}), indent=2))


@runs.command()
@_FOLDER
@click.option(
    "--keep", type=click.IntRange(min=1), default=1, show_default=True, metavar="N",
    help="How many of the latest runs stay.",
)  # fmt: skip
def gc(folder: Path, keep: int) -> None:
    """Remove earlier runs, and the cells that no run that stays has taken part in."""
    with _opened(folder) as store:
        stay = [run.number for run in store.runs()][-keep:]
        gone, cells = store.collect(stay)
        click.echo(f"removed {gone} runs and {cells} cells; {len(stay)} runs stay")


@runs.command()
@_FOLDER
@_NUMBER
@click.option(
    "--format", "kind", type=click.Choice(["csv", "jsonl", "parquet"]),
    help="Default: by the file's name. Parquet needs the extra parquet.",
)  # fmt: skip
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), required=True)
def export(folder: Path, number: int | None, kind: str | None, out: Path) -> None:
    """Write a run's records as a table, one row for each method, image and class, or metric."""
    from camaudit.errors import UsageError
    from camaudit.store.exporting import FORMATS
    from camaudit.store.exporting import export as write

    kind = kind or out.suffix.lstrip(".").lower()
    if kind not in FORMATS:
        raise UsageError(
            f"expected a file named .csv, .jsonl or .parquet, or --format; got {out.name}"
        )
    with _opened(folder) as store:
        run = _run(store, number)
        count = write(store, run.number, out, kind)
    click.echo(f"wrote {count} rows of run {run.number} to {out}")


def _opened(folder: Path) -> Store:
    """The store of a folder, which must be there."""
    from camaudit.errors import UsageError
    from camaudit.store import STORE_NAME, Store

    path = folder / STORE_NAME
    if not path.is_file():
        raise UsageError(f"{folder} has no {STORE_NAME}: name the output folder of camaudit run")
    return Store(path)


def _run(store: Store, number: int | None) -> Run:
    from camaudit.errors import UsageError

    found = store.runs()
    for run in reversed(found):
        if number in (None, run.number):
            return run
    known = ", ".join(str(run.number) for run in found) or "none"
    raise UsageError(f"no run {number or ''} in {store.path}: it has {known}".replace("  ", " "))


def _line(store: Store, run: Run) -> str:
    about, settings = run.about, run.about.get("settings", {})
    cells = sum(count for *_, count in store.counts(run.number))
    state, began = about.get("state", "-"), about.get("began", "-")
    methods = ", ".join(settings.get("methods") or ["standard"])
    told = f"{settings.get('model', '-')}: {methods}"
    return f"{run.number:4d}  {state:11s}  {began:25s} {cells:6d}  {told}"
