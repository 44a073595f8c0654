"""`camaudit data export`."""

from __future__ import annotations

from pathlib import Path

import click

__all__ = ["export"]


@click.command()
@click.argument("source", type=click.Path(path_type=Path), metavar="SOURCE")
@click.option(
    "--part",
    type=click.Choice(["train", "validation"]),
    default="validation",
    show_default=True,
    help="Which images.",
)
@click.option(
    "--per-class",
    type=click.IntRange(min=1),
    metavar="N",
    help="The first N of every class. Default: all.",
)
@click.option(
    "--val-share",
    type=float,
    default=0.1,
    show_default=True,
    metavar="SHARE",
    help="Of each class, held out where SOURCE has no validation part, as camaudit train does.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), metavar="DIR", required=True, help="Output folder."
)
def export(source: Path, part: str, per_class: int | None, val_share: float, out: Path) -> int:
    """Write images that camaudit train reads (MNIST's and CIFAR's files, tar files) as folders.

    One sub-folder a class, which camaudit data stack-mix and camaudit run take. SOURCE is what
    camaudit train takes.
    """
    from rich.console import Console

    from camaudit.console import ConsoleProgress
    from camaudit.training.export import export_images
    from camaudit.training.sources import open_source

    opened = open_source(source, val_share=val_share)
    messages = Console(stderr=True)
    with ConsoleProgress(messages) as progress:
        progress.stage(f"writing {opened.name}")
        written = export_images(
            opened, out, part="train" if part == "train" else "validation", per_class=per_class,
            progress=progress,
        )  # fmt: skip
    messages.print(
        f"{sum(written.values())} images of {len(written)} classes in {out}",
        highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip
    return 0
