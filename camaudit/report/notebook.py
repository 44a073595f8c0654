"""What a notebook shows of results: the verdict and a table, as one block without a script."""

from __future__ import annotations

from html import escape

from camaudit.errors import UsageError
from camaudit.report import figures
from camaudit.report.advice import advice
from camaudit.report.printable import printable
from camaudit.report.verdict import verdict
from camaudit.report.view import rows, select_check
from camaudit.types import ClaimOutcome, Results

__all__ = ["results_block"]

_COLUMNS = ("Method", "μ (L1)", "95 % interval", "unmasked", "n")
_CELL = "text-align: right; padding: 0.15em 0.8em"


def results_block(results: Results) -> str:
    """The results as HTML that loads nothing, runs nothing, and escapes every value."""
    try:
        summary = select_check(results)
    except UsageError as error:
        return f"<p>{_text(str(error))}</p>"
    parts = [f"<p><strong>{_text(_headline(results))}</strong></p>"]
    if summary:
        listed = "".join(
            f'<tr><th scope="row" style="text-align: left">{_text(row.method)}</th>'
            + "".join(
                f'<td style="{_CELL}">{_text(cell)}</td>'
                for cell in (row.mu_l1.text, row.mu_l1.bounds, row.unmasked.text, str(row.n))
            )
            + "</tr>"
            for row in rows(summary)
        )
        heads = "".join(f'<th scope="col" style="{_CELL}">{name}</th>' for name in _COLUMNS)
        uniform = figures.percent(summary[0].uniform)
        parts.append(
            '<table><caption style="text-align: left">Share of the map in the dead zone; a uniform '
            f"map has {uniform}</caption><thead><tr>{heads}</tr></thead>"
            f"<tbody>{listed}</tbody></table>"
        )
    todo = "".join(f"<li>{_text(one.action)}</li>" for one in advice(results, summary))
    parts += [f"<ol>{todo}</ol>"] if todo else []
    return f"<div>{''.join(parts)}</div>"


def _headline(results: Results) -> str:
    summary = select_check(results)
    if summary:
        return verdict(results, summary).text
    if results.claims:
        failed = sum(claim.outcome is ClaimOutcome.FAIL for claim in results.claims)
        return f"{figures.counted(len(results.claims), 'claim')} tested, {failed} failed."
    return "No dead zone was audited; report.html has what else was measured."


def _text(value: str) -> str:
    return escape(printable(value).encode("utf-8", "replace").decode("utf-8"))
