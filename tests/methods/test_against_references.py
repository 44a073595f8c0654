"""Every method equals its literal float64 reference on drawn networks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import assume, given, settings
from torch import Tensor

from camaudit.capture import Capture
from camaudit.errors import NotApplicableError
from camaudit.methods import METHODS, compute
from camaudit.methods.scores import scorecam_plus_plus
from tests.methods.drawn import Case, cases
from tests.references.cams import REFERENCES
from tests.references.gradient_cams import GRADIENT_REFERENCES
from tests.references.layered_cams import LAYERED_REFERENCES
from tests.references.perturbation_cams import PERTURBATION_REFERENCES

CONTROLS = {name for name in METHODS if METHODS[name].info.family == "control"}


def test_every_method_has_a_reference() -> None:
    later = {*GRADIENT_REFERENCES, *PERTURBATION_REFERENCES, *LAYERED_REFERENCES}
    tokens = {name for name in METHODS if METHODS[name].info.tokens}  # tests/models has theirs
    assert set(METHODS) - CONTROLS - tokens == {*REFERENCES, *later}


def reference_map(name: str, captured: Capture, row: int, **options: str) -> Tensor:
    try:
        weight = captured.linear_weight()
    except NotApplicableError:
        weight = None
    reference: Callable[..., Tensor] = REFERENCES[name]
    return reference(
        image=captured.images[row],
        activations=captured.activations[row],
        gradients=captured.gradients[row],
        target=int(captured.targets[row]),
        head=captured.head,
        model=captured.model,
        classifier_weight=weight,
        **options,
    )


@pytest.mark.parametrize("name", sorted(set(REFERENCES) - {"cam", "eigencam"}))
@settings(max_examples=25, deadline=None)
@given(case=cases())
def test_method_equals_its_reference(name: str, case: Case) -> None:
    captured = case.capture()
    assume(not torch.any(captured.scores == 0))
    ours = compute(name, captured)
    for row in range(len(captured)):
        expected = reference_map(name, captured, row)
        torch.testing.assert_close(ours[row], expected, rtol=1e-9, atol=1e-12)


@settings(max_examples=40, deadline=None)
@given(case=cases())
def test_cam_equals_its_reference_where_it_is_defined(case: Case) -> None:
    captured = case.capture()
    one_linear = len(list(case.model.get_submodule("head"))) == (3 if case.pooled else 2)
    if not (case.pooled and one_linear):
        with pytest.raises(NotApplicableError, match="global average pooling"):
            compute("cam", captured)
        return
    ours = compute("cam", captured)
    for row in range(len(captured)):
        torch.testing.assert_close(
            ours[row], reference_map("cam", captured, row), rtol=1e-9, atol=1e-12
        )


@settings(max_examples=40, deadline=None)
@given(case=cases())
def test_eigencam_equals_its_reference(case: Case) -> None:
    captured = case.capture()
    for row in range(len(captured)):
        A = captured.activations[row].flatten(1)
        centred = A - A.mean(dim=1, keepdim=True)
        values = torch.linalg.svdvals(centred)
        loading = torch.linalg.svd(centred, full_matrices=False).U[:, 0].sum().abs()
        distinct = len(values) == 1 or values[1] < 0.99 * values[0]
        assume(bool(values[0] > 1e-6) and distinct and bool(loading > 1e-3))
        ours = compute("eigencam", captured)[row]
        expected = reference_map("eigencam", captured, row)
        torch.testing.assert_close(ours, expected, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("baseline", ["none", "input", "black"])
@settings(max_examples=15, deadline=None)
@given(case=cases())
def test_scorecam_plus_plus_baselines_equal_their_references(baseline: str, case: Case) -> None:
    captured = case.capture()
    ours = scorecam_plus_plus(captured, baseline=baseline)  # type: ignore[arg-type]
    for row in range(len(captured)):
        expected = reference_map("scorecam++", captured, row, baseline=baseline)
        torch.testing.assert_close(ours[row], expected, rtol=1e-9, atol=1e-12)
