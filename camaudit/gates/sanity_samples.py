"""Figures of the sanity checks: tables of random models crossed with images."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from camaudit.gates.sample import Array, Results, Sample, Take, checked, judged, stopped
from camaudit.gates.verdict import Decision

__all__ = ["TAKES"]

#: Similarity above which two maps count as much the same. An explainer that looks at no model has
#: 1 with the trained model and with every random one: an effect of 0, which must not pass.
_ALIKE = 0.5


def _cascade(check: str, *, effect: bool) -> Take:
    def take(results: Results, explainer: str) -> Sample:
        sanity = results.get("sanity") or {}
        wrong = _sanity_wrong(results, sanity, check, explainer)
        if wrong:
            return wrong
        similarity = sanity["settings"]["similarities"][0]
        wanted = (check, explainer, similarity)
        curves = [c for c in sanity["curves"] if _named(c, "similarity") == wanted]
        curve = next((c for c in curves if c["order"] != "independent"), None)
        if curve is None:
            return stopped(
                Decision.NOT_APPLICABLE, "no cascade was run that ends with every layer random"
            )
        steps = sum(step["order"] == curve["order"] for step in sanity["steps"])
        if not steps or any(len(row) != steps for row in curve["values"]):
            return stopped(Decision.ERROR, f"the cascade is not whole: expected {steps} steps")
        table = _table([row[-1] for row in curve["values"]])
        place = (check, curve["order"], explainer, similarity, len(curve["values"][0]))
        if effect and len(table) < 2:
            return stopped(Decision.INCONCLUSIVE, "a null takes at least two random models")
        if effect and np.isfinite(table).any():
            null = _null(sanity, wanted, table.shape[1])
            if np.isfinite(null).any() and np.nanmean(null) > _ALIKE:
                return stopped(
                    Decision.DEGENERATE,
                    f"its maps of two random models are much the same (similarity "
                    f"{np.nanmean(null):.3g}, above {_ALIKE}): being no further from them says "
                    f"nothing; put the condition on {check}.similarity",
                )
            table = _from_null(sanity, wanted, table)
        context = _sanity_context(results, sanity) | {"order": curve["order"], "step": place[-1]}
        return _crossed(results, sanity, table, place, context)

    return take


def _from_null(sanity: Mapping[str, Any], wanted: tuple[str, ...], table: Array) -> Array:
    """Cells whose mean is the distance from the null, and that vary as that distance does.

    The null's mean over pairs of seeds is a U-statistic: seed s enters it by twice the mean of
    the pairs that hold s, less the mean of all (its first-order projection). Taking these from
    each cell of a step, image by image, leaves the mean as it is and has the resampling of seeds
    count the null's spread in full.
    """
    null = next(n for n in sanity["nulls"] if _named(n, "similarity") == wanted)
    seeds = [int(seed) for seed in sanity["settings"]["seeds"]]
    pairs = _null(sanity, wanted, table.shape[1])
    if not np.isfinite(pairs).any():
        return np.full_like(table, math.nan)
    ends = np.array(null["pairs"]).reshape(-1, 2)
    holds = np.array([(ends == seed).any(axis=1) for seed in seeds], dtype=np.float64)
    defined, filled = np.isfinite(pairs).astype(np.float64), np.nan_to_num(pairs)
    with np.errstate(invalid="ignore", divide="ignore"):
        by_seed = (holds @ filled) / (holds @ defined)
        by_image = filled.sum(axis=0) / defined.sum(axis=0)
    cells: Array = table - 2 * by_seed + by_image
    if not np.isfinite(cells).any():
        return cells
    distance = np.nanmean(table) - np.nanmean(pairs)  # as results.json has it, gaps or none
    moved: Array = cells + (distance - np.nanmean(cells))
    return moved


def _null(sanity: Mapping[str, Any], wanted: tuple[str, ...], images: int) -> Array:
    """Similarities of the maps of every two random models (pairs × images)."""
    null = next(n for n in sanity["nulls"] if _named(n, "similarity") == wanted)
    return _table(null["values"]).reshape(len(null["pairs"]), images)


def _rows(check: str, *, averaged: bool = False) -> Take:
    """A check without a cascade; `averaged`: each image by the mean of its rows."""

    def take(results: Results, explainer: str) -> Sample:
        sanity = results.get("sanity") or {}
        wrong = _sanity_wrong(results, sanity, check, explainer)
        if wrong:
            return wrong
        similarity = sanity["settings"]["similarities"][0]
        name = "complexity rise" if check == "emprt" else similarity
        found = next(t for t in sanity["tables"] if _named(t, "figure") == (check, explainer, name))
        table = _table(found["values"])
        context = _sanity_context(results, sanity)
        place = (check, None, explainer, name, 1)
        return _crossed(results, sanity, table, place, context, averaged=averaged)

    return take


def _named(part: Mapping[str, Any], figure: str) -> tuple[str, str, str]:
    return part["check"], part["method"], part[figure]


def _table(values: Any) -> Array:
    cells = [
        [math.nan if value is None else float(checked(value)) for value in row] for row in values
    ]
    return np.array(cells, dtype=np.float64).reshape(len(cells), -1)


def _sanity_wrong(
    results: Results, sanity: Mapping[str, Any], check: str, explainer: str
) -> Sample | None:
    if check not in sanity.get("settings", {}).get("checks", ()):
        return stopped(Decision.ERROR, f"the run did not make the check {check}")
    if explainer not in sanity["settings"]["methods"]:
        if explainer in (results["settings"].get("methods") or ()):
            return stopped(
                Decision.NOT_APPLICABLE,
                "it took no part in the sanity checks; where it runs the model many times, "
                "costly_cascades lets it",
            )
        return stopped(Decision.ERROR, f"the run has no figure of {explainer!r} in {check}")
    failed = [r for r in sanity["remarks"] if _remark(r, check, explainer, "error")]
    if failed:
        count = sum(remark["count"] for remark in failed)
        return stopped(Decision.ERROR, f"it failed on {count} cells: {failed[0]['reason']}")
    return None


def _remark(remark: Mapping[str, Any], check: str, explainer: str, outcome: str) -> bool:
    return (remark["check"], remark["method"], remark["outcome"]) == (check, explainer, outcome)


def _sanity_context(results: Results, sanity: Mapping[str, Any]) -> dict[str, Any]:
    settings = sanity["settings"]
    names = ("layer", "scheme", "resolution", "most_steps", "samples", "noise", "draws")
    return {name: settings.get(name) for name in names} | {
        "similarity": settings["similarities"][0],
        "preprocessing": (results["subject"].get("preprocess") or {}).get("name"),
        "image size": results["settings"].get("image_size"),
    }


def _crossed(
    results: Results,
    sanity: Mapping[str, Any],
    table: Array,
    place: tuple[str, str | None, str, str, int],
    context: dict[str, Any],
    *,
    averaged: bool = False,
) -> Sample:
    check, _, explainer, figure, _ = place
    images = [one["id"] for one in results["images"]]
    if table.shape[1] != len(images):
        return stopped(
            Decision.ERROR,
            f"{table.shape[1]} images have a figure, and the run lists {len(images)}",
        )
    kinds = {
        str(remark["outcome"])
        for remark in sanity["remarks"]
        if (remark["check"], remark["method"]) == (check, explainer)
        and remark["outcome"] is not None
        and figure in remark["similarities"]
        and (remark["order"] == "null" or place in _places(remark, figure))
    }
    if np.isnan(table).any() and not kinds:
        return stopped(Decision.ERROR, "figures are missing, and the run does not say why")
    rows = tuple(str(seed) for seed in sanity["settings"]["seeds"])
    if averaged or len(table) == 1:
        rows, table = ("",), _means(table)
    elif len(table) != len(rows):
        return stopped(
            Decision.ERROR, f"{len(table)} random models have a figure, expected {len(rows)}"
        )
    return judged(results, table, images, kinds, context=context, rows=rows)


def _places(remark: Mapping[str, Any], figure: str) -> list[tuple[Any, ...]]:
    whose = remark["check"], remark["order"], remark["method"], figure
    return [(*whose, step) for step in remark["steps"] or (1,)]


def _means(table: Array) -> Array:
    """Each column's mean over its defined cells, as one row."""
    defined = np.isfinite(table)
    with np.errstate(invalid="ignore"):
        means: Array = np.where(defined, table, 0.0).sum(axis=0) / defined.sum(axis=0)
    return means[None, :]


TAKES: dict[str, Take] = {
    "mprt.similarity": _cascade("mprt", effect=False),
    "mprt.effect": _cascade("mprt", effect=True),
    "smprt.similarity": _cascade("smprt", effect=False),
    "smprt.effect": _cascade("smprt", effect=True),
    "emprt.rise": _rows("emprt"),
    "random_logit.similarity": _rows("random-logit", averaged=True),
    "data_randomisation.similarity": _rows("data-randomisation", averaged=True),
}  #: by the figure's name
