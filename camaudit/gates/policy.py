"""What a repository demands of its explanations, as frozen values.

`camaudit.gates.reading` makes them of camaudit.toml or `[tool.camaudit]` in pyproject.toml.
"""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

__all__ = ["BASELINE", "UNIFORM", "Bound", "Condition", "Policy", "Relation", "Severity", "Waiver"]

BASELINE = "baseline"  #: reference: the same figure of the same explainer in the baseline run
UNIFORM = "uniform"  #: reference: what a flat map scores, the area of the scored zone
Relation = Literal["<=", "<", ">=", ">", "=="]


class Severity(StrEnum):
    """What a condition that fails does: end the build, or be reported."""

    FAIL = "fail"
    WARN = "warn"


@dataclass(frozen=True, kw_only=True)
class Bound:
    """`factor · reference + offset`; without a reference, `offset` alone.

    `reference` is :data:`BASELINE`, :data:`UNIFORM`, or the label of another explainer of the run.
    """

    reference: str | None = None
    factor: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Condition:
    """`figure relation bound` for each of `explainers`.

    `figure` is a dotted name of :mod:`camaudit.gates.figures`, such as dead_zone.mu_l1. No
    explainers: all of the run but the controls. `text` is the condition as it was written, `line`
    where (from 1).
    """

    name: str
    figure: str
    relation: Relation
    bound: Bound
    explainers: tuple[str, ...] = ()
    severity: Severity = Severity.FAIL
    text: str = ""
    line: int = 0


@dataclass(frozen=True, kw_only=True)
class Waiver:
    """A condition that may fail until `expires` (that day included), and why.

    explainer: the one that is waived; None for all of the condition's.
    """

    condition: str
    reason: str
    expires: datetime.date
    explainer: str | None = None
    line: int = 0


@dataclass(frozen=True, kw_only=True)
class Policy:
    """A policy: what is audited, how, and what must hold.

    `settings` are those of a run, by the names of `camaudit run`'s options with underscores
    (model, weights, layer, images, checks, num_images, seed, …), paths as they were written,
    relative to the policy's folder. `pins` are hashes that the run must have: weights_sha256,
    images_sha256, state_sha256.
    """

    path: Path
    conditions: tuple[Condition, ...]
    waivers: tuple[Waiver, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    pins: dict[str, str] = field(default_factory=dict)
    baseline: Path | None = None
    escalate: int | None = None
    sha256: str = ""

    @property
    def folder(self) -> Path:
        """Where relative paths begin."""
        return self.path.parent
