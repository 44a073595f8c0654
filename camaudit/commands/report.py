"""`camaudit report`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from camaudit.commands.options import pages_written

if TYPE_CHECKING:
    from camaudit.report.comparison import ComparisonView
    from camaudit.report.reading import Run

__all__ = ["report"]

_RUN = click.Path(path_type=Path)


@click.command()
@click.argument("run", type=_RUN, metavar="RUN")
@click.option(
    "--compare",
    type=_RUN,
    metavar="RUN2",
    help="Another run: the report says what changed from it, over the images that both have.",
)
@click.option(
    "--out",
    type=_RUN,
    metavar="DIR",
    help="Folder for report.html, and for its pages of images where it would be too large in one "
    "file. Default: RUN.",
)
def report(run: Path, compare: Path | None, out: Path | None) -> int:
    """Write the report of a finished run again, alone or against another run.

    RUN is the output folder of camaudit run. Maps are shown of as many images as the run was told
    to keep (--report-images). A report in one file has at most 25 MB: photographs are made smaller
    where need be, and where that is not enough the images stand on pages of their own in report.
    """
    from camaudit.report.pages import FIRST, report_files
    from camaudit.report.reading import read_run
    from camaudit.report.writing import write_pages

    read = read_run(run)
    against = None if compare is None else _compared(read, read_run(compare), str(compare))
    maps = read.maps
    files = report_files(
        read.results,
        [] if maps is None else maps.gallery(FIRST),
        [] if maps is None else maps.pictures(),
        maps,
        comparison=against,
    )
    written = write_pages(files, out or read.folder)
    for line in _said(read, written):
        click.echo(line, err=True)
    return 0


def _compared(this: Run, other: Run, name: str) -> ComparisonView:
    from camaudit.gates.diff import compare
    from camaudit.gates.records import read_results
    from camaudit.report.comparison import comparison_view

    first, second = (read_results(one.folder / "results.json") for one in (other, this))
    found = compare(first, second).to_dict()
    return comparison_view(this.results, other.results, found, name=name)


def _said(read: Run, written: list[Path]) -> list[str]:
    notes = [f"note: {read.note}"] if read.note else []
    if read.maps is None and not read.note:
        notes = [f"note: {read.folder} holds no maps, so that the report has none"]
    return [*notes, f"wrote {written[0]}", *pages_written(written[1:])]
