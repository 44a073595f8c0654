"""The figures that conditions are put on: what they mean, which check gives them, their range."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from camaudit.errors import DuplicateNameError, UnknownNameError
from camaudit.gates.names import CHECKS, DEAD_ZONE, INVARIANCE, near

__all__ = ["FIGURES", "Figure", "Unit", "figure_named", "register_figure"]

Unit = Literal["image", "seed × image", "draw × image", "model × image", "finding"]


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A figure of one explainer in a run.

    name: dotted, `group.figure`. check: the check that gives it. unit: what its mean is taken
    over; findings are counted instead. low, high: its range, ends included. better: the direction
    in which an explainer is better, for comparisons of runs. meaning: in a line. uniform: whether
    a flat map has a known value, so that a bound may be `uniform`.
    """

    name: str
    check: str
    unit: Unit
    low: float
    high: float
    better: Literal["lower", "higher"]
    meaning: str
    uniform: bool = False

    @property
    def count(self) -> bool:
        """Whether it is a number of findings, decided as it is, without statistics."""
        return self.unit == "finding"


#: By name, in the order of the checks; :func:`register_figure` adds.
FIGURES: dict[str, Figure] = {}


def register_figure(figure: Figure) -> Figure:
    """Make `figure` known to policies.

    Raises :class:`DuplicateNameError` for a name that is taken, and ValueError for a check that
    does not exist or an empty range.
    """
    if figure.name in FIGURES:
        raise DuplicateNameError(
            f"the figure {figure.name!r} is registered already; choose another name"
        )
    if figure.check not in CHECKS or not figure.low < figure.high:
        raise ValueError(f"expected a check among {', '.join(CHECKS)} and low < high; got {figure}")
    FIGURES[figure.name] = figure
    return figure


def figure_named(name: str) -> Figure:
    """The figure of that name; :class:`UnknownNameError` lists the near ones."""
    if name not in FIGURES:
        raise UnknownNameError(f"unknown figure {name!r}: {near(name, FIGURES)}")
    return FIGURES[name]


def _mass(name: str, meaning: str, *, low: float = 0.0, uniform: bool = True) -> None:
    register_figure(
        Figure(
            name=f"dead_zone.{name}",
            check=DEAD_ZONE,
            unit="image",
            low=low,
            high=1.0,
            better="lower",
            meaning=meaning,
            uniform=uniform,
        )
    )


def _similarity(name: str, check: str, unit: Unit, meaning: str) -> None:
    register_figure(
        Figure(
            name=name, check=check, unit=unit, low=-1.0, high=1.0, better="lower", meaning=meaning
        )
    )


def _effect(name: str, check: str) -> None:
    register_figure(
        Figure(
            name=name,
            check=check,
            unit="seed × image",
            low=-2.0,
            high=2.0,
            better="lower",
            meaning="that similarity minus the one of two random models: 0 where nothing is left "
            "of the trained model",
        )
    )


def _findings(name: str, meaning: str) -> None:
    register_figure(
        Figure(
            name=f"invariance.{name}",
            check=INVARIANCE,
            unit="finding",
            low=0.0,
            high=math.inf,
            better="lower",
            meaning=meaning,
        )
    )


_mass("mu_l1", "share of the map (L1) in the dead zone, which the model cannot see")
_mass("mu_l2", "the same share by Euclidean norms")
_mass("mu_l1_minmax", "mu_l1 after min-max normalisation, which is what users look at")
_mass("unmasked", "mu_l1 of the same model without the wall", uniform=False)
_mass("difference", "mu_l1 minus unmasked, image by image", low=-1.0, uniform=False)
_similarity(
    "mprt.similarity", "mprt", "seed × image",
    "rank correlation of the maps of the trained model and of the wholly random one",
)  # fmt: skip
_effect("mprt.effect", "mprt")
_similarity("smprt.similarity", "smprt", "seed × image", "the same on noisy copies of each image")
_effect("smprt.effect", "smprt")
register_figure(
    Figure(
        name="emprt.rise",
        check="emprt",
        unit="seed × image",
        low=-1.0,
        high=math.inf,
        better="higher",
        meaning="relative rise of the map's entropy when the parameters become random",
    )
)
_similarity(
    "random_logit.similarity", "random-logit", "draw × image",
    "rank correlation of the maps of the top-1 class and of another class",
)  # fmt: skip
_similarity(
    "data_randomisation.similarity", "data-randomisation", "model × image",
    "rank correlation with the maps of a model trained on permuted labels",
)  # fmt: skip
_findings("bugs", "properties that the explainer violates although its definition promises them")
_findings("faults", "properties on which it gave no maps that can be compared")
_findings("different", "whether its maps are others than those of the method that it claims to be")
