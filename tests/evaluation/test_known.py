"""An evaluation that goes on where one before was: equal to an undisturbed one, nothing twice."""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch
from torch import Tensor

from camaudit.capture import Capture
from camaudit.errors import DegenerateModelError, MethodError, NotApplicableError
from camaudit.evaluation.options import CHECKS, Options
from camaudit.evaluation.outcomes import Evaluation
from camaudit.evaluation.run import evaluate
from camaudit.methods import method_call
from tests.evaluation import subjects
from tests.evaluation.journals import Memory
from tests.evaluation.subjects import COUNT, cut, evaluated, images, row
from tests.evaluation.test_run import Own, Told
from tests.journals import StoppedError, key_text

#: Pairs that share masks, and pixels on curves; a drawn map, one without values, a failing one.
METHODS = (
    "gradcam", "scorecam++(baseline=black)", "polycam", "scorecam", "scorecam(score=probability)",
    "uniform", "random",
)  # fmt: skip


def failing(seen: Capture) -> Tensor:
    """No map of the second image, none that applies to the fourth, and none of masked images."""
    for one in seen.images:
        if bool((one == images()[1]).all()):
            raise MethodError("not this one")
        if bool((one == images()[3]).all()):
            raise NotApplicableError("not on such an image")
        if not any(bool((one == image).all()) for image in images()):
            raise MethodError("never seen")
    return seen.images.abs().sum(dim=1)


def double(seen: Capture) -> Tensor:
    """The same pixels as another method's, in the same order; does not apply to masked images."""
    if not any(bool((one == image).all()) for one in seen.images for image in images()):
        raise NotApplicableError("not on masked images")
    return 2 * seen.images.abs().sum(dim=1)


def energy(seen: Capture) -> Tensor:
    return seen.images.abs().sum(dim=1)


OWN = (Own("energy", energy), Own("double", double), Own("failing", failing))


def spoilt() -> Tensor:
    """The images, one of which has no finite logits."""
    given = images()
    given[4, 0, 0, 0] = torch.nan
    return given


def everything(journal: Memory | None, given: Tensor | None = None, **options: Any) -> Evaluation:
    wanted: dict[str, Any] = {"samples": 2, "costly_images": 2, "methods": OWN, "checks": CHECKS}
    names = options.pop("names", METHODS)
    given = spoilt() if given is None else given
    return evaluated(*names, given=given, journal=journal, **{**wanted, **options})


def plain(found: Evaluation) -> str:
    """All but how long it took."""
    told = [
        found.to_dict(),
        list(found.notes),
        [list(map(str, (r.metric, r.method))) for r in found.rows],
    ]
    return json.dumps(told, allow_nan=False)


@pytest.fixture(scope="module")
def undisturbed() -> str:
    return plain(everything(None))


def test_what_is_kept_is_an_undisturbed_run(undisturbed: str) -> None:
    journal = Memory(spoilt())
    assert plain(everything(journal)) == undisturbed
    first = len(journal.computed)
    assert len(journal.kept) == first
    journal.given(spoilt())
    assert plain(everything(journal)) == undisturbed
    assert not journal.computed  # errors are none of what is kept
    assert {one.image for one in journal.kept.values()} == {f"image-{n}" for n in range(COUNT - 1)}


#: After how many parts of the 20 that the run above keeps; a part is a method on a batch, or image.
STOPS = (0, 1, 2, 3, 5, 7, 9, 12, 13, 14, 18, 19)


@pytest.mark.parametrize("after", STOPS)
def test_an_evaluation_goes_on_where_it_was_broken_off(undisturbed: str, after: int) -> None:
    journal = Memory(spoilt(), left=after)
    with pytest.raises(StoppedError):
        everything(journal)
    before = set(journal.kept)
    journal.given(spoilt())
    journal.left = -1
    assert plain(everything(journal)) == undisturbed
    assert not before & {key_text(one.key) for one in journal.computed}


def close(one: Any, other: Any) -> None:
    """Equal, but for the rounding of figures that were computed in another batch."""
    if isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            close(one[key], other[key])
    elif isinstance(one, list):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            close(*pair)
    elif isinstance(one, float) and isinstance(other, float):
        assert one == pytest.approx(other, rel=1e-8, abs=1e-8)
    else:
        assert one == other


#: Groups by what they read; all of a method's, with its maps.
GROUPS = {
    "maps", "masked", "insertion-deletion", "localisation", "sparsity", "road", "infidelity",
    "sensitivity",
}  # fmt: skip
SEEDED = {"insertion-deletion", "road", "infidelity", "sensitivity"}
FEW = {"names": ("gradcam", "xgradcam", "scorecam", "random"), "methods": (), "costly_images": 2}


def few(journal: Memory | None, given: Tensor | None = None, **options: Any) -> Evaluation:
    """An evaluation of which all is kept."""
    return everything(journal, images() if given is None else given, **{**FEW, **options})


def again(journal: Memory, given: Tensor | None = None, **options: Any) -> Evaluation:
    """Another run with the same journal, which is what it would be by itself."""
    journal.given(images() if given is None else given)
    found = few(journal, given, **options)
    alone = few(None, given, **options)
    close(json.loads(plain(found)), json.loads(plain(alone)))
    assert found.forwards == alone.forwards
    return found


@pytest.fixture(scope="module")
def filled() -> Memory:
    journal = Memory(images())
    few(journal)
    assert {part for _, _, part in journal.parts} == {*GROUPS, "image"}
    return journal


@pytest.fixture
def journal(filled: Memory) -> Memory:
    """One that holds an evaluation, and may hold more."""
    other = Memory(images())
    other.kept = dict(filled.kept)
    return other


def test_another_image_is_all_that_is_computed(journal: Memory) -> None:
    given = images()
    given[1] = images(COUNT + 1)[COUNT]
    again(journal, given)
    wanted = {(method, "image-1", group) for method in FEW["names"] for group in GROUPS}
    assert journal.parts == {*wanted, ("", "image-1", "image")}


@pytest.mark.parametrize(
    "names",
    [("gradcam", "xgradcam", "scorecam", "random", "layercam"),
     ("scorecam(score=probability)", "layercam", "xgradcam", "scorecam")],
)  # fmt: skip
def test_other_methods_are_all_that_is_computed(journal: Memory, names: tuple[str, ...]) -> None:
    again(journal, names=names)
    assert {method for method, _, _ in journal.parts} == set(names) - set(FEW["names"])


def test_a_method_without_the_one_that_it_shared_its_masks_with(journal: Memory) -> None:
    """Passes that another method took are its own then."""
    names = ("scorecam", "scorecam(score=probability)")
    again(journal, names=names)
    found = again(journal, names=names[1:])
    assert not journal.computed
    assert found.forwards["maps"] > 2 * 4


CHANGES: dict[str, tuple[dict[str, Any], set[str]]] = {
    "steps": ({"pixels_per_step": 30}, {"insertion-deletion"}),
    "threshold": ({"threshold": 0.5}, {"localisation"}),
    "tolerance": ({"tolerance": 2}, {"localisation"}),
    "samples": ({"samples": 3}, {"infidelity", "sensitivity"}),
    "noise": ({"noise": 0.2}, {"infidelity"}),
    "radius": ({"radius": 0.1}, {"sensitivity"}),
    "black": ({"baseline": "black", "black": torch.tensor([-1.0, -0.5, -2.0])}, {"masked"}),
    "without ADCC": ({"checks": tuple(name for name in CHECKS if name != "adcc")}, {"masked"}),
    "a check less": ({"checks": CHECKS[:3]}, set()),
    "ties": ({"tie": 1.0, "rivals": (("gradcam", "random"),)}, set()),
    "batches": ({"batch_size": 2}, set()),
    "classes": ({"targets": torch.tensor([3, 2, 1, 0, 0])}, GROUPS),
}  # fmt: skip


@pytest.mark.parametrize("name", CHANGES)
def test_an_option_touches_the_metrics_that_read_it(journal: Memory, name: str) -> None:
    change, wanted = CHANGES[name]
    again(journal, **change)
    assert {group for method, _, group in journal.parts if method} == wanted


def test_what_black_is_touches_the_masked_images(journal: Memory) -> None:
    for grey in (-1.0, -2.0):
        black = torch.full((3,), grey, dtype=torch.float64)
        again(journal, baseline="black", black=black)
        assert {group for _, _, group in journal.parts} == {"masked"}


def test_a_seed_touches_what_is_drawn(journal: Memory) -> None:
    again(journal, seed=1)
    for method in FEW["names"]:
        groups = {group for one, _, group in journal.parts if one == method}
        assert groups == (GROUPS if method == "random" else SEEDED)


def test_a_check_more_is_all_that_is_computed() -> None:
    journal = Memory(images())
    few(journal, checks=("sparsity", "insertion-deletion"))
    again(journal, checks=("sparsity", "insertion-deletion", "road", "infidelity"))
    assert {group for _, _, group in journal.parts} == {"road", "infidelity"}


def test_more_images_of_costly_methods(journal: Memory) -> None:
    again(journal, costly_images=4)
    assert {part[:2] for part in journal.parts} == {
        ("scorecam", "image-2"),
        ("scorecam", "image-3"),
    }


def test_classes_that_are_asked_for_and_seen_are_the_same(journal: Memory) -> None:
    seen = few(None).targets
    again(journal, targets=torch.tensor(seen))
    assert {group for _, _, group in journal.parts} == {"image"}


def test_a_region_is_part_of_its_image_alone(
    journal: Memory, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = subjects.regions()
    found[2, 5:9, 5:9] = True
    monkeypatch.setattr(subjects, "regions", lambda _: found)
    again(journal)
    assert {part[1:] for part in journal.parts} == {("image-2", "localisation")}


class Sealed(Tensor):
    """Images that nobody may look at."""

    def __getitem__(self, _: Any) -> Any:
        raise AssertionError("images were read")


def test_what_is_known_is_neither_read_nor_run(filled: Memory) -> None:
    told, forwards = Told(), Refusing()
    filled.given(images())
    found = evaluate(
        cut(), images().as_subclass(Sealed), methods=[method_call(name) for name in FEW["names"]],
        forwards=forwards, options=Options(checks=CHECKS, samples=2, pixels_per_step=20),
        regions=subjects.regions(), costly_images=2, batch_size=3, progress=told, journal=filled,
    )  # fmt: skip
    assert plain(found) == plain(few(None))
    assert told.done == told.work > 0


class Refusing:
    """Forwards that are not to be called."""

    batch_size = 3

    def __call__(self, images: Tensor) -> Tensor:
        raise AssertionError(f"{len(images)} images were run")


def test_a_method_that_does_not_apply_is_not_asked_again() -> None:
    journal, calls = Memory(images()), list[int]()

    def nothing(seen: Capture) -> Tensor:
        calls.append(len(seen))
        raise NotApplicableError("not here")

    first = few(journal, names=("gradcam",), methods=[Own("own", nothing)])
    asked = len(calls)
    journal.given(images())
    assert plain(few(journal, names=("gradcam",), methods=[Own("own", nothing)])) == plain(first)
    assert len(calls) == asked > 0


def test_errors_are_computed_again() -> None:
    journal = Memory(images())
    moods = iter([True])

    def once(seen: Capture) -> Tensor:
        if bool((seen.images[0] == images()[0]).all()) and len(seen) == 1 and next(moods, False):
            raise MemoryError("no room")
        return energy(seen)

    def run() -> Evaluation:
        return few(journal, names=(), methods=[Own("once", once)], batch_size=1)

    assert row(run(), "average-drop", "once").missing == {"error": 1}
    journal.given(images())
    mended = run()
    assert {image for _, image, _ in journal.parts} == {"image-0"}
    wanted = few(None, names=(), methods=[Own("once", energy)], batch_size=1)
    assert plain(mended) == plain(wanted)


def test_a_metric_that_ended_in_an_error_is_computed_again_by_itself() -> None:
    """On its masked images the method fails: its other metrics are kept."""
    journal, own = Memory(images()), [Own("failing", failing)]
    first = few(journal, names=(), methods=own)
    kept = {(image, part) for _, image, part in journal.parts}
    # ADCC asks for masked images, and max-sensitivity for changed ones
    assert kept == {
        *((f"image-{n}", part) for n in (0, 2, 4) for part in GROUPS - {"masked", "sensitivity"}),
        ("image-3", "maps"), *((f"image-{n}", "image") for n in range(COUNT)),
    }  # fmt: skip
    journal.given(images())
    assert plain(few(journal, names=(), methods=own)) == plain(first)
    assert not journal.computed


class Narrow:
    """Forwards in which an image that is mostly empty has no finite logits."""

    batch_size = 3

    def __call__(self, images: Tensor) -> Tensor:
        if bool(((images == 0).double().mean(dim=(1, 2, 3)) > 0.75).any()):
            raise DegenerateModelError("choose a wider precision")
        return cut().logits(images)


def test_images_without_logits_are_run_again_and_noted_again() -> None:
    def run(journal: Memory | None) -> Evaluation:
        return evaluate(
            cut(), images(), methods=[method_call("gradcam"), method_call("sobel")],
            forwards=Narrow(), options=Options(checks=CHECKS[:3], pixels_per_step=20),
            journal=journal, batch_size=3,
        )  # fmt: skip

    journal, alone = Memory(images()), run(None)
    assert len(alone.notes) == 1
    for _ in range(2):
        assert plain(run(journal)) == plain(alone)
        assert "insertion-deletion" not in {group for _, _, group in journal.parts}


def test_of_an_unknown_explainer_nothing_is_kept() -> None:
    journal = Memory(images(), unknown=("own",))
    calls: list[int] = []

    def counting(seen: Capture) -> Tensor:
        calls.append(len(seen))
        return energy(seen)

    own = {"names": ("gradcam",), "methods": [Own("own", counting)], "checks": ("sparsity",)}
    first = few(journal, **own)
    assert {method for method, _, _ in journal.parts} == {"", "gradcam"}
    journal.given(images())
    assert plain(few(journal, **own)) == plain(first)
    assert calls == [3, 2, 3, 2]
    assert not journal.computed
