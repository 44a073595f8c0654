"""`camaudit data stack-mix` and `camaudit data verify`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from camaudit.commands.shared import asked, chosen_wall

if TYPE_CHECKING:
    from camaudit.data.stack_mix import Pairs

__all__ = ["stack_mix", "verify"]

_FOLDER = click.Path(path_type=Path)


@click.command("stack-mix")
@click.option(
    "--images",
    type=_FOLDER,
    metavar="DIR",
    required=True,
    help="Photographs: one sub-folder a class, or ImageNet's validation images in one folder.",
)
@click.option(
    "--ground-truth",
    type=_FOLDER,
    metavar="FILE",
    help="Classes of ImageNet's validation images in one folder: a WordNet id or an index (0 to "
    "999) a line, the devkit's ILSVRC2012_validation_ground_truth.txt (with --synsets), lines of "
    "file name and label, or LOC_val_solution.csv.",
)
@click.option(
    "--synsets",
    type=_FOLDER,
    metavar="FILE",
    help="What the devkit's ids stand for: its meta.mat, or a text with the WordNet id of id i in "
    "line i.",
)
@click.option(
    "--classes",
    metavar="LIST",
    help="Classes to draw from: a range such as 0-397 (ImageNet's animals), a list of indices, "
    "WordNet ids or names, a file with one a line, or all. Default: 0-397 if every folder is a "
    "class of ImageNet's, else all.",
)
@click.option(
    "--count",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    metavar="N",
    help="Images in all.",
)
@click.option(
    "--per-class",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    metavar="N",
    help="Images of each class at most.",
)
@click.option(
    "--pairs-only",
    is_flag=True,
    help="Leave out classes with a single usable photograph. Default: after all others they give "
    "two crops of it.",
)
@click.option(
    "--pairs",
    type=click.Choice(["same", "different"]),
    default="same",
    show_default=True,
    help="Two photographs of one class, or of two different ones: the upper is the class that the "
    "network sees, the lower lies behind the wall; classes take turns in both places.",
)
@click.option(
    "--image-size",
    type=click.IntRange(min=2),
    metavar="PIXELS",
    help="Height and width of the images; smaller photographs are enlarged, and a note says so. "
    "Default: that of the trained network of --wall, else 224.",
)
@click.option(
    "--dead-rows",
    type=click.IntRange(min=1),
    metavar="N",
    help="Rows at the bottom that show the second photograph. Default: 54 of 224, as in the paper.",
)
@click.option(
    "--wall",
    metavar="SPEC",
    help="Take the dead rows of this wall instead: vgg16, trained:DIR, or a model as for camaudit "
    "run --model.",
)
@click.option("--layer", metavar="NAME", help="Target layer of --wall.")
@click.option(
    "--live-rows", type=click.IntRange(min=1), metavar="N", help="Live rows of --wall's layer."
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Draws classes, pairs and crops.",
)
@click.option("--licence", metavar="TEXT", help="Licence of the photographs, for the manifest.")
@click.option(
    "--reject",
    type=_FOLDER,
    metavar="FILE",
    help="Pairs that are not to be used: an id a line, then a reason.",
)
@click.option(
    "--review",
    is_flag=True,
    help="List the images of the data set in --out, and redraw those that --reject or the "
    "prompt names; all others stay byte for byte. Repeat the options that built it.",
)
@click.option("--force", is_flag=True, help="Replace the data set in --out.")
@click.option(
    "--out",
    type=_FOLDER,
    metavar="DIR",
    default=Path("datasets/stack-mix"),
    show_default=True,
    help="Output folder.",
)
def stack_mix(
    images: Path,
    ground_truth: Path | None,
    synsets: Path | None,
    classes: str | None,
    count: int,
    per_class: int,
    pairs_only: bool,
    pairs: Pairs,
    image_size: int | None,
    dead_rows: int | None,
    wall: str | None,
    layer: str | None,
    live_rows: int | None,
    seed: int,
    licence: str | None,
    reject: Path | None,
    review: bool,
    force: bool,
    out: Path,
) -> int:
    """Stack two photographs at the wall: the walls paper's data set STACK-MIX.

    Both are of one class, as in the paper, or with --pairs different of two.

    Writes images, a manifest with a hash for each, and a contact sheet to look at.
    """
    from rich.console import Console

    from camaudit.console import ConsoleProgress
    from camaudit.data.building import MixOptions, build_stack_mix
    from camaudit.data.manifest import SHEET_NAME, read_manifest
    from camaudit.data.review import listing, parse_rejections, read_rejections
    from camaudit.data.sources import open_source

    source = open_source(images, ground_truth=ground_truth, synsets=synsets)
    seam, size = chosen_wall(
        wall, dead_rows=dead_rows, layer=layer, live_rows=live_rows, size=image_size
    )
    options = MixOptions(
        wall=seam,
        size=(size, size),
        classes=classes,
        count=count,
        per_class=per_class,
        pairs_only=pairs_only,
        pairs=pairs,
        seed=seed,
    )
    rejected = {} if reject is None else read_rejections(reject)
    if review:
        click.echo(listing(read_manifest(out)))
        if reject is None:
            rejected = parse_rejections(asked(out / SHEET_NAME))
    messages = Console(stderr=True)
    with ConsoleProgress(messages) as progress:
        manifest = build_stack_mix(
            source, out, options=options, licence=licence, reject=rejected, review=review,
            force=force, progress=progress,
        )  # fmt: skip
    for line in (*(f"note: {text}" for text in manifest.notes),
                 f"{len(manifest.images)} images, {len(manifest.rejected)} rejected; look at "
                 f"{out / SHEET_NAME}"):  # fmt: skip
        messages.print(line, highlight=False, markup=False, soft_wrap=True)
    return 0


@click.command()
@click.argument("folder", metavar="DIR", type=_FOLDER)
def verify(folder: Path) -> int:
    """Check every hash of the data set in DIR, and that no file is missing or foreign.

    Exit code 1 if something is wrong.
    """
    from camaudit.data.manifest import verify as verified

    outcome = verified(folder)
    for problem in outcome.problems:
        click.echo(problem)
    found = f"{len(outcome.problems)} problems" if outcome.problems else "no problem"
    click.echo(f"{outcome.ok} images are as the manifest says; {found}")
    return 0 if outcome.passed else 1
