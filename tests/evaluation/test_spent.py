"""Passes image by image, and masks that methods have in common."""

from __future__ import annotations

from torch import Tensor

from camaudit.capture import capture
from camaudit.evaluation.passes import MAPS, Passes
from camaudit.evaluation.spent import Masks, Meter, Spent, again
from camaudit.methods import compute
from camaudit.methods.masking import asked, take_asked
from tests.evaluation.subjects import cut, images


class Forwards:
    """The network's own passes."""

    batch_size = 4

    def __call__(self, given: Tensor) -> Tensor:
        return cut().logits(given)


def test_masks_are_noted_whether_they_are_run_or_not() -> None:
    passes = Passes(Forwards())
    seen = capture(cut(), images(1), forwards=passes)
    compute("scorecam", seen)
    first, taken = passes.counts[MAPS], take_asked(seen.memo[0])
    assert sum(map(len, taken.values())) == first > 0
    assert take_asked(seen.memo[0]) == {}
    compute("scorecam(score=probability)", seen)
    assert passes.counts[MAPS] == first
    assert take_asked(seen.memo[0]) == taken


def test_passes_are_shared_out_to_the_images() -> None:
    passes = Passes(Forwards())
    meter = Meter(passes, [[], [], []], [[], [], []])
    with passes.of("masked"):
        passes(images(4))
    passes.add("road", 36)
    assert meter.sound
    found = meter.spent(share=[True, False, True])
    assert [one.passes for one in found] == [
        {"masked": 2, "road": 18}, {}, {"masked": 2, "road": 18}
    ]  # fmt: skip
    meter = Meter(passes, [[], []], [[], []])
    passes.add("masked", 3)
    assert [one.passes["masked"] for one in meter.spent()] == [2, 1]


def test_masks_in_common_count_once_whatever_was_known() -> None:
    """One method asked for masks 0–3, the next for 2–5, and for two passes of its own."""
    wanted = [{"form": {0, 1, 2, 3}}, {"form": {2, 3, 4, 5}}]

    def run(passes: Passes, masks: Masks, memo: dict[str, object], number: int) -> Spent:
        meter = Meter(passes, [[memo]], [[masks]])
        ran = memo.setdefault("ran", set())
        assert isinstance(ran, set)
        passes.add(MAPS, len(wanted[number]["form"] - ran) + 2 * number)
        ran |= wanted[number]["form"]
        asked(memo, "form", wanted[number]["form"])
        (found,) = meter.spent()
        return found

    whole, masks = Passes(Forwards()), Masks()
    memo: dict[str, object] = {}
    first, second = (run(whole, masks, memo, number) for number in (0, 1))
    assert whole.counts[MAPS] == 8
    assert (dict(first.passes), dict(second.passes)) == ({}, {MAPS: 2})

    for known in ((True, False), (False, True), (True, True)):
        passes, masks, memo = Passes(Forwards()), Masks(), {}
        for number, spent in enumerate((first, second)):
            if known[number]:
                again(passes, spent, [masks])
            else:
                run(passes, masks, memo, number)
        assert passes.counts[MAPS] == 8, known


def test_an_image_without_logits_makes_a_meter_unsound() -> None:
    passes = Passes(Forwards())
    meter = Meter(passes, [], [])
    passes.faults["masked", "too narrow"] += 1
    assert not meter.sound
