"""Batches, repetition, layout and precision: each property finds its fault."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from camaudit.invariance import PROPERTIES, Drawn, Explain, Plan, Stage, checked, registered
from camaudit.invariance.process import random_states, restored, seeded, settings
from camaudit.invariance.transforms import copied
from tests.invariance import wrong
from tests.invariance.drawing import drawn, refuted
from tests.invariance.wrong import Mapped

FAULTS: list[tuple[str, Explain]] = [
    ("batch-order", Mapped(wrong.stale)),
    ("batch-order", Mapped(wrong.neighbour)),
    ("batch-size", Mapped(wrong.stale)),
    ("batch-size", Mapped(wrong.neighbour)),
    ("batch-size", Mapped(wrong.over_the_batch)),
    ("determinism", Mapped(wrong.noisy)),
    ("determinism", Mapped(wrong.noisy_numpy)),
    ("determinism", Mapped(wrong.noisy_python)),
    ("determinism", wrong.Counting()),
    ("memory-format", wrong.storage_order),
    ("dtype", wrong.cubed),
    ("dtype", wrong.halved),
]


@pytest.mark.parametrize(("name", "explain"), FAULTS)
def test_a_fault_is_found(name: str, explain: Explain) -> None:
    assert refuted(name, explain, 15) is not None


def test_noise_that_is_seeded_in_place_is_deterministic() -> None:
    def quiet(model, layer, images, targets):  # type: ignore[no-untyped-def]
        torch.manual_seed(0)
        return wrong.noisy(wrong.RIGHT["gradcam"](model, layer, images, targets))

    with restored():
        assert refuted("determinism", quiet, 8) is None


def test_determinism_leaves_the_random_states_alone() -> None:
    before = random_states()
    checked("determinism", Mapped(wrong.noisy), drawn("determinism", 1)[0])
    assert random_states() == before


def disturb() -> None:
    seeded(7)
    torch.set_grad_enabled(False)
    torch.set_default_dtype(torch.float64)
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.autograd.set_detect_anomaly(True)
    torch.backends.cudnn.benchmark = not torch.backends.cudnn.benchmark
    np.seterr(divide="raise")


def test_the_process_is_put_back_whatever_happens() -> None:
    states, kept = random_states(), settings()
    with restored():
        disturb()
        assert random_states() != states
        assert len([name for name in kept if settings()[name] != kept[name]]) == 6
    assert (random_states(), settings()) == (states, kept)

    def fail() -> None:
        with restored():
            disturb()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert (random_states(), settings()) == (states, kept)


def test_seeding_sets_all_three_generators() -> None:
    with restored():
        draws = []
        for _ in range(2):
            seeded(3)
            draws.append((torch.rand(1).item(), np.random.random(), random.random()))  # noqa: S311
        assert draws[0] == draws[1]


def test_a_copy_of_a_walled_model_is_its_own_wall() -> None:
    plan = Plan(stages=(Stage(kernel=2),), height=5, width=4)
    given = Drawn(plan=plan, targets=(0,), live_rows=2).situation()
    other = copied(given)
    assert other.walled is other.model
    assert other.model is not given.model
    assert torch.equal(other.logits(), given.logits())


def test_precision_is_asked_of_the_model_and_the_images() -> None:
    needs = PROPERTIES["dtype"].info.needs
    given = drawn("dtype", 1)[0].drawn.situation()
    assert needs(given) is None
    assert needs(given.changed(images=given.images.half())) is not None


def test_a_user_s_float32_model_is_compared_with_its_double() -> None:
    given = drawn("dtype", 4)[3].drawn.situation()
    own = copied(given)
    own = own.changed(model=own.model.float(), images=given.images.float())
    verdict = PROPERTIES["dtype"].function(registered("gradcam"), own, {})
    assert verdict.holds(2e-3)
    assert all(value.dtype == torch.float32 for value in own.model.parameters())
