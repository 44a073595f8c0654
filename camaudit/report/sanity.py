"""The view model of the sanity checks: verdict, cascades, rankings and what has no score.

Pure functions from :class:`~camaudit.types.Results` to frozen dataclasses, as for the audit's
report. What `Results.sanity` holds is described in the schema of results.json.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from camaudit.report import figures, sanity_prose
from camaudit.report.claims import ClaimGroup, ClaimsVerdict, claim_groups
from camaudit.report.names import check_title, title
from camaudit.report.prose import Paragraph
from camaudit.report.sanity_bars import Ranking, rankings
from camaudit.report.sanity_cells import Reasons
from camaudit.report.sanity_curves import CascadeView, cascade_views
from camaudit.report.sanity_pictures import SanityPicture, Strip, strips
from camaudit.report.sanity_verdict import labels_of, sanity_claims, sanity_verdict
from camaudit.report.verdict import CONTROL
from camaudit.report.view import Fact, Unscored
from camaudit.types import Results

__all__ = ["CheckView", "SanityView", "checks_run", "sanity_view"]

_SCHEMES = {
    "he": "He initialisation",
    "module": "each layer's own initialisation",
    "permute": "permuted weights",
}
_RESOLUTIONS = {
    "image": "maps compared at the image's resolution",
    "native": "maps compared as the methods return them",
}


@dataclass(frozen=True)
class CheckView:
    """One check: its cascades, or its rankings."""

    name: str
    title: str
    lead: str
    cascades: tuple[CascadeView, ...]
    rankings: tuple[Ranking, ...]


@dataclass(frozen=True)
class SanityView:
    """Everything that the page says of the sanity checks."""

    verdict: ClaimsVerdict
    facts: tuple[Fact, ...]
    setting: str
    claims: tuple[ClaimGroup, ...]
    checks: tuple[CheckView, ...]
    strips: tuple[Strip, ...]
    unscored: tuple[Unscored, ...]
    notes: tuple[str, ...]
    reading: tuple[Paragraph, ...]
    limits: tuple[Paragraph, ...]


def sanity_view(results: Results, pictures: Sequence[SanityPicture] = ()) -> SanityView | None:
    """The view model; None where no sanity check was run.

    Raises
    ------
    AuditError
        if curves and steps of one order differ in length.
    """
    sanity = results.sanity
    if not any(sanity.get(part) for part in ("settings", "curves", "tables")):
        return None
    claims = sanity_claims(results.claims, sanity)
    checks = checks_run(sanity)
    remarks = sanity.get("remarks") or []
    reasons = Reasons(remarks)
    return SanityView(
        verdict=sanity_verdict(claims, sanity),
        facts=_facts(sanity, checks),
        setting=_setting(sanity),
        claims=claim_groups(claims),
        checks=tuple(_check(sanity, name, reasons) for name in checks),
        strips=strips(pictures, sanity),
        unscored=_unscored(remarks),
        notes=_notes(remarks),
        reading=sanity_prose.reading(checks),
        limits=sanity_prose.limits(checks),
    )


def checks_run(sanity: Mapping[str, Any]) -> list[str]:
    """The checks in the order of the settings, then others that left figures."""
    named = (sanity.get("settings") or {}).get("checks") or []
    parts = [*(sanity.get("curves") or []), *(sanity.get("tables") or [])]
    return list(dict.fromkeys([*named, *(part["check"] for part in parts)]))


def _check(sanity: Mapping[str, Any], name: str, reasons: Reasons) -> CheckView:
    return CheckView(
        name=name,
        title=check_title(name),
        lead=sanity_prose.CASCADE_LEADS.get(name, ""),
        cascades=cascade_views(sanity, name, reasons),
        rankings=rankings(sanity, name, reasons),
    )


def _setting(sanity: Mapping[str, Any]) -> str:
    """How the checks were run, on a line."""
    settings: Mapping[str, Any] = sanity.get("settings") or {}
    scheme, resolution = settings.get("scheme"), settings.get("resolution")
    parts = [f"target layer {settings['layer']}"] if settings.get("layer") else []
    if scheme and _randomised(sanity):
        parts.append(_SCHEMES.get(scheme, f"weights by {scheme}"))
    parts += [_RESOLUTIONS.get(resolution, str(resolution))] if resolution else []
    return "; ".join(parts)


def _randomised(sanity: Mapping[str, Any]) -> bool:
    """Whether any check made models random."""
    return bool({"mprt", "smprt", "emprt"} & set(checks_run(sanity)))


def _facts(sanity: Mapping[str, Any], checks: Sequence[str]) -> tuple[Fact, ...]:
    settings: Mapping[str, Any] = sanity.get("settings") or {}
    families, labels = sanity.get("families") or {}, labels_of(sanity)
    controls = sum(families.get(label) == CONTROL for label in labels)
    layers, seeds = sanity.get("layers") or [], settings.get("seeds") or []
    if not _randomised(sanity):
        layers, seeds = [], []
    facts = [
        Fact("Checks", str(len(checks)), ", ".join(check_title(name) for name in checks)),
        Fact("Methods", str(len(labels) - controls), f"and {figures.counted(controls, 'control')}"),
        Fact("Images", str(len(sanity.get("targets") or [])), "explained for one class each"),
    ]
    if layers:
        facts.append(Fact("Layers", str(len(layers)), "with weights that can be randomised"))
    if seeds:
        enough = "each a model drawn anew"
        few = "fewer than six, so without intervals"
        facts.append(Fact("Seeds", str(len(seeds)), few if len(seeds) < 6 else enough))
    return tuple(facts)


def _unscored(remarks: Sequence[Mapping[str, Any]]) -> tuple[Unscored, ...]:
    """Why cells have no score, equal reasons of a method and check drawn together."""
    counts: Counter[tuple[str, str, str, str]] = Counter()
    for remark in remarks:
        if remark.get("outcome") is not None:
            key = (
                str(remark.get("method") or "every method"),
                str(remark["outcome"]),
                str(remark.get("check") or ""),
                str(remark["reason"]),
            )
            counts[key] += int(remark.get("count") or 0)
    return tuple(
        Unscored(
            title(method),
            outcome,
            reason,
            f"{figures.whole(number)} {'cell' if number == 1 else 'cells'} of "
            f"{check_title(check) or 'all checks'}",
        )
        for (method, outcome, check, reason), number in counts.items()
    )


def _notes(remarks: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """What a reader must know of single layers, or of all."""
    listed = []
    for remark in remarks:
        if remark.get("outcome") is None:
            layer = f"{remark['layer']}: " if remark.get("layer") else ""
            listed.append(f"{layer}{remark['reason']}")
    return tuple(dict.fromkeys(listed))
