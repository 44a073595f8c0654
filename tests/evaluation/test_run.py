"""An evaluation against the literal reference: values, passes, outcomes and reproducibility."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from camaudit.capture import Capture, capture
from camaudit.errors import DegenerateModelError, MethodError, UsageError
from camaudit.evaluation.options import CHECKS, Options
from camaudit.evaluation.outcomes import Evaluation
from camaudit.maps import upsample
from camaudit.methods import compute
from camaudit.metrics.catalogue import METRICS
from camaudit.metrics.infidelity import gaussian_noise, uniform_noise
from camaudit.metrics.insertion_deletion import pixel_order
from camaudit.metrics.road import NOISE, imputation_noise
from tests.evaluation.subjects import COUNT, SIZE, cut, evaluated, images, network, regions, row
from tests.references import metrics as literal

METHODS = ("gradcam", "gradcam++", "scorecam", "sobel", "random")
TOLERANCE = {"rel": 1e-8, "abs": 1e-10}
STEPS = math.ceil(SIZE * SIZE / 20)


@pytest.fixture(scope="module")
def found() -> Evaluation:
    """Every check of five methods."""
    return evaluated(*METHODS, checks=CHECKS, samples=3, noise=0.1, radius=0.05)


def maps_of(method: str, batch: Tensor, targets: Tensor | None = None) -> np.ndarray[Any, Any]:
    seen = capture(cut(), batch, targets=targets)
    return upsample(compute(method, seen, seed=0).double(), (SIZE, SIZE)).numpy()


def literal_values(method: str, place: int) -> dict[str, float]:
    """Every metric of one method on one image, from the definitions."""
    model, image = network(), images()[place]
    x = image.numpy()
    target = int(model(image[None]).argmax())
    saliency = maps_of(method, images())[place]
    m = literal.minmax(saliency)
    whole = literal.probability_of(model, x, target)
    shown = literal.masked_images(x, m)
    kept = literal.probability_of(model, shown, target)
    drop = literal.average_drop(whole, kept)
    again = maps_of(method, torch.from_numpy(shown)[None], torch.tensor([target]))[0]
    agree, lit = literal.coherency(again, saliency), literal.map_complexity(saliency)
    inserted = literal.insertion_curve(model, x, saliency, target, pixels_per_step=20)
    deleted = literal.deletion_curve(model, x, saliency, target, pixels_per_step=20)
    noise = [NOISE * imputation_noise(image)] * 9
    morf, lerf = (
        literal.road_scores(model, x, saliency, target, most=most, noise=noise)
        for most in (True, False)
    )
    region = regions()[place].numpy()
    changes = list(gaussian_noise(image[None], seed=0, samples=3, sigma=0.1)[0].numpy())
    return {
        "average-drop": drop,
        "increase-in-confidence": literal.increase_in_confidence(whole, kept),
        "drop-in-logit": literal.drop_in_logit(
            literal.logits_of(model, x)[target],
            literal.logits_of(model, literal.masked_images(x, 1 - m))[target],
        ),
        "coherency": agree,
        "map-complexity": lit,
        "adcc": literal.adcc(agree, lit, drop / 100),
        "insertion-auc": literal.curve_auc(inserted),
        "deletion-auc": literal.curve_auc(deleted),
        "pointing-game": literal.pointing_game(saliency, region),
        "energy-pointing-game": literal.energy_pointing_game(saliency, region),
        "iou": literal.iou(saliency, region),
        "box-iou": literal.box_iou(saliency, region, connectivity=8),
        "sparseness": literal.sparseness(saliency),
        "entropy": literal.entropy(saliency),
        "road-morf": literal.road_morf(morf),
        "road-lerf": literal.road_lerf(lerf),
        "road": literal.road(morf, lerf),
        "infidelity": literal.infidelity(model, x, saliency, target, changes, normalise=True),
    }


@pytest.mark.parametrize("method", METHODS)
def test_every_metric_is_that_of_the_literal_reference(found: Evaluation, method: str) -> None:
    for place in range(COUNT):
        for metric, wanted in literal_values(method, place).items():
            if method == "random" and metric in ("coherency", "adcc"):
                continue  # its map is drawn from the image's bits, which rounding changes
            value = row(found, metric, method).values[place]
            if math.isnan(wanted):
                assert value is None, (metric, place)
            else:
                assert value == pytest.approx(wanted, **TOLERANCE), (metric, place)


@pytest.mark.parametrize("method", ["gradcam", "scorecam"])
def test_max_sensitivity_is_that_of_the_literal_reference(found: Evaluation, method: str) -> None:
    targets = network()(images()).argmax(dim=1)
    for place, image in enumerate(images()):
        moves = uniform_noise(image[None], seed=0, samples=3, radius=0.05)[0].numpy()

        def explain(batch: Tensor, place: int = place) -> Tensor:
            return torch.from_numpy(maps_of(method, batch, targets[place : place + 1]))

        wanted = literal.max_sensitivity(explain, image.numpy(), list(moves))
        value = row(found, "max-sensitivity", method).values[place]
        assert value == pytest.approx(wanted, **TOLERANCE)


def test_every_registered_metric_has_a_row_of_every_method(found: Evaluation) -> None:
    rows = {(one.metric, one.method) for one in found.rows}
    assert rows == {(metric, method) for metric in METRICS for method in METHODS}
    assert all(one.rivals == (0 if one.metric == "win" else None) for one in found.rows)


def test_win_shares_the_images_among_the_methods(found: Evaluation) -> None:
    drops = [list(row(found, "average-drop", method).values) for method in METHODS]
    wanted = literal.win(drops)
    for method, shares in zip(METHODS, wanted, strict=True):
        assert list(row(found, "win", method, 0).values) == pytest.approx(shares)
    assert sum(row(found, "win", method, 0).mean.mean for method in METHODS) == pytest.approx(100)


def perturbed_sets() -> set[tuple[int, frozenset[int]]]:
    """The pixels of each image that any method replaces first, but for none and all."""
    sets = set()
    for method in METHODS:
        for place, shown in enumerate(maps_of(method, images())):
            order, _ = pixel_order(torch.from_numpy(shown)[None])
            firsts = [order[0, : 20 * step].tolist() for step in range(1, STEPS)]
            sets |= {(place, frozenset(pixels)) for pixels in firsts}
    return sets


def test_the_fewest_passes(found: Evaluation) -> None:
    m = len(METHODS)
    batches = COUNT  # methods that run the model many times have them come one by one
    own = found.forwards.pop("maps")
    assert found.forwards == {
        "images": COUNT,
        "masked": m * COUNT,
        "map taken out": m * COUNT,
        "insertion and deletion": 2 * len(perturbed_sets()) + COUNT + batches,
        "road": 18 * m * COUNT,
        "infidelity": 3 * COUNT,
        "sensitivity": 3 * COUNT,
    }
    # ScoreCAM alone runs the model: on the image, on x⊙m for coherency, and on the moved images
    assert COUNT * (1 + 1 + 3) < own <= COUNT * (1 + 1 + 3) * 6


def test_without_adcc_the_masked_images_run_plainly() -> None:
    plain = evaluated("gradcam", checks=("confidence",))
    both = evaluated("gradcam", checks=("confidence", "adcc"))
    assert plain.forwards == both.forwards
    for metric in ("average-drop", "increase-in-confidence", "drop-in-logit"):
        values = [row(one, metric, "gradcam").values for one in (plain, both)]
        assert values[0] == pytest.approx(values[1], rel=1e-12)


def test_a_figure_does_not_depend_on_its_batch() -> None:
    checks = tuple(name for name in CHECKS if name != "sensitivity")
    one, all_ = (
        evaluated("gradcam++", "scorecam", checks=checks, batch_size=size, samples=3)
        for size in (1, COUNT)
    )
    for a, b in zip(one.rows, all_.rows, strict=True):
        pairs = [(x, y) for x, y in zip(a.values, b.values, strict=True) if x is not None]
        assert [x is None for x in a.values] == [y is None for y in b.values]
        assert [x for x, _ in pairs] == pytest.approx([y for _, y in pairs], rel=1e-9, abs=1e-12)


def test_the_same_run_twice_is_the_same() -> None:
    checks = tuple(name for name in CHECKS if name != "road")
    one, other = (evaluated("gradcam", "random", checks=checks, samples=2) for _ in range(2))
    assert json.dumps(one.to_dict(), allow_nan=False) == json.dumps(other.to_dict())


def test_black_masks_multiply_the_raw_image() -> None:
    black = torch.tensor([-1.0, -0.5, -2.0], dtype=torch.float64)
    found = evaluated("gradcam", checks=("confidence",), baseline="black", black=black)
    model = network()
    targets = model(images()).argmax(dim=1)
    for place, saliency in enumerate(maps_of("gradcam", images())):
        x, target = images()[place].numpy(), int(targets[place])
        weights = literal.minmax(saliency)
        shown = literal.masked_images(x, weights, baseline=black.tolist())
        wanted = literal.average_drop(
            literal.probability_of(model, x, target), literal.probability_of(model, shown, target)
        )
        value = row(found, "average-drop", "gradcam").values[place]
        assert value == pytest.approx(wanted, **TOLERANCE)


def test_costly_methods_take_the_first_images_alone() -> None:
    found = evaluated("gradcam", "scorecam", "uniform", checks=("confidence",), costly_images=2)
    costly = row(found, "average-drop", "scorecam")
    assert costly.missing == {"not run": COUNT - 2}
    assert costly.mean.n == 2
    flat = row(found, "average-drop", "uniform")
    assert (flat.mean.n, flat.mean.mean, flat.missing) == (0, None, {"constant map": COUNT})
    # Win % is over the images that all were run on; who has no map anywhere has none
    shares = {name: row(found, "win", name, 0) for name in ("gradcam", "scorecam", "uniform")}
    assert shares["gradcam"].missing == {"not run": COUNT - 2}
    assert shares["gradcam"].mean.mean + shares["scorecam"].mean.mean == pytest.approx(100)
    assert shares["uniform"].mean.n == 0


def test_one_method_has_no_win() -> None:
    found = evaluated("gradcam", checks=("confidence",))
    assert row(found, "win", "gradcam", 0).missing == {"not applicable": COUNT}
    assert found.comparison == {"pairs": {}, "ranks": {}, "agreement": None}


def test_rivals_compete_within_their_group() -> None:
    groups = (("gradcam", "sobel"), ("gradcam", "gradcam++", "random"))
    found = evaluated(*METHODS, checks=("confidence",), rivals=groups)
    for number, group in enumerate(groups):
        shares = [row(found, "win", name, number).mean.mean for name in group]
        assert sum(shares) == pytest.approx(100)
    alone = row(found, "win", "scorecam")
    assert alone.missing == {"not applicable": COUNT}


def test_images_without_a_label_are_counted_and_never_hit() -> None:
    found = evaluated("gradcam", checks=("localisation",))
    for metric in ("pointing-game", "energy-pointing-game", "iou", "box-iou"):
        one = row(found, metric, "gradcam")
        assert one.values[-1] is None
        assert one.missing == {"no labelled region": 1}


class Own:
    """An explainer of one's own."""

    def __init__(self, label: str, maps: Callable[[Capture], Tensor]) -> None:
        self.label = label
        self._maps = maps

    def __call__(self, seen: Capture, *, seed: int) -> Tensor:
        del seed
        return self._maps(seen)


def by_image(seen: Capture) -> Tensor:
    """Energy by place; raises for the second image, and has no finite map of the third."""
    known = [bool((one == images()[1]).all()) for one in seen.images]
    if any(known):
        raise RuntimeError("not this one")
    maps = seen.images.abs().sum(dim=1)
    spoilt = torch.tensor([bool((one == images()[2]).all()) for one in seen.images])
    return torch.where(spoilt[:, None, None], torch.nan, maps)


def test_who_fails_on_one_image_keeps_the_others() -> None:
    found = evaluated("gradcam", methods=[Own("own", by_image)], checks=("confidence",))
    one = row(found, "average-drop", "own")
    assert one.missing == {"error": 1, "map not finite": 1}
    assert [value is None for value in one.values] == [False, True, True, False, False]
    (remark,) = found.remarks
    assert (remark.method, remark.outcome, remark.images) == ("own", "error", (1,))
    assert "RuntimeError: not this one" in remark.reason
    # on what it has no map of it wins nothing, and the others share those images
    shares = [row(found, "win", name, 0).values for name in ("gradcam", "own")]
    assert shares[1][0] is not None
    assert row(found, "average-drop", "gradcam").mean.n == COUNT


def test_who_cannot_explain_masked_images_has_no_coherency() -> None:
    def stubborn(seen: Capture) -> Tensor:
        if not any(bool((one == image).all()) for one in seen.images for image in images()):
            raise MethodError("I have not seen this one")
        return seen.images.abs().sum(dim=1)

    found = evaluated(methods=[Own("own", stubborn)], checks=("adcc",))
    assert row(found, "coherency", "own").missing == {"error": COUNT}
    assert row(found, "adcc", "own").mean.mean is None
    assert row(found, "average-drop", "own").mean.n == COUNT
    assert "on its own masked images" in found.remarks[0].reason


def test_an_image_without_finite_logits_spoils_itself_alone() -> None:
    given = images()
    given[3, 0, 0, 0] = torch.nan
    found = evaluated("gradcam", "sobel", checks=("confidence", "insertion-deletion"), given=given)
    assert found.targets[3] is None
    assert found.probabilities[3] is None
    for metric in ("average-drop", "insertion-auc"):
        assert row(found, metric, "gradcam").missing == {"error": 1}
    clean = evaluated("gradcam", "sobel", checks=("confidence", "insertion-deletion"))
    for a, b in zip(found.rows, clean.rows, strict=True):
        if a.metric != "win":
            kept = [value for place, value in enumerate(b.values) if place != 3]
            values = [value for value in a.values if value is not None]
            assert values == pytest.approx(kept, rel=1e-12)
    given[:] = torch.nan
    with pytest.raises(DegenerateModelError, match="for every image"):
        evaluated("gradcam", given=given)


def test_signed_maps_of_ones_own_are_read_by_what_is_lit() -> None:
    def signed(seen: Capture) -> Tensor:
        return seen.images.sum(dim=1)

    def rectified(seen: Capture) -> Tensor:
        return signed(seen).relu()

    checks = ("localisation", "sparsity")
    found = evaluated(methods=[Own("signed", signed), Own("lit", rectified)], checks=checks)
    for metric in ("energy-pointing-game", "iou", "sparseness", "entropy"):
        assert row(found, metric, "signed").values == row(found, metric, "lit").values


def test_curves_are_kept_of_the_first_images_and_on_average(found: Evaluation) -> None:
    whole = found.probabilities
    for one in found.curves:
        assert one.n == COUNT
        assert len(one.values) == STEPS + 1
        ends = [
            values[-1 if one.metric == "insertion-auc" else 0] for values in one.images.values()
        ]
        assert ends == pytest.approx([whole[place] for place in one.images], abs=1e-6)
        mean = np.mean(list(one.images.values()), axis=0)
        assert list(one.values) == pytest.approx(mean, abs=2e-6)


class Told:
    """Counts the work that it is told of."""

    def __init__(self) -> None:
        self.work = self.done = 0
        self.stages: list[str] = []

    def start(self, work: int) -> None:
        self.work = work

    def stage(self, text: str) -> None:
        self.stages.append(text)

    def advance(self, work: int) -> None:
        self.done += work


def test_progress_ends_where_it_said() -> None:
    told = Told()
    evaluated("gradcam", "scorecam", checks=("confidence", "adcc"), costly_images=2, progress=told)
    assert told.done == told.work > 0
    assert "scorecam, images from 1 of 5" in told.stages


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"checks": ()}, "at least one check"),
        ({"checks": ("confidence", "confidence")}, "each once"),
        ({"baseline": "grey"}, "mean, black"),
        ({"pixels_per_step": 0}, "at least 1"),
        ({"threshold": 0.0}, "(0, 1]"),
        ({"noise": 0.0}, "positive"),
        ({"seed": -1}, "0 or more"),
    ],
)
def test_options_that_cannot_be(change: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError) as raised:
        Options(**change)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"baseline": "black"}, "black pixel"),
        ({"rivals": (("gradcam", "eigencam"),)}, "got eigencam"),
        ({"targets": torch.zeros(2, dtype=torch.int64)}, "one target class an image"),
    ],
)
def test_runs_that_cannot_be(change: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        evaluated("gradcam", **change)
    with pytest.raises(UsageError, match="each label once"):
        evaluated("gradcam", "gradcam")


def test_maps_that_differ_by_rounding_share_a_win() -> None:
    def scaled(factor: float) -> Callable[[Capture], Tensor]:
        return lambda seen: factor * seen.images.abs().sum(dim=1)

    own = [Own("one", scaled(1.0)), Own("third", scaled(1 / 3))]
    found = evaluated(methods=own, checks=("confidence",))
    drops = [row(found, "average-drop", name).values for name in ("one", "third")]
    assert drops[0] != drops[1]
    assert set(row(found, "win", "one", 0).values) == {50.0}
