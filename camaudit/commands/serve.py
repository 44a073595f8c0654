"""`camaudit serve`."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["serve"]


@click.command()
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=0,
    metavar="PORT",
    help="Port on this computer. Default: one that is free.",
)
def serve(run: Path, port: int) -> int:
    """Show the report of a finished run in a browser, images as they are looked at.

    For runs with so many images that a report in files is unwieldy. The server answers this
    computer alone (127.0.0.1), reads and writes nothing but RUN, and ends with Ctrl-C.
    """
    from camaudit.report.reading import read_run
    from camaudit.report.serving import server

    read = read_run(run)
    if read.note:
        click.echo(f"note: {read.note}", err=True)
    with server(read, port=port) as started:
        click.echo(f"serving {read.folder} at {started.url} (Ctrl-C ends it)")
        try:
            started.serve_forever()
        except KeyboardInterrupt:
            click.echo("ended", err=True)
    return 0
