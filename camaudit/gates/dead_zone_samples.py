"""Figures of the dead zone: one record an image, or one for each of its targets."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from camaudit.gates.sample import Results, Sample, Take, judged, number, stopped
from camaudit.gates.verdict import Decision

__all__ = ["DEAD_ZONE", "TAKES"]

DEAD_ZONE = "dead-zone"

_UNDEFINED = ("degenerate", "not applicable")  # statuses without a figure
_COUNTS = ("n", "degenerate", "not_applicable", "errors")
_TOP = "top-1"

_Value = Callable[[Mapping[str, Any]], tuple[Any, str]]  # of a record: the figure and its status


def _dead_zone(value: _Value, *, low: float = 0.0) -> Take:
    """A figure of the records; `value` gives it with the status that stands behind it.

    Of an image with several targets it is the mean over those that have one.
    """

    def take(results: Results, explainer: str) -> Sample:
        records = [
            record
            for record in results["records"]
            if (record["check"], record["method"]) == (DEAD_ZONE, explainer)
        ]
        wrong = _zone_wrong(results, records, explainer) or _failed(records)
        if wrong:
            return stopped(Decision.ERROR, wrong)
        by_image: dict[str, list[tuple[Any, str]]] = {}
        for record in records:
            by_image.setdefault(record["image"], []).append(value(record))
        images = [one["id"] for one in results["images"] if one["id"] in by_image]
        cells, kinds = [], set()
        for image in images:
            for found, status in by_image[image]:
                undefined = found is None and status in _UNDEFINED
                if not undefined and not (status == "ok" and number(found) and low <= found <= 1):
                    wrong = f"image {image} has the status {status!r} with the figure {found!r}"
                    return stopped(Decision.ERROR, wrong)
            defined = [float(found) for found, _ in by_image[image] if found is not None]
            cells.append(sum(defined) / len(defined) if defined else math.nan)
            kinds |= set() if defined else {status for _, status in by_image[image]}
        left = len(results["images"]) - len(images)
        remark = f"{left} images were left out, as it runs the model many times" if left else ""
        return judged(
            results, np.array([cells]), images, kinds, context=_zone_context(results), remark=remark
        )

    return take


def _zone_wrong(results: Results, records: list[Any], explainer: str) -> str:
    """Why the records of an explainer cannot be relied on, or nothing."""
    if not records:
        return f"the run has no record of {explainer!r} in the check dead-zone"
    if results["zone"].get("verified") is not True:
        return "the dead zone was not verified, so nothing is known of what the model sees"
    known = [one["id"] for one in results["images"]]
    seen = Counter(record["image"] for record in records)
    several = _asked(results) != _TOP
    maps = Counter((one["image"], one["target"] if several else None) for one in records)
    twice = [(image, count) for (image, _), count in maps.items() if count > 1]
    if twice:
        of = " of one class" if several else ""
        return f"image {twice[0][0]!r} has {twice[0][1]} records{of}, expected one"
    strange = sorted(set(seen) - set(known))
    if strange:
        return f"a record is of image {strange[0]!r}, which the run does not list"
    if set(seen) not in (set(known), set(known[: _first(results)])):
        return (
            f"{len(seen)} of {len(known)} images have a record: the run is not whole; run it again"
        )
    return _miscounted(results, records, explainer)


def _miscounted(results: Results, records: list[Any], explainer: str) -> str:
    """Whether the run's own summary speaks of other records than there are."""
    lines = [
        line
        for line in results["summary"]
        if (line["check"], line["method"]) == (DEAD_ZONE, explainer)
    ]
    counts = [sum(int(line.get("targets", line)[name]) for name in _COUNTS) for line in lines]
    images = [sum(int(line[name]) for name in _COUNTS) for line in lines]
    if counts != [len(records)]:
        return f"the run's summary counts {counts} records of it, and there are {len(records)}"
    if images != [len({record["image"] for record in records})]:
        return f"the run's summary counts {images} images of it, and its records are of others"
    return ""


def _asked(results: Results) -> str:
    """Which classes the run explains; runs before there was a choice explain the top-1."""
    return str(results["settings"].get("targets", _TOP))


def _first(results: Results) -> int:
    """How many images, from the first on, the methods take that run the model many times."""
    settings = results["settings"]
    most = settings.get("perturbation_images")
    if most is None:
        most = 8 if settings.get("images") or settings.get("data") else 2
    origins = Counter(one.get("data") for one in results["images"])
    return sum(min(int(most), found) for found in origins.values())


def _failed(records: list[Any]) -> str:
    """What went wrong on the walled model or its twin, or nothing."""
    wrong = [
        record
        for record in records
        if "error" in (record["status"], (record.get("unmasked") or {}).get("status"))
    ]
    if not wrong:
        return ""
    why = wrong[0].get("message") or "no message"
    return f"it failed on {len(wrong)} of {len(records)} images: {why}"


def _zone_context(results: Results) -> dict[str, Any]:
    zone = results["zone"]
    return {
        "layer": results["subject"].get("layer"),
        "dead zone": (zone.get("scored_fraction"), zone.get("scored_rows"), zone["feature_dead"]),
        "preprocessing": (results["subject"].get("preprocess") or {}).get("name"),
        "image size": results["settings"].get("image_size"),
        "targets": _asked(results),
    }


def _of_record(name: str) -> _Value:
    def value(record: Mapping[str, Any]) -> tuple[Any, str]:
        status = record["status"]
        if name == "mu_l1_minmax" and status == "ok" and record[name] is None:
            status = "degenerate"  # a constant map has no min-max form
        return record[name], status

    return value


def _of_twin(record: Mapping[str, Any]) -> tuple[Any, str]:
    twin = record["unmasked"]
    return (None, "not applicable") if twin is None else (twin["mu_l1"], twin["status"])


def _difference(record: Mapping[str, Any]) -> tuple[Any, str]:
    (walled, status), (twin, twin_status) = _of_record("mu_l1")(record), _of_twin(record)
    if status == twin_status == "ok":
        return walled - twin, "ok"
    return None, twin_status if status == "ok" else status


TAKES: dict[str, Take] = {
    "dead_zone.mu_l1": _dead_zone(_of_record("mu_l1")),
    "dead_zone.mu_l2": _dead_zone(_of_record("mu_l2")),
    "dead_zone.mu_l1_minmax": _dead_zone(_of_record("mu_l1_minmax")),
    "dead_zone.unmasked": _dead_zone(_of_twin),
    "dead_zone.difference": _dead_zone(_difference, low=-1),
}  #: by the figure's name
