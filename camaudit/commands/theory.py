"""`camaudit theory`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from camaudit.commands.options import names, reader_may_leave
from camaudit.errors import AuditError
from camaudit.types import ClaimOutcome, Results

__all__ = ["theory"]

_FAILED, _INCONCLUSIVE = 1, 4


@click.command()
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
    callback=names,
    metavar="A,B,…",
    help="Methods of the tables, as for camaudit run. Default: all; with --quick the standard "
    "ones that do not run the model many times an image, which of all but ScoreCAM also holds for "
    "deep networks.",
)
@click.option(
    "--networks",
    callback=names,
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
    with reader_may_leave():
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
