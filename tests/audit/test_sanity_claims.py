"""Verdicts of the sanity checks from figures that are written down."""

from __future__ import annotations

from typing import Any

import pytest

from camaudit.audit.sanity_claims import ALIKE, sanity_claims, wall_claims
from camaudit.sanity import Curve, Effect, Outcome, Remark, SanityResult, Step, Table
from camaudit.types import Claim, ClaimOutcome, Interval, Summary

NOTHING = Interval(0, None, None, None, None)


def interval(mean: float, low: float | None, high: float | None, n: int = 12) -> Interval:
    return Interval(n, mean, low, high, None)


def cascade(mean: Interval, last: tuple[float | None, ...], **options: Any) -> Claim:
    """The claim of a cascade of two steps whose last one has these cells (for each seed)."""
    curve = Curve("mprt", options.get("order", "top-down"), "gradcam", "spearman",
                  (((0.99,) * len(last), last),) * 2)  # fmt: skip
    effects = [
        Effect("mprt", curve.order, "gradcam", "spearman", step, found, interval(0.1, None, None),
               NOTHING)
        for step, found in ((1, interval(0.99, 0.98, 1.0)), (2, mean))
    ]  # fmt: skip
    found = SanityResult(
        settings={"checks": ["mprt"], "similarities": ["spearman"]},
        layers=("a", "b"),
        steps=(Step(curve.order, 1, "b", True, 1), Step(curve.order, 2, "a", False, 2)),
        curves=(curve,),
        effects=tuple(effects),
        remarks=options.get("remarks", ()),
    )
    (claim,) = sanity_claims(found, {"gradcam": "gradient"})
    return claim


def remark(outcome: Outcome, reason: str, *, step: int = 2) -> tuple[Remark, ...]:
    return (
        Remark(
            reason, outcome, "mprt", "top-down", "gradcam", ("spearman",), (0,), (step,), (0,), 1
        ),
    )


def table(check: str, mean: Interval, figure: str = "spearman") -> Claim:
    cells = ((0.2, 0.4, 0.3),)
    found = SanityResult(
        settings={"checks": [check], "similarities": ["spearman"]}, layers=(), steps=(),
        tables=(Table(check, "gradcam", figure, "seed", cells, mean),),
    )  # fmt: skip
    (claim,) = sanity_claims(found, {"gradcam": "gradient"})
    return claim


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [
        (0.1, ALIKE, ClaimOutcome.PASS),
        (0.4, 0.6, ClaimOutcome.INCONCLUSIVE),
        (ALIKE, 0.9, ClaimOutcome.INCONCLUSIVE),
        (0.51, 0.9, ClaimOutcome.FAIL),
        (None, None, ClaimOutcome.INCONCLUSIVE),
    ],
)
def test_the_interval_at_the_last_step_decides(
    low: float | None, high: float | None, outcome: ClaimOutcome
) -> None:
    claim = cascade(interval(0.45, low, high), (0.4, 0.5))
    assert claim.outcome is outcome
    assert (claim.figure, claim.relation, claim.bound) == (0.45, "≤", ALIKE)
    assert claim.statement.startswith("GradCAM does not outlive")
    assert "4 of 4 cells" in claim.detail
    assert "two random models: 0.100" in claim.detail


def test_nothing_undefined_passes() -> None:
    why = remark(Outcome.UNDEFINED, "the map is constant")
    claim = cascade(NOTHING, (None, None), remarks=why)
    assert claim.outcome is ClaimOutcome.NOT_APPLICABLE
    assert (claim.figure, claim.bound) == (None, None)
    assert "the map is constant" in claim.detail
    few = cascade(interval(0.0, -0.1, 0.1), (0.0, None, None), remarks=why)
    assert few.outcome is ClaimOutcome.INCONCLUSIVE
    assert "fewer than half" in few.detail


def test_a_failure_of_the_last_step_alone_is_an_error() -> None:
    good = interval(0.0, -0.1, 0.1)
    broken = cascade(good, (0.0, 0.1, None), remarks=remark(Outcome.ERROR, "TypeError: no"))
    assert broken.outcome is ClaimOutcome.ERROR
    assert "TypeError: no" in broken.detail
    before = cascade(good, (0.0, 0.1), remarks=remark(Outcome.ERROR, "TypeError: no", step=1))
    assert before.outcome is ClaimOutcome.PASS


def test_no_verdict_of_layers_one_at_a_time() -> None:
    claim = cascade(interval(0.0, -0.1, 0.1), (0.0, 0.1), order="independent")
    assert claim.outcome is ClaimOutcome.NOT_APPLICABLE
    assert "one at a time" in claim.detail


def test_tables_have_bounds_of_their_own() -> None:
    assert "takes 6 images" in table("random-logit", interval(0.3, None, None)).detail
    for check in ("random-logit", "data-randomisation"):
        assert table(check, interval(0.3, 0.2, 0.4)).outcome is ClaimOutcome.PASS
        assert table(check, interval(0.7, 0.6, 0.8)).outcome is ClaimOutcome.FAIL
    for ends, outcome in (
        ((0.1, 0.2), ClaimOutcome.PASS),
        ((-0.1, 0.2), ClaimOutcome.INCONCLUSIVE),
        ((-0.2, 0.0), ClaimOutcome.FAIL),
    ):
        claim = table("emprt", interval(0.1, *ends), "complexity rise")
        assert (claim.outcome, claim.relation, claim.bound) == (outcome, ">", 0)


def summary(difference: Interval | None, errors: int = 0) -> Summary:
    full = interval(0.2, 0.1, 0.3)
    return Summary("dead-zone", "gradcam", "gradient", 12, 0, 0, errors, full, full, full, 0.3, 0.5,
                   full, full, difference)  # fmt: skip


@pytest.mark.parametrize(
    ("difference", "errors", "outcome"),
    [
        (interval(-0.2, -0.3, -0.1), 0, ClaimOutcome.PASS),
        (interval(-0.2, -0.3, 0.0), 0, ClaimOutcome.INCONCLUSIVE),
        (interval(0.0, 0.0, 0.0), 0, ClaimOutcome.FAIL),
        (interval(0.1, 0.0, 0.2), 0, ClaimOutcome.FAIL),
        (interval(-0.2, None, None, 3), 0, ClaimOutcome.INCONCLUSIVE),
        (None, 0, ClaimOutcome.NOT_APPLICABLE),
        (NOTHING, 0, ClaimOutcome.NOT_APPLICABLE),
        (interval(-0.2, -0.3, -0.1), 1, ClaimOutcome.ERROR),
    ],
)
def test_the_walls_own_controls(
    difference: Interval | None, errors: int, outcome: ClaimOutcome
) -> None:
    (claim,) = wall_claims([summary(difference, errors)])
    assert claim.outcome is outcome
    assert (claim.check, claim.relation) == ("dead-zone", "<")
    judged = outcome not in (ClaimOutcome.ERROR, ClaimOutcome.NOT_APPLICABLE)
    assert (claim.bound == 0) is judged
