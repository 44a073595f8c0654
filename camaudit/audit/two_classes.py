"""Images of two classes: the map of the class that the model sees, beside that of the other one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from camaudit.audit.summary import by_image
from camaudit.metrics.statistics import bootstrap_mean
from camaudit.types import Interval, Record, Status

__all__ = ["ROLES", "two_class_figures"]

ROLES = ("seen", "unseen")

_Value = Callable[[Record], float | None]


def two_class_figures(
    records: Sequence[Record],
    top1: Mapping[str, int | None],
    *,
    families: Mapping[str, str],
    seed: int,
) -> dict[str, Any]:
    """What results.json holds under `targets`; empty where no image shows two classes.

    Of every method of `families` μ (L1) of the seen and of the unseen class's maps, each as a mean
    over images with its interval, the paired `difference` unseen − seen over images where both are
    defined, and both on the model without the wall. Maps without a figure are counted by role.
    `top1` is the walled model's class of each image by its id; what share of the images have the
    seen, and the unseen, class there says what the model makes of them.
    """
    own = [record for record in records if record.role in ROLES]
    if not own:
        return {}
    images = {record.image for record in own}
    of_role = {role: {r.image: r.target for r in own if r.role == role} for role in ROLES}
    return {
        "images": len(images),
        "top1": {
            role: sum(top1.get(image) == target for image, target in found.items()) / len(found)
            for role, found in of_role.items()
        },
        "methods": [
            _figures(method, family, [r for r in own if r.method == method], seed)
            for method, family in families.items()
        ],
    }


def _figures(method: str, family: str, records: Sequence[Record], seed: int) -> dict[str, Any]:
    parts = {role: [r for r in records if r.role == role] for role in ROLES}
    with_wall = {role: by_image(part, _mu) for role, part in parts.items()}
    without = {role: by_image(part, _mu_unmasked) for role, part in parts.items()}
    has_twin = any(record.unmasked is not None for record in records)
    return {
        "method": method,
        "family": family,
        **{role: asdict(_interval(with_wall[role].values(), seed)) for role in ROLES},
        "difference": asdict(_interval(_gaps(with_wall["seen"], with_wall["unseen"]), seed)),
        "unmasked": {role: asdict(_interval(without[role].values(), seed)) for role in ROLES}
        if has_twin
        else None,
        "undefined": {
            role: sum(record.status is not Status.OK for record in part)
            for role, part in parts.items()
        },
    }


def _gaps(
    seen: Mapping[str, float | None], unseen: Mapping[str, float | None]
) -> list[float | None]:
    found = []
    for image, value in unseen.items():
        other = seen.get(image)
        found.append(None if value is None or other is None else value - other)
    return found


def _interval(values: Any, seed: int) -> Interval:
    return bootstrap_mean([value for value in values if value is not None], seed=seed)


def _mu(record: Record) -> float | None:
    return record.mu_l1


def _mu_unmasked(record: Record) -> float | None:
    return None if record.unmasked is None else record.unmasked.mu_l1
