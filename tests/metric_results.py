"""Results as a run of the metrics leaves them: made-up figures an image, compared for real."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any
from zlib import crc32

import numpy as np

import camaudit.evaluation.run  # noqa: F401 - registers every metric
from camaudit.evaluation.outcomes import Row
from camaudit.evaluation.protocols import protocol
from camaudit.evaluation.ranking import comparison
from camaudit.evaluation.tables import protocol_tables
from camaudit.metrics.registry import METRICS
from camaudit.metrics.statistics import bootstrap_mean
from camaudit.types import Provenance, Results, plain

IMAGES = 12
COSTLY = 10  # images of ScoreCAM
FAMILIES = {
    "gradcam": "gradient", "gradcam++": "gradient", "layercam": "gradient",
    "eigencam": "decomposition", "scorecam": "perturbation", "cam": "activation",
    "broken": "plugin", "uniform": "control", "sobel": "control",
}  # fmt: skip
#: How well a method is made to do, from 0 to 1.
SKILL = {"gradcam": 0.55, "gradcam++": 0.5, "layercam": 0.62, "eigencam": 0.35, "scorecam": 0.9,
         "sobel": 0.1}  # fmt: skip
CHECKS = {
    "confidence": ("average-drop", "increase-in-confidence", "drop-in-logit", "win"),
    "adcc": ("coherency", "map-complexity", "adcc"),
    "insertion-deletion": ("insertion-auc", "deletion-auc"),
    "localisation": ("pointing-game", "iou"),
    "sparsity": ("sparseness",),
}
LABELS = "localisation"
STEPS = 40
REASON = "RuntimeError: out of memory"


def value(rng: np.random.Generator, metric: str, skill: float) -> float:
    """A figure in the metric's range, the better the higher the skill."""
    info = METRICS[metric].info
    good = skill if info.direction != "lower" else 1 - skill
    share = float(np.clip(good + rng.normal(0, 0.08), 0, 1))
    if metric in ("increase-in-confidence", "pointing-game"):
        share = float(share > 0.5)
    if metric == "drop-in-logit":
        return 8 * share - 2
    return share * (100 if info.unit == "%" else 1)


def reason_of(method: str, metric: str, image: int) -> str | None:
    """Why a method has no value on an image; None where it has one."""
    if method in ("cam", "broken", "uniform"):
        return {"cam": "not applicable", "broken": "error", "uniform": "constant map"}[method]
    if method == "scorecam" and image >= COSTLY:
        return "not run"
    if METRICS[metric].info.check == LABELS and image < 2:
        return "no labelled region"
    return None


def make_row(metric: str, method: str, values: Sequence[float | None], rivals: int | None) -> Row:
    missing: dict[str, int] = {}
    for image, one in enumerate(values):
        if one is None:
            reason = reason_of(method, metric, image) or "not run"
            missing[reason] = missing.get(reason, 0) + 1
    mean = bootstrap_mean([one for one in values if one is not None], seed=0)
    return Row(metric, method, tuple(values), mean, missing, rivals)


def wins(rows: Sequence[Row], groups: Sequence[Sequence[str]]) -> list[Row]:
    """Win % of each group from the average drops."""
    drops = {row.method: row.values for row in rows if row.metric == "average-drop"}
    made = []
    for number, group in enumerate(groups):
        least = [
            min((drop for name in group if (drop := drops[name][image]) is not None), default=None)
            for image in range(IMAGES)
        ]
        for name in group:
            values = [
                None if drop is None else 100.0 * (drop == least[image])
                for image, drop in enumerate(drops[name])
            ]
            made.append(make_row("win", name, values, number))
    return made


def curve(level: float, *, falling: bool) -> list[float]:
    """A rising or falling course of a probability."""
    shares = [number / STEPS for number in range(STEPS + 1)]
    rising = [0.02 + 0.8 * share ** (1.5 - level) for share in shares]
    return rising[::-1] if falling else rising


def make_curves(methods: Sequence[str]) -> list[dict[str, Any]]:
    """Insertion and deletion curves of every method that has any."""
    return [
        {"metric": metric, "method": method, "n": COSTLY if method == "scorecam" else IMAGES,
         "values": curve(SKILL[method], falling=metric == "deletion-auc"),
         "images": {str(image): curve(SKILL[method] * (1 - 0.1 * image),
                                      falling=metric == "deletion-auc") for image in range(3)},
         "tied": 0.42 if method == "eigencam" else 0.0}
        for metric in ("insertion-auc", "deletion-auc") for method in methods if method in SKILL
    ]  # fmt: skip


def make_metrics(
    *,
    checks: Sequence[str] = tuple(CHECKS),
    methods: Sequence[str] = tuple(FAMILIES),
    rivals: Sequence[Sequence[str]] = (),
    on: str = "model",
) -> dict[str, Any]:
    """`Results.metrics` of a run of `checks`."""
    rows = []
    names = [metric for check in checks for metric in CHECKS[check] if metric != "win"]
    for method in methods:
        for metric in names:
            rng = np.random.default_rng(crc32(f"{metric} {method}".encode()))
            values = [
                None if reason_of(method, metric, image)
                else value(rng, metric, SKILL[method]) for image in range(IMAGES)
            ]  # fmt: skip
            rows.append(make_row(metric, method, values, None))
    if "confidence" in checks:
        rows += wins(rows, rivals or [methods])
        names.append("win")
    return {
        "settings": {
            "checks": list(checks), "baseline": "mean", "pixels_per_step": 224, "tolerance": 0,
            "threshold": 0.2, "samples": 10, "noise": 0.1, "radius": 0.02,
            "rivals": [list(group) for group in rivals], "seed": 0, "methods": list(methods),
        },
        "targets": list(range(IMAGES)),
        "probabilities": [0.5 + 0.04 * image for image in range(IMAGES)],
        "rows": [plain(asdict(row)) for row in rows],
        "curves": make_curves(methods) if "insertion-deletion" in checks else [],
        "comparison": comparison(rows, methods, seed=0),
        "forwards": {"images": IMAGES, "masked": 60, "insertion and deletion": 21_400},
        "remarks": [
            {"method": method, "outcome": outcome, "reason": reason, "images": list(range(IMAGES))}
            for method, outcome, reason in (
                ("cam", "not applicable", "the head is no pooled Linear"),
                ("broken", "error", REASON),
            ) if method in methods
        ],
        "on": on,
        "families": {method: FAMILIES.get(method, "gradient") for method in methods},
        "infos": {name: info_of(name) for name in names},
    }  # fmt: skip


def info_of(name: str) -> dict[str, Any]:
    """The metric's own description, an infinite end of its range being None."""
    return {
        key: None if isinstance(part, float) and math.isinf(part) else part
        for key, part in vars(METRICS[name].info).items()
    }


def make_protocol(spec: str = "scorecam++") -> dict[str, Any]:
    """`Results.protocol` with made-up figures: later methods of a table do better."""
    rng = np.random.default_rng(9)

    def values(metric: str, method: str, group: tuple[str, ...]) -> list[float] | None:
        if method == "layercam":
            return None
        if metric.startswith("mu_"):
            return [float(share) for share in rng.uniform(0, 0.4, IMAGES)]
        skill = 0.35 + 0.4 * group.index(method) / len(group)
        return [value(rng, metric, skill) for _ in range(IMAGES)]

    return protocol_tables(protocol(spec), values, seed=0)


def make_metric_results(**changes: Any) -> Results:
    """A run of the metrics alone."""
    values: dict[str, Any] = {
        "camaudit": "0.1.0",
        "provenance": Provenance(
            environment={"python": "3.11.9", "torch": "2.8.0", "device": "cpu", "threads": 2},
            subject={"model": "lite0", "class": "EfficientNetLite", "layer": "features.8",
                     "weights": "package"},
            zone={}, settings={"seed": 0},
            images=[{"id": f"cat-{number}.jpg"} for number in range(IMAGES)],
        ),
        "records": [], "summary": [], "timing": {"total_seconds": 9.5},
    }  # fmt: skip
    if "metrics" not in changes:
        changes["metrics"] = make_metrics()
    return Results(**(values | changes))
