"""`camaudit init`."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["init"]


@click.command()
def init() -> None:
    """Write a commented policy, a test and a CI job for the repository in the working folder.

    camaudit.toml, tests/test_explanations.py and, where there is a .github folder,
    .github/workflows/camaudit.yml; else the job is printed. What is there already is kept. Nothing
    of the repository is imported: what it says of your model is a guess to be checked.
    """
    from camaudit.gates.starting import start

    done = start(Path())
    for path in done.written:
        click.echo(f"wrote {path}")
    for path in done.kept:
        click.echo(f"kept {path}, which was there already")
    for note in done.notes:
        click.echo(f"note: {note}")
    if done.job is not None:
        click.echo("There is no .github folder. A job for GitHub's CI, to be adapted to yours:\n")
        click.echo(done.job, nl=False)
