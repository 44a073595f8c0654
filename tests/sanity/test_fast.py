"""Random models by Winograd's convolutions: those of direct ones to rounding, no trace left."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from camaudit.engine.winograd import WinogradConv
from camaudit.methods import select
from camaudit.sanity import Options, run_sanity
from camaudit.sanity.cascade import OrderName, prepare_cascade
from camaudit.sanity.fast import FastConvs


def wide(*, dtype: torch.dtype = torch.float32) -> nn.Module:
    torch.manual_seed(4)
    return nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(),
        nn.Conv2d(64, 128, 3, padding=1), nn.BatchNorm2d(128), nn.ReLU(inplace=True),
        nn.Conv2d(128, 128, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(128, 64, 3, padding=1, bias=False), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 5),
    ).to(dtype).eval()  # fmt: skip


LAYER = "9"


def images(count: int = 3) -> Tensor:
    return torch.rand(count, 3, 22, 18, generator=torch.Generator().manual_seed(0))


def test_the_plain_wide_convolutions_in_float32_are_meant() -> None:
    assert len(FastConvs(wide())) == 3
    assert len(FastConvs(wide(dtype=torch.float64))) == 0
    hooked = wide()
    hooked[2].register_forward_hook(lambda *_: None)
    assert len(FastConvs(hooked)) == 2


def test_they_agree_to_rounding_and_follow_new_weights() -> None:
    model, x = wide(), images()
    fast = FastConvs(model)
    for seed in (1, 2):
        torch.manual_seed(seed)
        with torch.no_grad():
            for module in (model[2], model[8]):
                module.weight.copy_(torch.randn_like(module.weight) / 20)
            direct = model(x)
            with fast.running():
                found = model(x)
        assert not torch.equal(found, direct)  # else it did not run fast
        assert (found - direct).abs().max() <= 1e-4 * direct.abs().max()
    assert not any("forward" in vars(module) for module in model.modules())


def test_hooks_see_every_call_and_an_error_leaves_nothing() -> None:
    model, calls = wide(), []
    fast = FastConvs(model)
    handle = model[2].register_forward_hook(lambda *_: calls.append(1))
    with fast.running(), torch.no_grad():
        model(images())
    handle.remove()
    assert calls == [1]
    with pytest.raises(RuntimeError), fast.running(), torch.no_grad():
        model(torch.rand(1, 4, 8, 8))
    assert not any("forward" in vars(module) for module in model.modules())


@pytest.mark.parametrize("order", ["top-down", "bottom-up", "independent"])
def test_the_similarities_are_those_of_direct_convolutions(
    order: OrderName, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran: list[bool] = []
    monkeypatch.setattr(WinogradConv, "__call__", counted(WinogradConv.__call__, ran))
    x, methods, values = images(), select(("gradcam", "hirescam")), {}
    for exact in (True, False):
        options = Options(orders=(order,), seeds=(0,), similarities=("spearman",), exact=exact)
        found = run_sanity(wide(), LAYER, x, methods=methods, options=options)
        flat = [cell for c in found.curves for rows in c.values for row in rows for cell in row]
        values[exact] = torch.tensor([torch.nan if cell is None else cell for cell in flat])
        assert found.settings["exact"] is exact
        assert not (exact and ran)
    assert values[True].isfinite().sum() > 12
    assert values[True].allclose(values[False], atol=1e-3, equal_nan=True)
    # the steps from the bottom up remember what the next ones need, and run directly
    assert bool(ran) is (order != "bottom-up")


def counted(original: Callable[..., Tensor], ran: list[bool]) -> Callable[..., Tensor]:
    def call(self: WinogradConv, given: Tensor) -> Tensor:
        ran.append(True)
        return original(self, given)

    return call


def test_what_is_the_same_to_rounding_is_told_by_direct_convolutions() -> None:
    """A layer without influence: its random weights leave the activations bit-equal."""
    model, x = wide(), images()
    with torch.no_grad():
        model[8].weight[:, 5] = 0  # what the fifth channel holds is not read
    cascade = prepare_cascade(model, LAYER, x[:1], exact=False)
    batch = cascade.batch(x)
    place = [layer.name for layer in cascade.order.layers].index("5")
    with torch.no_grad():
        model[5].weight[5] = 1.0
    found = cascade.suffix.run(x, place, batch.memory, original=batch.original.activations)
    assert torch.equal(found, batch.original.activations)
    with torch.no_grad():
        model[5].weight[6] = 1.0
    found = cascade.suffix.run(x, place, batch.memory, original=batch.original.activations)
    assert not torch.equal(found, batch.original.activations)
    direct = cascade.suffix.run(x, place, batch.memory)
    assert found.is_contiguous()
    assert (found - direct).abs().max() <= 1e-4 * direct.abs().max()
