"""Properties of the channels: logits stay, channels are those stated, faults are found."""

from __future__ import annotations

import pytest
import torch

from camaudit.invariance import PROPERTIES, Explain, Stage
from camaudit.invariance.probe import channels_of, gradients_of
from tests.invariance.asked_about import Question, close, questions
from tests.invariance.drawing import drawn, refuted
from tests.invariance.literal import LITERAL, Literal, Seen, mean_gradient, weighted

EXAMPLES = 12
OWN = pytest.mark.parametrize("own", [False, True])
NAMES = (
    "channel-permutation", "channel-scale", "channel-duplicate", "channel-added", "dead-channel",
)  # fmt: skip


def pairs(name: str, own: bool) -> list[tuple[Question, Question, dict[str, object]]]:
    """Both questions of every example, their logits compared."""
    found = []
    for example in drawn(name, EXAMPLES):
        ours, theirs = questions(name, example, own=own)
        close(theirs.logits, ours.logits)
        found.append((ours, theirs, example.parameters))
    return found


@OWN
def test_channels_change_places(own: bool) -> None:
    for ours, theirs, _ in pairs("channel-permutation", own):
        before, after = (each.activations.sum(dim=(2, 3)).sort(dim=1) for each in (ours, theirs))
        assert torch.equal(before.values, after.values)


def test_channels_of_some_examples_are_moved() -> None:
    moved = [
        not torch.equal(ours.activations, theirs.activations)
        for ours, theirs, _ in pairs("channel-permutation", own=False)
    ]
    assert any(moved)


@OWN
def test_channels_are_scaled_one_by_one(own: bool) -> None:
    for ours, theirs, parameters in pairs("channel-scale", own):
        factors = parameters["factors"]
        assert isinstance(factors, list)
        assert torch.equal(theirs.activations[:, 0], ours.activations[:, 0])
        for k in range(1, ours.activations.shape[1]):
            factor = factors[(k - 1) % len(factors)]
            assert torch.equal(theirs.activations[:, k], factor * ours.activations[:, k])


@OWN
def test_a_channel_is_there_twice(own: bool) -> None:
    for ours, theirs, parameters in pairs("channel-duplicate", own):
        k = parameters["channel"]
        expected = torch.cat([ours.activations, ours.activations[:, [k]]], dim=1)
        assert torch.equal(theirs.activations, expected)


@OWN
def test_an_active_channel_is_added(own: bool) -> None:
    for ours, theirs, _ in pairs("channel-added", own):
        assert torch.equal(theirs.activations[:, :-1], ours.activations)
        extra = theirs.activations[:, -1]
        assert bool((extra > 0).all())
        assert extra[0].numel() == 1 or bool((extra.amax() > extra.amin()).all())


@OWN
def test_a_zero_channel_is_added(own: bool) -> None:
    for ours, theirs, _ in pairs("dead-channel", own):
        assert torch.equal(theirs.activations[:, :-1], ours.activations)
        assert not theirs.activations[:, -1].any()


@pytest.mark.parametrize("name", NAMES)
def test_what_reads_the_channels_is_the_head_itself(name: str) -> None:
    for example in drawn(name, EXAMPLES):
        ours, theirs = questions(name, example)
        before, after = (
            [type(m) for m in each.model.modules() if isinstance(m, torch.nn.Linear)]
            for each in (ours, theirs)
        )
        assert before == after
        assert hasattr(theirs.model, "back")
        folded = isinstance(theirs.model.back, torch.nn.Identity)
        assert folded == example.parameters["folded"]


def test_a_dead_head_does_not_order_its_channels() -> None:
    given = drawn("channel-permutation", 1)[0].drawn.situation()
    needs = PROPERTIES["channel-permutation"].info.needs
    assert needs(given) is None
    silenced = torch.nn.Sequential(given.model, torch.nn.Threshold(1e9, 0.0)).eval()
    dead = given.changed(model=silenced, layer="0.trunk")
    assert "dead" in str(needs(dead))


def test_one_channel_has_no_scale_of_its_own() -> None:
    example = drawn("channel-scale", 1)[0]
    given = example.drawn.situation()
    assert PROPERTIES["channel-scale"].info.needs(given) is None
    plan = example.drawn.plan
    single = plan.changed(stages=(Stage(),), height=2, width=2)
    assert "one channel" in str(PROPERTIES["channel-scale"].info.needs(given.changed(plan=single)))


def test_what_is_asked_of_a_model_does_not_need_its_plan() -> None:
    for example in drawn("channel-added", 4):
        given = example.drawn.situation()
        unknown = given.changed(plan=None)
        assert channels_of(given) == channels_of(unknown)
        close(gradients_of(given), gradients_of(unknown))


def by_number(seen: Seen) -> torch.Tensor:
    """Later channels weigh more."""
    weights = mean_gradient(seen)
    return weights * torch.arange(1, 1 + weights.shape[1])


def of_unit_length(seen: Seen) -> torch.Tensor:
    """Divided by the length of all weights."""
    weights = mean_gradient(seen)
    return weights / torch.linalg.vector_norm(weights, dim=1, keepdim=True).clamp(min=1e-30)


def above_their_mean(seen: Seen) -> torch.Tensor:
    """Less the mean weight of all channels."""
    weights = mean_gradient(seen)
    return weights - weights.mean(dim=1, keepdim=True)


def unguarded(seen: Seen) -> torch.Tensor:
    """XGrad-CAM's weights, 0/0 for an empty channel."""
    return (seen.G * seen.A).sum(dim=(2, 3)) / seen.A.sum(dim=(2, 3))


FAULTS: list[tuple[str, Explain]] = [
    ("channel-permutation", Literal(weighted(by_number))),
    ("channel-scale", LITERAL["lafam"]),
    ("channel-scale", Literal(weighted(of_unit_length))),
    ("channel-duplicate", Literal(weighted(of_unit_length))),
    ("channel-added", LITERAL["lafam"]),
    ("channel-added", Literal(weighted(above_their_mean))),
    ("dead-channel", Literal(weighted(above_their_mean))),
    ("dead-channel", Literal(weighted(unguarded))),
]


@pytest.mark.parametrize(("name", "explain"), FAULTS)
def test_a_fault_of_the_channels_is_found(name: str, explain: Explain) -> None:
    assert refuted(name, explain, 20) is not None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", ["gradcam", "xgradcam", "hirescam"])
def test_right_explainers_are_spared(name: str, method: str) -> None:
    assert refuted(name, LITERAL[method], 10) is None
