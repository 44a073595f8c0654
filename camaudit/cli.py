"""The command line: options to settings, outcomes to files, errors to exit codes; no logic.

Exit codes: 0 done, 1 a claim failed, 2 usage or configuration, 3 the audit itself failed, 4 nothing
could be decided, 130 interrupted.
Heavy imports stand inside the commands, so that --help and --version answer at once.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from camaudit import __version__
from camaudit.commands.export import export
from camaudit.commands.fetch import fetch
from camaudit.commands.stack_gen import stack_gen
from camaudit.commands.stack_mix import stack_mix, verify
from camaudit.commands.train import train
from camaudit.errors import AuditError, CamauditError, UsageError
from camaudit.types import ClaimOutcome, Results

__all__ = ["cli", "main"]

_FAILED, _INCONCLUSIVE, _INTERRUPTED = 1, 4, 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="camaudit")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def cli(debug: bool) -> None:
    """Find out whether a saliency map tells the truth about a model."""


def _names(_context: click.Context, _option: Any, value: str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    outside = re.split(r",(?![^(]*\))", value)  # a comma in brackets parts a method's own options
    return tuple(name.strip() for name in outside if name.strip())


def _bytes(_context: click.Context, _option: Any, value: str | None) -> int | None:
    if value is None:
        return None
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?\s*", value, re.IGNORECASE)
    if found is None:
        raise click.BadParameter(f"expected a size such as 600M or 2G; got {value!r}")
    return int(float(found[1]) * 1024 ** " KMGT".index(found[2].upper() or " "))


@cli.command()
@click.option(
    "--model",
    default="lite0",
    show_default=True,
    metavar="SPEC",
    help="lite0 (EfficientNet-Lite0 with ImageNet weights, extra demo), "
    "torchvision:NAME, package.module:factory, path/file.py:factory, or trained:DIR for what "
    "camaudit train wrote there (with its own wall, and its unmasked twin if that was trained).",
)
@click.option(
    "--weights",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Weights: safetensors, or a state dict (loaded without running code).",
)
@click.option(
    "--unmasked-weights",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="With --wall vgg16: weights of the same network without the wall, for the columns "
    "unmasked.",
)
@click.option(
    "--layer",
    metavar="NAME",
    help="Target layer as in named_modules(); NAME#2 for its second run. Default: the "
    "last map before the head.",
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
    callback=_names,
    metavar="A,B,…",
    help="Methods by name (see camaudit methods), with options as in "
    "'scorecam(score=probability)'; standard and all are lists of them. Default: standard.",
)
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A folder of images, or one sub-folder a class (pairs are then stacked: "
    "STACK-MIX). Default: photographs that scikit-image carries.",
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
    "Default: what the model spec brings, else imagenet.",
)
@click.option(
    "--image-size",
    type=click.IntRange(min=8),
    metavar="PIXELS",
    help="Height and width of the model's input. Default: that of the trained network or of the "
    "data sets, else 224.",
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
    callback=_bytes,
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
    help="Run masked images by direct convolutions alone, bit for bit as in the model. "
    "Default: chain networks on a CPU use Winograd's algorithm, equal to rounding.",
)
@click.option("--compile", is_flag=True, help="Run masked images through torch.compile.")
@click.option(
    "--checks",
    callback=_names,
    default="dead-zone",
    show_default=True,
    metavar="A,B,…",
    help="What to run: dead-zone, and the sanity checks mprt (parameters are randomised layer by "
    "layer), smprt (on noisy inputs), emprt (complexity of maps), random-logit (another class) and "
    "data-randomisation (permuted labels). Without dead-zone no wall is built.",
)
@click.option(
    "--orders",
    callback=_names,
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
    "the sanity checks.",
)
@click.option(
    "--permuted",
    metavar="SPEC",
    help="For data-randomisation, the model trained on permuted labels: trained:DIR for what "
    "camaudit train --permute-labels wrote, or a weights file for the model of --model.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Output folder. Default: reports/ and the model's name.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print results.json on stdout instead of the table."
)
def run(out: Path | None, as_json: bool, **options: Any) -> int:  # fmt: skip
    """Measure how much of each method's map lies where the model provably cannot see.

    Writes results.json and report.html into the output folder and prints a table. Without
    options it audits EfficientNet-Lite0 on embedded photographs. --checks adds sanity checks: does
    the map depend on the model's parameters, on its labels, on the class? Their verdicts stand in
    the report and do not change the exit code.
    """
    from rich.console import Console

    from camaudit.audit.allocator import keep_freed_memory
    from camaudit.audit.run import run_audit
    from camaudit.audit.settings import Settings
    from camaudit.console import ConsoleProgress, print_table
    from camaudit.report.html import render
    from camaudit.report.writing import check_writable, write_run

    settings = Settings(**options)
    folder = out or Path("reports") / _slug(settings.subject_name)
    check_writable(folder)
    keep_freed_memory()
    messages = Console(stderr=True)
    # what the user's model prints must not end up in the table or in the JSON
    with ConsoleProgress(messages) as progress, contextlib.redirect_stdout(sys.stderr):
        outcome = run_audit(settings, progress=progress)
        progress.stage("writing the report")
        written = write_run(
            outcome.results, render(outcome.results, outcome.gallery, outcome.pictures), folder
        )
    for line in (*(f"note: {text}" for text in outcome.results.warnings),
                 *(f"wrote {path}" for path in written)):  # fmt: skip
        messages.print(line, highlight=False, markup=False, soft_wrap=True)
    with _reader_may_leave():
        if as_json:
            click.echo(json.dumps(outcome.results.to_dict(), indent=2, allow_nan=False))
        else:
            print_table(outcome.results)
    if outcome.failed or outcome.empty:
        what = "some methods failed" if outcome.failed else "no method has a defined figure"
        click.echo(f"Error: {what}; see status and message in results.json", err=True)
        return AuditError.exit_code
    return 0


@cli.command()
@click.option(
    "--quick",
    is_flag=True,
    help="Fewer networks and methods and no deep networks: within a minute on two cores.",
)
@click.option(
    "--filters",
    type=click.IntRange(min=1),
    metavar="V",
    help="Filters of the simple CNN. Default: 256 as in the paper, 64 with --quick.",
)
@click.option(
    "--draws",
    type=click.IntRange(min=2),
    metavar="N",
    help="Networks simulated for each expectation. Default: 40000; 20000 with --quick.",
)
@click.option(
    "--methods",
    callback=_names,
    metavar="A,B,…",
    help="Methods of the tables, as for camaudit run. Default: all; with --quick the standard "
    "ones that do not run the model many times an image, which of all but ScoreCAM also holds for "
    "deep networks.",
)
@click.option(
    "--networks",
    callback=_names,
    metavar="A,B,…",
    help="Deep networks: vgg16 (the paper's), resnet18, mobilenet_v3_large, convnext_tiny. "
    "Default: all four.",
)
@click.option(
    "--initialisation",
    type=click.Choice(["he", "glorot", "default", "gaussian"]),
    default="he",
    show_default=True,
    help="Of the deep networks; default is PyTorch's own.",
)
@click.option(
    "--deep-seeds",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    metavar="N",
    help="Random networks of each kind.",
)
@click.option(
    "--images",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="A folder of photographs for the deep networks. Default: eight that come with "
    "scikit-image and scikit-learn.",
)
@click.option(
    "--perturbation-cells",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    metavar="N",
    help="Pairs of deep network and photograph for the methods that run the model several or many "
    "times an image (ScoreCAM, RefineCAM and others).",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=0,
    show_default=True,
    help="Seeds networks, simulations, random methods and the bootstrap.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    metavar="DIR",
    default=Path("reports/theory"),
    show_default=True,
    help="Output folder.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="Print results.json on stdout instead of the tables."
)
def theory(out: Path, as_json: bool, networks: tuple[str, ...] | None, **options: Any) -> int:
    """Repeat the paper's theory on random initialisation, and check every claim of it.

    Proposition 2 against autograd, the expectation of GradCAM in closed form against simulation
    and the paper's bound, and the dead-zone mass of all methods on random networks. Writes
    results.json and report.html into the output folder. Exit code 1 if a claim fails.
    """
    from rich.console import Console

    from camaudit.audit.allocator import keep_freed_memory
    from camaudit.audit.theory import TheorySettings, run_theory
    from camaudit.console import ConsoleProgress, print_claims
    from camaudit.report.html import render_theory
    from camaudit.report.writing import check_writable, write_run

    if networks is not None:
        options["networks"] = networks
    settings = TheorySettings(**options)
    check_writable(out)
    keep_freed_memory()
    messages = Console(stderr=True)
    with ConsoleProgress(messages) as progress:
        results = run_theory(settings, progress=progress)
        progress.stage("writing the report")
        written = write_run(results, render_theory(results), out)
    for line in (*(f"note: {text}" for text in results.warnings),
                 *(f"wrote {path}" for path in written)):  # fmt: skip
        messages.print(line, highlight=False, markup=False, soft_wrap=True)
    with _reader_may_leave():
        if as_json:
            click.echo(json.dumps(results.to_dict(), indent=2, allow_nan=False))
        else:
            print_claims(results)
    return _verdict(results)


def _verdict(results: Results) -> int:
    """The exit code of claims: a failed one outweighs one that could not be tested."""
    outcomes = {claim.outcome for claim in results.claims}
    if ClaimOutcome.FAIL in outcomes:
        return _FAILED
    if ClaimOutcome.ERROR in outcomes or not outcomes:
        return AuditError.exit_code
    undecided = ClaimOutcome.INCONCLUSIVE in outcomes or ClaimOutcome.PASS not in outcomes
    return _INCONCLUSIVE if undecided else 0


@cli.command()
def methods() -> None:
    """List the saliency methods with family, cost an image and paper."""
    from camaudit.console import methods_listing

    with _reader_may_leave():
        click.echo(methods_listing())


@cli.group()
def data() -> None:
    """Build, fetch and check data sets."""


for _command in (stack_mix, stack_gen, verify, export, fetch):
    data.add_command(_command)
cli.add_command(train)


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit; errors become one line on stderr and their exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without μ still gets its table
    arguments = sys.argv[1:] if arguments is None else arguments
    debug = "--debug" in arguments  # accepted before and after the command
    sys.exit(_run([word for word in arguments if word != "--debug"], debug=debug))


def _run(arguments: list[str], *, debug: bool) -> int:
    try:
        code = cli.main(args=arguments, prog_name="camaudit", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return UsageError.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo(
            "Interrupted; what was written whole stays, and nothing is half written.", err=True
        )
        return _INTERRUPTED
    except CamauditError as error:
        _explain(str(error), debug=debug, hint=not isinstance(error, UsageError))
        return error.exit_code
    except Exception as error:  # the last resort: a bug, or a failure inside the user's model
        _explain(f"{type(error).__name__}: {error}", debug=debug, hint=True)
        return AuditError.exit_code
    return int(code or 0)


@contextlib.contextmanager
def _reader_may_leave() -> Iterator[None]:
    """A closed stdout (`camaudit … | head`) ends the printing and nothing else."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _explain(message: str, *, debug: bool, hint: bool) -> None:
    if debug:
        traceback.print_exc()
    click.echo(f"Error: {message}", err=True)
    if hint and not debug:
        click.echo("(camaudit --debug … shows the traceback)", err=True)


def _slug(name: str) -> str:
    """A folder name for a model spec."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "audit"
