"""Gradient, activation, decomposition and augmentation methods against literal references."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor

from camaudit.capture import Capture, capture
from camaudit.methods import METHODS
from camaudit.methods.decomposition import first_component
from camaudit.objective import Objective, contrastive, counterfactual, custom
from camaudit.walls import WalledModel
from tests.methods.drawn import Case, cases
from tests.references.gradient_cams import GRADIENT_REFERENCES, lift_contributions

OBJECTIVES = {
    "logit": Objective(),
    "contrastive": contrastive(2, strength=0.7),
    "counterfactual": counterfactual(),
    "custom": custom(lambda logits: (logits[:, 1] - 0.3 * logits[:, 2]).tanh()),
}
NAMES = sorted(GRADIENT_REFERENCES)
WELL_CONDITIONED = ["augmentedgradcam++", "fem", "lafam", "shapleycam", "smoothgradcam++"]


def ours(name: str, captured: Capture, **options: Any) -> Tensor:
    return METHODS[name].function(captured, **options)


def captured_with(case: Case, objective: str = "logit") -> Capture:
    return capture(
        case.divided,
        case.images,
        targets=case.targets,
        objective=OBJECTIVES[objective],
        batch_size=3,
    )


def expected(name: str, captured: Capture, row: int, **options: Any) -> Tensor:
    """The reference's map of one image; its derivatives are taken here, image by image."""

    def at(image: Tensor) -> tuple[Tensor, Tensor]:
        A = captured.divided.trunk(image[None]).detach().requires_grad_()
        (G,) = torch.autograd.grad(captured.score(captured.divided.read(A), row).sum(), A)
        return A[0].detach(), G[0]

    return GRADIENT_REFERENCES[name](
        image=captured.images[row],
        activations=captured.activations[row],
        gradients=captured.gradients[row],
        target=int(captured.targets[row]),
        head=captured.head,
        at=at,
        **{"score": lambda logits: captured.score(logits, row), **options},
    )


def require_equal(name: str, captured: Capture, rtol: float = 1e-9, **options: Any) -> None:
    maps = ours(name, captured, **options)
    for row in range(len(captured)):
        torch.testing.assert_close(
            maps[row], expected(name, captured, row, **options), rtol=rtol, atol=1e-12
        )


def test_every_reference_is_of_a_method() -> None:
    assert set(NAMES) <= set(METHODS)


@pytest.mark.parametrize("objective", sorted(OBJECTIVES))
@pytest.mark.parametrize("name", WELL_CONDITIONED)
@settings(max_examples=8, deadline=None)
@given(case=cases(), seed=st.integers(0, 9))
def test_method_equals_its_reference(name: str, objective: str, case: Case, seed: int) -> None:
    captured = captured_with(case, objective)
    options: dict[str, int] = {}
    if METHODS[name].info.seeded:
        options = {"seed": seed, "samples": 2}
    require_equal(name, captured, **options)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("augmentedgradcam++", {"samples": 1, "degrees": 90.0, "shift": 0.4}),
        ("augmentedgradcam++", {"samples": 2, "degrees": 0.0, "shift": 1.0}),
        ("augmentedgradcam++", {}),
        ("fem", {"k": 0.5}),
        ("fem", {"k": 0.0, "form": "pytorch-grad-cam"}),
        ("fem", {"form": "pytorch-grad-cam"}),
        ("smoothgradcam++", {"samples": 1, "std": 2.0}),
        ("smoothgradcam++", {}),
    ],
)
@settings(max_examples=4, deadline=None)
@given(case=cases())
def test_options_equal_their_references(name: str, options: dict[str, Any], case: Case) -> None:
    require_equal(name, captured_with(case), **options)


@pytest.mark.parametrize("objective", ["logit", "contrastive", "counterfactual"])
@pytest.mark.parametrize("options", [{}, {"strength": 1.5, "references": 1}, {"references": 9}])
@settings(max_examples=10, deadline=None)
@given(case=cases())
def test_finercam_equals_its_reference_under_any_objective(
    objective: str, options: dict[str, Any], case: Case
) -> None:
    captured = captured_with(case, objective)
    own = captured.logits.gather(1, captured.targets[:, None])
    gaps = (captured.logits - own).abs().sort(dim=1).values.diff(dim=1)
    assume(bool((gaps > 1e-9).all()))  # of equally near classes either may be meant
    maps = ours("finercam", captured, **options)
    for row in range(len(captured)):
        want = expected("finercam", captured, row, score=None, **options)
        torch.testing.assert_close(maps[row], want, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("objective", ["logit", "contrastive", "counterfactual"])
@settings(max_examples=20, deadline=None)
@given(case=cases())
def test_liftcam_equals_its_reference(objective: str, case: Case) -> None:
    captured = captured_with(case, objective)
    maps = ours("liftcam", captured)
    layers = list(case.model.get_submodule("head"))
    for row in range(len(captured)):
        A = captured.activations[row]
        if isinstance(case.divided, WalledModel):
            # What the wall lets through, rescaled, contributes as A does through the wall.
            seen = case.divided.wall(A[None])[0]
            contributions, _ = lift_contributions(
                seen, layers, lambda logits, row=row: captured.score(logits, row)
            )
            want = torch.einsum("k,kij->ij", contributions.sum(dim=(1, 2)), A).relu()
        else:
            want = expected("liftcam", captured, row, head_layers=layers)
        torch.testing.assert_close(maps[row], want, rtol=1e-9, atol=1e-12)


def well_separated(B: Tensor, matrix: Tensor) -> bool:
    """Whether a kernel matrix (hw×hw) of centred maps B (hw×K) has one first vector, signed."""
    centred = matrix - matrix.mean(dim=0) - matrix.mean(dim=1, keepdim=True) + matrix.mean()
    values, vectors = torch.linalg.eigh(centred)
    agreement = (vectors[:, -1] * B.mean(dim=1)).sum().abs() / torch.linalg.vector_norm(B)
    apart = len(values) == 1 or values[-2] < 0.99 * values[-1]
    return bool(values[-1] > 1e-6) and bool(apart) and bool(agreement > 1e-6)


def centred(maps: Tensor) -> Tensor:
    flat = maps.flatten(1).T
    return flat - flat.mean(dim=0)


@pytest.mark.parametrize("objective", sorted(OBJECTIVES))
@pytest.mark.parametrize("name", ["eigengradcam", "segeigencam"])
@settings(max_examples=10, deadline=None)
@given(case=cases())
def test_eigen_methods_equal_their_references(name: str, objective: str, case: Case) -> None:
    captured = captured_with(case, objective)
    maps = ours(name, captured)
    for row in range(len(captured)):
        G, A = captured.gradients[row], captured.activations[row]
        products = (G.abs() if name == "segeigencam" else G) * A
        B = centred(products)
        assume(bool(B.abs().max() > 1e-6))
        B = B / B.abs().max()
        assume(well_separated(B, B @ B.T))
        if name == "segeigencam":
            P = first_component(products[None])
            assume(float((P.min().abs() - P.max().abs()).abs()) > 1e-6 * float(P.abs().max()))
        want = expected(name, captured, row)
        # A singular vector is as exact as the gap to the next one is wide.
        torch.testing.assert_close(maps[row], want, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"gamma": 0.05},
        {"kernel": "rbf"},
        {"kernel": "rbf", "gamma": 2.0},
        {"kernel": "linear"},
    ],
)
@settings(max_examples=10, deadline=None)
@given(case=cases())
def test_kpcacam_equals_its_reference(options: dict[str, Any], case: Case) -> None:
    captured = captured_with(case)
    maps = ours("kpcacam", captured, **options)
    for row in range(len(captured)):
        B = centred(captured.activations[row])
        gamma = options.get("gamma", 1 / B.shape[1])
        kernel: dict[str, Callable[[], Tensor]] = {
            "sigmoid": lambda B=B, gamma=gamma: torch.tanh(gamma * B @ B.T + 1),
            "rbf": lambda B=B, gamma=gamma: torch.exp(-gamma * torch.cdist(B, B).square()),
            "linear": lambda B=B: B @ B.T,
        }
        assume(well_separated(B, kernel[options.get("kernel", "sigmoid")]()))
        want = expected("kpcacam", captured, row, **options)
        # A singular vector is as exact as the gap to the next one is wide.
        torch.testing.assert_close(maps[row], want, rtol=1e-7, atol=1e-9)
