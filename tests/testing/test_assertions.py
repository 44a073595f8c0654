"""The assertions that stand alone: what they let pass, and what they do not."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import camaudit.testing
from camaudit.errors import NotApplicableError, UnknownNameError, UsageError
from camaudit.invariance import registered
from camaudit.testing import (
    assert_blind_to_dead_zone,
    assert_depends_on_parameters,
    assert_invariant,
)


def network() -> nn.Module:
    torch.manual_seed(11)
    trunk = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(),
        nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU(),
    )  # fmt: skip
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))
    return nn.Sequential(trunk, head).eval()


def images(count: int = 8) -> Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def mine(model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
    return registered("gradcam")(model, layer, images, targets)


def upside_down(model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
    return mine(model, layer, images, targets).flip(1)


def empty(_model: nn.Module, _layer: str, images: Tensor, _targets: Tensor) -> Tensor:
    return torch.zeros(len(images), 4, 4)


def nowhere(*_: Any) -> Tensor:
    raise NotApplicableError("it is defined on no network")


def never(*_: Any) -> Tensor:
    raise KeyError("conv5")


def test_the_namespace_is_whole() -> None:
    for name in camaudit.testing.__all__:
        assert callable(getattr(camaudit.testing, name))
        assert name in dir(camaudit.testing)
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        camaudit.testing.nope  # noqa: B018 - the access is the test


def test_blind_explainers_pass_and_others_do_not() -> None:
    model, shown = network(), images()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert_blind_to_dead_zone("hirescam", model, "0", shown, bound=0.0, wall="split")
    with pytest.raises(AssertionError, match=r"\[mine\]: fail: dead_zone.mu_l1 ≤ 0.05") as found:
        assert_blind_to_dead_zone(mine, model, None, shown, wall="split")
    assert "Worst images: image-0" in str(found.value)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("explainer", "count", "said"),
    [
        ("hirescam", 5, "fewer than 6"),
        (never, 8, "KeyError: 'conv5'"),
        (empty, 8, r"\[empty\]: degenerate"),
        (nowhere, 8, r"\[nowhere\]: (not applicable|error)"),
    ],
)
def test_what_is_not_shown_does_not_pass(
    explainer: str | Callable[..., Tensor], count: int, said: str
) -> None:
    with pytest.raises(AssertionError, match=said):
        assert_blind_to_dead_zone(explainer, network(), "0", images(count), bound=1, wall="split")


def test_maps_that_depend_on_parameters_and_maps_that_do_not() -> None:
    shown = images(6)
    assert_depends_on_parameters("gradcam", network(), "0", shown, bound=0.9)
    with pytest.raises(AssertionError, match=r"mprt\[sobel\]: fail: mprt.similarity ≤ 0.5"):
        assert_depends_on_parameters("sobel", network(), "0", shown)


def test_invariance_of_what_is_a_method_and_of_what_only_claims_to_be() -> None:
    chosen = {"properties": ["determinism", "flip-horizontal"], "examples": 3}
    assert_invariant("gradcam", **chosen)
    assert_invariant(mine, method="gradcam", **chosen)
    with pytest.raises(AssertionError, match="it is not shown to be gradcam: different"):
        assert_invariant(upside_down, method="gradcam", properties="determinism", examples=5)


def test_invariance_names_the_property() -> None:
    def noisy(model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
        maps = mine(model, layer, images, targets)
        return maps + torch.rand_like(maps)

    with pytest.raises(AssertionError, match=re.escape("determinism (asked twice")) as found:
        assert_invariant(noisy, examples=2, properties=["determinism"])
    assert str(found.value).startswith("noisy is not invariant:\n  determinism")
    with pytest.raises(AssertionError, match="conv5"):
        assert_invariant(never, examples=2, properties=["determinism"])


@pytest.mark.parametrize("explainer", [nowhere, empty])
def test_nothing_tested_does_not_pass(explainer: Callable[..., Tensor]) -> None:
    with pytest.raises(AssertionError, match="nothing was tested"):
        assert_invariant(explainer, examples=2, properties=["batch-order"])


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"explainer": "grad-cam"}, UnknownNameError),
        ({"explainer": mine, "method": "grad-cam"}, UnknownNameError),
        ({"explainer": mine, "properties": ["nope"]}, UnknownNameError),
        ({"explainer": mine, "properties": []}, UsageError),
        ({"explainer": mine, "examples": 0}, UsageError),
        ({"explainer": 3}, UsageError),
        ({"explainer": "none.py:mine"}, UsageError),
    ],
)
def test_misuse_is_told(arguments: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        assert_invariant(**arguments)
