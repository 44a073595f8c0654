"""What several commands do with their options: where the seam lies, and what a user types."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from camaudit.data.manifest import ManifestWall

__all__ = ["asked", "chosen_wall"]


def chosen_wall(
    spec: str | None,
    *,
    dead_rows: int | None,
    layer: str | None,
    live_rows: int | None,
    size: int | None,
) -> tuple[ManifestWall, int]:
    """The seam (dead rows as given, or those of a wall, which alone needs torch) and the size."""
    from camaudit.data.seam import PAPER_SIZE, lower_rows
    from camaudit.errors import UsageError

    if spec is None:
        if layer is not None or live_rows is not None:
            raise UsageError("--layer and --live-rows describe a wall: give --wall too")
        size = PAPER_SIZE if size is None else size
        return lower_rows(dead_rows, size), size
    if dead_rows is not None:
        raise UsageError("--wall and --dead-rows both say where the seam is: give one of them")
    from camaudit.audit.seam import seam_of_wall

    return seam_of_wall(spec, size=size, layer=layer, live_rows=live_rows)


def asked(sheet: Path) -> str:
    """What the user types: lines up to an empty one."""
    click.echo(f"Look at {sheet}, then name the ids to redraw, one a line with a reason if you")
    click.echo("like; an empty line ends the list:")
    return "".join(itertools.takewhile(str.strip, sys.stdin))
