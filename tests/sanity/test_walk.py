"""What a run says of one image does not depend on the others, nor on the other methods."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from camaudit.capture import Capture
from camaudit.methods import select
from camaudit.sanity import Options, Outcome, SanityResult, run_sanity
from tests.networks import CLASSES, Mean, build, images, settle


@dataclass(frozen=True)
class Planted:
    """An explainer from a function of the capture."""

    label: str
    function: Callable[[Capture], Tensor]

    def __call__(self, seen: Capture, *, seed: int) -> Tensor:
        del seed
        return self.function(seen)


class Overflow(nn.Module):
    """Infinite logits for every image whose largest is above a bound."""

    def forward(self, x: Tensor) -> Tensor:
        return x.where(x.abs().amax(dim=1, keepdim=True) < 1e-2, torch.inf)


def overflowing() -> nn.Module:
    """Trained weights so small that no logit overflows; random ones are much larger."""
    head = nn.Linear(6, CLASSES)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.ReLU(), nn.Conv2d(4, 6, 3, bias=False), nn.ReLU(),
        Mean(), head, Overflow(),
    )  # fmt: skip
    settle(model)
    with torch.no_grad():
        head.weight.mul_(1e-4)
        head.bias.mul_(1e-4)
    return model.double()


def pictures(faint: int, count: int = 3) -> Tensor:
    """Images of which one is so faint that its logits are finite in every model."""
    x = images(count).double()
    x[faint] *= 1e-6
    return x


def run(model: nn.Module, layer: str, x: Tensor, methods: Any, **options: Any) -> SanityResult:
    return run_sanity(
        model, layer, x, methods=methods,
        options=Options(**{"seeds": (0, 1), "similarities": ("spearman",), **options}),
    )  # fmt: skip


def cells(result: SanityResult) -> np.ndarray:
    """Every value of a run; NaN where there is none."""
    values = [np.ravel(np.array(found.values, dtype=float)) for found in (
        *result.curves, *result.nulls, *result.tables
    )]  # fmt: skip
    return np.concatenate(values)


def reasons(result: SanityResult, **wanted: Any) -> dict[Any, list[Any]]:
    """Reason → (check, order, method, seeds, steps, images), of the remarks that fit."""
    found: dict[Any, list[Any]] = {}
    for r in result.remarks:
        if all(getattr(r, name) == value for name, value in wanted.items()):
            where = (r.check, r.order, r.method, r.seeds, r.steps, r.images, r.count)
            found.setdefault((r.outcome, r.reason), []).append(where)
    return {reason: sorted(places, key=str) for reason, places in found.items()}


def test_one_image_without_finite_logits_takes_no_reason_from_the_others() -> None:
    model, x = overflowing(), pictures(faint=1)
    calls = select(("eigencam", "hirescam"))
    together, alone = (run(model, "3", x, calls, batch_size=size) for size in (3, 1))
    np.testing.assert_allclose(cells(together), cells(alone), atol=1e-9)
    assert reasons(together) == reasons(alone)
    (remark,) = (
        r for r in together.remarks
        if (r.method, r.order, r.outcome) == ("eigencam", "top-down", Outcome.UNCHANGED)
    )  # fmt: skip
    assert (remark.images, remark.steps) == ((1,), (1,))


@pytest.mark.parametrize("check", ["mprt", "smprt"])
def test_bit_equal_inputs_are_seen_in_each_image_of_a_batch(check: str) -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, bias=False), nn.ReLU(), nn.Conv2d(4, 6, 3), nn.ReLU(), Mean(),
        nn.Linear(6, CLASSES),
    )  # fmt: skip
    settle(model).double()
    x = images(3).double()
    x[1] = 0  # its activations are 0 whatever the first weights are
    methods = [Planted("signed", lambda seen: (seen.activations * seen.gradients).sum(dim=1))]
    together, alone = (
        run(model, "1", x, methods, checks=(check,), orders=("bottom-up",), samples=2,
            batch_size=size)
        for size in (8, 1)
    )  # fmt: skip
    assert reasons(together) == reasons(alone)
    (remark,) = (r for r in together.remarks if r.outcome is Outcome.UNCHANGED)
    assert (remark.images, remark.steps) == ((1,), (1,))


@pytest.mark.parametrize("check", ["mprt", "smprt", "emprt"])
def test_random_logits_that_are_not_finite_leave_a_map_undefined(check: str) -> None:
    model, x = overflowing(), pictures(faint=1)
    calls = select(("hirescam", "sobel", "cam"))
    options = {"checks": (check,), "samples": 2}
    found, alone = (run(model, "1", x, calls, batch_size=size, **options) for size in (8, 1))
    np.testing.assert_allclose(cells(found), cells(alone), atol=1e-9)
    assert reasons(found) == reasons(alone)
    outcomes = {
        method: {r.outcome for r in found.remarks if r.method == method}
        for method in ("hirescam", "cam", "sobel")
    }
    assert outcomes == {
        "hirescam": {Outcome.UNDEFINED},
        "cam": {Outcome.NOT_APPLICABLE},
        "sobel": set(),  # it reads the images alone, whatever the logits are
    }
    said = [r.reason for r in found.remarks if r.method == "hirescam"]
    assert set(said) == {"the random model's logits are not finite"}


def overwrite(part: str) -> Callable[[Capture], Tensor]:
    """A method that spoils one tensor of its capture, seen by torch or behind its back."""

    def function(seen: Capture) -> Tensor:
        tensor = getattr(seen, part.removesuffix(" as numpy"))
        if part.endswith("numpy"):
            tensor.numpy()[...] = 1
        else:
            tensor.fill_(1)
        return seen.activations.mean(dim=1)

    return function


def raises(seen: Capture) -> Tensor:
    seen.activations.zero_()
    raise ArithmeticError("after writing")


PARTS = ("images", "activations", "gradients", "logits", "targets", "scores")


@pytest.mark.parametrize("part", [*PARTS, "activations as numpy", "raises"])
def test_what_a_method_writes_reaches_no_other(part: str) -> None:
    model, x = build("flat").double(), images(2).double()
    before = x.clone()
    others = select(("hirescam", "scorecam", "sobel"))
    writer = Planted("writer", raises if part == "raises" else overwrite(part))
    options = {"checks": ("mprt", "emprt", "random-logit"), "orders": ("top-down", "bottom-up")}
    alone = run(model, "2", x, others, **options)
    found = run(model, "2", x, [writer, *others], **options)
    assert torch.equal(x, before)
    for kind in ("curves", "nulls", "tables"):
        kept = [one for one in getattr(found, kind) if one.method != "writer"]
        assert kept == list(getattr(alone, kind))
    assert found.targets == alone.targets
    outcomes = {r.outcome for r in found.remarks if r.method == "writer"}
    assert outcomes == {Outcome.ERROR}


def test_a_method_may_use_its_output_again() -> None:
    kept = torch.zeros(2, 12, 12, dtype=torch.float64)

    def function(seen: Capture) -> Tensor:
        return kept.copy_(seen.activations[..., :12, :12].mean(dim=1))

    model, x = overflowing()[:-1].eval(), images(2).double()
    again = run(model, "1", x, [Planted("one", function)])
    fresh = run(model, "1", x, [Planted("one", lambda seen: function(seen).clone())])
    assert again.curves == fresh.curves


def test_a_method_that_reads_the_class_number_is_not_blind_to_it() -> None:
    def chosen(seen: Capture) -> Tensor:
        rows = torch.arange(len(seen))
        return seen.activations[rows, seen.targets]

    def unsteady(seen: Capture) -> Tensor:
        mean = seen.activations.mean(dim=1)
        return mean + torch.from_numpy(drawn.random(mean.shape))

    drawn = np.random.default_rng(0)
    model, x = build("flat").double(), images(2).double()
    planted = [Planted("chosen", chosen), Planted("unsteady", unsteady), *select(("eigencam",))]
    found = run(model, "3", x, planted, checks=("mprt", "random-logit"))
    (blind,) = reasons(found, check="random-logit", outcome=Outcome.UNCHANGED).values()
    assert [where[2] for where in blind] == ["eigencam"]
    for method in ("chosen", "unsteady"):
        (table,) = (t for t in found.tables if t.method == method)
        assert table.mean.mean is not None
        assert table.mean.mean < 0.99
    (above,) = reasons(found, check="mprt", outcome=Outcome.UNCHANGED).values()
    # the class is the same in a cascade
    assert [(where[2], where[4]) for where in above] == [("chosen", (1, 2)), ("eigencam", (1, 2))]


def test_emprt_leaves_out_maps_that_cannot_have_changed() -> None:
    model = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(3 * 16 * 16, CLASSES))
    settle(model).double()  # every weight comes after the target layer
    calls = select(("eigencam", "hirescam", "sobel"))
    found = run(model, "0", images(2).double(), calls, checks=("emprt",))
    values = {table.method: np.array(table.values, dtype=float) for table in found.tables}
    assert np.isnan(values["eigencam"]).all()
    assert (values["hirescam"] != 0).all()
    assert (values["sobel"] == 0).all()  # it reads the images alone: this is the finding
    (remark,) = found.remarks[-1:]
    assert (remark.method, remark.outcome) == ("eigencam", Outcome.UNCHANGED)
    assert remark.count == 4


def test_a_second_model_without_finite_logits_for_one_image_is_compared_on_the_others() -> None:
    model, x = overflowing(), pictures(faint=1)
    second = copy.deepcopy(model)
    with torch.no_grad():
        second[5].weight.mul_(1e4)
        second[5].bias.zero_()
    together, alone = (
        run_sanity(
            model, "3", x, methods=select(("hirescam", "sobel", "cam")), permuted=second,
            options=Options(checks=("data-randomisation",), similarities=("spearman",),
                            batch_size=size),
        )
        for size in (3, 1)
    )  # fmt: skip
    np.testing.assert_allclose(cells(together), cells(alone), atol=1e-9)
    assert reasons(together) == reasons(alone)
    (remark,) = (r for r in together.remarks if r.outcome is Outcome.ERROR)
    assert (remark.method, remark.images) == ("hirescam", (0, 2))
    assert "second model" in remark.reason
