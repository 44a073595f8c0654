"""An invariance check that goes on where a run was: what holds is not looked for again."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from camaudit.invariance import matrix as matrix_module
from camaudit.invariance.choice import Gap
from camaudit.invariance.conformance import Conformance, Conformity
from camaudit.invariance.explainer import Explain, registered
from camaudit.invariance.matrix import InvarianceResult, Options, run_invariance
from camaudit.invariance.run import Finding, Outcome, Search
from camaudit.invariance.situation import Situation
from camaudit.invariance.store import Store
from tests.journals import MemoryJournal, StoppedError
from tests.networks import build, images

Put = matrix_module.Tested  # whose own name would make it a test
NAMES = ("determinism", "batch-order", "logit-scale")
OPTIONS = Options(properties=NAMES, examples=2, own_examples=1)


@dataclass
class Silent:
    """Counts what was done."""

    work: int = 0
    done: int = 0

    def start(self, work: int) -> None:
        self.work = work

    def stage(self, text: str) -> None:
        pass

    def advance(self, work: int) -> None:
        self.done += work


@dataclass
class Counting:
    """An explainer that is counted."""

    explain: Explain
    calls: int = 0

    def __call__(self, model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
        self.calls += 1
        return self.explain(model, layer, images, targets)


@dataclass
class Bench:
    """Two explainers, the own model, and how often each was asked."""

    own_read: int = 0
    right: Counting = field(default_factory=lambda: Counting(registered("gradcam")))
    method: Counting = field(default_factory=lambda: Counting(registered("hirescam")))

    def tested(self) -> list[Put]:
        return [
            Put(name="hirescam", explain=self.method, claims="hirescam", registered=True),
            Put(name="right", explain=self.right, own=self.right, claims="gradcam"),
        ]

    def own(self) -> Situation:
        self.own_read += 1
        return Situation(build("flat"), "3", images(2), torch.tensor([0, 1]))

    def run(self, options: Options = OPTIONS, **given: Any) -> InvarianceResult:
        self.own_read = self.right.calls = self.method.calls = 0
        given = {"progress": Silent(), "own": self.own, **given}
        return run_invariance(self.tested(), options=options, **given)


@pytest.fixture
def unshrunk(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first counterexample will do."""
    monkeypatch.setattr(matrix_module, "Search", partial(Search, shrink=False))


JOURNAL = MemoryJournal(["one", "two"])


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    return Bench().run().to_dict()


@pytest.fixture(scope="module")
def whole() -> MemoryJournal:
    journal = JOURNAL.again()
    Bench().run(journal=journal)
    return journal


def test_what_was_found_is_not_looked_for_again(
    expected: dict[str, Any], whole: MemoryJournal
) -> None:
    assert Counter(whole.made) == {
        ("finding", "hirescam"): 3, ("finding", "right"): 6, ("conformance", "right"): 1,
    }  # fmt: skip
    bench, told, again = Bench(), Silent(), whole.again()
    assert bench.run(journal=again, progress=told).to_dict() == expected
    assert (again.made, bench.own_read) == ([], 0)
    assert (bench.right.calls, bench.method.calls) == (0, 0)
    assert told.done == told.work > 0


def shifted(model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
    """Has no property that this file asks for but determinism."""
    return registered("gradcam")(model, layer, images, targets) + images[:1].mean()


@pytest.mark.usefixtures("unshrunk")
def test_counterexamples_faults_and_mismatches_are_looked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    different = Conformance(claim="gradcam", outcome=Conformity.DIFFERENT)
    monkeypatch.setattr(matrix_module, "conformance", lambda *_, **__: different)
    finite = Gap(0.5, None, None)
    tested = [
        Put(name="shifted", explain=shifted, claims="gradcam"),
        Put(name="broken", explain=lambda *_: torch.ones(1)),
    ]
    options, journal = replace(OPTIONS, properties=NAMES[:2]), MemoryJournal([])

    def once() -> dict[str, Any]:
        return run_invariance(tested, options=options, progress=Silent(), journal=journal).to_dict()

    found = once()
    assert [one["outcome"] for one in found["findings"]] == ["holds", "bug", "fault", "fault"]
    assert journal.made == [("finding", "shifted")]
    assert once() == found
    assert journal.made == [("finding", "shifted")]
    endless = replace(different, outcome=Conformity.EQUAL, gap=Gap(float("inf")), own=(finite,))
    monkeypatch.setattr(matrix_module, "conformance", lambda *_, **__: endless)
    once()
    assert journal.made == [("finding", "shifted")]
    equal = replace(endless, gap=finite, reason="why")
    monkeypatch.setattr(matrix_module, "conformance", lambda *_, **__: equal)
    known = once()
    assert journal.made[1:] == [("conformance", "shifted")]
    monkeypatch.setattr(matrix_module, "conformance", None)
    assert once() == known


def test_an_interrupted_run_goes_on_where_it_was(
    expected: dict[str, Any], whole: MemoryJournal
) -> None:
    for after in (0, 2, len(whole.made) - 1):
        journal = JOURNAL.again(after=after)
        with pytest.raises(StoppedError):
            Bench().run(journal=journal)
        rest = journal.again()
        assert Bench().run(journal=rest).to_dict() == expected
        assert journal.made + rest.made == whole.made


def test_whatever_is_known_results_are_the_same(
    expected: dict[str, Any], whole: MemoryJournal
) -> None:
    for start in range(2):
        some = whole.again()
        for key in list(some.kept)[start::2]:
            del some.kept[key]
        assert Bench().run(journal=some).to_dict() == expected
        assert set(some.kept) == set(whole.kept)


def changed(name: str, **fields: Any) -> Any:
    def tested(self: Bench) -> list[Put]:
        return [
            replace(one, **fields) if one.name == name else one for one in genuine(self)
        ]  # fmt: skip

    genuine = Bench.tested
    return tested


@pytest.mark.parametrize(
    ("options", "methods", "parts"),
    [
        ({"examples": 3}, {"hirescam", "right"}, {"finding", "conformance"}),
        ({"own_examples": 2}, {"right"}, {"finding"}),
        ({"seed": 1}, {"hirescam", "right"}, {"finding", "conformance"}),
        ({"properties": (*NAMES, "batch-size")}, {"hirescam", "right"}, {"finding"}),
        ({"budget": 299.0}, set(), set()),
    ],
)
def test_an_option_looks_again_for_what_it_changes(
    whole: MemoryJournal, options: dict[str, Any], methods: set[str], parts: set[str]
) -> None:
    again, other = whole.again(), replace(OPTIONS, **options)
    found = Bench().run(other, journal=again)
    assert {method for _, method in again.made} == methods
    assert {part for part, _ in again.made} == parts
    if options == {"seed": 1}:
        assert found.to_dict() == Bench().run(other).to_dict()


def test_images_are_part_of_what_was_found_on_the_own_model(whole: MemoryJournal) -> None:
    again = whole.again(images=["one", "other"])
    Bench().run(journal=again)
    own = {key for key in again.kept if '"images": ["one", "other"]' in key}
    assert len(own) == len(again.made) > 0
    assert ("conformance", "right") in again.made
    assert ("finding", "hirescam") not in again.made  # on drawn networks alone


def test_code_and_claim_are_part_of_what_was_found(
    whole: MemoryJournal, monkeypatch: pytest.MonkeyPatch
) -> None:
    for fields in ({"code": "other"}, {"claims": "hirescam"}):
        with monkeypatch.context() as patch:
            patch.setattr(Bench, "tested", changed("right", **fields))
            again = whole.again()
            Bench().run(journal=again)
        assert {method for _, method in again.made} == {"right"}


def test_what_nobody_knows_is_looked_for_every_time(expected: dict[str, Any]) -> None:
    journal = JOURNAL.again(unknown=("right",))
    assert Bench().run(journal=journal).to_dict() == expected
    assert {method for _, method in journal.made} == {"hirescam"}
    bench = Bench()
    assert bench.run(journal=journal).to_dict() == expected
    assert bench.right.calls > 0


@pytest.mark.usefixtures("unshrunk")
def test_counterexamples_that_are_known_are_part_of_what_was_found(tmp_path: Path) -> None:
    """They are tried first, and counted."""
    options, store = replace(OPTIONS, properties=("batch-order",)), Store(tmp_path)

    def one(explain: Explain, **given: Any) -> Finding:
        tested = [Put(name="mine", explain=explain, claims="gradcam", registered=True)]
        result = run_invariance(tested, options=options, progress=Silent(), store=store, **given)
        return result.rows[0].findings[0]

    journal = MemoryJournal([])
    assert one(registered("gradcam"), journal=journal).examples == 2
    assert one(shifted).outcome is Outcome.BUG
    again = one(registered("gradcam"), journal=journal)
    assert (again.outcome, again.examples) == (Outcome.HOLDS, 3)
    assert len(journal.made) == 2


def test_what_may_have_met_the_end_of_its_budget_is_not_kept(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Also where the property itself took the fault for an answer."""
    seconds = itertools.cycle([0.4, 0.7])
    genuine = matrix_module.examine

    def timed(*given: Any, **options: Any) -> Finding:
        return replace(genuine(*given, **options), seconds=next(seconds))

    monkeypatch.setattr(matrix_module, "examine", timed)
    monkeypatch.setattr(matrix_module.time, "perf_counter", lambda: 0.0)
    journal = MemoryJournal([])
    tested = [Put(name="right", explain=registered("gradcam"))]
    options = replace(OPTIONS, properties=NAMES[:2], budget=0.6)
    run_invariance(tested, options=options, progress=Silent(), journal=journal)
    assert len(journal.made) == 1
    assert '"property": "determinism"' in next(iter(journal.kept))


def test_what_a_known_finding_took_counts_for_the_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a later property would find more time than in a run that was not broken off."""
    clock, budgets = [0.0], []
    genuine = matrix_module.examine

    def timed(*given: Any, **options: Any) -> Finding:
        budgets.append(options["search"].budget)
        clock[0] += 2.0
        return replace(genuine(*given, **options), seconds=2.0)

    monkeypatch.setattr(matrix_module, "examine", timed)
    monkeypatch.setattr(matrix_module.time, "perf_counter", lambda: clock[0])
    tested = [Put(name="right", explain=registered("gradcam"))]
    options = replace(OPTIONS, properties=NAMES[:2], budget=10.0)
    journal = MemoryJournal([], after=1)
    with pytest.raises(StoppedError):
        run_invariance(tested, options=options, progress=Silent(), journal=journal)
    assert budgets == [10.0, 8.0]
    run_invariance(tested, options=options, progress=Silent(), journal=journal.again())
    assert budgets == [10.0, 8.0, 8.0]
