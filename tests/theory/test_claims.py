"""Claims pass where they should, fail where they must, and do not apply where nothing is tested."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from camaudit.theory import Design, claims, expected_gradcam, simulate
from camaudit.types import ClaimOutcome

SMALL = Design(filters=24, size=(9, 9))
IMAGE = torch.rand((1, 9, 9), generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_proposition_2_passes_and_notices_a_wrong_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    claim = claims.proposition_2(networks=24, seed=0)
    assert claim.outcome is ClaimOutcome.PASS
    assert claim.figure is not None
    assert claim.figure <= 1e-10 == claim.bound
    genuine = claims.coefficients
    monkeypatch.setattr(claims, "coefficients", lambda *a, **k: genuine(*a, **k) * (1 + 1e-6))
    assert claims.proposition_2(networks=24, seed=0).outcome is ClaimOutcome.FAIL


def test_drawn_designs_are_of_every_kind() -> None:
    generator = torch.Generator().manual_seed(0)
    drawn = [claims._drawn_design(number, generator) for number in range(48)]
    assert {design.layers for design in drawn} == {1, 2, 3, 4}
    assert {(design.head, design.layers) for design in drawn} >= {
        (head, layers) for head in ("flatten", "pooled") for layers in (1, 2, 3, 4)
    }
    assert {design.channels for design in drawn} == {1, 3}


def test_the_closed_form_passes() -> None:
    claim, sample = claims.agreement(SMALL, IMAGE, draws=5000, seed=1)
    assert claim.outcome is ClaimOutcome.PASS
    assert sample.draws == 5000
    assert "false alarms: at most 0.41 % a sample" in claim.detail


@pytest.mark.parametrize("factor", [0.95, 1.05])
def test_a_wrong_constant_fails(factor: float) -> None:
    claim, _ = claims.agreement(SMALL, IMAGE, draws=40_000, seed=1, factor=factor)
    assert claim.outcome is ClaimOutcome.FAIL
    assert "the first sample reached" in claim.detail


def test_a_chance_failure_is_judged_by_a_second_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    genuine, seeds = simulate, []

    def unlucky(design: Any, image: Any, *, seed: int, **options: Any) -> Any:
        seeds.append(seed)
        sample = genuine(design, image, seed=seed, **options)
        return sample if len(seeds) > 1 else replace(sample, mean=sample.mean * 1.5)

    monkeypatch.setattr(claims, "simulate", unlucky)
    claim, _ = claims.agreement(SMALL, IMAGE, draws=5000, seed=1)
    assert claim.outcome is ClaimOutcome.PASS
    assert len(set(seeds)) == 2


def test_the_control_passes_and_cannot_be_fooled_by_a_blind_test() -> None:
    claim = claims.finds_wrong_constant(SMALL, IMAGE, draws=40_000, seed=0)
    assert claim.outcome is ClaimOutcome.PASS
    assert claim.relation == ">"
    blind = claims.finds_wrong_constant(SMALL, IMAGE, draws=20, seed=0)
    assert blind.outcome is ClaimOutcome.FAIL


def test_the_bound() -> None:
    claim = claims.bound_below(IMAGE, [replace(SMALL, filters=V) for V in (8, 24, 100)])
    assert claim.outcome is ClaimOutcome.PASS
    assert "V = 100" in claim.detail
    assert "V = 8:" not in claim.detail
    assert "vacuous" in claim.detail
    nothing = claims.bound_below(IMAGE, [replace(SMALL, filters=8)])
    assert nothing.outcome is ClaimOutcome.NOT_APPLICABLE
    assert (nothing.figure, nothing.bound) == (None, None)
    blank = claims.bound_below(torch.zeros(1, 9, 9), [SMALL])
    assert blank.outcome is ClaimOutcome.NOT_APPLICABLE


def test_positive_behind_the_wall() -> None:
    sample = simulate(SMALL, IMAGE, draws=500, seed=0)
    claim = claims.positive_behind_wall(SMALL, IMAGE, sample)
    assert claim.outcome is ClaimOutcome.PASS
    dark = replace(sample, mean=sample.mean * ~SMALL.feature_dead)
    assert claims.positive_behind_wall(SMALL, IMAGE, dark).outcome is ClaimOutcome.FAIL
    above = IMAGE.clone()
    above[:, 4:] = 0
    nothing = claims.positive_behind_wall(SMALL, above, sample)
    assert nothing.outcome is ClaimOutcome.NOT_APPLICABLE


def test_a_figure_that_is_not_a_number_is_no_pass() -> None:
    claim = claims._judged("theory/x", "x", float("nan"), "≤", 1.0, "")
    assert (claim.outcome, claim.figure) == (ClaimOutcome.ERROR, None)


def test_the_expected_share_behind_the_wall_is_that_of_the_patch_norms() -> None:
    """For any number of filters, depth and Gaussian initialisation."""
    shares = set()
    for fields in ({}, {"filters": 100}, {"hidden": (5,)}, {"initialisation": "he"}):
        mean = expected_gradcam(replace(SMALL, **fields), IMAGE).mean  # type: ignore[arg-type]
        shares.add(round(float(mean[SMALL.feature_dead].sum() / mean.sum()), 12))
    assert len(shares) == 1
