"""`camaudit diff`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from camaudit.commands.options import reader_may_leave

if TYPE_CHECKING:
    from camaudit.gates.diff import Comparison, Difference

__all__ = ["diff"]

_FILE = click.Path(path_type=Path)


@click.command()
@click.argument("first", type=_FILE, metavar="A")
@click.argument("second", type=_FILE, metavar="B")
@click.option("--json", "as_json", is_flag=True, help="Print the comparison as JSON.")
def diff(first: Path, second: Path, as_json: bool) -> int:
    """Compare two runs image by image: is B worse than A?

    A and B are the results.json of two runs on the same images, or folders that hold one. Exit
    code 1 if any figure became worse, 4 if any could not be compared, else 0.
    """
    from camaudit.gates.diff import compare
    from camaudit.gates.records import read_results

    found = compare(*(read_results(_file(path)) for path in (first, second)))
    with reader_may_leave():
        if as_json:
            click.echo(json.dumps(found.to_dict(), indent=2, allow_nan=False))
        else:
            _print(found)
    return found.exit_code


def _file(path: Path) -> Path:
    return path / "results.json" if path.is_dir() else path


def _print(found: Comparison) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("figure", "explainer", "A", "B", "B − A", "95 % interval", "n", "change"):
        table.add_column(name, justify="left" if name in ("figure", "explainer") else "right")
    for one in found.differences:
        table.add_row(*_cells(one))
    console = Console(markup=False, highlight=False, soft_wrap=True)
    console.width = max(console.width, 120)
    console.print(table)
    for one in found.differences:
        if one.change in ("not comparable", "worse"):
            console.print(f"{one.figure} of {one.explainer}: {one.change}: {one.reason}")
    for note in found.notes:
        console.print(f"note: {note}")


def _cells(one: Difference) -> list[str]:
    ends = "–" if one.low is None or one.high is None else f"{one.low:+.4f} … {one.high:+.4f}"
    return [
        one.figure, one.explainer, _figure(one.first), _figure(one.second),
        "–" if one.difference is None else f"{one.difference:+.4f}", ends,
        str(one.n) if one.n else "–", one.change.value,
    ]  # fmt: skip


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
