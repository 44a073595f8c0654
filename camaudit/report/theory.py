"""The view model of the theory page: claims, expectation, sweeps and networks as plain text.

Pure functions from :class:`~camaudit.types.Results` to frozen dataclasses, as for the audit's
report. What `Results.theory` holds is described in the schema of results.json.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from camaudit.report import figures, origin, prose, theory_prose
from camaudit.report.claims import ClaimGroup, ClaimsVerdict, claim_groups, claims_verdict
from camaudit.report.expectation import ColumnView, DigitsView, column_view, digits_view
from camaudit.report.networks import Glance, Network, at_a_glance, network_views
from camaudit.report.sweeps import SweepView, sweep_views
from camaudit.report.view import Fact
from camaudit.types import Claim, ClaimOutcome, Results

__all__ = ["TheoryView", "theory_view"]


@dataclass(frozen=True)
class TheoryView:
    """Everything that the theory page says."""

    version: str
    setting: str
    verdict: ClaimsVerdict
    warnings: tuple[str, ...]
    facts: tuple[Fact, ...]
    claims: tuple[ClaimGroup, ...]
    column: ColumnView | None
    image: str
    draws: str
    digits: DigitsView | None
    sweeps: tuple[SweepView, ...]
    simple: Network | None
    networks: tuple[Network, ...]
    glance: Glance | None
    reading: tuple[prose.Paragraph, ...]
    does_not_show: tuple[prose.Paragraph, ...]
    origin: tuple[origin.OriginGroup, ...]


def theory_view(results: Results) -> TheoryView:
    """The view model; parts that `results.theory` lacks are None or empty.

    Raises
    ------
    AuditError
        if lists that belong together differ in length.
    """
    theory = results.theory
    setup: Mapping[str, Any] = theory.get("setup") or {}
    simple, networks = network_views(results)
    every = ([simple] if simple else []) + list(networks)
    return TheoryView(
        version=results.camaudit,
        setting=_setting(setup),
        verdict=claims_verdict(results.claims),
        warnings=tuple(results.warnings),
        facts=_facts(results.claims, setup, networks),
        claims=claim_groups(results.claims),
        column=column_view(theory),
        image=str(setup.get("image_name") or "the image"),
        draws=figures.whole(setup["draws"]) if isinstance(setup.get("draws"), int) else "",
        digits=digits_view(theory),
        sweeps=sweep_views(theory),
        simple=simple,
        networks=networks,
        glance=at_a_glance(every),
        reading=theory_prose.reading(),
        does_not_show=theory_prose.does_not_show(deep=bool(networks)),
        origin=origin.origin(results),
    )


def _setting(setup: Mapping[str, Any]) -> str:
    """The simple CNN on a line; empty where nothing is known."""
    parts = []
    if isinstance(setup.get("filters"), int):
        kernel = setup.get("kernel")
        size = f" of {kernel} × {kernel}" if kernel else ""
        parts.append(f"{figures.counted(setup['filters'], 'filter')}{size}")
    if setup.get("cells"):
        parts.append(f"{_times(setup['cells'])} cells")
    if setup.get("head"):
        layers = setup.get("layers")
        linear = (
            f" and {figures.counted(layers, 'linear layer')}" if isinstance(layers, int) else ""
        )
        parts.append(f"{setup['head']} head{linear}")
    if setup.get("initialisation"):
        parts.append(f"weights {setup['initialisation']}")
    return "; ".join(parts)


def _times(sizes: Sequence[Any]) -> str:
    return " × ".join(str(size) for size in sizes)


def _facts(
    claims: Sequence[Claim], setup: Mapping[str, Any], networks: Sequence[Network]
) -> tuple[Fact, ...]:
    """Key figures; only those that are known."""
    facts = [_claims_fact(claims)]
    live, pooled = setup.get("live_cells"), setup.get("read_cells")
    if isinstance(live, int) and isinstance(pooled, int):
        facts.append(
            Fact("Live cells", f"{live} of {pooled}", "of each filter's map reach the logits")
        )
    if isinstance(setup.get("filters"), int):
        facts.append(Fact("Filters", figures.whole(setup["filters"]), _image_note(setup)))
    if isinstance(setup.get("draws"), int):
        facts.append(
            Fact("Networks drawn", figures.whole(setup["draws"]), "to simulate the expectation")
        )
    if networks:
        facts.append(Fact("Deep networks", str(len(networks)), "measured with random weights"))
    return tuple(facts)


def _claims_fact(claims: Sequence[Claim]) -> Fact:
    """Passed claims out of those that apply."""
    counts = {which: sum(claim.outcome is which for claim in claims) for which in ClaimOutcome}
    tested = len(claims) - counts[ClaimOutcome.NOT_APPLICABLE]
    rest = [
        f"{counts[which]} {word}"
        for which, word in (
            (ClaimOutcome.FAIL, "failed"),
            (ClaimOutcome.INCONCLUSIVE, "inconclusive"),
            (ClaimOutcome.ERROR, "not tested"),
            (ClaimOutcome.NOT_APPLICABLE, "not applicable"),
        )
        if counts[which]
    ]
    value = f"{counts[ClaimOutcome.PASS]} of {tested}" if tested else "none tested"
    return Fact("Claims passed", value, ", ".join(rest) or "none failed, none open")


def _image_note(setup: Mapping[str, Any]) -> str:
    if setup.get("channels") and setup.get("image"):
        return f"on images of {_times([setup['channels'], *setup['image']])}"
    return "in the one convolution"
