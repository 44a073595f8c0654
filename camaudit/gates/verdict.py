"""What a gate decided: one ruling a condition and explainer, and the exit code of all together."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from camaudit.gates.policy import Condition, Waiver
from camaudit.gates.record import verdict_record

__all__ = ["Decision", "Ruling", "Verdict"]


class Decision(StrEnum):
    """What became of one condition of one explainer."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    NOT_APPLICABLE = "not applicable"
    DEGENERATE = "degenerate"
    ERROR = "error"


@dataclass(frozen=True, kw_only=True)
class Ruling:
    """One condition, one explainer, decided.

    value: the figure's mean over `n` units (images, mostly), low and high: its 95 % interval;
    None where undefined. bound: what it was held against, as a number (the mean of a reference).
    p_pass, p_fail: Holm-adjusted p-values of the two one-sided tests; None for counts, which are
    decided as they are. more: how many more images would decide, as far as can be told; None
    where nothing is open. worst: images with the worst figures, worst first. waiver: the one that
    covers a failure.
    """

    condition: Condition
    explainer: str
    decision: Decision
    reason: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    bound: float | None = None
    n: int = 0
    undefined: int = 0
    p_pass: float | None = None
    p_fail: float | None = None
    more: int | None = None
    worst: tuple[tuple[str, float], ...] = ()
    waiver: Waiver | None = None

    @property
    def name(self) -> str:
        """As a test has it: `dead-zone[gradcam]`."""
        return f"{self.condition.name}[{self.explainer}]"

    @property
    def binds(self) -> bool:
        """Whether it decides: of severity "fail" and not waived, or what could not be carried out.

        A waiver covers what failed or is inconclusive; that a check broke is neither a warning nor
        a thing to waive.
        """
        if self.decision is Decision.ERROR:
            return True
        waived = self.waiver is not None and self.decision in _WAIVABLE
        return self.condition.severity == "fail" and not waived


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """All rulings of a policy on a run.

    `problems` are what keeps the whole from passing besides the rulings: a run of another model,
    a hash that does not match, nothing to decide on. `notes` are for the reader.
    """

    policy: str
    rulings: tuple[Ruling, ...]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def binding(self) -> tuple[Ruling, ...]:
        """The rulings that decide: see :attr:`Ruling.binds`."""
        return tuple(ruling for ruling in self.rulings if ruling.binds)

    @property
    def decision(self) -> Decision:
        """Of the whole: the gravest of what binds; where nothing does, it is inconclusive.

        With a problem the run is not the one that the policy is about: an error, whatever its
        figures are.
        """
        if self.problems:
            return Decision.ERROR
        found = {ruling.decision for ruling in self.binding}
        for grave in _GRAVEST:
            if grave in found:
                return grave
        return Decision.PASS if found == {Decision.PASS} else Decision.INCONCLUSIVE

    @property
    def exit_code(self) -> int:
        """0 pass, 1 fail, 3 error, 4 nothing could be decided."""
        return {Decision.PASS: 0, Decision.FAIL: 1, Decision.ERROR: 3}.get(self.decision, 4)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of gate.json; raises AuditError where a figure is NaN or infinite."""
        return verdict_record(self)


_WAIVABLE = (Decision.FAIL, Decision.INCONCLUSIVE)
_GRAVEST = (
    Decision.FAIL, Decision.ERROR, Decision.DEGENERATE, Decision.INCONCLUSIVE,
    Decision.NOT_APPLICABLE,
)  # fmt: skip
