"""What an evaluation found, as frozen values that become JSON; `None` always means undefined."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from camaudit.types import Interval, plain

__all__ = ["Evaluation", "MeanCurve", "Missing", "Remark", "Row"]


class Missing(StrEnum):
    """Why a metric has no value for a method on an image."""

    NOT_RUN = "not run"
    NOT_APPLICABLE = "not applicable"
    ERROR = "error"
    NOT_FINITE = "map not finite"
    CONSTANT = "constant map"
    NO_REGION = "no labelled region"
    UNDEFINED = "undefined"


@dataclass(frozen=True)
class Row:
    """One metric of one method: a value an image, its mean, and why values are missing.

    `rivals` numbers the group of methods that Win % is taken among; None for other metrics.
    `missing` counts images without a value, by reason; `not run` are those that the method was
    not asked for.
    """

    metric: str
    method: str
    values: tuple[float | None, ...]
    mean: Interval
    missing: dict[str, int]
    rivals: int | None = None


@dataclass(frozen=True)
class MeanCurve:
    """A method's insertion or deletion curve: mean over `n` images, and those of the first ones.

    `values[k]` belongs to the share k/(len − 1) of the steps; `images` maps places of images to
    their own curves. `tied` is the mean share of pixels whose order a draw decided.
    """

    metric: str
    method: str
    n: int
    values: tuple[float, ...]
    images: dict[int, tuple[float, ...]]
    tied: float | None


@dataclass(frozen=True)
class Remark:
    """What went wrong with a method: `outcome` and `reason` on these `images`."""

    method: str
    outcome: str
    reason: str
    images: tuple[int, ...]


@dataclass(frozen=True)
class Evaluation:
    """Everything that an evaluation found; the schema of results.json describes it.

    `targets` are the explained classes and `probabilities` the model's for them, None for an image
    without finite logits or of a model with a single class; `forwards` counts images that went
    through the model, by purpose. `notes` are sentences for the reader of the run.
    """

    settings: dict[str, Any]
    targets: tuple[int | None, ...]
    probabilities: tuple[float | None, ...]
    rows: tuple[Row, ...]
    curves: tuple[MeanCurve, ...]
    comparison: dict[str, Any]
    forwards: dict[str, int]
    remarks: tuple[Remark, ...]
    seconds: dict[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of results.json, without timings and notes."""
        found = plain(asdict(self))
        del found["seconds"], found["notes"]
        for curve in found["curves"]:
            curve["images"] = {str(place): values for place, values in curve["images"].items()}
        result: dict[str, Any] = found
        return result
