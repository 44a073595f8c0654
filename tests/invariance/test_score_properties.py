"""Properties of the score: each change is the one that is stated, and each finds its fault."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from camaudit.errors import UsageError
from camaudit.invariance import PROPERTIES, Explain
from camaudit.invariance.transforms import linear, rescored, weights_of
from tests.invariance.asked_about import close, questions
from tests.invariance.drawing import drawn, refuted
from tests.invariance.literal import (
    LITERAL,
    Literal,
    Score,
    Seen,
    combined,
    mean_gradient,
    target_logit,
    weighted,
)
from tests.invariance.wrong import Mapped

EXAMPLES = 12
OWN = pytest.mark.parametrize("own", [False, True])


@OWN
def test_logits_are_scaled(own: bool) -> None:
    for example in drawn("logit-scale", EXAMPLES):
        ours, theirs = questions("logit-scale", example, own=own)
        factor = example.parameters["factor"]
        if factor == 3.0:
            close(theirs.logits, 3 * ours.logits)
        else:
            assert torch.equal(theirs.logits, factor * ours.logits)
        assert torch.equal(theirs.activations, ours.activations)


@OWN
def test_logits_are_shifted(own: bool) -> None:
    for example in drawn("logit-shift", EXAMPLES):
        ours, theirs = questions("logit-shift", example, own=own)
        close(theirs.logits, ours.logits + example.parameters["shift"])
        assert torch.equal(theirs.activations, ours.activations)


@OWN
def test_one_logit_alone_increases(own: bool) -> None:
    for example in drawn("increasing-score", EXAMPLES):
        ours, theirs = questions("increasing-score", example, own=own)
        target = int(ours.targets[0])
        assert torch.equal(theirs.targets, torch.full_like(ours.targets, target))
        others = torch.arange(ours.logits.shape[1]) != target
        assert torch.equal(theirs.logits[:, others], ours.logits[:, others])
        before, after = ours.scores, theirs.scores
        assert torch.equal(before.argsort(), after.argsort())


@OWN
def test_classes_change_places_and_targets_go_with_them(own: bool) -> None:
    for example in drawn("class-permutation", EXAMPLES):
        ours, theirs = questions("class-permutation", example, own=own)
        close(theirs.logits.sort(dim=1).values, ours.logits.sort(dim=1).values)
        close(theirs.scores, ours.scores)
        assert not torch.equal(theirs.targets, ours.targets) or len(ours.logits[0]) > 2


def test_folded_changes_leave_no_layer_behind() -> None:
    for example in drawn("logit-scale", EXAMPLES):
        given = example.drawn.situation()
        before = [type(module) for module in given.model.modules()]
        units = torch.eye(given.logits().shape[1])
        folded = rescored(given, units, folded=True)
        assert [type(module) for module in folded.model.modules()] == before
        assert folded.layer == given.layer
        wrapped = rescored(given, units)
        assert len(list(wrapped.model.modules())) == len(before) + 2


def test_a_head_that_is_not_known_cannot_be_changed() -> None:
    given = drawn("logit-scale", 1)[0].drawn.situation().changed(plan=None)
    with pytest.raises(UsageError, match="plan is None"):
        rescored(given, torch.eye(given.logits().shape[1]), folded=True)
    with pytest.raises(UsageError, match="Linear"):
        weights_of(torch.nn.ReLU())


def test_a_linear_layer_draws_no_random_number() -> None:
    state = torch.get_rng_state()
    layer = linear(torch.ones(2, 3), torch.zeros(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(layer(torch.ones(1, 3)), torch.full((1, 2), 3.0))


def test_a_single_class_has_no_order() -> None:
    given = next(
        example.drawn.situation()
        for example in drawn("logit-scale", EXAMPLES)
        if example.drawn.plan.classes == 1
    )
    assert "one class" in str(PROPERTIES["class-permutation"].info.needs(given))


def explaining(score: Score) -> Explain:
    """Grad-CAM of another score."""
    return Literal(weighted(mean_gradient), score=score)


def with_score(seen: Seen) -> Tensor:
    """Grad-CAM's map plus the size of the score."""
    return (
        combined(mean_gradient(seen), seen.A)
        + seen.score(seen.logits, seen.targets).abs()[:, None, None]
    )


FAULTS: list[tuple[str, Explain]] = [
    ("logit-scale", Mapped(torch.tanh)),
    ("logit-scale", explaining(lambda z, t: target_logit(z.softmax(dim=1), t))),
    ("logit-shift", Literal(with_score)),
    ("increasing-score", explaining(lambda z, t: target_logit(z.log_softmax(dim=1), t))),
    ("increasing-score", Mapped(torch.tanh)),
    ("class-permutation", explaining(lambda z, t: target_logit(z, (t + 1) % z.shape[1]))),
]


@pytest.mark.parametrize(("name", "explain"), FAULTS)
def test_a_fault_of_the_score_is_found(name: str, explain: Explain) -> None:
    assert refuted(name, explain, 20) is not None


@pytest.mark.parametrize("name", sorted({name for name, _ in FAULTS}))
@pytest.mark.parametrize("method", ["gradcam", "xgradcam", "hirescam"])
def test_right_explainers_are_spared(name: str, method: str) -> None:
    assert refuted(name, LITERAL[method], 10) is None
