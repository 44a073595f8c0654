"""Where a folded pass is not safe the model itself runs; changed weights are folded anew."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from camaudit.capture import capture
from camaudit.cut import cut_at
from camaudit.engine import Engine, prepare
from camaudit.methods import compute
from tests.engine.folding import HOW, Skip, assert_near, folded, itself, joined, passed
from tests.networks import Keeps, images, settle

# --------------------------------------------------------------------------------- what is refused


class Changed(Skip):
    """A network with something before its features, or after."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(self.before(x))

    def before(self, x: Tensor) -> Tensor:
        """What a kind of this network puts here; nothing in itself."""
        return x


def changed(before: Callable[[Changed, Tensor], Tensor]) -> nn.Module:
    kind = type("Kind", (Changed,), {"before": before})
    model: nn.Module = kind(nn.ReLU())
    return settle(model)


def by_value(_m: Changed, x: Tensor) -> Tensor:
    return x if x.sum() < 1e9 else -x


def by_type(_m: Changed, x: Tensor) -> Tensor:
    return x if isinstance(x, Tensor) else 2 * x


def by_count(_m: Changed, x: Tensor) -> Tensor:
    return x * len(x) / len(x)


def mixes(_m: Changed, x: Tensor) -> Tensor:
    return x - x.mean(dim=0)


def constant(_m: Changed, x: Tensor) -> Tensor:
    return x - torch.tensor([0.1, 0.2, 0.3]).view(3, 1, 1)


def noise(_m: Changed, x: Tensor) -> Tensor:
    return x + 1e-9 * torch.rand(3, 16, 16)


def counts(m: Changed, x: Tensor) -> Tensor:
    m.__dict__["count"] = m.__dict__.get("count", 0) + 1
    return x


def keeps(m: Changed, x: Tensor) -> Tensor:
    m.__dict__["seen"] = x
    return x


def lists(m: Changed, x: Tensor) -> Tensor:
    m.__dict__.setdefault("list", []).append(x)
    return x


@pytest.mark.parametrize(
    "before",
    [by_value, by_type, by_count, mixes, constant, noise, counts, keeps, lists],
)
def test_code_that_cannot_be_written_down_runs_itself(
    before: Callable[[Changed, Tensor], Tensor],
) -> None:
    model = changed(before)
    cut = cut_at(model, "block", images(1))
    torch.manual_seed(0)
    prepare(cut, images(1), Engine(rounding=False))
    state = torch.get_rng_state()
    torch.manual_seed(0)
    forwards = itself(cut)
    assert torch.equal(torch.get_rng_state(), state)
    with torch.no_grad():
        found, own = forwards(images(3)), model(images(3))
    assert torch.equal(found, own) or before is noise
    kept = [model.__dict__.get("seen"), *model.__dict__.get("list", [])]
    assert all(one is None or isinstance(one, Tensor) for one in kept), "no stand-in is left"


def test_a_buffer_that_is_written_at_every_call() -> None:
    class Counts(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            self.calls.add_(1)
            return x

    class Adds(Counts):
        def forward(self, x: Tensor) -> Tensor:
            self.calls.add_(0 * x.mean())
            return x

    for kind in (Counts, Adds):
        model = Skip(nn.ReLU())
        model.conv1 = nn.Sequential(kind(), model.conv1)
        cut = cut_at(settle(model), "block", images(1))
        calls = model.conv1[0].calls
        exact, before = Engine(rounding=False), calls.clone()
        prepare(cut, images(1), exact)(images(1))
        each, before = calls - before, calls.clone()
        itself(cut)(images(1))
        assert torch.equal((calls - before).round(), each.round())


def test_batch_statistics_are_not_folded() -> None:
    model = Skip(nn.ReLU())
    model.norm2 = nn.BatchNorm2d(8, track_running_stats=False)
    itself(cut_at(settle(model), "block", images(1)))  # they mix the images


def test_nothing_to_fold() -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.fc = nn.Conv2d(3, 8, 3), nn.Linear(8, 5)
            self.block = nn.Softplus()

        def forward(self, x: Tensor) -> Tensor:
            y = self.conv(x)
            return self.fc(self.block(y - y.mean(dim=(2, 3), keepdim=True)).mean(dim=(2, 3)))

    itself(cut_at(settle(Plain()), "block", images(1)))


def test_float64_and_no_onednn(monkeypatch: pytest.MonkeyPatch) -> None:
    model = settle(Skip(nn.ReLU()))
    cut = cut_at(model, "block", images(1))
    with monkeypatch.context() as patched:
        patched.setattr(torch.backends.mkldnn, "is_available", lambda: False)
        itself(cut)
    folded(cut)
    model.double()
    itself(cut_at(model, "block", images(1).double()), images(1).double())


@pytest.mark.parametrize(
    "engine",
    [Engine(rounding=False), Engine(precision="bfloat16"), Engine(rounding=False, memory=10**9)],
)
def test_engines_that_do_not_allow_it(engine: Engine) -> None:
    forwards = prepare(cut_at(settle(Skip(nn.ReLU())), "block", images(1)), images(1), engine)
    assert HOW not in forwards.how


def test_a_compiled_pass_is_the_models_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", lambda run: run)
    cut = cut_at(settle(Skip(nn.ReLU())), "block", images(1))
    assert prepare(cut, images(1), Engine(compile=True)).how == "the model itself, compiled"


def test_images_that_the_model_writes_into() -> None:
    class Writes(Skip):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.mul_(2))

    itself(cut_at(settle(Writes(nn.ReLU())), "block", images(1)))


def hook(module: nn.Module) -> None:
    module.register_forward_hook(lambda *_: None)


def pre_hook(module: nn.Module) -> None:
    module.register_forward_pre_hook(lambda *_: None)


def own_forward(module: nn.Module) -> None:
    forward = module.forward
    module.forward = lambda x: 2 * forward(x)  # type: ignore[method-assign]


@pytest.mark.parametrize("change", [hook, pre_hook, own_forward])
@pytest.mark.parametrize("layer", ["conv1", "norm2", "act", ""])
def test_somebodys_hooks_see_every_call(layer: str, change: Callable[[nn.Module], None]) -> None:
    """Whether they come before everything is prepared, or afterwards."""
    model, batch = settle(Skip(nn.ReLU())), images(3)
    cut = cut_at(model, "block", batch)
    forwards = folded(cut)
    change(model.get_submodule(layer))
    assert not forwards.run.current(batch)  # type: ignore[attr-defined]
    with torch.no_grad():
        assert torch.equal(forwards(batch), model(batch))
    itself(cut_at(model, "block", batch))


# --------------------------------------------------------------------------------- what may change


def in_place(model: nn.Module) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.3)


def behind_autograd(model: nn.Module) -> None:
    model.conv2.weight.data.mul_(1.5)


def loaded(model: nn.Module) -> None:
    model.load_state_dict({k: v.flip(0) for k, v in model.state_dict().items()})


def assigned(model: nn.Module) -> None:
    state = {k: v.flip(0).clone() for k, v in model.state_dict().items()}
    model.load_state_dict(state, assign=True)


def statistics(model: nn.Module) -> None:
    model.norm3.running_mean.add_(1)
    model.norm1.running_var.mul_(2)


def replaced_tensor(model: nn.Module) -> None:
    model.norm2.weight = nn.Parameter(torch.linspace(0.1, 2, 8))
    model.conv1.weight = nn.Parameter(model.conv1.weight.detach() * 1.5)


def classifier(model: nn.Module) -> None:
    model.fc.weight = nn.Parameter(model.fc.weight.detach() * 1.5)


@pytest.mark.parametrize(
    "change",
    [in_place, behind_autograd, loaded, assigned, statistics, replaced_tensor, classifier],
)
def test_weights_may_change(change: Callable[[nn.Module], None]) -> None:
    model, batch = settle(Skip(nn.ReLU())), images(3)
    forwards = folded(cut_at(model, "block", batch))
    before = passed(forwards, batch)
    change(model)
    found = passed(forwards, batch)
    with torch.no_grad():
        own = model(batch)
        assert float((own - before).abs().max()) > 0.01
        assert_near(found, own)


def another_conv(model: nn.Module) -> None:
    model.conv2 = settle(nn.Conv2d(8, 8, 3, padding=1, bias=False), seed=7)


def another_setting(model: nn.Module) -> None:
    model.norm2.eps = 2.0


def another_mode(model: nn.Module) -> None:
    model.norm2.train()


def another_activation(model: nn.Module) -> None:
    model.act = nn.SiLU()


def no_statistics(model: nn.Module) -> None:
    model.norm2.running_mean = model.norm2.running_var = None


@pytest.mark.parametrize(
    "change", [another_conv, another_setting, another_mode, another_activation, no_statistics]
)
def test_layers_that_change_make_it_the_models_own_pass(
    change: Callable[[nn.Module], None],
) -> None:
    model, batch = settle(Skip(nn.ReLU())), images(3)
    forwards = folded(cut_at(model, "block", batch))
    before = passed(forwards, batch)
    change(model)
    with torch.no_grad():
        own = copy.deepcopy(model)(batch)
        assert float((own - before).abs().max()) > 0.01
        assert torch.equal(forwards.run(batch), own)


def test_weights_that_are_computed_are_computed_every_time() -> None:
    class Halved(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return weight / 2

    model, batch = settle(Skip(nn.ReLU())), images(3)
    parametrize.register_parametrization(model.conv2.eval(), "weight", Halved())
    forwards = folded(cut_at(model.eval(), "block", batch))
    assert joined(forwards) == ["na", "nsa"]
    in_place(model)
    found = passed(forwards, batch)
    with torch.no_grad():
        assert_near(found, model(batch))


def test_images_of_another_size_or_kind() -> None:
    model = settle(Skip(nn.ReLU()))
    forwards = folded(cut_at(model, "block", images(1)))
    other = images(2, (20, 12))
    with torch.no_grad():
        assert torch.equal(forwards(other), model(other))
        wide = images(2).double()
        with pytest.raises(RuntimeError, match="type"):
            forwards.run(wide)


def test_with_a_gradient_the_models_own_pass_runs() -> None:
    model = settle(Skip(nn.ReLU()))
    forwards = folded(cut_at(model, "block", images(1)))
    batch = images(3).requires_grad_(True)
    found = forwards(batch)
    (gradient,) = torch.autograd.grad(found[:, 1].sum(), batch)
    (expected,) = torch.autograd.grad(model(batch)[:, 1].sum(), batch)
    assert torch.equal(gradient, expected)
    assert not forwards(images(3)).requires_grad


# ------------------------------------------------------------------------------------- not a number


@pytest.mark.parametrize("act", [nn.ReLU(), nn.ReLU6(), nn.Hardtanh(), nn.SiLU(), nn.Tanh()])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e38])
def test_what_is_no_number_stays_none(act: nn.Module, value: float) -> None:
    """oneDNN's own ReLU and clipping would make 0 of a NaN."""
    model, batch = settle(Skip(act)), images(3)
    forwards = folded(cut_at(model, "block", batch))
    batch[1, :, 3:9, 4:7] = value
    with torch.no_grad():
        own = model(batch)
    found = forwards(batch)
    assert torch.equal(found.isfinite(), own.isfinite())
    assert torch.equal(found.isnan(), own.isnan())


def test_a_result_that_overflows_is_the_models_own() -> None:
    """A ReLU makes 0 of -∞, and what stands for it here does not."""
    model, batch = settle(Skip(nn.ReLU())), images(3)
    torch.nn.init.constant_(model.conv1.weight, -1.0)
    forwards = folded(cut_at(model, "block", batch))
    batch[1] = 3e38
    with torch.no_grad():
        own = model(batch)
    assert own.isfinite().all()
    assert_near(forwards(batch), own)


# ----------------------------------------------------------------------------------------- as a way


def test_the_first_images_are_run_both_ways() -> None:
    model, batch = settle(Skip(nn.ReLU())), images(9)
    forwards = folded(cut_at(model, "block", batch))
    found = forwards(batch)
    with torch.no_grad():
        own = torch.cat([model(image[None]) for image in batch[:4]])
    assert 0 < forwards.error == float((found[:4] - own).abs().max())
    assert forwards.to_dict()["max_logit_error"] == forwards.error
    assert forwards.spread == float(own.max() - own.min())


@pytest.mark.parametrize("memory", [None, 1, 60_000])
def test_memory_bounds_the_images_of_a_pass(memory: int | None) -> None:
    model = settle(Skip(nn.ReLU()))
    cut = cut_at(model, "block", images(1))
    own = prepare(cut, images(1), Engine(rounding=False, memory=memory))
    forwards = prepare(cut, images(1), Engine(memory=memory))
    assert forwards.how == HOW
    assert forwards.batch_size == own.batch_size
    assert own.batch_size == (16 if memory is None else 1 if memory == 1 else 3)
    counts = []
    run = forwards.run
    forwards.run = lambda part: counts.append(len(part)) or run(part)  # type: ignore[func-returns-value]
    forwards(images(5))
    assert max(counts) <= forwards.batch_size


@pytest.mark.parametrize("name", ["scorecam", "rise(masks=20)"])
def test_maps_are_those_of_the_models_own_pass(name: str) -> None:
    model, batch = settle(Skip(nn.ReLU())), images(2)
    cut = cut_at(model, "block", batch)
    forwards = folded(cut)
    own = compute(name, capture(cut, batch))
    found = compute(name, capture(cut, batch, forwards=forwards))
    assert float((found - own).abs().max()) <= 1e-4 * float(own.max())
    assert forwards.error > 0
    assert forwards.run.current(batch), "an explanation changes nothing of the model"  # type: ignore[attr-defined]


def test_what_is_kept_on_a_module_is_none_of_the_tracers() -> None:
    model = Skip(nn.ReLU())
    model.conv1 = nn.Sequential(Keeps(), model.conv1)
    cut = cut_at(settle(model), "block", images(1))
    itself(cut)
    assert type(model.conv1[0].kept) is Tensor
