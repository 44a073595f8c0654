"""What a sanity check found, as frozen values that become JSON; `None` always means undefined."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any

from camaudit.types import Interval, plain

__all__ = ["Curve", "Effect", "Null", "Outcome", "Remark", "SanityResult", "Step", "Table"]


class Outcome(StrEnum):
    """What became of one method on one image at one step; only SCORED has a value."""

    SCORED = "scored"
    UNCHANGED = "unchanged by construction"
    UNDEFINED = "undefined"
    NOT_APPLICABLE = "not applicable"
    ERROR = "error"


@dataclass(frozen=True)
class Step:
    """Step `number` (from 1) of a cascade: the layers up to `layer` are random, `random` in all.

    In the independent order `layer` is random alone, in the order "all" it is "all layers".
    `above`: every layer that is random now runs after the target layer, whose maps are unchanged.
    """

    order: str
    number: int
    layer: str
    above: bool
    random: int


@dataclass(frozen=True)
class Remark:
    """Why `count` cells hold no value, or (`outcome` None) what a reader must know of a layer.

    The cells lie among `seeds` × `steps` × `images` of `similarities`; for the null, seeds are
    places of pairs, and a table has no steps.
    """

    reason: str
    outcome: Outcome | None = None
    check: str | None = None
    order: str | None = None
    method: str | None = None
    similarities: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    steps: tuple[int, ...] = ()
    images: tuple[int, ...] = ()
    count: int = 0
    layer: str | None = None


@dataclass(frozen=True)
class Curve:
    """Similarity to the original map along a cascade: `values[seed][step][image]`."""

    check: str
    order: str
    method: str
    similarity: str
    values: tuple[tuple[tuple[float | None, ...], ...], ...]


@dataclass(frozen=True)
class Null:
    """Similarity of the maps of two models that are both wholly random: `values[pair][image]`.

    `pairs` are the two seeds.
    """

    check: str
    method: str
    similarity: str
    pairs: tuple[tuple[int, int], ...]
    values: tuple[tuple[float | None, ...], ...]


@dataclass(frozen=True)
class Table:
    """Figures of a check without a cascade: `values[row][image]`; `rows` says what a row is.

    eMPRT: (H_rand − H_orig)/H_orig, a row a seed. Random logit: similarity of the maps of two
    classes, a row a draw. Data randomisation: similarity of the two models' maps, one row.
    """

    check: str
    method: str
    figure: str
    rows: str
    values: tuple[tuple[float | None, ...], ...]
    mean: Interval


@dataclass(frozen=True)
class Effect:
    """How far a step's maps are from the null: `distance` = mean similarity − mean of the null.

    `similarity` and `null` are the two means; intervals are over seeds crossed with images.
    """

    check: str
    order: str
    method: str
    figure: str
    step: int
    similarity: Interval
    null: Interval
    distance: Interval


@dataclass(frozen=True)
class SanityResult:
    """Everything that one run of the sanity checks found, without tensors."""

    settings: dict[str, Any]
    layers: tuple[str, ...]
    steps: tuple[Step, ...]
    curves: tuple[Curve, ...] = ()
    nulls: tuple[Null, ...] = ()
    effects: tuple[Effect, ...] = ()
    tables: tuple[Table, ...] = ()
    remarks: tuple[Remark, ...] = ()
    targets: tuple[int, ...] = ()
    timing: dict[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values: enums as their values, undefined as null."""
        found: dict[str, Any] = plain(asdict(self))
        return found
