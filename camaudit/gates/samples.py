"""A figure of an explainer in a run's records: its values by image, or why there are none."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from camaudit.errors import AuditError
from camaudit.gates import dead_zone_samples, invariance_samples, sanity_samples
from camaudit.gates.dead_zone_samples import DEAD_ZONE
from camaudit.gates.sample import MALFORMED, Results, Sample, malformed, number, stopped
from camaudit.gates.verdict import Decision

__all__ = ["FIGURES", "TAKES", "Figure", "Sample", "explainers_of", "sample", "uniform"]

TAKES = {**dead_zone_samples.TAKES, **sanity_samples.TAKES, **invariance_samples.TAKES}
_CONTROLS = ("uniform", "random", "gaussian", "sobel")  # where a run says nothing of families


@dataclass(frozen=True, kw_only=True)
class Figure:
    """The check that gives a figure, its range, its better direction, whether it is a count."""

    check: str
    low: float
    high: float
    better: Literal["lower", "higher"] = "lower"
    count: bool = False


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
    return name.partition("(")[0] in _CONTROLS


FIGURES: dict[str, Figure] = {
    **{
        f"dead_zone.{name}": Figure(check=DEAD_ZONE, low=0.0, high=1.0)
        for name in ("mu_l1", "mu_l2", "mu_l1_minmax", "unmasked")
    },
    "dead_zone.difference": Figure(check=DEAD_ZONE, low=-1.0, high=1.0),
    "mprt.similarity": Figure(check="mprt", low=-1.0, high=1.0),
    "mprt.effect": Figure(check="mprt", low=-2.0, high=2.0),
    "smprt.similarity": Figure(check="smprt", low=-1.0, high=1.0),
    "smprt.effect": Figure(check="smprt", low=-2.0, high=2.0),
    "emprt.rise": Figure(check="emprt", low=-1.0, high=math.inf, better="higher"),
    "random_logit.similarity": Figure(check="random-logit", low=-1.0, high=1.0),
    "data_randomisation.similarity": Figure(check="data-randomisation", low=-1.0, high=1.0),
    "invariance.bugs": Figure(check="invariance", low=0.0, high=math.inf, count=True),
    "invariance.faults": Figure(check="invariance", low=0.0, high=math.inf, count=True),
}  #: by name, as a policy has it
