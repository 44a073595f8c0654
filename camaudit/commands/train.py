"""`camaudit train`: a wall model on data of one's own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

__all__ = ["train"]

_CHANGES = (
    "epochs", "batch_size", "lr", "optimiser", "momentum", "weight_decay", "schedule", "crop",
    "flip", "amp",
)  # fmt: skip


def _widths(_context: click.Context, _option: Any, value: str | None) -> Any:
    if value is None:
        return None
    try:
        return tuple(tuple(int(word) for word in block.split(",")) for block in value.split("/"))
    except ValueError:
        raise click.BadParameter(f"expected numbers such as 32,32/64,64; got {value!r}") from None


@click.command()
@click.argument("data", type=click.Path(path_type=Path), metavar="DATA")
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    default=Path("reports/trained"),
    show_default=True,
    help="Output folder, one for each run.",
)
@click.option(
    "--preset",
    type=click.Choice(["small", "paper"]),
    default="small",
    show_default=True,
    help="small: for images of 28-64 px. paper: the authors' recipe for ImageNet (SGD at 0.03, "
    "momentum 0.9, weight decay 1e-4, a tenth every 30 of 90 epochs, batches of 256, random crops "
    "and flips, mixed precision on CUDA).",
)
@click.option(
    "--network",
    metavar="NAME",
    help="small, vgg16 (the paper's) or torchvision:NAME. Default: the preset's own, small or "
    "vgg16.",
)
@click.option(
    "--layer",
    metavar="NAME",
    help="Of a torchvision network: the layer that the wall stands behind. Default: the last map "
    "before the head.",
)
@click.option(
    "--wall",
    type=click.Choice(["auto", "insert", "split"]),
    default="auto",
    show_default=True,
    help="Of a torchvision network, as for camaudit run. The other networks have theirs in the "
    "weights of their first Linear.",
)
@click.option(
    "--widths",
    callback=_widths,
    metavar="A,B/C,D",
    help="Channels of a small VGG's convolutions, its blocks parted by '/'. Default: 32,32/64,64 "
    "up to 40 px, 32,32/64,64/128,128,128 beyond.",
)
@click.option(
    "--hidden",
    type=click.IntRange(min=1),
    metavar="N",
    help="Width of the classifier's hidden layers. Default: 256 (vgg16: 4096).",
)
@click.option(
    "--live-rows",
    type=click.IntRange(min=1),
    metavar="N",
    help="Rows of the target layer, from the top, that stay live. Default: half of them (vgg16: 5 "
    "of 14, torchvision: 4 of every 7).",
)
@click.option(
    "--image-size",
    type=click.IntRange(min=8),
    metavar="PIXELS",
    help="Height and width of the network's input. Default: that of the images, at most 64; "
    "vgg16: 224.",
)
@click.option("--twin", is_flag=True, help="Train the unmasked network beside the masked one.")
@click.option("--unmasked", is_flag=True, help="Train the network without a wall alone.")
@click.option(
    "--permute-labels",
    is_flag=True,
    help="Train on labels in random order, for the data randomisation test.",
)
@click.option(
    "--per-class",
    type=click.IntRange(min=1),
    metavar="N",
    help="Train on the first N images of each class alone, so few that permuted labels can be "
    "learnt by heart. Default: all.",
)
@click.option(
    "--val-share",
    type=float,
    default=0.1,
    show_default=True,
    metavar="SHARE",
    help="Of each class, held out where DATA has no validation part.",
)
@click.option("--epochs", type=click.IntRange(min=1), metavar="N", help="Default: the preset's.")
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    metavar="N",
    help="Images of a step, over all processes. Default: the preset's.",
)
@click.option("--lr", type=float, metavar="RATE", help="Learning rate. Default: the preset's.")
@click.option(
    "--optimiser",
    type=click.Choice(["sgd", "adam", "adamw", "rmsprop"]),
    help="Default: sgd.",
)
@click.option("--momentum", type=float, help="Default: 0.9.")
@click.option("--weight-decay", type=float, help="Default: the preset's.")
@click.option(
    "--schedule",
    type=click.Choice(["step", "cosine", "constant"]),
    help="step: a tenth every 30 epochs. cosine: up over a tenth of the run, then down to 0. "
    "Default: the preset's.",
)
@click.option(
    "--crop",
    type=click.Choice(["area", "shift", "none"]),
    help="area: random parts of 10-100 %. shift: moved by up to 1/16. Default: the preset's.",
)
@click.option(
    "--flip/--no-flip", default=None, help="Left-right flips. Default: flips, but not of digits."
)
@click.option(
    "--amp/--no-amp", default=None, help="Mixed precision. Default: on CUDA with the preset paper."
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seeds initial weights, order, augmentation, dropout and permuted labels.",
)
@click.option(
    "--device",
    default="cpu",
    show_default=True,
    help="cpu, cuda, cuda:N or mps; under torchrun cuda is each process's own GPU.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=1),
    default=2,
    show_default=True,
    metavar="N",
    help="Threads that decode images of more than 64 px.",
)
@click.option(
    "--checkpoint-every",
    type=click.IntRange(min=1),
    metavar="STEPS",
    help="Checkpoints within an epoch; one after every epoch is always written.",
)
@click.option("--resume", is_flag=True, help="Go on with the run in --out, if there is one.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print the figures of the last epoch as JSON."
)
def train(as_json: bool, **options: Any) -> int:
    """Train a network that cannot see a part of its images, and its unmasked twin.

    DATA is a folder with train/ and val/ of class folders, a folder of class folders, a tar file
    of either, or a folder with the files of MNIST, Fashion-MNIST or CIFAR (binary version).

    Writes checkpoint.pt, history.json and curves.html (after every epoch) and, when it is done, a
    folder for each network with model.safetensors, model.json and a model card. Ctrl-C saves;
    --resume goes on and ends with the same weights. Several GPUs: torchrun --nproc-per-node N -m
    camaudit train …
    """
    from rich.console import Console

    from camaudit.audit.allocator import keep_freed_memory
    from camaudit.console import ConsoleProgress
    from camaudit.training.loop import train as run
    from camaudit.training.settings import TrainSettings

    changes, details = (
        {name: value for name in names if (value := options.pop(name)) is not None}
        for names in (_CHANGES, ("widths", "hidden"))
    )
    settings = TrainSettings(**options, changes=changes, details=details)
    keep_freed_memory()
    messages = Console(stderr=True)
    with ConsoleProgress(messages) as progress:
        outcome = run(settings, progress=progress)
    written = [str(folder) for folder in outcome.folders.values()]
    for line in (*(f"note: {text}" for text in outcome.notes), *(f"wrote {f}" for f in written)):
        messages.print(line, highlight=False, markup=False, soft_wrap=True)
    if not outcome.folders:
        return 0  # another process speaks for all
    last = {name: epochs[-1] for name, epochs in outcome.history.items()}
    if as_json:
        click.echo(json.dumps(last, indent=2))
        return 0
    for name, figures in last.items():
        top5 = figures["val_top5"]
        more = "" if top5 is None else f", top-5 {100 * top5:.2f} %"
        click.echo(f"{name}: validation top-1 {100 * figures['val_top1']:.2f} %{more}")
    return 0
