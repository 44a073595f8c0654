"""LIFT-CAM's rescale rule on the habits of real heads, and what its hooks leave behind."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from camaudit.capture import Capture, capture
from camaudit.cut import cut_at
from camaudit.errors import NotApplicableError
from camaudit.methods import METHODS
from camaudit.methods.rescale import ELEMENTWISE, rescaled
from camaudit.methods.shapley import _contributions
from camaudit.objective import custom

liftcam: Callable[[Capture], Tensor] = METHODS["liftcam"].function

ARGUMENTS: dict[type[nn.Module], tuple[float, ...]] = {
    nn.Threshold: (0.1, -0.5),
    nn.Hardshrink: (0.05,),
    nn.Softshrink: (0.05,),
}


class Writes(nn.Module):
    """Overwrites its input and goes on with both: `W relu(z) + relu(z)`, as in-place code does."""

    def __init__(self, *, inplace: bool, ignores: bool = False) -> None:
        super().__init__()
        self.relu = nn.ReLU(inplace=inplace)
        self.linear = nn.Linear(6, 6)
        self.inplace = inplace
        self.ignores = ignores

    def forward(self, x: Tensor) -> Tensor:
        out = self.relu(x)
        if not self.inplace:
            x = out
        return self.linear(x if self.ignores else out) + x


def head(*middle: nn.Module, channels: int = 4, cells: int = 16) -> nn.Sequential:
    """Flatten → Linear → the given modules → Linear."""
    return nn.Sequential(nn.Flatten(), nn.Linear(channels * cells, 6), *middle, nn.Linear(6, 3))


def captured_by(
    head: nn.Module, *, dtype: torch.dtype = torch.float64, seed: int = 0, activation: bool = True
) -> Capture:
    torch.manual_seed(seed)
    for module in head.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    act = nn.GELU() if activation else nn.Identity()
    model = nn.Sequential(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), act), head).to(dtype).eval()
    images = torch.randn(3, 3, 4, 4, dtype=torch.float64).to(dtype)
    return capture(cut_at(model, "0", images[:1]), images)


def change(captured: Capture) -> Tensor:
    """s(A) − s(0), by two plain passes of the head."""
    with torch.no_grad():
        zero = captured.head(torch.zeros_like(captured.activations))
    return captured.scores - captured.objective(zero, torch.arange(len(captured)))


@pytest.mark.parametrize("kind", ELEMENTWISE, ids=lambda kind: kind.__name__)
def test_contributions_sum_to_the_change_of_the_score(kind: type[nn.Module]) -> None:
    captured = captured_by(head(kind(*ARGUMENTS.get(kind, ()))))
    contributions, reference = _contributions(captured)
    torch.testing.assert_close(contributions.sum(dim=(1, 2, 3)), change(captured))
    torch.testing.assert_close(captured.scores - reference, change(captured))
    assert bool((liftcam(captured).amax(dim=(1, 2)) > 0).any())


@pytest.mark.parametrize("kind", ELEMENTWISE, ids=lambda kind: kind.__name__)
def test_the_multiplier_of_one_unit_is_its_secant(kind: type[nn.Module]) -> None:
    module = kind(*ARGUMENTS.get(kind, ())).double().eval()
    z = torch.tensor([[-1.5, -0.2, 0.3, 2.5, 0.7], [0.9, -1.1, 0.1, 4.0, 0.7]], dtype=torch.float64)
    z.requires_grad_(True)
    value = module(z.detach()).detach()
    (slope,) = torch.autograd.grad(module(z)[0].sum(), z)
    with rescaled([module], 2):
        out = module(z * 1)
    torch.testing.assert_close(out.detach(), value, rtol=0, atol=0)
    (m,) = torch.autograd.grad(out.sum(), z)
    secant = (value[0] - value[1]) / (z[0] - z[1]).detach()
    torch.testing.assert_close(m[0, :4], secant[:4])
    torch.testing.assert_close(m[0, 4], slope[0, 4])  # z = z₀ there
    assert bool((m[1] == 0).all())


@pytest.mark.parametrize("kind", [nn.ReLU, nn.ReLU6, nn.SiLU, nn.Hardswish, nn.ELU, nn.LeakyReLU])
def test_writing_into_the_input_changes_nothing(kind: type[nn.Module]) -> None:
    plain = captured_by(head(kind(), nn.Linear(6, 6), kind()))
    inplace = captured_by(head(kind(inplace=True), nn.Linear(6, 6), kind(inplace=True)))
    torch.testing.assert_close(liftcam(inplace), liftcam(plain), rtol=0, atol=0)


@pytest.mark.parametrize("ignores", [False, True])
def test_an_input_that_was_overwritten_is_seen_so_downstream(ignores: bool) -> None:
    plain = captured_by(head(Writes(inplace=False), nn.Tanh()))
    inplace = captured_by(head(Writes(inplace=True, ignores=ignores), nn.Tanh()))
    torch.testing.assert_close(liftcam(inplace), liftcam(plain), rtol=1e-13, atol=0)


def test_a_module_used_twice_and_one_that_the_trunk_used_before() -> None:
    act = nn.ReLU(inplace=True)

    class Reuses(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = act
            self.conv = nn.Conv2d(3, 4, 3, padding=1)
            self.maps = nn.Conv2d(4, 4, 3, padding=1)
            self.first, self.second = nn.Linear(64, 6), nn.Linear(6, 6)
            self.last = nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            z = self.first(self.maps(self.act(self.conv(x))).flatten(1))
            return self.last(self.act(self.second(self.act(z))))

    torch.manual_seed(1)
    model = Reuses().double().eval()
    images = torch.randn(2, 3, 4, 4, dtype=torch.float64)
    captured = capture(cut_at(model, "maps", images[:1]), images)
    first = liftcam(captured)
    apart = head(nn.ReLU(), nn.Linear(6, 6), nn.ReLU())
    for place, layer in ((1, model.first), (3, model.second), (5, model.last)):
        apart[place] = layer
    A = captured.activations
    plain = nn.Sequential(nn.Identity(), apart).eval()
    other = capture(cut_at(plain, "0", A[:1]), A, targets=captured.targets)
    torch.testing.assert_close(first, liftcam(other), rtol=1e-12, atol=0)
    torch.testing.assert_close(liftcam(captured), first, rtol=0, atol=0)
    torch.testing.assert_close(model(images), captured.logits)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dropout_and_batch_norm_in_evaluation_are_linear(dtype: torch.dtype) -> None:
    middle = [nn.BatchNorm1d(6), nn.ReLU(inplace=True), nn.Dropout(), nn.Linear(6, 6), nn.GELU()]
    captured = captured_by(head(*middle), dtype=dtype)
    contributions, _ = _contributions(captured)
    torch.testing.assert_close(contributions.sum(dim=(1, 2, 3)), change(captured))
    assert liftcam(captured).dtype == dtype


def test_a_linear_head_without_bias_gives_gradcam_of_the_products() -> None:
    captured = captured_by(nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)))
    weights = (captured.gradients * captured.activations).sum(dim=(2, 3))
    want = torch.einsum("nk,nkij->nij", weights, captured.activations).relu()
    torch.testing.assert_close(liftcam(captured), want)


class Functional(nn.Module):
    """A nonlinearity that no module shows."""

    def forward(self, x: Tensor) -> Tensor:
        return F.gelu(x)


def conv() -> nn.Module:
    return nn.Conv2d(4, 4, 3, padding=1)


# At A = 0 the cells that are pooled together differ from the second padded convolution on.
POOLED_ALIKE = nn.Sequential(conv(), nn.GELU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3))
POOLED_UNLIKE = nn.Sequential(
    conv(), nn.GELU(), conv(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 3)
)


@pytest.mark.parametrize(
    "head", [POOLED_UNLIKE, head(nn.LayerNorm(6)), head(nn.Softmax(dim=1)), head(Functional())]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_head_that_the_rule_does_not_cover_is_refused(
    head: nn.Module, dtype: torch.dtype
) -> None:
    captured = captured_by(head, dtype=dtype)
    with pytest.raises(NotApplicableError, match="rescale rule does not cover"):
        liftcam(captured)


def test_a_small_change_of_a_large_score_does_not_hide_that_contributions_are_missing() -> None:
    layers = head(nn.LayerNorm(6))
    captured = captured_by(layers)
    with torch.no_grad():
        layers[-1].bias += 1e5
    shifted = capture(captured.divided, captured.images)
    with pytest.raises(NotApplicableError, match="rescale rule does not cover"):
        liftcam(shifted)


def test_a_score_that_is_not_linear_in_the_logits_is_refused() -> None:
    captured = captured_by(head(nn.ReLU()))
    linear = captured.explaining(custom(lambda logits: logits[:, 0] - 2 * logits[:, 1]))
    assert bool(torch.isfinite(liftcam(linear)).all())
    with pytest.raises(NotApplicableError, match="LIFT-CAM needs"):
        liftcam(captured.explaining(custom(lambda logits: logits[:, 0].exp())))


@pytest.mark.parametrize(
    "head", [POOLED_ALIKE, nn.Sequential(nn.MaxPool2d(2), head(nn.ReLU(), cells=4))]
)
def test_max_pooling_of_cells_that_are_alike_at_the_reference_is_covered(head: nn.Module) -> None:
    captured = captured_by(head)
    contributions, _ = _contributions(captured)
    torch.testing.assert_close(contributions.sum(dim=(1, 2, 3)), change(captured))
    liftcam(captured)


class Fails(nn.ReLU):
    """Fails when told to."""

    fails = False

    def forward(self, x: Tensor) -> Tensor:
        if self.fails:
            raise RuntimeError("failed on purpose")
        return super().forward(x)


def test_hooks_are_removed_also_after_an_exception() -> None:
    act = Fails()
    captured = captured_by(head(nn.GELU(), nn.Linear(6, 6), act))
    liftcam(captured)
    act.fails = True
    with pytest.raises(RuntimeError, match="on purpose"):
        liftcam(captured)
    act.fails = False
    assert isinstance(captured.divided, nn.Module)
    for module in captured.divided.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
    assert bool(torch.isfinite(liftcam(captured)).all())


def test_one_image_that_is_not_finite_does_not_decide_for_the_others() -> None:
    captured = captured_by(head(nn.GELU()))
    want = liftcam(captured)
    captured.activations[0, 0, 0, 0] = torch.inf
    maps = liftcam(captured)
    assert bool(maps[0].isnan().all())
    torch.testing.assert_close(maps[1:], want[1:])


def test_a_large_head_in_float32_is_complete() -> None:
    middle = [nn.Linear(6, 512), nn.ReLU(True), nn.Linear(512, 512), nn.GELU(), nn.Linear(512, 6)]
    single = liftcam(captured_by(head(*middle), dtype=torch.float32))
    double = liftcam(captured_by(head(*middle)))
    torch.testing.assert_close(single.double(), double, rtol=1e-2, atol=1e-6)
