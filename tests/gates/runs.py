"""results.json objects of small runs, and policies on them."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from camaudit.gates.policy import Bound, Condition, Policy, Relation
from tests.invariance_results import make_invariance
from tests.sanity_results import make_sanity

TODAY = datetime.date(2026, 1, 15)
SHA = "ab" * 32


def cells(
    count: int = 50, *, mean: float = 0.1, deviation: float = 0.02, seed: int = 0
) -> list[float]:
    """Scores around a mean."""
    drawn = np.random.default_rng(seed).normal(mean, deviation, count)
    return [float(value) for value in np.clip(drawn, 0, 1)]


def record(
    method: str, image: str, value: float | None, status: str = "ok", **changes: Any
) -> dict[str, Any]:
    """One record of the dead zone."""
    return {
        "check": "dead-zone", "method": method, "image": image, "target": 3, "target_name": None,
        "mu_l1": value, "mu_l2": value, "mu_l1_minmax": value, "status": status,
        "message": "RuntimeError: out of memory" if status == "error" else None,
        "unmasked": None,
    } | changes  # fmt: skip


def summary(method: str, records: Sequence[Mapping[str, Any]], family: str) -> dict[str, Any]:
    """The counts of a method's summary line."""
    statuses = [one["status"] for one in records]
    return {
        "check": "dead-zone", "method": method, "family": family, "n": statuses.count("ok"),
        "degenerate": statuses.count("degenerate"),
        "not_applicable": statuses.count("not applicable"), "errors": statuses.count("error"),
    }  # fmt: skip


def dead_zone_run(
    scores: Mapping[str, Sequence[float | str | None]] | None = None, **changes: Any
) -> dict[str, Any]:
    """A run of the check dead-zone; in place of a score None is degenerate, a text a status."""
    given = {"gradcam": cells(), "uniform": [0.4] * 50} if scores is None else dict(scores)
    count = max((len(values) for values in given.values()), default=50)
    names = [f"image-{number}" for number in range(count)]
    records, lines = [], []
    for method, values in given.items():
        own = [
            record(method, image, None, value)
            if isinstance(value, str)
            else record(method, image, value, "degenerate" if value is None else "ok")
            for image, value in zip(names, values, strict=False)
        ]
        records += own
        lines.append(summary(method, own, "control" if method == "uniform" else "gradient"))
    return {
        "schema": 1, "camaudit": "0.1.0",
        "environment": {"python": "3.11.9", "torch": "2.8.0"},
        "subject": {"model": "Small", "layer": "features", "weights_sha256": SHA,
                    "state_sha256": "cd" * 32, "images_sha256": "ef" * 32,
                    "preprocess": {"name": "imagenet"}},
        "zone": {"feature_dead": [[0], [1]], "pixel_dead_rows": [4], "scored_fraction": 0.4,
                 "scored_rows": [4], "why": "a wall", "verified": True},
        "settings": {"model": "torchvision:vgg16", "layer": "features", "seed": 0,
                     "checks": ["dead-zone"], "methods": list(given), "num_images": count,
                     "images": "photos", "image_size": 32, "perturbation_images": None},
        "images": [{"id": name, "sha256": hashlib.sha256(name.encode()).hexdigest()}
                   for name in names],
        "warnings": [], "records": records, "summary": lines, "timing": {},
    } | changes  # fmt: skip


def sanity_run(
    methods: Sequence[str] = ("gradcam", "sobel"), images: int = 7, **options: Any
) -> dict[str, Any]:
    """A run of all sanity checks."""
    made = dead_zone_run({})
    made["images"] = made["images"][:images]
    made["zone"] = {}
    made["settings"] |= {"methods": list(methods)}
    made["sanity"] = make_sanity(methods=methods, images=images, **options)
    return made


def invariance_run(**options: Any) -> dict[str, Any]:
    """A run of the invariance check."""
    made = dead_zone_run({})
    made["zone"] = {}
    made["invariance"] = make_invariance(**options)
    return made


def condition(
    figure: str = "dead_zone.mu_l1",
    relation: Relation = "<=",
    bound: float | Bound = 0.2,
    **changes: Any,
) -> Condition:
    """A condition, named after its figure."""
    given = Bound(offset=bound) if isinstance(bound, (int, float)) else bound
    values = {"name": figure, "figure": figure, "relation": relation, "bound": given}
    return Condition(**(values | changes))


def policy(*conditions: Condition, **changes: Any) -> Policy:
    """A policy of conditions."""
    return Policy(path=Path("camaudit.toml"), conditions=conditions, **changes)
