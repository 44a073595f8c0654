"""Every outcome of a claim: equal, processed, different with the smallest network, faults."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from camaudit.errors import NotApplicableError, UnknownNameError, UsageError
from camaudit.invariance import (
    Conformance,
    Conformity,
    Example,
    Explain,
    Search,
    Situation,
    registered,
)
from camaudit.invariance.comparison import CLOSE, Comparison
from camaudit.invariance.conformance import conformance
from camaudit.invariance.correlation import pearson, spearman
from tests.invariance import __main__ as writing
from tests.invariance.claims import CLAIMS, Claim
from tests.invariance.table import (
    PARTS,
    claimed,
    claimed_instead,
    parts,
    with_own,
    without_figures,
)
from tests.networks import images, settle

FEW = Search(examples=12)
DOCS = Path(__file__).parents[2] / "docs" / "conformance.md"

gradcam = registered("gradcam")


def changed(change: Callable[[Tensor, Tensor], Tensor]) -> Explain:
    """GradCAM with its maps changed, given the images too."""

    def explain(model: nn.Module, layer: str, given: Tensor, targets: Tensor) -> Tensor:
        return change(gradcam(model, layer, given, targets), given)

    return explain


def test_the_method_itself_is_equal() -> None:
    found = conformance(changed(lambda maps, _: maps.clone()), "gradcam", search=FEW)
    assert (found.outcome, found.processing) == (Conformity.EQUAL, "none")
    assert found.claim == "gradcam"
    assert found.examples == found.agreeing == 12
    assert found.gap is not None
    assert found.gap.difference == 0
    assert found.gap.pearson == pytest.approx(1)
    assert found.mismatch is None


def test_min_max_and_numpy_are_post_processing() -> None:
    def explain(model: nn.Module, layer: str, given: Tensor, targets: Tensor) -> object:
        maps = gradcam(model, layer, given, targets).float().numpy()
        low = maps - maps.min(axis=(1, 2), keepdims=True)
        return low / (low.max(axis=(1, 2), keepdims=True) + 1e-8)

    found = conformance(explain, "gradcam", search=FEW)  # type: ignore[arg-type]
    assert (found.outcome, found.processing) == (Conformity.PROCESSED, "min-max")


def test_a_sum_over_cells_for_a_mean_is_named_and_no_constant() -> None:
    found = conformance(changed(lambda maps, _: maps * maps[0].numel()), "gradcam", search=FEW)
    assert (found.outcome, found.processing) == (Conformity.PROCESSED, "× cells")


@pytest.mark.parametrize("factor", [-1.0, 0.0])
def test_a_factor_that_is_not_above_0_is_a_difference(factor: float) -> None:
    found = conformance(changed(lambda maps, _: factor * maps), "gradcam", search=FEW, shrink=False)
    assert found.outcome is Conformity.DIFFERENT
    assert found.agreeing == 0


def test_dividing_by_the_largest_value_of_the_batch_is_a_difference() -> None:
    explain = changed(lambda maps, _: maps / maps.max())
    found = conformance(explain, "gradcam", search=FEW, shrink=False)
    assert found.outcome is Conformity.DIFFERENT
    assert found.mismatch is not None
    assert len(found.mismatch.example.drawn.targets) == 2


def of_two_channels(model: nn.Module, layer: str, given: Tensor, targets: Tensor) -> Tensor:
    """GradCAM, wrong by a tenth where the layer has two channels or more."""
    kept: list[Tensor] = []
    handle = model.get_submodule(layer).register_forward_hook(
        lambda _module, _args, output: kept.append(output)
    )
    with torch.no_grad():
        model(given)
    handle.remove()
    maps = gradcam(model, layer, given, targets)
    return maps + 0.1 * kept[0][:, -1].abs() if kept[0].shape[1] > 1 else maps


def size_of(found: Conformance) -> int:
    """Parameters of the network that shows the mismatch."""
    assert found.mismatch is not None
    model = found.mismatch.example.drawn.situation().model
    return sum(value.numel() for value in model.parameters())


def test_a_difference_comes_with_the_smallest_network_that_shows_it() -> None:
    found = conformance(of_two_channels, "gradcam", search=Search(examples=20))
    assert (found.outcome, found.processing) == (Conformity.DIFFERENT, "none")
    assert 0 < found.agreeing < found.examples
    assert found.mismatch is not None
    drawn = found.mismatch.example.drawn
    plan = drawn.plan
    assert (plan.map_channels, len(plan.stages), len(drawn.targets)) == (2, 1, 1)
    assert 2 <= math.prod(plan.map_size) <= 4, "one cell is constant, and says nothing"
    assert size_of(found) < size_of(
        conformance(of_two_channels, "gradcam", search=FEW, shrink=False)
    )
    situation = drawn.situation()
    asked = (situation.model, situation.layer, situation.images, situation.targets)
    ours, theirs = gradcam(*asked), of_two_channels(*asked)
    assert found.mismatch.gap is not None
    expected = (ours - theirs).abs().max() / torch.stack([ours, theirs]).abs().max()
    assert found.mismatch.gap.difference == pytest.approx(expected.item())
    assert found.mismatch.gap.pearson == pearson(ours, theirs)


def test_another_method_is_different_and_the_same_search_finds_the_same() -> None:
    found = [
        conformance(registered("hirescam"), "gradcam", search=FEW, shrink=False) for _ in range(2)
    ]
    assert found[0].outcome is Conformity.DIFFERENT
    assert found[0].mismatch == found[1].mismatch
    assert found[0].gap == found[1].gap


def test_an_explainer_that_is_never_the_same_is_different() -> None:
    noisy = changed(lambda maps, _: maps + torch.rand_like(maps))
    found = conformance(noisy, "gradcam", search=FEW)
    assert found.outcome is Conformity.DIFFERENT
    assert found.mismatch is not None


def test_neither_side_can_change_what_the_other_sees() -> None:
    def spoils(model: nn.Module, layer: str, given: Tensor, targets: Tensor) -> Tensor:
        maps = gradcam(model, layer, given, targets)
        given.zero_()
        for value in model.parameters():
            value.data.zero_()
        return maps

    assert conformance(spoils, "gradcam", search=FEW).outcome is Conformity.EQUAL


def raises(*_: object) -> Tensor:
    raise ZeroDivisionError("no maps today")


@pytest.mark.parametrize(
    ("explain", "fault"),
    [
        (raises, "raised"),
        (changed(lambda maps, _: maps / 0 * 0), "not finite"),
        (changed(lambda maps, _: maps[:, 0]), "wrong shape"),
        (changed(lambda maps, _: maps > 0), "wrong type"),
    ],
)
def test_a_fault_is_named_and_shown_on_the_smallest_network(explain: Explain, fault: str) -> None:
    found = conformance(explain, "gradcam", search=FEW)
    assert (found.outcome, found.fault) == (Conformity.FAULT, fault)
    assert found.mismatch is not None
    assert found.mismatch.gap is None
    assert math.prod(found.mismatch.example.drawn.plan.map_size) == 2
    if fault == "raised":
        assert found.reason == "ZeroDivisionError: no maps today"
        assert found.mismatch.trace is not None
        assert "in raises" in found.mismatch.trace


def test_a_budget_ends_the_comparison() -> None:
    found = conformance(gradcam, "gradcam", search=Search(examples=12, budget=1e-6))
    assert (found.outcome, found.fault) == (Conformity.FAULT, "too slow")


def test_constant_references_say_nothing() -> None:
    found = conformance(gradcam, "gradcam", search=FEW, limits={"cells": 1, "whole": True})
    assert found.outcome is Conformity.UNDEFINED
    assert found.examples == 0
    assert found.degenerate > 0


def test_a_claim_that_never_applies_is_given_up() -> None:
    found = conformance(gradcam, "cam", search=FEW, limits={"pooled": False, "min_cells": 2})
    assert found.outcome is Conformity.NOT_APPLICABLE
    assert found.passed_over == 40
    assert "pool" in (found.reason or "")


def test_an_explainer_may_say_that_it_does_not_apply() -> None:
    def pooled_only(model: nn.Module, layer: str, given: Tensor, targets: Tensor) -> Tensor:
        if not any(isinstance(part, nn.AdaptiveAvgPool2d) for part in model.modules()):
            raise NotApplicableError("the head does not pool")
        return gradcam(model, layer, given, targets)

    found = conformance(pooled_only, "gradcam", search=FEW)
    assert found.outcome is Conformity.EQUAL
    assert found.passed_over > 0


def test_what_rounding_alone_moves_is_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Comparison, "unstable", lambda *_: True)
    found = conformance(of_two_channels, "gradcam", search=FEW)
    assert found.outcome is Conformity.EQUAL
    assert found.unstable > 0
    assert found.examples + found.unstable == 12


def test_the_claim_must_be_a_method() -> None:
    with pytest.raises(UnknownNameError, match="did you mean gradcam"):
        conformance(gradcam, "gradcan")
    with pytest.raises(UsageError, match="no option"):
        conformance(gradcam, "gradcam(speed=2)")


def test_another_explainer_can_be_the_reference() -> None:
    def twice(model: nn.Module, layer: str, given: Tensor, targets: Tensor) -> Tensor:
        return 2 * gradcam(model, layer, given, targets)

    found = conformance(gradcam, twice, search=FEW)
    assert (found.claim, found.processing) == ("twice", "× constant")


def test_a_result_is_plain_values() -> None:
    found = conformance(of_two_channels, "gradcam", search=FEW, shrink=False)
    values = json.loads(json.dumps(found.to_dict()))
    assert values["outcome"] == "different"
    assert found.mismatch is not None
    assert Example.from_dict(values["mismatch"]["example"]) == found.mismatch.example


# --- the user's own model -------------------------------------------------------------------------


def own(count: int = 3) -> Situation:
    """A small float32 network with images, as a user has them."""
    parts = [nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    model = settle(nn.Sequential(*parts, nn.Linear(4, 3)))
    return Situation(model, "1", images(count, 9), torch.arange(count) % 3)


def test_the_own_model_is_compared_image_by_image() -> None:
    subject = own()
    found = conformance(gradcam, "gradcam", search=FEW, own=subject)
    assert found.outcome is Conformity.EQUAL
    assert len(found.own) == 3
    for gap in found.own:
        assert gap.difference is not None
        assert 0 < gap.difference < 1e-5, "float32 beside float64"
        assert gap.pearson == pytest.approx(1)
    assert subject.images.dtype is torch.float32


def test_a_difference_on_the_own_model_alone_is_told() -> None:
    def wrong_in_float32(model: nn.Module, layer: str, given: Tensor, targets: Tensor) -> Tensor:
        maps = gradcam(model, layer, given, targets)
        return maps if given.dtype is torch.float64 else maps.flip(2)

    found = conformance(wrong_in_float32, "gradcam", search=FEW, own=own())
    assert found.outcome is Conformity.DIFFERENT
    assert found.examples == found.agreeing == 12
    assert found.mismatch is None
    assert found.reason == "the maps differ on the user's own model alone"
    assert max(gap.difference or 0 for gap in found.own) > CLOSE.single


def test_images_of_degenerate_references_have_no_gap() -> None:
    subject = own()
    blank = subject.images.clone()
    blank[1] = 0
    found = conformance(gradcam, "gradcam", search=FEW, own=subject.changed(images=blank))
    assert [gap.difference is None for gap in found.own] == [False, True, False]
    none = conformance(gradcam, "gradcam", search=FEW, own=subject.changed(images=0 * blank))
    assert none.own == ()
    assert "every reference map is degenerate" in (none.reason or "")


def test_a_fault_on_the_own_model_is_told() -> None:
    def no_float32(model: nn.Module, layer: str, given: Tensor, targets: Tensor) -> Tensor:
        if given.dtype is torch.float32:
            raise ValueError("float64 only")
        return gradcam(model, layer, given, targets)

    found = conformance(no_float32, "gradcam", search=FEW, own=own())
    assert (found.outcome, found.fault) == (Conformity.FAULT, "raised")
    assert found.reason == "on the user's own model: ValueError: float64 only"


def test_the_own_model_is_left_as_it_was() -> None:
    subject = own()
    before = [value.clone() for value in subject.model.state_dict().values()]

    def trains(model: nn.Module, layer: str, given: Tensor, targets: Tensor) -> Tensor:
        maps = gradcam(model, layer, given, targets)
        model.train()
        for value in model.parameters():
            value.data.add_(1)
        return maps

    conformance(trains, "gradcam", search=FEW, own=subject)
    assert not subject.model.training
    after = subject.model.state_dict().values()
    assert all(torch.equal(*values) for values in zip(before, after, strict=True))


def test_a_model_that_cannot_be_copied_is_refused() -> None:
    class Single(nn.Sequential):
        def __deepcopy__(self, _memo: object) -> nn.Module:
            raise RuntimeError("there can be only one")

    subject = own()
    model = Single(*subject.model.children()).eval()
    with pytest.raises(UsageError, match=r"cannot be copied .*only one"):
        conformance(gradcam, "gradcam", search=FEW, own=subject.changed(model=model))


# --- correlations ---------------------------------------------------------------------------------


def test_correlations_are_those_of_scipy() -> None:
    from scipy import stats

    generator = torch.Generator().manual_seed(3)
    one = torch.randint(0, 5, (4, 5), generator=generator).double()
    other = one + torch.randn(4, 5, generator=generator, dtype=torch.float64)
    flat = one.flatten().numpy(), other.flatten().numpy()
    assert pearson(one, other) == pytest.approx(stats.pearsonr(*flat).statistic)
    assert spearman(one, other) == pytest.approx(stats.spearmanr(*flat).statistic)
    assert pearson(one, torch.ones(4, 5)) is None


# --- the libraries --------------------------------------------------------------------------------

EXAMPLES = 15


def seen(found: Conformance) -> tuple[Conformity, str]:
    return found.outcome, found.processing


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.label)
def test_a_library_is_what_the_table_says(claim: Claim) -> None:
    found = claimed(claim, EXAMPLES)
    assert found.outcome is claim.outcome
    if claim.outcome is Conformity.DIFFERENT:
        assert claim.reasons, "a difference must be explained"
        assert seen(claimed_instead(claim, EXAMPLES)) == (Conformity.PROCESSED, claim.processing)
    else:
        assert found.processing == claim.processing


def test_every_difference_has_its_counterpart() -> None:
    for claim in CLAIMS:
        assert (claim.outcome is Conformity.DIFFERENT) == (claim.instead is not None), claim.label
    labels = [claim.label for claim in CLAIMS]
    assert len(set(labels)) == len(labels)


@pytest.mark.parametrize("name", PARTS)
def test_the_docs_say_what_is_tested(name: str) -> None:
    text = DOCS.read_text()
    _, mark, rest = text.partition(f"<!-- {name}:begin -->\n")
    assert mark, f"docs/conformance.md has no part {name}"
    written = rest.partition(f"\n<!-- {name}:end -->\n")[0]
    if name == "smallest":
        for claim in CLAIMS:
            shown = f"- {claim.package} `{claim.name}`: " in written
            assert shown == (claim.outcome is Conformity.DIFFERENT), claim.label
        return
    expected = parts()[name]
    if name == "claims":
        written, expected = without_figures(written), without_figures(expected)
    assert written == expected, "write it again: python -m tests.invariance"


def test_the_docs_are_written_between_their_marks() -> None:
    text = "a\n<!-- x:begin -->\nold\n<!-- x:end -->\nb\n"
    assert writing.put(text, "x", "new") == "a\n<!-- x:begin -->\nnew\n<!-- x:end -->\nb\n"


def test_the_last_column_can_be_written_alone() -> None:
    claim = next(one for one in CLAIMS if one.name == "HiResCAM")
    found = conformance(claim.explain, claim.method, search=Search(examples=1), own=own(2))
    other = "| pytorch-grad-cam | `HiResCAM` | `hirescam` | in another table |\n"
    page = parts()["claims"] + "\n<!-- claims:end -->\n" + other
    text = with_own(page, [claim], [found])
    changed = [
        (old, new) for old, new in zip(page.splitlines(), text.splitlines(), strict=True)
        if old != new
    ]  # fmt: skip
    ((old, new),) = changed
    assert "| `HiResCAM` |" in new
    assert old.split(" | ")[:-1] == new.split(" | ")[:-1]
    gaps = [gap.difference for gap in found.own if gap.difference is not None]
    assert float(new.split(" | ")[-1].rstrip(" |")) == pytest.approx(max(gaps), rel=0.5)
