"""A figure of an explainer in a run's records: its values by image, or why there are none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from camaudit.errors import AuditError
from camaudit.gates import dead_zone_samples, invariance_samples, sanity_samples
from camaudit.gates.dead_zone_samples import DEAD_ZONE
from camaudit.gates.names import CONTROLS
from camaudit.gates.sample import MALFORMED, Results, Sample, malformed, number, stopped
from camaudit.gates.verdict import Decision

__all__ = ["TAKES", "Sample", "explainers_of", "sample", "uniform"]

TAKES = {**dead_zone_samples.TAKES, **sanity_samples.TAKES, **invariance_samples.TAKES}


def sample(results: Results, figure: str, explainer: str) -> Sample:
    """The figure `figure` (a name of :data:`TAKES`) of `explainer` in `results`.

    Anything that is not as the schema of results.json has it is a sample in the state ERROR.
    """
    try:
        return TAKES[figure](results, explainer)
    except MALFORMED as error:
        return stopped(Decision.ERROR, malformed(error))


def explainers_of(results: Results, check: str) -> list[str]:
    """Every explainer of the run but the controls, in the order of the run.

    Raises :class:`AuditError` where results.json is not as its schema has it.
    """
    try:
        return _explainers(results, check)
    except MALFORMED as error:
        raise AuditError(malformed(error)) from error


def _explainers(results: Results, check: str) -> list[str]:
    listed = [str(name) for name in results["settings"].get("methods") or ()]
    if check == "invariance":
        part = results.get("invariance") or {"explainers": ()}
        listed += [str(entry["name"]) for entry in part["explainers"]]
    listed += [str(one["method"]) for one in results["records"] if one["check"] == DEAD_ZONE]
    families: dict[str, Any] = {}
    if results.get("sanity"):
        listed += [str(name) for name in results["sanity"]["settings"]["methods"]]
        families |= results["sanity"]["families"]
    families |= {entry["method"]: entry["family"] for entry in results["summary"]}
    return [name for name in dict.fromkeys(listed) if not _control(name, families)]


def uniform(results: Results, figure: str) -> float | None:
    """What a flat map scores in `figure`; None where that is not defined."""
    share = results.get("zone", {}).get("scored_fraction")
    if not number(share) or not 0 < share <= 1:
        return None
    shares = {
        "dead_zone.mu_l1": float(share),
        "dead_zone.mu_l1_minmax": float(share),
        "dead_zone.mu_l2": math.sqrt(share),
    }
    return shares.get(figure)


def _control(name: str, families: Mapping[str, Any]) -> bool:
    if name in families:
        return bool(families[name] == "control")
    return name.partition("(")[0] in CONTROLS  # where a run says nothing of families
