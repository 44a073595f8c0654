"""A whole run: every cell is a value or has a reason, and known explainers get known results."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from camaudit.capture import Capture, capture
from camaudit.cut import cut_at
from camaudit.errors import UsageError
from camaudit.maps import upsample
from camaudit.methods import method_call, select
from camaudit.methods.noise import normal
from camaudit.sanity import (
    CHECKS,
    Curve,
    Options,
    Outcome,
    Randomiser,
    SanityResult,
    complexity,
    execution_order,
    noisy_views,
    run_sanity,
    similarity,
)
from tests.networks import build, images, settle

SEEDS = (0, 1, 2)
METHODS = ("gradcam", "eigencam", "sobel", "uniform", "cam", "hirescam")


@dataclass(frozen=True)
class Planted:
    """An explainer from a function of the capture."""

    label: str
    function: Any

    def __call__(self, seen: Capture, *, seed: int) -> Tensor:
        del seed
        maps: Tensor = self.function(seen)
        return maps


def run(model: nn.Module, layer: str, x: Tensor, methods: Any, **options: Any) -> SanityResult:
    calls = select(methods) if isinstance(methods[0], str) else methods
    return run_sanity(
        model, layer, x, methods=calls, options=Options(**{"seeds": SEEDS, **options})
    )


def curve(result: SanityResult, method: str, name: str, order: str = "top-down") -> Curve:
    (found,) = [
        c for c in result.curves
        if (c.method, c.similarity, c.order, c.check) == (method, name, order, "mprt")
    ]  # fmt: skip
    return found


@pytest.fixture(scope="module")
def result() -> SanityResult:
    return run(
        build("flat").double(), "3", images(3).double(), METHODS,
        checks=("mprt", "emprt", "smprt", "random-logit"), samples=2,
        orders=("top-down", "bottom-up", "independent"), similarities=("spearman", "ssim"),
    )  # fmt: skip


def test_every_cell_has_a_value_or_a_reason(result: SanityResult) -> None:
    undefined: dict[tuple[Any, ...], int] = {}
    for c in result.curves:
        empty = sum(v is None for rows in c.values for row in rows for v in row)
        undefined[c.check, c.order, c.method] = (
            undefined.get((c.check, c.order, c.method), 0) + empty
        )
        assert len(c.values) == len(SEEDS)
        assert len(c.values[0]) == len(result.layers)
    for (check, order, method), count in undefined.items():
        named = [
            r.count for r in result.remarks
            if (r.check, r.order, r.method) == (check, order, method)
        ]  # fmt: skip
        assert sum(named) == count


def test_the_result_is_json(result: SanityResult) -> None:
    plain = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert plain["layers"] == ["0", "2", "5", "8"]
    assert plain["steps"][0] == {
        "order": "top-down", "number": 1, "layer": "8", "above": True, "random": 1,
    }  # fmt: skip


def test_eigencam_is_not_scored_while_only_later_layers_are_random(result: SanityResult) -> None:
    for seed in curve(result, "eigencam", "spearman").values:
        assert [row[0] is None for row in seed] == [True, True, False, False]
    remark = next(
        r for r in result.remarks
        if (r.method, r.order, r.check) == ("eigencam", "top-down", "mprt")
    )  # fmt: skip
    assert remark.outcome is Outcome.UNCHANGED
    assert remark.steps == (1, 2)
    assert "layer '3'" in remark.reason


def test_edges_stay_at_one_and_a_flat_map_is_undefined(result: SanityResult) -> None:
    for value in np.ravel(curve(result, "sobel", "spearman").values):
        assert value == pytest.approx(1)
    assert all(value is None for value in np.ravel(curve(result, "uniform", "spearman").values))
    (null,) = [
        n for n in result.nulls
        if (n.method, n.similarity, n.check) == ("sobel", "spearman", "mprt")
    ]  # fmt: skip
    assert np.ravel(null.values) == pytest.approx(1)
    assert null.pairs == ((0, 1), (0, 2), (1, 2))


def test_a_method_that_does_not_apply_is_named(result: SanityResult) -> None:
    found = {r.outcome for r in result.remarks if r.method == "cam"}
    assert found == {Outcome.NOT_APPLICABLE}


def test_blindness_to_the_class_is_named(result: SanityResult) -> None:
    blind = {
        r.method for r in result.remarks
        if r.check == "random-logit" and r.outcome is Outcome.UNCHANGED
    }  # fmt: skip
    assert blind == {"eigencam", "sobel", "uniform"}


def test_scores_equal_copied_models() -> None:
    model, x = build("residual").double(), images(2).double()
    found = run(model, "blocks", x, ("gradcam",), seeds=(4,), similarities=("spearman",))
    first = capture(cut_at(model, "blocks", x[:1]), x)
    call = method_call("gradcam")
    before = upsample(call(first), (16, 16))
    for step in range(1, len(found.layers) + 1):
        twin = copy.deepcopy(model)
        order = execution_order(twin, x[:1])
        weights = Randomiser(twin, order)
        weights.__enter__()
        for layer in order.layers[len(order.layers) - step :]:
            weights.randomise(layer, seed=4)
        seen = capture(cut_at(twin, "blocks", x[:1]), x, targets=first.targets)
        after = upsample(call(seen), (16, 16))
        wanted = [similarity("spearman", a, b)[0] for a, b in zip(before, after, strict=True)]
        got = curve(found, "gradcam", "spearman").values[0][step - 1]
        assert got == pytest.approx(wanted, abs=1e-9)


def test_emprt_is_the_rise_of_entropy_in_the_wholly_random_model() -> None:
    model, x = build("flat").double(), images(2).double()
    alone = run(model, "3", x, ("hirescam",), checks=("emprt",))
    both = run(model, "3", x, ("hirescam",), checks=("mprt", "emprt"))
    (table,) = alone.tables
    assert table == both.tables[0]
    assert alone.curves == ()
    cut = cut_at(model, "3", x[:1])
    first = capture(cut, x)
    order = execution_order(model, x[:1])
    with Randomiser(model, order) as weights:
        for layer in order.layers:
            weights.randomise(layer, seed=0)
        random = method_call("hirescam")(capture(cut, x, targets=first.targets))
    for image, original in enumerate(method_call("hirescam")(first)):
        before, after = complexity(original)[0], complexity(random[image])[0]
        assert before is not None
        assert after is not None
        assert table.values[0][image] == pytest.approx((after - before) / before)


def test_views_share_their_noise_and_do_not_depend_on_the_batch() -> None:
    x = images(3)
    views = noisy_views(x, samples=2, seed=5)
    assert torch.equal(noisy_views(x[1:2], samples=2, seed=5), views[2:4])
    sigma = 0.1 * float(x[0].max() - x[0].min())
    noise = torch.from_numpy(normal(5, x[0], 1, tuple(x[0].shape))).float()
    torch.testing.assert_close(views[1], x[0] + sigma * noise)


def test_a_model_against_itself_is_unchanged_and_against_another_is_not() -> None:
    model, x = build("flat"), images(2)
    other = build("flat", seed=1)
    options = Options(checks=("data-randomisation",), similarities=("spearman",))
    calls = select(("hirescam",))
    same = run_sanity(model, "3", x, methods=calls, options=options, permuted=model)
    assert same.tables[0].values[0] == pytest.approx([1, 1])
    changed = run_sanity(model, "3", x, methods=calls, options=options, permuted=other)
    assert max(v for v in changed.tables[0].values[0] if v is not None) < 0.9


def test_batches_and_threads_change_nothing() -> None:
    model, x = build("flat").double(), images(5).double()
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        one = run(model, "3", x, ("gradcam",), checks=("mprt", "smprt", "random-logit"), samples=3)
        torch.set_num_threads(1)
        two = run(
            model, "3", x, ("gradcam",), checks=("mprt", "smprt", "random-logit"), samples=3,
            batch_size=2,
        )  # fmt: skip
    finally:
        torch.set_num_threads(threads)
    for a, b in zip(one.curves, two.curves, strict=True):
        left, right = np.array([a.values, b.values], dtype=float)
        np.testing.assert_allclose(left, right, atol=1e-9)


def test_a_failing_method_and_one_that_writes_are_errors_of_their_own() -> None:
    def broken(_seen: Capture) -> Tensor:
        raise ArithmeticError("no map today")

    def writes(seen: Capture) -> Tensor:
        return seen.activations.relu_().mean(dim=1)

    found = run(
        build("flat"), "2", images(2),
        [Planted("broken", broken), Planted("writes", writes), method_call("hirescam")],
        similarities=("spearman",),
    )  # fmt: skip
    reasons = {r.method: r.reason for r in found.remarks if r.outcome is Outcome.ERROR}
    assert "no map today" in reasons["broken"]
    assert "wrote into its capture" in reasons["writes"]


def test_an_interrupted_run_gives_the_model_back() -> None:
    model, calls = build("flat"), []

    def interrupts(seen: Capture) -> Tensor:
        calls.append(None)
        if len(calls) > 3:
            raise KeyboardInterrupt
        return seen.activations.mean(dim=1)

    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(KeyboardInterrupt):
        run(model, "3", images(2), [Planted("interrupts", interrupts)])
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
    assert not any(module._forward_hooks for module in model.modules())


def test_effects_have_intervals_from_six_seeds_and_images_on() -> None:
    found = run(
        build("flat"), "3", images(6), ("hirescam", "sobel"), seeds=tuple(range(6)),
        similarities=("spearman",),
    )  # fmt: skip
    last = [e for e in found.effects if e.step == len(found.layers)]
    distance = {e.method: e.distance for e in last}
    assert distance["hirescam"].ci_low is not None
    assert distance["sobel"].mean == pytest.approx(0, abs=1e-9)  # its null is 1 too
    for effect in last:
        low, high = effect.distance.ci_low, effect.distance.ci_high
        assert low is not None
        assert high is not None
        assert low <= (effect.distance.mean or 0) <= high


@pytest.mark.parametrize(
    "wrong",
    [
        {"checks": ("mrpt",)}, {"orders": ("all",)}, {"seeds": ()}, {"seeds": (1, 1)},
        {"similarities": ()}, {"scheme": "xavier"}, {"samples": 0}, {"noise": 0.0},
        {"resolution": "half"}, {"batch_size": 0}, {"seed": -1},
    ],
)  # fmt: skip
def test_wrong_options_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Options(**wrong)


def test_data_randomisation_needs_a_second_model() -> None:
    assert "data-randomisation" in CHECKS
    with pytest.raises(UsageError, match="permute-labels"):
        run(build("flat"), "3", images(1), ("gradcam",), checks=("data-randomisation",))


@pytest.mark.parametrize("targets", [torch.tensor([0, 1]), torch.tensor([[0], [1], [2]])])
def test_targets_are_counted_before_anything_runs(targets: Tensor) -> None:
    model, x = build("flat"), images(3)
    calls: list[None] = []
    handle = model.register_forward_hook(lambda *_: calls.append(None))
    with pytest.raises(UsageError, match="one target class an image, 3 in all"):
        run_sanity(
            model, "3", x, methods=select(("gradcam",)), targets=targets,
            options=Options(batch_size=2),
        )  # fmt: skip
    handle.remove()
    assert not calls


@pytest.mark.parametrize("given", [{"permuted": build("flat")}, {"permuted_layer": "3"}])
def test_a_second_model_without_its_check_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="data-randomisation"):
        run_sanity(build("flat"), "3", images(1), methods=select(("gradcam",)), **given)


class Sized(nn.Sequential):
    """A model that says that it is empty."""

    def __len__(self) -> int:
        return 0


def test_a_second_model_may_have_a_length_of_zero() -> None:
    options = Options(checks=("data-randomisation",), similarities=("spearman",))
    found = run_sanity(
        build("flat"), "3", images(2), methods=select(("hirescam",)), options=options,
        permuted=Sized(*build("flat", seed=1)).eval(),
    )  # fmt: skip
    assert found.tables[0].mean.mean is not None


def test_one_output_has_no_other_class_and_the_other_checks_run() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 14 * 14, 1))
    checks = ("mprt", "random-logit")
    found = run(settle(model), "1", images(3), ("hirescam", "sobel"), checks=checks, batch_size=2)
    assert {curve.check for curve in found.curves} == {"mprt"}
    for table in found.tables:
        assert table.values == ((None, None, None),)
    left = [r for r in found.remarks if r.check == "random-logit"]
    assert [(r.method, r.outcome, r.images) for r in left] == [
        ("hirescam", Outcome.NOT_APPLICABLE, (0, 1, 2)),
        ("sobel", Outcome.NOT_APPLICABLE, (0, 1, 2)),
    ]
