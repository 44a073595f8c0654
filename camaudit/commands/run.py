"""`camaudit run`."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import click

from camaudit.commands.options import (
    UNSAFE_PICKLE,
    bytes_of,
    executed,
    explainers,
    names,
    pages_written,
    reader_may_leave,
)
from camaudit.errors import AuditError

__all__ = ["run"]

KEPT = "counterexamples"  #: folder in the output folder, unless another one is named


@click.command()
@click.option(
    "--model",
    default="lite0",
    show_default=True,
    metavar="SPEC",
    help="lite0 (EfficientNet-Lite0 with ImageNet weights, extra demo), torchvision:NAME, "
    "timm:NAME (extra timm), hf:FOLDER (an image classifier of transformers, extra transformers), "
    "with options as in 'timm:resnet18(num_classes=10, in_chans=1)'; package.module:factory, "
    "path/file.py:factory, or trained:DIR for what camaudit train wrote there (with its own wall, "
    "and its unmasked twin if that was trained). Nothing is downloaded.",
)
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Weights: safetensors, or a state dict (loaded without running code).",
)
@UNSAFE_PICKLE
@click.option(
    "--unmasked-weights",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="With --wall vgg16: weights of the same network without the wall, for the columns "
    "unmasked.",
)
@click.option(
    "--output",
    metavar="NAME",
    help="Where the logits stand in what the model returns: a key, an attribute or a place from 0. "
    "Default: logits, else the only tensor N×C.",
)
@click.option(
    "--head",
    type=click.Choice(["softmax", "sigmoid"]),
    help="What turns logits into probabilities: softmax (one class of many) or sigmoid (each class "
    "for itself, multi-label). Default: sigmoid for a single logit, else softmax.",
)
@click.option(
    "--layer",
    metavar="NAME",
    help="Target layer as in named_modules(); NAME#2 for its second run. Default: the "
    "last map, or grid of tokens, before the head.",
)
@click.option(
    "--wall",
    type=click.Choice(["auto", "split", "insert", "vgg16"]),
    default="auto",
    show_default=True,
    help="split: exact in any architecture. insert: dead pixels by receptive fields. "
    "vgg16: the paper's network (ignores --model). auto: insert where that leaves "
    "enough of the image to score, else split.",
)
@click.option(
    "--live-rows",
    type=click.IntRange(min=1),
    metavar="N",
    help="Rows of the target layer, from the top, that stay live. Default: 4 of every 7 "
    "(vgg16: 5 of 14, as in the paper).",
)
@click.option(
    "--methods",
    callback=names,
    metavar="A,B,…",
    help="Methods by name (see camaudit methods), with options as in "
    "'scorecam(score=probability)'; standard and all are lists of them. Default: standard.",
)
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    metavar="PLACE",
    help="A folder of images, or one sub-folder a class (pairs are then stacked: "
    "STACK-MIX). Or tar shards as WebDataset lays them out: a file, a folder of them, or "
    "'name-{000..049}.tar'. Or hf:FOLDER for what Dataset.save_to_disk of Hugging Face's datasets "
    "wrote there (extra datasets), with options as in 'hf:FOLDER(split=test,image=photo)'. "
    "Default: photographs that scikit-image carries.",
)
@click.option(
    "--data",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A data set, used as it is: a folder that camaudit data has built (every hash is checked) "
    "or of images; stack-mix and stack-gen are the folders that it builds by default. May be "
    "repeated: a table of methods by data sets is printed.",
)
@click.option(
    "--pairs",
    type=click.Choice(["same", "different"]),
    default="same",
    show_default=True,
    help="Of --images with class folders: stack two photographs of one class, or of two different "
    "ones, of which the model sees the upper and not the lower.",
)
@click.option(
    "--targets",
    default="top-1",
    show_default=True,
    metavar="WHICH",
    help="Classes that dead-zone explains on an image, all from the same forward passes: top-K, "
    "the K highest logits of the walled model; labels, the image's own class or classes (of two "
    "stacked classes both: seen and unseen; with --regions the objects' too); or numbers and names "
    "between commas. An image's figure is the mean over its classes.",
)
@click.option(
    "--num-images",
    type=click.IntRange(min=1),
    metavar="N",
    help="Images to audit, of each data set. Default: every embedded photograph, all of a data "
    "set, or 20 of a folder.",
)
@click.option(
    "--perturbation-images",
    type=click.IntRange(min=0),
    metavar="N",
    help="Images, of each data set, for the methods that run the model many times an image "
    "(ScoreCAM and others). Default: 2 of the embedded photographs, or 8; a note says so.",
)
@click.option(
    "--preprocess",
    metavar="NAME",
    help="imagenet, lite, or MEAN/STD such as 0.5/0.5 or 0.5,0.5,0.5/0.2,0.2,0.2. "
    "Default: what the model's spec or its own configuration brings, else imagenet.",
)
@click.option(
    "--image-size",
    type=click.IntRange(min=8),
    metavar="PIXELS",
    help="Height and width of the model's input. Default: that of the trained network, of the data "
    "sets or of the model's own configuration, else 224.",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seeds pairs, crops, random controls, the bootstrap and untrained weights.",
)
@click.option("--device", default="cpu", show_default=True, help="cpu, cuda, cuda:N or mps.")
@click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=16,
    show_default=True,
    help="Images in one forward pass.",
)
@click.option(
    "--memory",
    callback=bytes_of,
    metavar="SIZE",
    help="What a pass of masked images may take beside the model, such as 600M or 2G. "
    "Default: --batch-size alone decides.",
)
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16", "float16"]),
    default="float32",
    show_default=True,
    help="Of the passes of masked images; below float32 the error is measured and recorded.",
)
@click.option(
    "--exact",
    is_flag=True,
    help="Run masked images bit for bit as in the model. Default, on a CPU: chain networks use "
    "Winograd's algorithm, others folded batch norm and fused activations, equal to rounding.",
)
@click.option("--compile", is_flag=True, help="Run masked images through torch.compile.")
@click.option(
    "--checks",
    callback=names,
    metavar="A,B,…",
    help="What to run: dead-zone; the metrics confidence (Average Drop, Increase in Confidence, "
    "Win %, drop in logit), adcc, insertion-deletion, localisation (against --regions), sparsity, "
    "road, infidelity and sensitivity; the sanity checks mprt (parameters are randomised layer by "
    "layer), smprt (on noisy inputs), emprt (complexity of maps), random-logit (another class) and "
    "data-randomisation (permuted labels); invariance (what must follow by a method's own "
    "definition when the model, the image or the score is changed). Without dead-zone no wall is "
    "built. Default: dead-zone, or what the protocol needs.",
)
@click.option(
    "--protocol",
    metavar="NAME[:TABLES]",
    help="Repeat a published comparison: scorecam++ (tables main, activations, cases, logit, vit), "
    "score-cam, adcc or walls. It brings its methods and checks, and its published rows stand "
    "beside yours.",
)
@click.option(
    "--metrics-on",
    type=click.Choice(["model", "walled"]),
    default="model",
    show_default=True,
    help="Take the metrics on the model itself, or on the walled one of dead-zone.",
)
@click.option(
    "--mask-baseline",
    type=click.Choice(["mean", "black"]),
    default="mean",
    show_default=True,
    help="What masked pixels become in confidence and adcc: the mean colour (the standardised "
    "image is multiplied, as published code does) or black.",
)
@click.option(
    "--pixels-per-step",
    type=click.IntRange(min=1),
    default=224,
    show_default=True,
    metavar="N",
    help="Of insertion-deletion.",
)
@click.option(
    "--regions",
    type=click.Path(path_type=Path),
    metavar="PATH",
    help="For localisation: labelled objects as a COCO file, a folder of Pascal VOC files, or a "
    "folder of mask images named like the photographs.",
)
@click.option(
    "--region-origin",
    type=click.IntRange(0, 1),
    default=1,
    show_default=True,
    help="What Pascal VOC files call the upper left pixel: 1, or 0 as ImageNet's do.",
)
@click.option("--region-boxes", is_flag=True, help="Of a COCO file, take the boxes alone.")
@click.option(
    "--region-labels",
    is_flag=True,
    help="Of a photograph, take the objects alone that are named like its class (its folder).",
)
@click.option(
    "--orders",
    callback=names,
    default="top-down",
    show_default=True,
    metavar="A,B,…",
    help="Of mprt and smprt: top-down (from the logits), bottom-up (from the input), independent "
    "(one layer at a time).",
)
@click.option(
    "--sanity-seeds",
    type=click.IntRange(min=1),
    default=6,
    show_default=True,
    metavar="N",
    help="Random models of mprt, smprt and emprt; fewer than six give no intervals and no "
    "verdicts.",
)
@click.option(
    "--scheme",
    type=click.Choice(["he", "module", "permute"]),
    default="he",
    show_default=True,
    help="Their weights: drawn by He's law, by each layer's own initialisation, or the trained "
    "ones permuted.",
)
@click.option(
    "--cascade-steps",
    type=click.IntRange(min=2),
    default=16,
    show_default=True,
    metavar="N",
    help="At how many layers maps are compared at most, evenly spaced; cascades randomise those "
    "between too.",
)
@click.option(
    "--costly-cascades",
    is_flag=True,
    help="Let methods that run the model many times an image (ScoreCAM and others) take part in "
    "the sanity checks, and in invariance on the model itself.",
)
@click.option(
    "--permuted",
    metavar="SPEC",
    help="For data-randomisation, the model trained on permuted labels: trained:DIR for what "
    "camaudit train --permute-labels wrote, or a weights file for the model of --model.",
)
@click.option(
    "--explainer",
    "--explainers",
    "explainers",
    multiple=True,
    callback=explainers,
    metavar="SPEC[=METHOD]",
    help="Explainers beside the methods in every check, between commas; may be repeated. "
    "package.module:function or path/file.py:function, called with (model, layer, images, "
    "targets), returns N maps. pytorch_grad_cam:CLASS, torchcam:CLASS and captum:CLASS, with "
    "options as in 'captum:Occlusion(sliding_window_shapes=3+15+15)', are those libraries'. "
    "maps:FOLDER holds maps made before, a file an image. With =METHOD invariance compares it with "
    "that method too. A plain name is a method: it is added to --methods, or takes the place of "
    "the standard ones where --methods is not given.",
)
@click.option(
    "--properties",
    callback=names,
    metavar="A,B,…",
    help="Of invariance: the properties to test, by the names in docs/invariance.md. Default: all.",
)
@click.option(
    "--examples",
    type=click.IntRange(min=1),
    default=30,
    show_default=True,
    metavar="N",
    help="Of invariance: drawn networks for each property of each explainer.",
)
@click.option(
    "--explainer-budget",
    type=click.FloatRange(min=0, min_open=True),
    default=300.0,
    show_default=True,
    metavar="SECONDS",
    help="Of invariance: time for one explainer; what is left then is reported as too slow.",
)
@click.option(
    "--counterexamples",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Of invariance: where counterexamples are kept, to be tried first the next time. Default: "
    "counterexamples in the output folder.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Output folder. Default: reports/ and the model's name.",
)
@click.option(
    "--resume/--no-resume",
    default=True,
    help="Take what an earlier run into the same folder has found already, where nothing that it "
    "depends on has changed; or compute everything anew. Default: --resume.",
)
@executed
@click.option(
    "--report-images",
    type=click.IntRange(min=0),
    default=12,
    show_default=True,
    metavar="N",
    help="Images whose maps are kept, in maps in the output folder, for the report's explorer and "
    "for camaudit report and serve.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print results.json on stdout instead of the table."
)
def run(
    out: Path | None, as_json: bool, resume: bool, counterexamples: Path | None, executor: Any,
    workers: int | None, address: str | None, report_images: int, **options: Any,
) -> int:  # fmt: skip
    """Measure how much of each method's map lies where the model provably cannot see.

    Writes results.json and report.html into the output folder and prints a table. Without
    options it audits EfficientNet-Lite0 on embedded photographs. --checks adds metrics: what do
    Average Drop, ADCC, insertion and deletion and others say of the maps? And sanity checks: does
    the map depend on the model's parameters, on its labels, on the class? And invariance: does an
    explainer keep what its own definition promises? Their verdicts stand in the report and do not
    change the exit code.
    """
    from rich.console import Console

    from camaudit.audit.allocator import keep_freed_memory
    from camaudit.audit.placing import Place
    from camaudit.audit.run import run_audit
    from camaudit.audit.settings import settings_with_protocol
    from camaudit.console import ConsoleProgress, print_table
    from camaudit.report.keeping import keeping
    from camaudit.report.pages import report_files
    from camaudit.report.writing import check_writable, write_pages

    settings = settings_with_protocol(**options)
    place = Place(executor, workers, address)
    folder = out or Path("reports") / _slug(settings.subject_name)
    check_writable(folder)
    keep_freed_memory()
    messages = Console(stderr=True)
    # what the user's model prints must not end up in the table or in the JSON
    with (
        ConsoleProgress(messages) as progress,
        contextlib.redirect_stdout(sys.stderr),
        keeping(folder, report_images) as writer,
    ):
        outcome = run_audit(
            settings, progress=progress, counterexamples=counterexamples or folder / KEPT,
            records=folder, fresh=not resume, place=place, writer=writer,
        )  # fmt: skip
        progress.stage("writing the report")
        pages = report_files(outcome.results, outcome.gallery, outcome.pictures, writer.finish())
        written = write_pages(pages, folder, outcome.results)
        writer.place(folder, written[0].read_bytes())
    notes = [f"note: {text}" for text in (*outcome.mended, *outcome.results.warnings)]
    cells = outcome.results.timing.get("cells", {"found": 0, "computed": 0})
    if cells["found"]:
        notes.append(
            f"note: {cells['found']} of {sum(cells.values())} records were there from earlier runs "
            "into this folder; --no-resume computes them anew"
        )
    said = [f"wrote {path}" for path in written[:2]]
    for line in (*notes, *said, *pages_written(written[2:])):
        messages.print(line, highlight=False, markup=False, soft_wrap=True)
    with reader_may_leave():
        if as_json:
            click.echo(json.dumps(outcome.results.to_dict(), indent=2, allow_nan=False))
        else:
            print_table(outcome.results)
    if outcome.failed or outcome.empty:
        what = "some methods failed" if outcome.failed else "no method has a defined figure"
        click.echo(f"Error: {what}; see status and message in results.json", err=True)
        return AuditError.exit_code
    return 0


def _slug(name: str) -> str:
    """A folder name for a model spec."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "audit"
