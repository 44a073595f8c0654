"""The theory on the terminal: a line a claim, and a compact table of μ for every network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from camaudit.report import figures
from camaudit.report.claims import claims_verdict, comparison
from camaudit.report.networks import Network, network_views
from camaudit.report.table import STYLES, WIDE, literal, with_bounds
from camaudit.report.view import Row
from camaudit.types import Claim, ClaimOutcome, Results

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

__all__ = ["OUTCOMES", "claims_table", "frame", "mu_tables"]

OUTCOMES = {
    ClaimOutcome.PASS: "green",
    ClaimOutcome.FAIL: "bold red",
    ClaimOutcome.INCONCLUSIVE: "yellow",
    ClaimOutcome.NOT_APPLICABLE: "dim",
    ClaimOutcome.ERROR: "bold red",
}


def claims_table(results: Results) -> Table:
    """The claims as a rich table: outcome, figure with its bound, statement.

    Beneath every claim that did not pass stands why. Text is printed literally: neither rich's
    markup nor terminal escapes in it take effect.
    """
    table = frame("Claims", "")
    table.add_column(literal("outcome"), no_wrap=True)
    table.add_column(literal("figure and bound"), no_wrap=True, max_width=30)
    table.add_column(literal("claim"), overflow="fold")
    for claim in results.claims:
        table.add_row(
            literal(claim.outcome.value.upper(), OUTCOMES[claim.outcome]),
            literal(comparison(claim)),
            _statement(claim),
        )
    table.caption = literal("\n" + _headline(results))
    return table


def mu_tables(results: Results, *, width: int | None = None) -> list[Table]:
    """A compact rich table of μ for every network, the simple CNN first.

    From a `width` of 100 columns on intervals stand beside their means, else beneath them.
    """
    wide = width is not None and width >= WIDE
    simple, networks = network_views(results)
    return [_mu_table(entry, wide=wide) for entry in ([simple] if simple else []) + list(networks)]


def _headline(results: Results) -> str:
    """The verdict's first sentence."""
    return "".join(part.text for part in claims_verdict(results.claims).sentences[0])


def _statement(claim: Claim) -> Text:
    text = literal(claim.statement)
    if claim.outcome is not ClaimOutcome.PASS and claim.detail:
        text.append("\n")
        text.append_text(literal(claim.detail, "dim"))
    return text


def _mu_table(network: Network, *, wide: bool) -> Table:
    glue = " " if wide else "\n"
    facts = [f"{label.lower()} {value}" for label, value in network.facts]
    table = frame(f"{network.name}: share of the map in the dead zone", "; ".join(facts))
    table.add_column(literal("method"), min_width=8, overflow="fold", vertical="top")
    for heading in (f"μ L1{glue}[95 % CI]", "unmasked\nμ L1", "n", "without\nfigure"):
        table.add_column(literal(heading), justify="right", no_wrap=True)
    for row in network.methods:
        table.add_row(*_cells(row, wide=wide))
    if network.methods and network.controls:
        table.add_section()
    if network.controls:
        table.add_row(literal("controls", "italic dim"))
    for row in network.controls:
        table.add_row(*_cells(row, wide=wide))
    table.caption = literal(_caption(network))
    return table


def _caption(network: Network) -> str:
    lines = ["", f"A uniform map scores {network.uniform}."]
    if network.looks:
        lines.append(
            f"Share of the logits' mean square that is variance between images: {network.between}."
        )
    lines += [network.note] if network.note else []
    return "\n".join(lines)


def _cells(row: Row, *, wide: bool) -> Sequence[Text]:
    missing = row.degenerate + row.not_applicable + row.errors
    return (
        literal(row.name),
        with_bounds(row.mu_l1, "" if row.control else STYLES[row.finding.value], wide=wide),
        literal(row.unmasked.text),
        literal(figures.whole(row.n)),
        literal(str(missing), "" if missing else "dim"),
    )


def frame(title: str, note: str) -> Table:
    """A table without columns, `title` above it and `note` dim beneath the title."""
    from rich import box
    from rich.table import Table

    heading = literal(title, "bold")
    if note:
        heading.append("\n")
        heading.append_text(literal(note, "dim"))
    return Table(
        box=box.SIMPLE_HEAD,
        show_edge=False,
        title=heading,
        title_justify="left",
        title_style="",
        caption_justify="left",
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
