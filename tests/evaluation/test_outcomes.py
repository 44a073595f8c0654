"""What goes wrong with one image or one method within an evaluation stays with it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from camaudit.capture import Capture
from camaudit.errors import DegenerateModelError, UsageError
from camaudit.evaluation.cells import Cells
from camaudit.evaluation.explained import Maps
from camaudit.evaluation.masked import put_wins
from camaudit.evaluation.options import Options
from camaudit.evaluation.outcomes import Evaluation, Missing
from camaudit.evaluation.passes import Passes
from camaudit.evaluation.run import evaluate
from camaudit.methods import method_call
from camaudit.metrics.checking import class_shares
from tests.evaluation.subjects import COUNT, SIZE, cut, evaluated, images, row


class Own:
    """An explainer of one's own: energy by place, unless `spoil` says that it fails."""

    def __init__(self, spoil: Callable[[Tensor], bool]) -> None:
        self.label = "own"
        self.spoil = spoil

    def __call__(self, seen: Capture, *, seed: int) -> Tensor:
        del seed
        if any(self.spoil(image) for image in seen.images):
            raise RuntimeError("not this one")
        return seen.images.abs().sum(dim=1)


def changed(image: Tensor, *, place: int, by: float) -> bool:
    """Whether an image is the one at `place`, but not exactly, no value further than `by`."""
    away = float((image - images()[place]).abs().max())
    return 0 < away <= by


def masked(image: Tensor, place: int) -> bool:
    """Whether an image is x ⊙ m of the image x at `place`."""
    whole = images()[place]
    return not torch.equal(image, whole) and bool(((image / whole - 0.5).abs() <= 0.5).all())


def test_a_masked_image_without_a_map_spoils_its_own_coherency_alone() -> None:
    own = Own(lambda image: masked(image, 1))
    found = evaluated(methods=[own], checks=("adcc",))
    clean = evaluated(methods=[Own(lambda _: False)], checks=("adcc",))
    for metric in ("coherency", "adcc"):
        one, other = (row(run, metric, "own") for run in (found, clean))
        assert one.missing == {"error": 1}
        kept = [value for place, value in enumerate(other.values) if place != 1]
        assert [value for value in one.values if value is not None] == pytest.approx(kept)
    (remark,) = found.remarks
    assert remark.images == (1,)
    assert "on its own masked images: RuntimeError: not this one" in remark.reason


def test_a_changed_image_without_a_map_spoils_its_own_sensitivity_alone() -> None:
    own = Own(lambda image: changed(image, place=1, by=0.05))
    found = evaluated(methods=[own], checks=("sensitivity",), samples=2, radius=0.05)
    one = row(found, "max-sensitivity", "own")
    assert one.missing == {"error": 1}
    assert one.values[1] is None
    assert found.remarks[0].images == (1,)


def test_a_map_without_pixels_is_an_error_of_its_method() -> None:
    own = Own(lambda _: False)
    empty = method_of(lambda seen: torch.zeros(len(seen), 0, 0))
    found = evaluated(methods=[own, empty], checks=("sparsity",))
    assert row(found, "entropy", "empty").missing == {"error": COUNT}
    assert row(found, "entropy", "own").mean.n == COUNT


def method_of(maps: Callable[[Capture], Tensor]) -> Any:
    class Empty(Own):
        def __call__(self, seen: Capture, *, seed: int) -> Tensor:
            del seed
            return maps(seen)

    made = Empty(lambda _: False)
    made.label = "empty"
    return made


class Breaking:
    """Forwards of a lower precision that breaks images whose first value lies above `most`."""

    batch_size = 3

    def __init__(self, most: float) -> None:
        self.most = most
        self.divided = cut()

    def __call__(self, given: Tensor) -> Tensor:
        if bool((given[:, 0, 0, 0] > self.most).any()):
            raise DegenerateModelError("choose a wider precision")
        with torch.no_grad():
            return self.divided.logits(given)


def glaring() -> Tensor:
    """Images, the third of which has a corner that is much brighter than anything else."""
    given = images()
    given[2, 0, :2, :2] = 60.0
    return given


def run(forwards: Breaking, *checks: str, **options: Any) -> Evaluation:
    return evaluate(
        forwards.divided, glaring(), methods=[method_call("gradcam")], forwards=forwards,
        options=Options(checks=checks, pixels_per_step=20, samples=2, **options), batch_size=3,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("check", "metric"),
    [("road", "road"), ("insertion-deletion", "insertion-auc"), ("infidelity", "infidelity")],
)
def test_a_precision_that_breaks_an_image_makes_its_figures_undefined(
    check: str, metric: str
) -> None:
    found = run(Breaking(30.0), check)
    one = row(found, metric, "gradcam")
    assert one.missing == {"undefined": 1}
    assert one.values[2] is None
    (note,) = found.notes
    assert "choose a wider precision" in note
    assert "notes" not in found.to_dict()
    whole = run(Breaking(math.inf), check)
    assert whole.notes == ()
    kept = [value for at, value in enumerate(row(whole, metric, "gradcam").values) if at != 2]
    assert [value for value in one.values if value is not None] == pytest.approx(kept)


def test_a_method_that_asks_for_a_broken_image_gets_the_error() -> None:
    passes = Passes(Breaking(-math.inf))
    passes.classes = 4
    with pytest.raises(DegenerateModelError):
        passes(images(1))
    with passes.of("road"):
        assert bool(passes(images(2)).isnan().all())
    assert passes.faults.total() == 2


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_probability_needs_finite_logits_and_a_rival(bad: float) -> None:
    logits = torch.tensor([[1.0, 2.0, 0.5], [1.0, bad, 0.5]])
    shares = class_shares(logits, torch.tensor([1, 0]))
    assert shares.isnan().tolist() == [False, True]
    assert float(shares[0]) == pytest.approx(float(logits[0].double().softmax(dim=0)[1]))
    assert class_shares(torch.ones(2, 1), torch.zeros(2, dtype=torch.int64)).isnan().all()


def test_a_single_class_loses_and_gains_nothing() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(5, 6, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 36, 1),
    ).double().eval()  # fmt: skip
    checks = ("confidence", "adcc", "insertion-deletion", "road")
    found = evaluated("gradcam", "hirescam", checks=checks, divided=cut(model))
    assert found.probabilities == (None,) * COUNT
    defined = {"drop-in-logit", "coherency", "map-complexity"}
    for one in found.rows:
        assert bool(one.mean.n) is (one.metric in defined), one.metric


def wins(drops: dict[str, Iterable[float | Missing]]) -> Cells:
    """Cells with Win % of methods with these drops, one an image or why there is none."""
    given = {name: list(row) for name, row in drops.items()}
    cells = Cells(len(next(iter(given.values()))))
    for name, values in given.items():
        reasons = [value if isinstance(value, Missing) else None for value in values]
        figures = [math.nan if isinstance(value, Missing) else value for value in values]
        cells.put("average-drop", name, 0, figures, reasons)
    put_wins(cells, list(given), Options())
    return cells


def test_a_win_that_is_missing_says_why() -> None:
    cells = wins(
        {
            "a": [1.0, Missing.CONSTANT, 5.0, Missing.ERROR],
            "b": [2.0, Missing.ERROR, Missing.NOT_RUN, 3.0],
            "c": [3.0, Missing.NOT_FINITE, 6.0, 4.0],
        }
    )
    rows = {one.method: one for one in cells.rows(seed=0) if one.metric == "win"}
    assert rows["a"].values == (100.0, None, None, 0.0)  # without a map it wins nothing
    assert rows["a"].missing == {"constant map": 1, "not run": 1}
    assert rows["b"].missing == {"error": 1, "not run": 1}
    assert rows["c"].missing == {"map not finite": 1, "not run": 1}


def test_where_no_image_is_common_nothing_was_run() -> None:
    cells = wins({"a": [1.0, 2.0], "b": [Missing.NOT_RUN] * 2})
    rows = {one.method: one for one in cells.rows(seed=0) if one.metric == "win"}
    assert rows["a"].missing == rows["b"].missing == {"not run": 2}


def test_progress_counts_an_image_without_finite_logits() -> None:
    class Told:
        work = done = 0

        def start(self, work: int) -> None:
            self.work = work

        def stage(self, text: str) -> None:
            """Nothing."""

        def advance(self, work: int) -> None:
            self.done += work

    given, told = images(), Told()
    given[3, 0, 0, 0] = torch.nan
    evaluated("gradcam", "sobel", given=given, progress=told)
    assert told.done == told.work > 0


def test_a_target_that_is_no_class_is_refused_with_the_first_images() -> None:
    targets = torch.tensor([0, 1, 2, 3, 4])
    seen: list[int] = []
    own = Own(lambda _: bool(seen.append(1)))
    with pytest.raises(UsageError, match=r"0 to 3; got \[4\]"):
        evaluated(methods=[own], targets=targets, batch_size=2)
    assert not seen
    with pytest.raises(UsageError, match="floating images"):
        evaluate(
            cut(), torch.zeros(2, 3, SIZE, SIZE, dtype=torch.int64), methods=[own],
            forwards=Breaking(math.inf),
        )  # fmt: skip


def test_curves_are_those_of_every_image_though_few_are_kept() -> None:
    given = images(10)
    found, singly = (
        evaluated("gradcam", checks=("insertion-deletion",), given=given, batch_size=size)
        for size in (4, 1)
    )
    for one, other in zip(found.curves, singly.curves, strict=True):
        assert one.n == 10
        assert sorted(one.images) == list(range(8))
        assert one.values == pytest.approx(other.values, abs=2e-6)
        area = (sum(one.values) - (one.values[0] + one.values[-1]) / 2) / (len(one.values) - 1)
        assert area == pytest.approx(row(found, one.metric, "gradcam").mean.mean, abs=2e-6)


def test_maps_weigh_nothing_where_they_are_undefined() -> None:
    maps = torch.tensor([[[0.0, 1.0]], [[math.nan, 1.0]], [[2.0, 2.0]]], dtype=torch.float64)
    found = Maps(maps, (None, Missing.NOT_FINITE, Missing.CONSTANT))
    assert found.weights.tolist() == [[[0.0, 1.0]], [[1.0, 1.0]], [[1.0, 1.0]]]
