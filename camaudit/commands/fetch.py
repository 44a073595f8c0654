"""`camaudit data fetch`."""

from __future__ import annotations

from pathlib import Path

import click

from camaudit.errors import UsageError

__all__ = ["fetch"]


@click.command()
@click.argument("source", required=False, metavar="[NAME|LIST|URL]")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Folder for the files. Default: datasets/ and the list's name; datasets/downloads for a "
    "URL.",
)
@click.option(
    "--only", multiple=True, metavar="FILE", help="Of a list, only this file; may be repeated."
)
@click.option(
    "--url", metavar="URL", help="Where the one file that is fetched comes from, instead."
)
@click.option(
    "--sha256",
    metavar="HEX",
    help="Hash that the one file that is fetched must have, instead of the list's.",
)
@click.option(
    "--mirror", metavar="URL", help="Take every file from URL/FILE instead; hashes hold the same."
)
@click.option("--name", metavar="FILE", help="What the file of a URL is to be called.")
@click.option(
    "--unpack/--no-unpack", default=None, help="Unpack archives. Default: what the list says."
)
@click.option(
    "--list",
    "listing",
    is_flag=True,
    help="Print the known lists, or the files of one, and fetch nothing.",
)
def fetch(
    source: str | None,
    out: Path | None,
    only: tuple[str, ...],
    url: str | None,
    sha256: str | None,
    mirror: str | None,
    name: str | None,
    unpack: bool | None,
    listing: bool,
) -> int:
    """Fetch data and checkpoints over https: the authors' by NAME, a LIST of files, or one URL.

    Broken downloads go on where they stopped. Hashes are checked; where none is published the
    first download is trusted, its hash is written to fetched.json, and it must hold from then on.
    Links to files on Google Drive work. Archives are unpacked safely or not at all.
    """
    from rich.console import Console

    from camaudit.console import ConsoleProgress
    from camaudit.data.fetching import (
        choose,
        default_folder,
        describe,
        fetch,
        open_source,
        overview,
    )

    if source is None:
        if not listing:
            raise UsageError("expected a NAME, LIST or URL; --list prints the known names")
        click.echo(overview())
        return 0
    found = open_source(source, name=name, unpack=unpack)
    if listing:
        click.echo(describe(found))
        return 0
    files = choose(found, only=only, url=url, sha256=sha256, mirror=mirror)
    messages = Console(stderr=True)
    for done in fetch(files, out or default_folder(source), bars=lambda: ConsoleProgress(messages)):
        click.echo(f"{done.path}: {done.size} bytes, sha256 {done.sha256}; {done.note}")
        if done.folder is not None:
            click.echo(f"{done.folder}: unpacked")
    return 0
