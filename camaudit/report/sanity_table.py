"""The sanity checks on the terminal: one compact table a check, legible from 80 columns on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from camaudit.report.claims import ClaimsVerdict
from camaudit.report.names import check_title, order_title, similarity_title
from camaudit.report.sanity import checks_run
from camaudit.report.sanity_cells import Reasons, curve_cells, table_counts
from camaudit.report.sanity_figures import bounds, number_of, printer, similarity
from camaudit.report.sanity_steps import Cascade, cascades, preferred
from camaudit.report.sanity_verdict import labels_of, outcome_of, sanity_claims, sanity_verdict
from camaudit.report.table import WIDE, literal
from camaudit.report.theory_tables import OUTCOMES, frame
from camaudit.report.verdict import CONTROL
from camaudit.types import ClaimOutcome, Results

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

__all__ = ["sanity_tables"]

_OTHERS = ("ssim", "hog")
_ALL_OTHERS = ("spearman-abs", *_OTHERS)
_ROOMY = 110  # columns from which all similarities of a cascade have room


def sanity_tables(results: Results, *, width: int | None = None) -> list[Table]:
    """One rich table a check; none where no sanity check was run.

    A cascade shows its last step, that of the order top-down if it was run. From a `width` of 100
    columns on intervals stand beside their means, else beneath them; from 110 on, every similarity
    is shown. Text is printed literally.

    Raises
    ------
    AuditError
        if curves and steps of one order differ in length.
    """
    sanity = results.sanity
    room = 0 if width is None else width
    reasons = Reasons(sanity.get("remarks") or [])
    claims = sanity_claims(results.claims, sanity)
    tables = []
    for check in checks_run(sanity):
        own = [claim for claim in claims if claim.check == check]
        words = outcome_of(own, labels_of(sanity))
        found = cascades(sanity, check)
        run = [order for order, cascade in found.items() if cascade.layers]
        if run:
            cascade = found[preferred(run)]
            tables.append(_cascade_table(sanity, check, cascade, reasons, words, room=room))
        elif any(table["check"] == check for table in sanity.get("tables") or []):
            tables.append(_plain_table(sanity, check, reasons, words, room=room))
    if tables and claims:
        tables[-1].caption = literal("\n" + _headline(sanity_verdict(claims, sanity)))
    return tables


def _headline(verdict: ClaimsVerdict) -> str:
    """The verdict's first sentences: how many fail, and all by outcome."""
    return " ".join("".join(part.text for part in line) for line in verdict.sentences[:2])


def _cascade_table(
    sanity: Mapping[str, Any],
    check: str,
    cascade: Cascade,
    reasons: Reasons,
    words: Mapping[str, ClaimOutcome],
    *,
    room: int,
) -> Table:
    """The last step of a cascade; a method's first figure is Spearman's, if that was asked for."""
    where = (check, cascade.order)
    curves = [entry for entry in sanity["curves"] if (entry["check"], entry["order"]) == where]
    names = list(dict.fromkeys(curve["similarity"] for curve in curves))
    main = "spearman" if "spearman" in names else names[0]
    others = [
        name
        for name in (_ALL_OTHERS if room >= _ROOMY else _OTHERS)
        if name in names and name != main
    ]
    effects = {
        (entry["method"], entry["figure"]): entry
        for entry in sanity.get("effects") or []
        if (entry["check"], entry["order"], entry["step"]) == (*where, len(cascade.layers))
    }
    missing = {
        curve["method"]: curve_cells(curve, reasons, steps=len(cascade.layers)).outcome(-1)
        for curve in curves
        if curve["similarity"] == main
    }
    order = order_title(cascade.order)
    note = f"{order[:1].lower()}{order[1:]}, last step: {cascade.layers[-1]}"
    wide = room >= WIDE
    glue = " " if wide else "\n"
    headings = (f"{similarity_title(main)}{glue}[95 % CI]", "null", f"distance{glue}[95 % CI]")
    table = _frame(check, note, (*headings, *(_short(name) for name in others)))
    for method in _ordered(sanity, [curve["method"] for curve in curves]):
        shown = [effects.get((method, name), {}) for name in (main, *others)]
        table.add_row(
            literal(method, _style(sanity, method)),
            *_last_cells(shown, missing.get(method), wide=wide),
            _verdict(words.get(method)),
        )
    return table


def _last_cells(
    effects: Sequence[Mapping[str, Any]], reason: str | None, *, wide: bool
) -> Sequence[Text]:
    """Similarity, null, distance, and the other similarities; `reason` stands for no score."""
    first, *others = effects
    return (
        literal(_word(reason), "dim") if reason else _figure(first, "similarity", wide=wide),
        _mean(first, "null"),
        literal("–", "dim") if reason else _figure(first, "distance", wide=wide),
        *(_mean(effect, "similarity") for effect in others),
    )


def _plain_table(
    sanity: Mapping[str, Any],
    check: str,
    reasons: Reasons,
    words: Mapping[str, ClaimOutcome],
    *,
    room: int,
) -> Table:
    """A check without a cascade: every figure of every method."""
    tables = {
        (table["method"], table["figure"]): table
        for table in sanity["tables"]
        if table["check"] == check
    }
    names = list(dict.fromkeys(figure for _, figure in tables))
    wide = room >= WIDE
    glue = " " if wide else "\n"
    table = _frame(check, "", (*(f"{_short(name)}{glue}[95 % CI]" for name in names), "n"))
    for method in _ordered(sanity, [method for method, _ in tables]):
        own = [tables.get((method, name)) for name in names]
        counted = [int(found["mean"].get("n") or 0) for found in own if found]
        table.add_row(
            literal(method, _style(sanity, method)),
            *(_table_cell(found, reasons, wide=wide) for found in own),
            literal(str(max(counted, default=0))),
            _verdict(words.get(method)),
        )
    return table


def _frame(check: str, note: str, headings: Sequence[str]) -> Table:
    """A table with its columns: method, figures, verdict."""
    table = frame(check_title(check), note)
    table.add_column(literal("method"), min_width=8, overflow="fold", vertical="top")
    for heading in headings:
        table.add_column(literal(heading), justify="right", no_wrap=True)
    table.add_column(literal("verdict"), no_wrap=True)
    return table


def _short(name: str) -> str:
    return "|Sp.|" if name == "spearman-abs" else similarity_title(name)


def _ordered(sanity: Mapping[str, Any], methods: Sequence[str]) -> Sequence[str]:
    """Each method once, controls last."""
    return sorted(dict.fromkeys(methods), key=lambda method: bool(_style(sanity, method)))


def _style(sanity: Mapping[str, Any], method: str) -> str:
    return "dim" if (sanity.get("families") or {}).get(method) == CONTROL else ""


def _table_cell(table: Mapping[str, Any] | None, reasons: Reasons, *, wide: bool) -> Text:
    if table is None:
        return literal("–", "dim")
    shown = printer(table["figure"])
    mean = number_of(table["mean"], "mean")
    if mean is None:
        counts = table_counts(table, reasons).most_common(1)
        return literal(_word(counts[0][0]) if counts else "none", "dim")
    return _with_bounds(shown(mean), bounds(table["mean"], shown), wide=wide)


def _figure(effect: Mapping[str, Any], part: str, *, wide: bool) -> Text:
    value: Mapping[str, Any] = effect.get(part) or {}
    return _with_bounds(similarity(number_of(value, "mean")), bounds(value), wide=wide)


def _with_bounds(figure: str, ends: str, *, wide: bool) -> Text:
    """The interval beside the figure or, without brackets, beneath it."""
    text = literal(figure)
    if ends:
        text.append(f" {ends}" if wide else f"\n{ends.strip('[]')}", style="dim")
    return text


def _mean(effect: Mapping[str, Any], part: str) -> Text:
    mean = number_of(effect.get(part) or {}, "mean")
    return literal("–", "dim") if mean is None else literal(similarity(mean))


def _word(outcome: str) -> str:
    """`unchanged` of `unchanged by construction`; `not applicable` stays whole."""
    return outcome.removesuffix(" by construction")


def _verdict(outcome: ClaimOutcome | None) -> Text:
    if outcome is None:
        return literal("–", "dim")
    return literal(outcome.value.upper().replace(" ", "\n"), OUTCOMES[outcome])
