"""Sanity checks that go on where a run was: nothing is computed twice, and results are the same."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from camaudit.capture import Capture
from camaudit.errors import UsageError
from camaudit.methods import select
from camaudit.objective import Objective
from camaudit.sanity import Options, Outcome, SanityResult, run_sanity
from camaudit.sanity.packing import maps_of, packed
from camaudit.streams import Stream
from tests.journals import MemoryJournal, StoppedError
from tests.networks import CLASSES, Mean, build, images, settle

METHODS = ("gradcam", "random", "cam")
OPTIONS = Options(
    checks=("mprt", "emprt", "smprt", "random-logit", "data-randomisation"), seeds=(0, 1),
    orders=("top-down", "independent"), similarities=("spearman",), samples=2, batch_size=2,
)  # fmt: skip


@dataclass
class Pictures:
    """Keeps the maps of the first two images along one cascade."""

    source: tuple[str, str, int] = ("mprt", "top-down", 0)
    maps: dict[tuple[Any, ...], Tensor] = field(default_factory=dict)

    def wants(self, check: str, order: str, seed: int | None, image: int) -> bool:
        return image < 2 and (check, order, seed) in (
            self.source, (self.source[0], "original", None)
        )  # fmt: skip

    def __call__(self, *given: Any) -> None:
        *place, saliency = given
        assert self.wants(place[0], place[1], place[3], place[5])
        self.maps[tuple(place)] = saliency

    def same(self, other: Pictures) -> bool:
        return list(self.maps) == list(other.maps) and all(
            torch.equal(one, other.maps[place]) for place, one in self.maps.items()
        )


@dataclass
class Told:
    """How much work was told of, and how much was done."""

    work: int = 0
    done: int = 0

    def start(self, work: int) -> None:
        self.work = work

    def stage(self, text: str) -> None:
        pass

    def advance(self, work: int) -> None:
        self.done += work


@dataclass
class Subject:
    """A model, images that count how often they are read, and the passes of the model."""

    model: nn.Module = field(default_factory=lambda: build("flat"))
    twin: nn.Module = field(default_factory=lambda: build("flat", seed=1))
    x: Tensor = field(default_factory=lambda: images(3))
    layer: str = "3"
    read: list[slice] = field(default_factory=list)
    passes: int = 0

    def __post_init__(self) -> None:
        for model in (self.model, self.twin):
            model[0].register_forward_hook(self._passed)  # type: ignore[operator, index, union-attr]

    def _passed(self, *_: object) -> None:
        self.passes += 1

    @property
    def stream(self) -> Stream:
        def load(part: slice) -> Tensor:
            self.read.append(part)
            return self.x[part]

        return Stream(load, self.x[:1], len(self.x))

    @property
    def journal(self) -> MemoryJournal:
        return MemoryJournal([hashlib.sha256(one.numpy().tobytes()).hexdigest() for one in self.x])

    def run(
        self, options: Options = OPTIONS, methods: Any = METHODS, *, twin_key: str = "twin",
        **given: Any,
    ) -> SanityResult:  # fmt: skip
        self.passes, self.read = 0, []
        if "data-randomisation" in options.checks:
            given = {"permuted": self.twin, "permuted_key": twin_key, **given}
        calls = select(methods) if isinstance(methods[0], str) else methods
        return run_sanity(
            self.model, self.layer, self.stream, methods=calls, options=options, **given
        )


def plain(found: SanityResult) -> dict[str, Any]:
    return {**found.to_dict(), "timing": None}


@pytest.fixture(autouse=True)
def threads() -> Iterator[None]:
    """One thread: how many there are is another matter."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def subject() -> Subject:
    return Subject()


def test_what_is_known_is_not_computed_again(subject: Subject) -> None:
    alone = Pictures()
    expected = plain(subject.run(sink=alone))
    assert len(alone.maps) == 2 * 2 * 5  # images × methods (cam has none) × steps and the original
    journal, first = subject.journal, Pictures()
    assert plain(subject.run(sink=first, journal=journal)) == expected
    assert alone.same(first)
    made, told = len(journal.made), Told()
    again = journal.again()
    second = Pictures()
    assert plain(subject.run(sink=second, journal=again, progress=told)) == expected
    assert alone.same(second)
    assert (again.made, subject.passes, subject.read) == ([], 0, [])
    assert told.done == told.work > 0
    assert made == len(set(journal.kept))


def test_an_interrupted_run_goes_on_where_it_was(subject: Subject) -> None:
    alone = Pictures()
    expected = plain(subject.run(sink=alone))
    whole = subject.journal
    subject.run(sink=Pictures(), journal=whole)
    count = len(whole.made)
    for after in (0, 1, 5, 12, count - 1):
        journal = subject.journal.again(after=after)
        with pytest.raises(StoppedError):
            subject.run(sink=Pictures(), journal=journal)
        rest, pictures, told = journal.again(), Pictures(), Told()
        found = subject.run(sink=pictures, journal=rest, progress=told)
        assert plain(found) == expected, after
        assert pictures.same(alone), after
        assert journal.made + rest.made == whole.made, after
        assert told.done == told.work, after
        if after:  # the plan alone: no image was read before
            assert len(rest.made) < count


def test_whatever_is_known_results_are_the_same(subject: Subject) -> None:
    alone = Pictures()
    expected = plain(subject.run(sink=alone))
    whole = subject.journal
    subject.run(sink=Pictures(), journal=whole)
    for start in range(3):
        some = whole.again()
        for key in list(some.kept)[start::3]:
            del some.kept[key]
        pictures = Pictures()
        assert plain(subject.run(sink=pictures, journal=some)) == expected
        assert pictures.same(alone)
        assert set(some.kept) == set(whole.kept)


def kinds(journal: MemoryJournal) -> set[tuple[str, str]]:
    return set(journal.made)


CASCADES = {"cascade", "null", "rise"}
TABLES = {"random-logit", "data-randomisation"}


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"seeds": (0, 1, 2)}, CASCADES),
        ({"orders": ("top-down", "independent", "bottom-up")}, {"cascade"}),
        ({"similarities": ("hog",)}, {"cascade", "null"} | TABLES),
        ({"scheme": "permute"}, CASCADES),
        ({"most_steps": 2}, {"plan"} | CASCADES),
        ({"draws": 2}, {"random-logit"}),
        ({"seeds": (1, 0)}, {"null", "rise"}),
        ({"checks": ("mprt", "random-logit")}, {"plan"}),
    ],
)
def test_an_option_recomputes_what_it_changes(
    subject: Subject, options: dict[str, Any], parts: set[str]
) -> None:
    journal = subject.journal
    subject.run(journal=journal)
    other, again = replace(OPTIONS, **options), journal.again()
    found = subject.run(other, journal=again)
    of_methods = {(part, method) for part in parts - {"plan"} for method in METHODS}
    assert kinds(again) == of_methods | ({("plan", "")} & {(part, "") for part in parts})
    assert plain(found) == plain(subject.run(other))


def test_a_further_seed_costs_its_own_cascades_alone(subject: Subject) -> None:
    journal = subject.journal
    subject.run(journal=journal)
    again = journal.again()
    subject.run(replace(OPTIONS, seeds=(0, 1, 2)), journal=again)
    batches = 2 + 3  # of MPRT and of sMPRT
    assert again.made.count(("cascade", "gradcam")) == batches * len(OPTIONS.orders)
    assert again.made.count(("null", "gradcam")) == batches


def test_the_seed_is_of_what_draws(subject: Subject) -> None:
    journal = subject.journal
    subject.run(journal=journal)
    again, other = journal.again(), replace(OPTIONS, seed=1)
    found = subject.run(other, journal=again)
    assert plain(found) == plain(subject.run(other))
    drawn = {part for part, method in kinds(again) if method == "random"}
    assert drawn == {"original", *CASCADES, *TABLES}
    assert {part for part, method in kinds(again) if method == "gradcam"} == {
        "original", "cascade", "null", "random-logit"
    }  # fmt: skip
    noise = [part for part, method in again.made if method == "gradcam" and part == "null"]
    assert len(noise) == 3  # the batches of sMPRT


def test_another_image_costs_its_batches_and_another_method_itself(subject: Subject) -> None:
    journal = subject.journal
    subject.run(journal=journal)
    added, methods = journal.again(), (*METHODS, "hirescam")
    assert plain(subject.run(methods=methods, journal=added)) == plain(subject.run(methods=methods))
    assert {method for _, method in kinds(added)} == {"hirescam"}
    subject.x[2] = images(1, seed=9)[0]
    again = subject.journal.again()
    again.kept = dict(journal.kept)
    assert plain(subject.run(journal=again)) == plain(subject.run())
    subject.run(journal=again.again())
    assert subject.read == []
    assert again.made.count(("original", "gradcam")) == 2  # a batch of MPRT and one of sMPRT
    subject.run(journal=again)
    assert again.made.count(("random-logit", "gradcam")) == 1


def test_the_second_model_is_part_of_what_it_gave(subject: Subject) -> None:
    journal = subject.journal
    subject.run(journal=journal)
    again = journal.again()
    subject.run(journal=again, twin_key="another")
    assert {part for part, _ in kinds(again)} == {"plan", "data-randomisation"}
    unnamed = journal.again()
    subject.run(journal=unnamed, permuted_key=None)
    assert {part for part, _ in kinds(unnamed)} == {"plan"}
    assert subject.passes > 0


def test_targets_are_part_of_what_was_found(subject: Subject) -> None:
    journal = subject.journal
    subject.run(journal=journal)
    again, targets = journal.again(), torch.tensor([0, 1, 2])
    found = subject.run(journal=again, targets=targets)
    assert len(again.made) == len(journal.made) - 1  # the plan
    assert found.targets == (0, 1, 2)
    own = subject.journal
    subject.run(journal=own, objective=Objective())
    assert own.made == []


@dataclass
class Planted:
    """An explainer from a function of the capture, which promises to read it alone."""

    label: str
    function: Callable[[Capture], Tensor]
    from_tensors: bool = True

    def __call__(self, seen: Capture, *, seed: int) -> Tensor:
        del seed
        return self.function(seen)


def test_errors_are_not_kept(subject: Subject) -> None:
    broken = True

    def sometimes(seen: Capture) -> Tensor:
        if broken:
            raise MemoryError("out of memory")
        return seen.activations.mean(dim=1)

    methods = [*select(("hirescam",)), Planted("sometimes", sometimes)]
    journal = subject.journal
    failed = subject.run(methods=methods, journal=journal)
    assert {r.method for r in failed.remarks if r.outcome is Outcome.ERROR} == {"sometimes"}
    assert {method for _, method in kinds(journal)} == {"", "hirescam"}
    broken = False
    again = journal.again()
    found = subject.run(methods=methods, journal=again)
    assert plain(found) == plain(subject.run(methods=methods))
    assert {method for _, method in kinds(again)} == {"sometimes"}


def test_one_error_in_a_cascade_costs_that_cascade(subject: Subject) -> None:
    calls, broken = [0], True

    def sometimes(seen: Capture) -> Tensor:
        calls[0] += 1
        if broken and calls[0] == 3:
            raise MemoryError("out of memory")
        return seen.activations.mean(dim=1)

    methods, options = [Planted("sometimes", sometimes)], replace(OPTIONS, checks=("mprt",))
    journal = subject.journal
    subject.run(options, methods, journal=journal)
    broken = False
    again = journal.again()
    assert plain(subject.run(options, methods, journal=again)) == plain(
        subject.run(options, methods)
    )
    assert again.made == [("cascade", "sometimes")]


def test_what_nobody_knows_is_computed_every_time(subject: Subject) -> None:
    expected = plain(subject.run())
    journal = subject.journal.again(unknown=("gradcam",))
    assert plain(subject.run(journal=journal)) == expected
    assert {method for _, method in kinds(journal)} == {"", *METHODS} - {"gradcam"}
    again = journal.again()
    assert plain(subject.run(journal=again)) == expected
    assert again.made == []
    assert subject.passes > 0


def test_methods_that_share_their_passes_are_computed_together() -> None:
    subject = Subject(x=images(2))
    methods = ("scorecam", "gscorecam", "gradcam")
    options = replace(
        OPTIONS, checks=("mprt", "random-logit"), seeds=(0,), orders=("top-down",), most_steps=2
    )
    expected = plain(subject.run(options, methods))
    journal = subject.journal
    subject.run(options, methods, journal=journal)
    for key in [key for key in journal.kept if '"method": "scorecam' in key]:
        del journal.kept[key]
    again = journal.again()
    assert plain(subject.run(options, methods, journal=again)) == expected
    assert {method for _, method in kinds(again)} == {"scorecam", "gscorecam"}
    fewer = journal.again()
    subject.run(options, methods[1:], journal=fewer)
    assert {method for _, method in kinds(fewer)} == {"gscorecam"}
    alone = journal.again()  # now its steps share a head pass, which rounds otherwise
    assert plain(subject.run(options, methods[2:], journal=alone)) == plain(
        subject.run(options, methods[2:])
    )
    assert kinds(alone) == {("cascade", "gradcam"), ("null", "gradcam")}


class Turning(nn.Module):
    """Runs another module where its input is bright."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Conv2d(4, 4, 3), nn.Conv2d(4, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.one(x) if x.mean() < 10 else self.other(x)


class Raw(nn.Module):
    """A layer without an initialiser."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(4, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale


def test_remarks_of_layers_and_of_other_ways_come_again() -> None:
    model = settle(
        nn.Sequential(
            nn.Conv2d(3, 4, 3), nn.ReLU(), Raw(), Turning(), nn.ReLU(), Mean(),
            nn.Linear(4, CLASSES),
        )
    )  # fmt: skip
    x = images(3)
    x[2] += 1000
    subject = Subject(model=model, x=x, layer="4")
    options = replace(OPTIONS, checks=("mprt",), scheme="module", batch_size=1)
    expected = subject.run(options)
    said = [remark.reason for remark in expected.remarks if remark.outcome is None]
    assert any("has no initialiser" in one for one in said)
    assert any("run other modules" in one for one in said)
    journal = subject.journal
    subject.run(options, journal=journal)
    assert plain(subject.run(options, journal=journal.again())) == plain(expected)
    for start in range(2):
        some = journal.again()
        for key in list(some.kept)[start::2]:
            del some.kept[key]
        assert plain(subject.run(options, journal=some)) == plain(expected)


def test_emprt_alone_and_beside_mprt_are_told_apart(subject: Subject) -> None:
    journal = subject.journal
    both, alone = (replace(OPTIONS, checks=names) for names in (("mprt", "emprt"), ("emprt",)))
    subject.run(both, journal=journal)
    again = journal.again()
    assert plain(subject.run(alone, journal=again)) == plain(subject.run(alone))
    assert {part for part, _ in kinds(again)} == {"cascade", "rise"}
    last = again.again()
    assert plain(subject.run(alone, journal=last)) == plain(subject.run(alone))
    assert last.made == []


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_maps_are_kept_bit_for_bit(kind: torch.dtype) -> None:
    one = torch.randn(3, 5, dtype=torch.float64).to(kind)
    one[0, 0], one[0, 1] = torch.nan, torch.inf
    found = maps_of(packed({"one": one.T, "none": None}), torch.device("cpu"))
    assert list(found) == ["one"]
    assert found["one"].dtype == kind
    assert torch.equal(found["one"].nan_to_num(7), one.T.nan_to_num(7))


def test_a_journal_is_of_the_same_images(subject: Subject) -> None:
    with pytest.raises(UsageError, match=r"3 in all; got one of 4"):
        subject.run(journal=MemoryJournal(["a", "b", "c", "d"]))
