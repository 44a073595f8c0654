"""Masked images run fast give the model's own logits, and leave the model as it was."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils import parametrize
from torchvision.models import resnet18

from camaudit.capture import capture
from camaudit.cut import Cut, cut_at
from camaudit.engine import Engine, Forwards, prepare
from camaudit.errors import DegenerateModelError, LayerError, UsageError, WallError
from camaudit.methods import compute
from camaudit.walls import PaperVGG16, WalledModel, insert_wall, paper_wall, split_trunk
from tests import networks
from tests.networks import CUTTABLE, build, images, settle
from tests.subjects import FACTORY

Divided = Cut | WalledModel
EXACT = Engine(rounding=False)
#: Of the range of logits, after any number of convolutions by Winograd's algorithm.
NEAR = 1e-4

LAYER = {
    "chain": "5", "flat": "3", "residual": "blocks", "dense": "norm", "reused": "relu#3",
    "squeezed": "body", "writes input": "conv", "batch reshape": "act", "max linear": "body.2",
    "fixed pool head": "body.2",
}  # fmt: skip


def divided(kind: str, model: nn.Module, layer: str, example: Tensor) -> Divided:
    if kind == "cut":
        return cut_at(model, layer, example)
    if kind.startswith("insert"):
        return insert_wall(model, layer, example, dead=kind.partition(" ")[2] or None)
    return split_trunk(model, layer, example, dead=kind.partition(" ")[2] or None)


KINDS = ("cut", "insert", "insert top:2", "insert right:3", "split", "split left:2")


def wide(size: int = 16) -> nn.Module:
    """A chain with a stem, two wide convolutions and a flattening head."""
    return settle(
        nn.Sequential(
            nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(inplace=True),
            nn.Conv2d(128, 64, 3, padding=1), nn.ReLU(),
            nn.Flatten(), nn.Linear(64 * (size // 2) ** 2, 7),
        )
    )  # fmt: skip


def logits(forwards: Callable[[Tensor], Tensor], batch: Tensor) -> Tensor:
    with torch.no_grad():
        return forwards(batch)


def assert_near(found: Tensor, own: Tensor) -> None:
    assert found.shape == own.shape
    assert found.dtype == own.dtype
    assert float((found - own).abs().max()) <= NEAR * float(own.max() - own.min())


# ------------------------------------------------------------------------------------------- exact


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CUTTABLE)
def test_logits_of_any_network_are_its_own_to_the_bit(name: str, kind: str) -> None:
    model, example = build(name), images(1)
    model_cut = divided(kind, model, LAYER.get(name, CUTTABLE[name][1][-1]), example)
    forwards = prepare(model_cut, example, EXACT)
    assert forwards.exact
    for count in (1, 3, 8):
        for layout in (torch.contiguous_format, torch.channels_last):
            batch = images(count, seed=count).contiguous(memory_format=layout)
            kept = batch.clone()
            assert torch.equal(logits(forwards, batch), logits(model_cut.logits, batch))
            assert torch.equal(batch, kept)


@pytest.mark.parametrize("name", ["chain", "flat", "reused", "gap linear"])
def test_float64_networks_too(name: str) -> None:
    model, example = build(name).double(), images(1).double()
    for kind in KINDS:
        model_cut = divided(kind, model, LAYER.get(name, "body"), example)
        forwards = prepare(model_cut, example, Engine())
        assert forwards.how == "layer by layer"
        batch = images(5).double()
        assert torch.equal(logits(forwards, batch), logits(model_cut.logits, batch))


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(dead=st.lists(st.booleans(), min_size=64, max_size=64), count=st.integers(1, 8))
def test_walls_of_any_shape(dead: list[bool], count: int) -> None:
    mask = torch.tensor(dead).view(8, 8)
    mask[0, 0], mask[3, 4] = True, False
    model, example = build("chain"), images(1)
    walled = insert_wall(model, "5", example, dead=mask)
    forwards = prepare(walled, example, EXACT)
    assert forwards.how == "layer by layer"
    batch = images(count)
    assert torch.equal(logits(forwards, batch), logits(walled.logits, batch))
    assert_near(logits(prepare(walled, example, Engine()), batch), logits(walled.logits, batch))


@pytest.mark.parametrize("name", ["build", "flattened", "double", "bfloat", "talkative"])
def test_the_networks_that_audits_are_tested_on(name: str) -> None:
    namespace: dict[str, Any] = {}
    exec(FACTORY, namespace)  # noqa: S102 - the tests' own text
    model = namespace[name]()
    dtype = next(model.parameters()).dtype
    example = images(1, 64).to(dtype)
    for kind in ("cut", "insert", "split"):
        model_cut = divided(kind, model, "0", example)
        forwards = prepare(model_cut, example, Engine())
        assert forwards.exact
        batch = images(6, 64, seed=3).to(dtype)
        assert torch.equal(logits(forwards, batch), logits(model_cut.logits, batch))


def test_a_residual_network_runs_as_it_is() -> None:
    torch.manual_seed(0)
    model, example = resnet18().eval(), images(1, 64)
    cut = cut_at(model, "layer4", example)
    forwards = prepare(cut, example, EXACT)
    assert (forwards.how, forwards.exact) == ("the model itself", True)
    assert forwards.batch_size == 16
    assert torch.equal(logits(forwards, images(3, 64)), logits(cut.logits, images(3, 64)))


@pytest.mark.parametrize("memory", [None, 10**12])
def test_a_pass_has_few_images_where_their_maps_are_large(memory: int | None) -> None:
    """64 channels of 112×112 in and out of ResNet-18's first normalisation, twice: 5 in 64 MiB."""
    torch.manual_seed(0)
    model, example = resnet18().eval(), images(1, 224)
    cut = cut_at(model, "layer4", example)
    for asked, fits in ((16, 5), (3, 3)):
        engine = Engine(batch_size=asked, memory=memory, rounding=False)
        assert prepare(cut, example, engine).batch_size == fits


def test_the_papers_network() -> None:
    """With a small classifier, on one image."""
    masked = PaperVGG16(channels=256, hidden=64, num_classes=10, seed=2).eval()
    image = images(1, 224)
    walled = paper_wall(masked, image)
    own = logits(walled.logits, image)
    exact = prepare(walled, image, EXACT)
    assert (exact.how, exact.exact) == ("layer by layer", True)
    assert torch.equal(logits(exact, image), own)
    forwards = prepare(walled, image, Engine())
    assert forwards.how == "layer by layer, Winograd convolutions"
    assert not forwards.exact
    found = logits(forwards, image)
    assert_near(found, own)
    assert forwards.error == float((found - own).abs().max()) > 0
    changed = torch.where(walled.zone.pixel_dead, torch.full_like(image, 1e6), image)
    assert torch.equal(logits(forwards, changed), found), "dead pixels reach no bit of the logits"


# ---------------------------------------------------------------------------------------- Winograd


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_winograd_is_near_and_says_so(kind: str, layout: torch.memory_format) -> None:
    model, example = wide(), images(1)
    model_cut = divided(kind, model, "6", example)
    batch = images(20, seed=4).contiguous(memory_format=layout)
    forwards = prepare(model_cut, example, Engine())
    assert forwards.how == "layer by layer, Winograd convolutions"
    found, own = logits(forwards, batch), logits(model_cut.logits, batch)
    assert_near(found, own)
    assert not torch.equal(found, own), "this test must see Winograd's rounding"
    assert not forwards.exact
    assert forwards.error == pytest.approx(float((found - own)[:4].abs().max()), abs=1e-5)
    assert forwards.spread == pytest.approx(float(own[:4].max() - own[:4].min()))


def test_a_head_that_views_its_maps_gets_them_as_the_model_gives_them() -> None:
    class Viewing(nn.Module):
        def forward(self, A: Tensor) -> Tensor:
            return A.view(len(A), -1)

    model, example = wide(), images(1)
    model[7] = Viewing().eval()
    cut = cut_at(model, "6", example)
    forwards = prepare(cut, example, Engine())
    assert_near(logits(forwards, images(3)), logits(cut.logits, images(3)))


def test_changed_weights_are_seen() -> None:
    model, example, batch = wide(), images(1), images(3)
    cut = cut_at(model, "6", example)
    forwards = prepare(cut, example, Engine())
    before = logits(forwards, batch)
    state = {key: value.flip(0) for key, value in model.state_dict().items()}
    model.load_state_dict(state)
    assert_near(logits(forwards, batch), logits(cut.logits, batch))
    with torch.no_grad():
        model[5].weight.data.mul_(0.5)
    assert_near(logits(forwards, batch), logits(cut.logits, batch))
    assert float((logits(forwards, batch) - before).abs().max()) > 0.01
    fresh = prepare(cut, example, Engine())
    assert torch.equal(logits(fresh, batch), logits(forwards, batch))


# ------------------------------------------------------------------------------------------- hooks


def twice(_module: nn.Module, _args: object, output: Tensor) -> Tensor:
    return 2 * output


@pytest.mark.parametrize("layer", ["0", "1", "3", "5"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_hook_is_called_for_every_image(layer: str, when: str) -> None:
    """Also a hook that somebody adds once everything is prepared."""
    model, example, batch = wide(), images(1), images(3)
    cut = cut_at(model, "6", example)
    forwards = prepare(cut, example, Engine()) if when == "after" else None
    seen: list[int] = []
    module = model.get_submodule(layer)
    handles = [module.register_forward_hook(lambda _m, _a, out: seen.append(len(out)))]
    if forwards is None:
        forwards = prepare(cut, example, Engine())
        assert (forwards.how, forwards.exact) == ("the model itself", True)
        seen.clear()
    own = logits(cut.logits, batch)
    calls = list(seen)
    assert 3 in calls
    forwards._compared = [torch.zeros(1)] * 4  # nothing is to be run both ways
    assert torch.equal(logits(forwards, batch), own)
    assert seen == calls * 2
    handles.append(module.register_forward_hook(twice))
    assert torch.equal(logits(forwards, batch), logits(cut.logits, batch))
    for handle in handles:
        handle.remove()
    assert_near(logits(forwards, batch), logits(cut.logits, batch))


@pytest.mark.filterwarnings("ignore:.*weight_norm.*is deprecated")
def test_weights_that_are_computed_are_computed_every_time() -> None:
    class Halved(nn.Module):
        def forward(self, weight: Tensor) -> Tensor:
            return weight / 2

    example, batch = images(1), images(3)
    normed, parametrised = wide(), wide()
    nn.utils.weight_norm(normed[3])
    parametrize.register_parametrization(parametrised[3], "weight", Halved())
    for model in (normed.eval(), parametrised.eval()):
        cut = cut_at(model, "6", example)
        forwards = prepare(cut, example, EXACT)
        assert forwards.how == "the model itself"
        with torch.no_grad():
            for parameter in model[3].parameters():
                parameter.mul_(1.5)
        assert torch.equal(logits(forwards, batch), logits(cut.logits, batch))


# --------------------------------------------------------------------------------- gradient, sizes


@pytest.mark.parametrize("kind", ["cut", "insert", "split"])
def test_with_a_gradient_the_models_own_pass_runs(kind: str) -> None:
    model_cut = divided(kind, wide(), "6", images(1))
    forwards = prepare(model_cut, images(1), Engine(batch_size=2))
    batch = images(3).requires_grad_(True)
    found = forwards(batch)
    own = model_cut.logits(batch)
    assert torch.equal(found, own)
    (gradient,) = torch.autograd.grad(found[:, 1].sum(), batch)
    (expected,) = torch.autograd.grad(own[:, 1].sum(), batch)
    assert torch.equal(gradient, expected)
    with torch.no_grad():
        assert_near(forwards(batch), own)


@pytest.mark.parametrize("engine", [Engine(), EXACT, Engine(precision="bfloat16")])
def test_images_without_a_gradient_need_none_of_the_parameters(engine: Engine) -> None:
    """Autograd may be on: nothing is recorded, and nothing in place breaks."""
    cut = cut_at(wide(), "6", images(1))
    assert all(parameter.requires_grad for parameter in cut.parameters())
    found = prepare(cut, images(1), engine)(images(3))
    assert not found.requires_grad
    assert torch.is_grad_enabled()


def test_images_of_another_size_run_as_the_model_does() -> None:
    model = settle(
        nn.Sequential(
            nn.Conv2d(3, 64, 3, padding=1), nn.ReLU(), nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(),
            nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 4),
        )
    )  # fmt: skip
    cut = cut_at(model, "3", images(1))
    forwards = prepare(cut, images(1), Engine())
    other = images(2, (20, 12))
    assert torch.equal(logits(forwards, other), logits(cut.logits, other))
    for walled in (insert_wall(model, "3", images(1)), split_trunk(model, "3", images(1))):
        with pytest.raises(WallError, match="is built for"):
            prepare(walled, images(1), Engine())(other)


# -------------------------------------------------------------------------------------- batch size


class Recording(nn.Module):
    """Identity that remembers how many images it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.counts: list[int] = []

    def forward(self, x: Tensor) -> Tensor:
        self.counts.append(len(x))
        return x


@pytest.mark.parametrize("memory", [None, 1, 100_000])
def test_no_call_has_more_images_than_the_batch_size(memory: int | None) -> None:
    """Given more at once, and by methods that mask images."""
    model = build("residual")
    recording = Recording()
    model.stem = nn.Sequential(recording, model.stem).eval()
    cut = cut_at(model, "blocks", images(1))
    forwards = prepare(cut, images(1), Engine(batch_size=5, memory=memory))
    assert 1 <= forwards.batch_size <= 5
    assert forwards.batch_size == (5 if memory is None else 1 if memory == 1 else 4)
    recording.counts.clear()
    found = logits(forwards, images(13))
    assert max(recording.counts) == forwards.batch_size
    assert sum(recording.counts) == 13
    torch.testing.assert_close(found, logits(cut.logits, images(13)), rtol=1e-4, atol=1e-5)
    captured = capture(cut, images(2), forwards=forwards)
    assert captured.batch_size == forwards.batch_size
    recording.counts.clear()
    compute("scorecam", captured)
    compute("rise(masks=11)", captured)
    assert max(recording.counts) == forwards.batch_size


# --------------------------------------------------------------------------- precision, compilation


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
@pytest.mark.parametrize("kind", ["cut", "insert", "split"])
@pytest.mark.parametrize("name", ["chain", "residual"])
def test_lower_precision_is_near_and_measured(name: str, kind: str, precision: str) -> None:
    model_cut = divided(kind, build(name), LAYER[name], images(1))
    engine = Engine(precision=precision)  # type: ignore[arg-type]
    forwards = prepare(model_cut, images(1), engine)
    how, size = (f"{precision}, layer by layer", 64) if name == "chain" else (precision, 16)
    assert (forwards.how, forwards.exact, forwards.batch_size) == (how, False, size)
    batch = images(7)
    found, own = logits(forwards, batch), logits(model_cut.logits, batch)
    assert found.dtype == torch.float32
    error = float((found - own).abs().max())
    assert 0 < error <= (0.03 if precision == "bfloat16" else 0.004) * float(own.max() - own.min())
    assert forwards.to_dict() == {
        "how": how,
        "batch_size": size,
        "exact": False,
        "max_logit_error": forwards.error,
        "logit_spread": forwards.spread,
    }
    assert forwards.error == pytest.approx(float((found - own)[:4].abs().max()), rel=0.5)
    assert torch.get_autocast_dtype("cpu") == torch.bfloat16
    assert not torch.is_autocast_enabled("cpu")


def test_lower_precision_is_not_for_float64() -> None:
    cut = cut_at(build("chain").double(), "5", images(1).double())
    with pytest.raises(UsageError, match=r"precision='bfloat16' is for float32 models.*float64"):
        prepare(cut, images(1).double(), Engine(precision="bfloat16"))


def test_an_overflow_is_an_error_and_no_figure() -> None:
    model = build("chain")
    with torch.no_grad():
        model[4].weight.mul_(1e6)
    cut = cut_at(model, "5", images(1))
    forwards = prepare(cut, images(1), Engine(precision="float16"))
    with pytest.raises(DegenerateModelError, match=r"run as float16.* choose a wider precision"):
        logits(forwards, images(2))
    assert forwards.to_dict()["max_logit_error"] is None
    wider = prepare(cut, images(1), Engine(precision="bfloat16"))
    assert logits(wider, images(2)).isfinite().all()


def test_an_overflow_of_a_later_image_is_found_too() -> None:
    cut = cut_at(build("chain"), "5", images(1))
    forwards = prepare(cut, images(1), Engine(precision="float16"))
    logits(forwards, images(9))
    batch = images(9)
    batch[7] *= 1e6
    with pytest.raises(DegenerateModelError, match="choose a wider precision"):
        logits(forwards, batch)


def test_what_is_infinite_in_the_model_itself_is_no_overflow() -> None:
    class Masked(nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            return torch.where(torch.arange(z.shape[1]) == 2, -torch.inf, z)

    model = nn.Sequential(*build("chain"), Masked()).eval()
    batch = images(6)
    batch[1] = torch.nan
    model_cut = insert_wall(build("chain"), "5", images(1))
    model_cut.head = nn.Sequential(model_cut.head, Masked())
    for divided_model in (model_cut, WithHead(model)):
        forwards = Forwards(divided_model, 8, False, "nearly", divided_model.logits)
        found = logits(forwards, batch)
        assert found[1].isnan().any()
        assert forwards.error <= 1e-5
        assert 0 < forwards.spread < 100


class WithHead:
    """The least that a divided model has for :class:`Forwards`."""

    def __init__(self, model: nn.Module) -> None:
        self.logits = model


needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None and shutil.which("clang++") is None,
    reason="torch.compile needs a C++ compiler, and there is none",
)


@pytest.fixture
def compiler() -> Iterator[None]:
    yield
    torch._dynamo.reset()


@needs_compiler
@pytest.mark.usefixtures("compiler")
def test_compiled_passes_are_near_and_measured() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 2, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(2, 3),
    )  # fmt: skip
    cut = cut_at(settle(model), "1", images(1, 8))
    forwards = prepare(cut, images(1, 8), Engine(compile=True))
    assert forwards.how == "layer by layer, compiled"
    assert not forwards.exact
    batch = images(1, 8, seed=3)
    assert_near(logits(forwards, batch), logits(cut.logits, batch))
    assert forwards.to_dict()["max_logit_error"] == forwards.error < 1e-5


@pytest.mark.parametrize(
    ("name", "kind"), [("chain", "cut"), ("wide", "insert"), ("residual", "insert")]
)
@pytest.mark.usefixtures("compiler")
def test_what_is_traced_is_the_same(name: str, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every way to run, through the tracer alone: new weights and sizes are no constants in it."""
    compile_with = torch.compile
    monkeypatch.setattr(torch, "compile", lambda run: compile_with(run, backend="eager"))
    model = wide() if name == "wide" else build(name)
    model_cut = divided(kind, model, LAYER.get(name, "6"), images(1))
    forwards = prepare(model_cut, images(1), Engine(compile=True))
    for count in (3, 9):
        batch = images(count, seed=count)
        assert_near(logits(forwards, batch), logits(model_cut.logits, batch))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(0.9)
    assert_near(logits(forwards, batch), logits(model_cut.logits, batch))


def test_a_compiler_that_fails_is_a_usage_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(_run: object) -> Callable[[Tensor], Tensor]:
        def run(_images: Tensor) -> Tensor:
            raise RuntimeError("no C++ compiler\nand a long trace")

        return run

    monkeypatch.setattr(torch, "compile", failing)
    cut = cut_at(build("chain"), "5", images(1))
    with pytest.raises(
        UsageError, match=r"fails here \(RuntimeError: no C\+\+ compiler\): leave compile out"
    ):
        prepare(cut, images(1), Engine(compile=True))


# ------------------------------------------------------------------------------ what is measured


class Scripted:
    """A divided model whose logits are its images' first pixels; counts its own passes."""

    def __init__(self) -> None:
        self.passes = 0

    def logits(self, batch: Tensor) -> Tensor:
        self.passes += len(batch)
        return batch[:, :, 0, 0].clone()


def off_by(amount: float, model: Scripted) -> Forwards:
    def run(batch: Tensor) -> Tensor:
        found = batch[:, :, 0, 0].clone()
        found[:, 1] += amount
        return found

    return Forwards(model, 8, False, "off", run)


def test_the_first_images_are_run_both_ways() -> None:
    model = Scripted()
    forwards = off_by(0.25, model)
    assert forwards.to_dict()["max_logit_error"] is None
    batch = images(9)
    for part in (batch[:1], batch[1:3], batch[3:9], batch):
        forwards(part)
    assert model.passes == 4
    assert forwards.error == pytest.approx(0.25, abs=1e-6)
    first = batch[:4, :, 0, 0]
    assert forwards.spread == float(first.max() - first.min())


def test_equal_logits_are_measured_once_too() -> None:
    model = Scripted()
    forwards = off_by(-0.5, model)
    for _ in range(3):
        forwards(torch.zeros(3, 3, 2, 2))
    assert model.passes == 4
    assert forwards.to_dict() == {
        "how": "off", "batch_size": 8, "exact": False, "max_logit_error": 0.5, "logit_spread": 0.0,
    }  # fmt: skip


def test_what_is_exact_is_not_run_twice() -> None:
    model = Scripted()
    forwards = Forwards(model, 8, True, "itself", model.logits)
    forwards(images(3))
    assert model.passes == 3
    assert forwards.to_dict() == {
        "how": "itself", "batch_size": 8, "exact": True,
        "max_logit_error": None, "logit_spread": None,
    }  # fmt: skip


@pytest.mark.parametrize("engine", [Engine(), EXACT, Engine(precision="bfloat16", memory=10**6)])
def test_the_record_is_plain_json(engine: Engine) -> None:
    cut = cut_at(wide(), "6", images(1))
    forwards = prepare(cut, images(1), engine)
    json.dumps(forwards.to_dict(), allow_nan=False)
    logits(forwards, images(3))
    record = json.loads(json.dumps(forwards.to_dict(), allow_nan=False))
    assert record == forwards.to_dict()
    assert (record["max_logit_error"] is None) == record["exact"]


@pytest.mark.parametrize("name", ["scorecam", "scorecam++", "ablationcam", "rise(masks=20)"])
@pytest.mark.parametrize("kind", ["cut", "insert", "split"])
def test_maps_are_those_without_an_engine(name: str, kind: str) -> None:
    model_cut = divided(kind, wide(), "6", images(1))
    batch = images(2, seed=8)
    plain = compute(name, capture(model_cut, batch))
    exact = capture(model_cut, batch, forwards=prepare(model_cut, images(1), EXACT))
    torch.testing.assert_close(compute(name, exact), plain, rtol=1e-4, atol=1e-5)
    fast = capture(model_cut, batch, forwards=prepare(model_cut, images(1), Engine()))
    for one in (exact, fast):
        assert torch.equal(one.logits, capture(model_cut, batch).logits)
        assert torch.equal(one.gradients, capture(model_cut, batch).gradients)
    difference = (compute(name, fast) - plain).abs().max()
    assert float(difference) <= 1e-3 * float(plain.max())


# ------------------------------------------------------------------------------ nothing left behind


def state_of(model: nn.Module) -> list[object]:
    """Hooks, modes, parameters and buffers by value, gradients, and instance attributes."""
    return [
        [(m.training, len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks),
          sorted(vars(m))) for m in model.modules()],
        [(p.requires_grad, p.grad, p.data_ptr(), p._version) for p in model.parameters()],
        [b._version for b in model.buffers()],
        torch.get_rng_state().tolist(), torch.get_num_threads(), torch.is_grad_enabled(),
        torch.get_default_dtype(), torch.backends.mkldnn.enabled,
    ]  # fmt: skip


ENGINES = (
    Engine(), EXACT, Engine(memory=10**6), Engine(precision="bfloat16"),
    Engine(rounding=False, memory=10**8),
)  # fmt: skip


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["cut", "insert", "split"])
@pytest.mark.parametrize("name", ["wide", "chain", "residual", "dense", "reused", "writes input"])
def test_the_model_is_left_as_it_was(name: str, kind: str, engine: Engine) -> None:
    model = wide() if name == "wide" else build(name)
    model_cut = divided(kind, model, LAYER.get(name, "6"), images(1))
    example = images(1)
    before, kept = state_of(model), example.clone()
    forwards = prepare(model_cut, example, engine)
    forwards(images(5))
    forwards(images(5).requires_grad_(True))
    assert state_of(model) == before
    assert torch.equal(example, kept)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("place", ["prepare", "run"])
def test_an_exception_leaves_nothing_behind(place: str, engine: Engine) -> None:
    model = settle(networks.Fails())
    cut = cut_at(model, "act", images(1))
    broken = Trunkless(cut)
    forwards = prepare(cut, images(1), engine)
    broken.armed = True
    before = state_of(model)
    measured = Engine(memory=10**6, rounding=engine.rounding)
    attempts = {
        "prepare": lambda: prepare(cut, images(1), measured),
        "run": lambda: logits(forwards, images(2)),
    }
    with pytest.raises(ArithmeticError, match="armed"):
        attempts[place]()
    assert state_of(model) == before
    assert not torch.is_autocast_enabled("cpu")
    broken.armed = False
    assert torch.equal(
        logits(prepare(cut, images(1), EXACT), images(2)), logits(cut.logits, images(2))
    )


class Trunkless:
    """Arms a network that fails after its maps."""

    def __init__(self, cut: Cut) -> None:
        self._model = cut.trunk.model

    @property
    def armed(self) -> bool:
        return bool(self._model.armed)

    @armed.setter
    def armed(self, value: bool) -> None:
        self._model.armed = value


# ------------------------------------------------------------------------------------------ engine


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "float8"}, "precision must be one of float32, bfloat16, float16; got 'floa"),
        ({"batch_size": 0}, "batch_size must be at least 1; got 0"),
        ({"batch_size": -3}, "batch_size must be at least 1; got -3"),
        ({"memory": 0}, "memory must be a positive number of bytes; got 0"),
        ({"memory": -1}, "memory must be a positive number of bytes; got -1"),
    ],
)
def test_an_engine_that_cannot_be_is_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Engine(**options)


def test_an_unknown_layer_is_still_unknown() -> None:
    with pytest.raises(LayerError):
        cut_at(wide(), "60", images(1))
