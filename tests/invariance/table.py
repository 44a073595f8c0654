"""What docs/conformance.md says of the claims: as the tests hold to it, and as measured."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torchvision

from camaudit.invariance import Conformance, Plan, Search, Situation, Stage
from camaudit.invariance.conformance import conformance
from tests.invariance.claims import CLAIMS, NOT_COMPARED, Claim
from tests.networks import images

__all__ = [
    "PARTS", "claimed", "claimed_instead", "measured", "parts", "resnet", "with_own",
    "without_figures",
]  # fmt: skip

#: Each stands in docs/conformance.md between `<!-- name:begin -->` and `<!-- name:end -->`.
PARTS = ("claims", "differences", "smallest", "not-compared")

HEADER = (
    "library", "class", "method", "outcome", "up to", "equal once changed to",
    "agree", "difference", "Pearson", "Spearman", "ResNet-18",
)  # fmt: skip
FIGURES = 5  #: columns at the end that are measured

Found = Conformance | None


def claimed(claim: Claim, examples: int) -> Conformance:
    """The claim on drawn networks."""
    return conformance(
        claim.explain,
        claim.method,
        search=Search(examples=examples),
        limits=claim.limits,
        shrink=False,
    )


def claimed_instead(claim: Claim, examples: int) -> Conformance:
    """The claim once its difference is undone."""
    assert claim.instead is not None
    return conformance(
        claim.instead.explain,
        claim.instead.method,
        search=Search(examples=examples),
        limits=claim.limits,
        shrink=False,
    )


def parts(found: Sequence[Conformance] = ()) -> dict[str, str]:
    """The text of each part, with the figures of what was found of each of CLAIMS, if anything."""
    results: Sequence[Found] = found or [None] * len(CLAIMS)
    rows = [list(HEADER), ["---"] * len(HEADER)]
    rows += [_cells(claim, result) for claim, result in zip(CLAIMS, results, strict=True)]
    reasons = dict.fromkeys(reason for claim in CLAIMS for reason in claim.reasons)
    return {
        "claims": "\n".join("| " + " | ".join(row) + " |" for row in rows),
        "differences": "\n".join(f"- **{reason.title}.** {reason.text}" for reason in reasons),
        "smallest": "\n".join(_smallest(results)),
        "not-compared": "\n".join(f"- {name}: {why}." for name, why in NOT_COMPARED.items()),
    }


def measured(claim: Claim, examples: int, own: Situation) -> Conformance:
    """The claim on drawn networks and on a user's own model, with their smallest mismatch."""
    return conformance(
        claim.explain,
        claim.method,
        search=Search(examples=examples),
        own=own,
        limits=claim.limits,
        shrink=False,  # which takes minutes where the peer runs the network for every channel
    )


def resnet() -> Situation:
    """ResNet-18 of random weights in float32, two images of 64×64 and the classes it gives them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = torchvision.models.resnet18().eval()
    given = images(2, 64)
    with torch.no_grad():
        targets = model(given).argmax(dim=1)
    return Situation(model, "layer4", given, targets)


def without_figures(table: str) -> str:
    """The table without its last columns, which are measured."""
    rows = (line.split(" | ")[:-FIGURES] for line in table.splitlines())
    return "\n".join(" | ".join(row) for row in rows)


def with_own(page: str, claims: Sequence[Claim], found: Sequence[Conformance]) -> str:
    """The page with the last column of these claims' rows replaced, in the table of claims."""
    table, mark, rest = page.partition("<!-- claims:end -->")
    lines = table.splitlines(keepends=True)
    for claim, result in zip(claims, found, strict=True):
        begin = f"| {claim.package} | `{claim.name}` | `{claim.method}` |"
        (place,) = (number for number, line in enumerate(lines) if line.startswith(begin))
        cells = lines[place].split(" | ")
        lines[place] = " | ".join([*cells[:-1], f"{_own(result)} |\n"])
    return "".join(lines) + mark + rest


def _own(found: Conformance) -> str:
    """The worse of the two images of the own model."""
    gaps = [gap.difference for gap in found.own if gap.difference is not None]
    return _short(max(gaps)) if gaps else "-"


def _cells(claim: Claim, found: Found) -> list[str]:
    """One row; what a claim differs by is named by the titles of its reasons."""
    why = "; ".join(reason.title for reason in claim.reasons)
    outcome = f"{claim.outcome.value}: {why}" if why else claim.outcome.value
    instead = claim.instead.says if claim.instead else "-"
    written = [claim.package, f"`{claim.name}`", f"`{claim.method}`", outcome]
    return [*written, claim.processing, instead, *_figures(found)]


def _figures(found: Found) -> list[str]:
    if found is None or found.gap is None:
        return ["-"] * FIGURES
    return [
        f"{found.agreeing}/{found.examples}",
        _short(found.gap.difference),
        _share(found.gap.pearson),
        _share(found.gap.spearman),
        _own(found),
    ]


def _smallest(found: Sequence[Found]) -> list[str]:
    lines = []
    for claim, result in zip(CLAIMS, found, strict=True):
        if result is None or result.mismatch is None or result.mismatch.gap is None:
            continue
        drawn, gap = result.mismatch.example.drawn, result.mismatch.gap
        lines.append(
            f"- {claim.package} `{claim.name}`: {described(drawn.plan)}; {len(drawn.targets)} "
            f"{drawn.kind} image(s) of seed {drawn.seed}, classes "
            f"{', '.join(map(str, drawn.targets))}. Apart by {_short(gap.difference)}, Pearson "
            f"{_share(gap.pearson)}."
        )
    return lines


def described(plan: Plan) -> str:
    """A network in one clause."""
    high, wide = plan.map_size
    stages = ", ".join(_stage(stage) for stage in plan.stages)
    head = "pooled" if plan.head.pooled else "flattened"
    hidden = f", hidden layers of {plan.head.hidden}" if plan.head.hidden else ""
    return (
        f"{plan.channels}×{plan.height}×{plan.width} pixels; {stages}; {plan.map_channels} "
        f"channels of {high}×{wide} cells, {head}{hidden}; {plan.classes} class(es), weights of "
        f"seed {plan.seed}"
    )


def _stage(stage: Stage) -> str:
    norm = " norm," if stage.norm else ""
    pool = "" if stage.pool == "none" else f", {stage.pool} pooling"
    return (
        f"{stage.kernel}×{stage.kernel} convolution of stride {stage.stride} ({stage.block}),"
        f"{norm} {stage.activation}{pool}"
    )


def _short(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.1g}"


def _share(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.4f}"
