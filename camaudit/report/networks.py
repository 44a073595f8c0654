"""The view of the networks: for each a table of μ, and whether it looks at the image at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from camaudit.report import figures
from camaudit.report.axis import Axis, axis
from camaudit.report.view import Row, Unscored, ranked, rows, unscored
from camaudit.types import Results, Summary

__all__ = ["Glance", "Glimpse", "Network", "at_a_glance", "network_views"]

SIMPLE = "Simple CNN"


@dataclass(frozen=True)
class Network:
    """One network's table, and whether its logits depend on the image at all.

    `between` is the share of the logits' mean square that is variance between images, `place` the
    same in per cent of a bar, None where undefined. `relative` is the standard deviation between
    images over that between classes. `looks` is whether this was measured.
    """

    name: str
    check: str
    facts: tuple[tuple[str, str], ...]
    looks: bool
    between: str
    place: float | None
    relative: str
    note: str
    uniform: str
    axis: Axis
    methods: tuple[Row, ...]
    controls: tuple[Row, ...]
    unscored: tuple[Unscored, ...]


@dataclass(frozen=True)
class Glimpse:
    """μ (L1) of one method on one network.

    `kind` is that of :class:`~camaudit.report.verdict.Finding`, `control` or `not-run`. `place`
    is the mean, in per cent of a scale that all networks share; None where there is none.
    """

    text: str
    kind: str
    place: float | None


@dataclass(frozen=True)
class Glance:
    """All networks beside one another: their names, uniform maps, and rows by method."""

    networks: tuple[str, ...]
    uniform: tuple[Glimpse, ...]
    rows: tuple[tuple[str, tuple[Glimpse, ...]], ...]


def network_views(results: Results) -> tuple[Network | None, tuple[Network, ...]]:
    """The simple CNN, None where it was not measured, and every other network.

    Summaries of a check that `theory` does not describe come last, under the check's own name.
    """
    simple, deep = results.theory.get("simple"), results.theory.get("deep") or []
    described = {entry["check"] for entry in deep}
    first = None
    if simple:
        described.add(simple["check"])
        names = ("filters", "classes", "draws", "images")
        counts = [
            (name.capitalize(), figures.whole(simple[name])) for name in names if name in simple
        ]
        first = _network(results, SIMPLE, simple, counts)
    others = dict.fromkeys(entry.check for entry in results.summary)
    return first, (
        *(_deep(results, entry) for entry in deep),
        *(
            _network(results, check, {"check": check}, ())
            for check in others
            if check not in described
        ),
    )


def at_a_glance(networks: Sequence[Network]) -> Glance | None:
    """All networks beside one another, controls last; None for fewer than two."""
    if len(networks) < 2:
        return None
    found = [
        {row.method: row for row in (*network.methods, *network.controls)} for network in networks
    ]
    listed = [row for by_name in found for row in by_name.values()]
    names = dict.fromkeys(row.method for row in listed if not row.control)
    names |= dict.fromkeys(row.method for row in listed)
    maximum = max(network.axis.maximum for network in networks)
    return Glance(
        networks=tuple(network.name for network in networks),
        uniform=tuple(_uniform_glimpse(network, maximum) for network in networks),
        rows=tuple(
            (name, tuple(_glimpse(by_name.get(name), maximum) for by_name in found))
            for name in names
        ),
    )


def _glimpse(row: Row | None, maximum: float) -> Glimpse:
    if row is None:
        return Glimpse("not run", "not-run", None)
    kind = "control" if row.control else row.finding.value
    share = row.mu_l1.value
    place = None if share is None else round(100 * share / maximum, 2)
    return Glimpse(row.mu_l1.text, kind, place)


def _uniform_glimpse(network: Network, maximum: float) -> Glimpse:
    place = network.axis.uniform
    share = None if place is None else place.position * network.axis.maximum / maximum
    return Glimpse(network.uniform, "control", None if share is None else round(share, 2))


def _deep(results: Results, entry: Mapping[str, Any]) -> Network:
    sizes = f"{entry['seeds']} × {entry['images']}"
    return _network(
        results,
        str(entry["network"]),
        entry,
        (
            ("Target layer", str(entry["layer"])),
            ("Wall", str(entry["wall"])),
            ("Weights", str(entry["initialisation"])),
            ("Seeds × images", sizes),
        ),
    )


def _network(
    results: Results,
    name: str,
    entry: Mapping[str, Any],
    facts: Sequence[tuple[str, str]],
) -> Network:
    summary = [part for part in results.summary if part.check == entry["check"]]
    listed = rows(summary)
    variance = entry.get("logit_variance") or {}
    between: float | None = variance.get("between_images")
    return Network(
        name=name,
        check=entry["check"],
        facts=tuple(facts),
        looks="logit_variance" in entry,
        between=figures.percent(between),
        place=None if between is None else round(100 * between, 2),
        relative=figures.quantity(variance.get("relative")),
        note=str(entry.get("note") or ""),
        uniform=figures.percent(_uniform(entry, summary)),
        axis=axis(summary),
        methods=tuple(row for row in listed if not row.control),
        controls=tuple(row for row in listed if row.control),
        unscored=unscored(results, summary, noun="map"),
    )


def _uniform(entry: Mapping[str, Any], summary: Sequence[Summary]) -> float | None:
    if entry.get("uniform") is not None:
        return float(entry["uniform"])
    return ranked(summary)[0].uniform if summary else None
