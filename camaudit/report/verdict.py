"""The verdict: a few sentences that say what the audit found, and by which rule."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from camaudit.report import figures
from camaudit.report.names import title
from camaudit.types import Results, Summary

__all__ = ["CONTROL", "RULE", "Finding", "Kind", "Segment", "Verdict", "finding", "verdict"]

CONTROL = "control"
RULE = (
    "A method counts as lighting up the dead zone when its mean μ over the images, taken as the "
    "L1 share of the raw map, is above 0. Controls are not counted. Maps without a defined μ "
    "never count in a method's favour."
)

NO_CERTIFICATE = "That rules out this one fault; it does not prove the rest of a map right."


class Kind(StrEnum):
    """What the verdict amounts to."""

    LIT = "lit"
    CLEAN = "clean"
    NONE = "none"


class Finding(StrEnum):
    """What one method's mean μ says by the rule."""

    LIT = "lit"
    ZERO = "zero"
    UNDEFINED = "undefined"


@dataclass(frozen=True)
class Segment:
    """A run of text; `role` is `text`, `name`, `figure` or `reference`."""

    text: str
    role: str = "text"


@dataclass(frozen=True)
class Verdict:
    """The sentences, each a tuple of segments; the first one is the headline."""

    kind: Kind
    sentences: tuple[tuple[Segment, ...], ...]
    rule: str = RULE

    @property
    def text(self) -> str:
        """The verdict as plain text."""
        return " ".join("".join(part.text for part in line) for line in self.sentences)


def finding(entry: Summary) -> Finding:
    """Whether a method lights up the dead zone, by :data:`RULE`."""
    if not figures.defined(entry.mu_l1.mean):
        return Finding.UNDEFINED
    return Finding.LIT if (entry.mu_l1.mean or 0.0) > 0 else Finding.ZERO


def verdict(results: Results, summary: Sequence[Summary]) -> Verdict:
    """The verdict over the methods of `summary`; controls are left out of it."""
    methods = [entry for entry in summary if entry.family != CONTROL]
    by_finding = {
        which: [entry for entry in methods if finding(entry) is which] for which in Finding
    }
    lit, zero = by_finding[Finding.LIT], by_finding[Finding.ZERO]
    if not (lit or zero) or all(entry.uniform == 0 for entry in methods):
        return Verdict(Kind.NONE, tuple(_no_verdict(methods)))
    lines = [_headline(lit, zero)]
    if lit:
        lines.append(_worst(max(lit, key=lambda entry: entry.mu_l1.mean or 0.0)))
    if lit and zero:
        lines.append(_exact_zero(zero))
    if not lit:
        lines.append((Segment(NO_CERTIFICATE),))
    lines += _undefined(by_finding[Finding.UNDEFINED])
    lines += _provisional(results)
    return Verdict(Kind.LIT if lit else Kind.CLEAN, tuple(lines))


def _no_verdict(methods: Sequence[Summary]) -> list[tuple[Segment, ...]]:
    """Why nothing can be said; nothing passes by default."""
    if not methods:
        reason = "No method was audited, only controls."
    elif all(entry.uniform == 0 for entry in methods):
        reason = "The scored zone is empty, so there is nothing a map could be charged with."
    else:
        reason = (
            f"None of the {figures.counted(len(methods), 'method')} has a defined figure: every "
            "map was degenerate, not applicable or failed. Nothing passes."
        )
    return [(Segment("No verdict."),), (Segment(reason),)]


def _headline(lit: Sequence[Summary], zero: Sequence[Summary]) -> tuple[Segment, ...]:
    total = len(lit) + len(zero)
    if lit:
        verb = "lights" if len(lit) == 1 else "light"
        return (
            Segment(f"{len(lit)} of {figures.counted(total, 'method')}", "figure"),
            Segment(f" {verb} up what the network cannot see."),
        )
    subject = {1: "The one method scored puts", 2: "Both methods put"}.get(
        total, f"All {total} methods put"
    )
    return (Segment(f"{subject} exactly 0 of the map in the dead zone."),)


def _worst(entry: Summary) -> tuple[Segment, ...]:
    bounds = figures.interval(entry.mu_l1)
    figure = f"{figures.percent(entry.mu_l1.mean)}{' ' + bounds if bounds else ''}"
    return (
        Segment("Worst: "),
        Segment(title(entry.method), "name"),
        Segment(" puts "),
        Segment(figure, "figure"),
        Segment(" of its map in the dead zone, where a uniform map would put "),
        Segment(figures.percent(entry.uniform), "reference"),
        Segment("."),
    )


def _exact_zero(zero: Sequence[Summary]) -> tuple[Segment, ...]:
    names = figures.joined([title(entry.method) for entry in zero])
    verb = "puts" if len(zero) == 1 else "put"
    return (Segment(names, "name"), Segment(f" {verb} exactly 0 there."))


def _undefined(entries: Sequence[Summary]) -> list[tuple[Segment, ...]]:
    if not entries:
        return []
    names = figures.joined([title(entry.method) for entry in entries])
    verb = "has" if len(entries) == 1 else "have"
    text = f" {verb} no defined figure on any image, which is not a pass."
    return [(Segment(names, "name"), Segment(text))]


def _provisional(results: Results) -> list[tuple[Segment, ...]]:
    if results.provenance.zone.get("verified") is True:
        return []
    text = (
        "This verdict is provisional: the dead zone was claimed, but not verified by changing "
        "its pixels."
    )
    return [(Segment(text),)]
