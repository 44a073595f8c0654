"""`camaudit data stack-gen`."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from camaudit.commands.shared import asked, chosen_wall

if TYPE_CHECKING:
    from collections.abc import Callable

    from camaudit.data.generation.request import Backend
    from camaudit.data.manifest import ManifestWall

__all__ = ["stack_gen"]

_FOLDER = click.Path(path_type=Path)

#: Which options which back end takes; any other is refused, for it would have no effect.
_API = (
    "base_url", "model", "key_env", "size", "quality", "refine_model", "price", "refine_price",
    "budget", "max_images", "rate", "retries", "timeout",
)  # fmt: skip
_TAKES = {
    "api": _API,
    "diffusers": ("pipeline", "steps", "guidance", "device", "size"),
    "composite": ("images", "ground_truth", "synsets"),
}


def _options(function: Callable[..., int]) -> Callable[..., int]:
    """The options of the back ends, each without a default, so that a given one is told."""
    for option in reversed(
        [
            click.option("--base-url", metavar="URL", help="api: where the endpoint is; https, or "
                         "http on this machine. Default: https://api.openai.com/v1."),
            click.option("--model", metavar="NAME", help="api: the images model; required."),
            click.option("--key-env", metavar="NAME", help="api: environment variable with the "
                         "key. Default: OPENAI_API_KEY."),
            click.option("--size", metavar="WxH", help="api, diffusers: size of the pictures, "
                         "which squares are cut out of. Default: 1024x1024; the pipeline's own."),
            click.option("--quality", metavar="NAME", help="api: quality, as the endpoint spells "
                         "it."),
            click.option("--refine-model", metavar="NAME", help="api: let this chat model refine "
                         "each prompt first, as in the paper."),
            click.option("--price", metavar="AMOUNT", help="api: price of an image."),
            click.option("--refine-price", metavar="AMOUNT", help="api: price of a refined "
                         "prompt."),
            click.option("--budget", metavar="AMOUNT", help="api: spend no more than this, what "
                         "earlier runs for the same --out spent included; needs --price."),
            click.option("--max-images", type=click.IntRange(min=1), metavar="N", help="api: pay "
                         "for no more images than this, earlier runs included."),
            click.option("--rate", type=click.FloatRange(min=0, min_open=True), metavar="N",
                         help="api: requests a minute at most."),
            click.option("--retries", type=click.IntRange(min=0), metavar="N", help="api: further "
                         "tries of a request that failed on the way. Default: 5."),
            click.option("--timeout", type=click.FloatRange(min=0, min_open=True),
                         metavar="SECONDS", help="api: longest silence. Default: 180."),
            click.option("--pipeline", type=_FOLDER, metavar="DIR", help="diffusers: folder of a "
                         "text-to-image pipeline with safetensors weights; required."),
            click.option("--steps", type=click.IntRange(min=1), metavar="N", help="diffusers: "
                         "steps of the sampler. Default: the pipeline's own."),
            click.option("--guidance", type=float, metavar="X", help="diffusers: guidance scale. "
                         "Default: the pipeline's own."),
            click.option("--device", metavar="NAME", help="diffusers: cpu, cuda, cuda:N or mps. "
                         "Default: cpu."),
            click.option("--images", type=_FOLDER, metavar="DIR", help="composite: photographs, "
                         "as for camaudit data stack-mix; required."),
            click.option("--ground-truth", type=_FOLDER, metavar="FILE", help="composite: as for "
                         "camaudit data stack-mix."),
            click.option("--synsets", type=_FOLDER, metavar="FILE", help="composite: as for "
                         "camaudit data stack-mix."),
        ]
    ):  # fmt: skip
        function = option(function)
    return function


@click.command("stack-gen")
@click.option(
    "--backend",
    type=click.Choice(sorted(_TAKES)),
    required=True,
    help="api: any endpoint that speaks OpenAI's images API. diffusers: a local pipeline. "
    "composite: two photographs blended, without a network.",
)
@_options
@click.option(
    "--classes",
    metavar="LIST",
    help="Classes to draw from: a range such as 0-397 (ImageNet's animals), a list of indices, "
    "WordNet ids or names, a file with one a line, or all. Default: 0-397; with composite all "
    "folders if one is no class of ImageNet's.",
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
    "--image-size",
    type=click.IntRange(min=2),
    metavar="PIXELS",
    help="Height and width of the images. Default: that of the trained network of --wall, else "
    "224.",
)
@click.option(
    "--boundary",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="FRACTION",
    help="Where the upper subject ends in every picture, as a share of its height. Default: it is "
    "measured; --reject can set it for single images.",
)
@click.option(
    "--dead-rows",
    type=click.IntRange(min=1),
    metavar="N",
    help="Rows at the bottom that show the second subject. Default: 54 of 224, as in the paper.",
)
@click.option(
    "--wall",
    metavar="SPEC",
    help="Take the dead rows of this wall instead: vgg16, or a model as for camaudit run --model.",
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
    help="Draws classes (those of stack-mix with the same seed) and pictures.",
)
@click.option("--licence", metavar="TEXT", help="Licence of the images, for the manifest.")
@click.option(
    "--reject",
    type=_FOLDER,
    metavar="FILE",
    help="Images that are not to be used: an id a line, then a reason; or 'ID boundary FRACTION' "
    "to cut an image again around that row of its picture.",
)
@click.option(
    "--review",
    is_flag=True,
    help="List the images of the data set in --out, and make those again that --reject or the "
    "prompt names; all others stay byte for byte. Repeat the options that built it.",
)
@click.option("--force", is_flag=True, help="Replace the data set in --out.")
@click.option(
    "--out", type=_FOLDER, metavar="DIR", default=Path("datasets/stack-gen"), show_default=True,
    help="Output folder. Pictures as they came are kept beside it in DIR.generation, so that the "
    "same command goes on where it was interrupted and never pays twice.",
)  # fmt: skip
def stack_gen(
    backend: str,
    classes: str | None,
    count: int,
    per_class: int,
    image_size: int | None,
    boundary: float | None,
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
    **special: Any,
) -> int:
    """Make images of one subject stacked on another: the walls paper's data set STACK-GEN.

    Writes images cut around the wall, a manifest with the origin and a hash of each, and a
    contact sheet to look at.
    """
    from rich.console import Console

    from camaudit.console import ConsoleProgress
    from camaudit.data.generation.making import GenOptions, build_stack_gen
    from camaudit.data.generation.subjects import choose_subjects
    from camaudit.data.manifest import SHEET_NAME, read_manifest
    from camaudit.data.review import (
        listing,
        parse_rejections,
        read_rejections,
        with_boundaries,
    )

    given = _given(backend, special)
    seam, side = chosen_wall(
        wall, dead_rows=dead_rows, layer=layer, live_rows=live_rows, size=image_size
    )
    entries = {} if reject is None else read_rejections(reject)
    if review:
        click.echo(listing(read_manifest(out)))
        if reject is None:
            entries = parse_rejections(asked(out / SHEET_NAME))
    rejected, boundaries = with_boundaries(entries)
    messages = Console(stderr=True)
    with ExitStack() as stack, ConsoleProgress(messages) as progress:
        maker, folders, terms = _backend(backend, given, seam, out, progress.stage, stack)
        options = GenOptions(
            subjects=choose_subjects(classes, seed=seed, folders=folders),
            wall=seam,
            size=(side, side),
            count=count,
            per_class=per_class,
            boundary=boundary,
            seed=seed,
        )
        manifest = build_stack_gen(
            maker, out, options=options, licence=licence or terms, reject=rejected,
            boundaries=boundaries, review=review, force=force, progress=progress,
        )  # fmt: skip
    for line in (*(f"note: {text}" for text in manifest.notes),
                 f"{len(manifest.images)} images, {len(manifest.rejected)} rejected; look at "
                 f"{out / SHEET_NAME}"):  # fmt: skip
        messages.print(line, highlight=False, markup=False, soft_wrap=True)
    return 0


def _given(backend: str, special: dict[str, Any]) -> dict[str, Any]:
    """The options of the back end that were given; one of another back end is an error."""
    from camaudit.errors import UsageError

    given = {name: value for name, value in special.items() if value is not None}
    for name in given:
        if name not in _TAKES[backend]:
            whose = " and ".join(other for other, names in _TAKES.items() if name in names)
            option = f"--{name.replace('_', '-')}"
            raise UsageError(f"{option} is of the back end {whose}, not of {backend}: leave it out")
    needed = {"api": "model", "diffusers": "pipeline", "composite": "images"}[backend]
    if needed not in given:
        raise UsageError(f"--backend {backend} needs --{needed}")
    return given


def _backend(
    name: str,
    given: dict[str, Any],
    wall: ManifestWall,
    out: Path,
    tell: Callable[[str], None],
    stack: ExitStack,
) -> tuple[Backend, tuple[str, ...] | None, str]:
    """The back end, the class folders that it is bound to, and a sentence on the licence."""
    beside = out.resolve()
    beside = beside.with_name(f"{beside.name}.generation")
    if name == "composite":
        from camaudit.data.generation.compositor import Compositor
        from camaudit.data.sources import open_source

        source = open_source(given.pop("images"), **given)
        compositor = Compositor(source.collection, wall=wall, layout=source.layout)
        return compositor, compositor.folders, source.licence
    if name == "diffusers":
        from camaudit.data.generation.diffusers import DiffusersOptions, DiffusersPipeline
        from camaudit.data.generation.originals import Originals

        given["size"] = _size(given["size"]) if "size" in given else None
        pipeline = DiffusersPipeline(DiffusersOptions(**given))
        terms = (
            "Generated on this machine; the licence of the pipeline says what it may be used for"
        )
        return Originals(pipeline, beside), None, terms
    from camaudit.data.generation.images_api import ApiOptions, ImagesApi

    api = stack.enter_context(ImagesApi(ApiOptions(**given), beside, tell=tell))
    terms = f"Generated by {given['model']}; the terms of its provider say what it may be used for"
    return api, None, terms


def _size(text: str) -> tuple[int, int]:
    """(H, W) of a text such as 1024x768, which names the width first."""
    from camaudit.errors import UsageError

    found = re.fullmatch(r"([0-9]{1,5})[x×]([0-9]{1,5})", text)
    if found is None:
        raise UsageError(f"--size must be WIDTHxHEIGHT such as 1024x1024, got {text!r}")
    return int(found[2]), int(found[1])
