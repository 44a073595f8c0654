"""Properties of sums: what U is, where they are asked for, and which faults they find."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from camaudit.errors import NotApplicableError
from camaudit.invariance import PROPERTIES, Explain, Situation, registered
from camaudit.invariance.completeness import parts
from tests.invariance.asked_about import close, questions
from tests.invariance.drawing import drawn, refuted
from tests.invariance.literal import LITERAL, Literal, Seen, combined
from tests.invariance.wrong import Mapped

EXAMPLES = 12
NAMES = ("completeness", "completeness-pooled", "score-linearity")
OWN = pytest.mark.parametrize("own", [False, True])


@OWN
@pytest.mark.parametrize("name", NAMES[:2])
def test_the_score_and_its_negative_are_asked_about(name: str, own: bool) -> None:
    for example in drawn(name, EXAMPLES):
        ours, theirs = questions(name, example, own=own)
        assert torch.equal(theirs.logits, -ours.logits)
        close(ours.logits, example.drawn.situation().logits())
        assert torch.equal(theirs.targets, ours.targets)


@OWN
def test_two_logits_and_their_sum_are_asked_about(own: bool) -> None:
    for example in drawn("score-linearity", EXAMPLES):
        one, minus_one, other, minus_other, both, minus_both = questions(
            "score-linearity", example, own=own
        )
        close(both.scores, one.scores + other.scores)
        for ours, theirs in ((one, minus_one), (other, minus_other), (both, minus_both)):
            close(theirs.scores, -ours.scores)
        close(one.scores, example.drawn.situation().logits().gather(1, one.targets[:, None])[:, 0])


def signed(seen: Seen) -> Tensor:
    """HiResCAM without its ReLU."""
    return (seen.G * seen.A).sum(dim=1)


@pytest.mark.parametrize("explain", [LITERAL["hirescam"], Literal(signed)])
@pytest.mark.parametrize("folded", [False, True])
def test_parts_put_together_are_the_map_before_its_relu(explain: Explain, folded: bool) -> None:
    for example in drawn("completeness", EXAMPLES):
        given = example.drawn.situation()
        units = torch.eye(given.logits().shape[1])
        found = parts(explain, given, units, folded=folded)
        close(found.whole, Literal(signed)(given.model, given.layer, given.images, given.targets))
        assert float(found.overlap.max()) < 1e-12
        assert not found.blind


def test_maps_that_overlap_are_no_parts() -> None:
    given = drawn("completeness", 1)[0].drawn.situation()
    units = torch.eye(given.logits().shape[1])
    for method, blind in (("eigencam", True), ("scorecam", False)):
        found = parts(registered(method), given, units)
        assert float(found.overlap.max()) > 1e-3
        assert found.blind is blind


def test_a_map_without_a_sign_is_not_linear_in_anything() -> None:
    example = drawn("score-linearity", 1)[0]
    given = example.drawn.situation()
    with pytest.raises(NotApplicableError, match="same for the score and its negative"):
        PROPERTIES["score-linearity"].function(registered("uniform"), given, example.parameters)


class Headed(nn.Module):
    """A head of one's own on the activations of a drawn trunk."""

    def __init__(self, trunk: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.trunk = trunk
        self.head = head

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.head(self.trunk(images))
        return logits


def with_head(name: str, head: nn.Module) -> Situation:
    given = drawn(name, 1)[0].drawn.situation()
    model = Headed(given.model.get_submodule("trunk"), head).double().eval()
    return given.changed(model=model, targets=torch.zeros_like(given.targets))


class Scores(nn.Module):
    """`(Σ m ⊙ A)^power + bias` and its negative, m 1 or, not even, 1, 2, 3, …"""

    def __init__(self, *, even: bool = True, power: int = 1, bias: float = 0.0) -> None:
        super().__init__()
        self.even, self.power, self.bias = even, power, bias

    def forward(self, maps: Tensor) -> Tensor:
        weights = torch.ones_like(maps[0, 0])
        if not self.even:
            weights = torch.arange(1, 1 + weights.numel()).to(maps).view_as(weights)
        score = (maps * weights).sum(dim=(1, 2, 3))[:, None] ** self.power + self.bias
        return torch.cat([score, -score], dim=1)


@pytest.mark.parametrize(
    ("head", "homogeneous", "even"),
    [
        (Scores(), True, True),
        (Scores(even=False), True, False),
        (Scores(power=2), False, False),
        (Scores(bias=0.5), False, False),
    ],
)
def test_a_users_own_head_is_tried(head: nn.Module, homogeneous: bool, even: bool) -> None:
    given = with_head("completeness", head)
    whole, pooled = (PROPERTIES[name].info.needs(given) for name in NAMES[:2])
    assert (whole is None) is homogeneous
    assert (pooled is None) is even


def test_a_head_that_cannot_be_cut_is_passed_over() -> None:
    given = with_head("completeness", Scores())
    unknown = given.changed(layer="elsewhere")
    assert "cannot be looked at" in str(PROPERTIES["completeness"].info.needs(unknown))


def summed(seen: Seen) -> Tensor:
    """Weights summed over the cells in place of their mean."""
    return combined(seen.G.sum(dim=(2, 3)), seen.A)


FAULTS: list[tuple[str, Explain]] = [
    ("completeness", Mapped(lambda maps: 2 * maps, "hirescam")),
    ("completeness", LITERAL["elementwise"]),
    ("completeness-pooled", Literal(summed)),
    ("completeness-pooled", LITERAL["layercam"]),
    ("score-linearity", LITERAL["layercam"]),
    ("score-linearity", Mapped(torch.tanh, "hirescam")),
    ("score-linearity", Mapped(torch.tanh)),
]


@pytest.mark.parametrize(("name", "explain"), FAULTS)
def test_a_fault_of_sums_is_found(name: str, explain: Explain) -> None:
    assert refuted(name, explain, 20) is not None


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("explain", [LITERAL["xgradcam"], LITERAL["hirescam"], Literal(signed)])
def test_right_explainers_are_spared(name: str, explain: Explain) -> None:
    assert refuted(name, explain, 10) is None


def test_gradcam_is_complete_where_the_gradient_is_even() -> None:
    assert refuted("completeness-pooled", LITERAL["gradcam"], 10) is None
    assert refuted("completeness", LITERAL["gradcam"], 40) is not None
