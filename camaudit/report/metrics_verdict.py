"""The headline of the metrics: which method the images single out, and how far metrics agree."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from camaudit.report import figures
from camaudit.report.claims import ClaimsKind, ClaimsVerdict
from camaudit.report.metrics_best import leading
from camaudit.report.metrics_cells import is_control, metrics_in
from camaudit.report.metrics_ranks import agreement_text
from camaudit.report.metrics_scatter import ScatterView
from camaudit.report.names import title
from camaudit.report.verdict import Segment

__all__ = ["metrics_verdict"]

_RULE = (
    "A method is best by a metric only where every paired difference from the other methods is "
    "shown at 5 %, after Holm's correction over all pairs; otherwise methods are not told apart, "
    "whatever their means. A best method is best by that metric on these images, not right."
)
_LOW_W = 0.5  # below it, metrics differ more than they agree


def metrics_verdict(metrics: Mapping[str, Any], scatter: ScatterView | None) -> ClaimsVerdict:
    """The sentences: methods that are shown best, agreement of the metrics, the dead zone."""
    comparison = metrics.get("comparison") or {}
    leads = {metric: leading(comparison, metric) for metric in metrics_in(metrics)}
    judged = {metric: lead for metric, lead in leads.items() if lead.compared}
    sentences = [_headline(len(judged), sum(lead.best is not None for lead in judged.values()))]
    winners: dict[str, list[str]] = {}
    for metric, lead in judged.items():
        if lead.best is not None:
            winners.setdefault(lead.best, []).append(metric.title)
    sentences += [_winner(metrics, name, by) for name, by in winners.items()]
    agreement = comparison.get("agreement")
    if isinstance(agreement, Mapping):
        sentences.append(_agreement(agreement))
    if scatter is not None:
        sentences.append(_dead_zone(scatter))
    return ClaimsVerdict(ClaimsKind.NONE, tuple(sentences), _RULE)


def _headline(judged: int, shown: int) -> tuple[Segment, ...]:
    if not judged:
        return (Segment("No method was compared with another by any metric."),)
    if not shown:
        by = f"any of {judged} metrics" if judged > 1 else "the one metric"
        return (Segment("No method", "figure"), Segment(f" is shown best by {by}."))
    return (
        Segment(f"{shown} of {figures.counted(judged, 'metric')}", "figure"),
        Segment(f" {'shows' if shown == 1 else 'show'} one method to be best on these images."),
    )


def _winner(metrics: Mapping[str, Any], name: str, by: list[str]) -> tuple[Segment, ...]:
    control = ", a control that explains nothing," if is_control(metrics, name) else ""
    return (
        Segment(title(name), "name"),
        Segment(f"{control} is best by {figures.joined(by, limit=len(by))}."),
    )


def _agreement(found: Mapping[str, Any]) -> tuple[Segment, ...]:
    text, w = agreement_text(found), found["w"]
    if w is None:
        return (Segment(text),)
    meaning = (
        "the metrics disagree on the order more than they agree"
        if w < _LOW_W
        else "the metrics agree on much of the order"
    )
    return (Segment(text), Segment(f" With 1 for the same order by all and 0 for none, {meaning}."))


def _dead_zone(scatter: ScatterView) -> tuple[Segment, ...]:
    known = [panel.tau for panel in scatter.panels if panel.tau is not None]
    if not known:
        return (Segment("Too few methods have both a dead-zone mass and a metric to compare."),)
    rewarding = sum(tau > 0 for tau in known)
    return (
        Segment(
            f"By {rewarding} of {figures.counted(len(known), 'metric')} that read the model's "
            "confidence, methods that light the dead zone more stand better rather than worse; "
            "the scatter says how far chance would go."
        ),
    )
