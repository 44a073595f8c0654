"""Cascades of a transformer: the prefix tokens of a random model go with its patch tokens."""

from __future__ import annotations

import pytest
import torch

from camaudit.capture import capture
from camaudit.cut import cut_at
from camaudit.methods import compute
from camaudit.sanity.cascade import prepare_cascade
from tests.networks import images
from tests.token_networks import tiny

METHODS = ("gradcam", "layercam", "eigencam", "legrad", "attention-rollout", "vit-reciprocam")


@pytest.mark.parametrize("order", ["top-down", "bottom-up", "independent", "all"])
def test_every_state_is_that_of_the_random_model(order: str) -> None:
    x = images(2, (16, 24))
    model = tiny(depth=3)
    cascade = prepare_cascade(model, "blocks.0", x[:1], most_steps=4)
    batch = cascade.batch(x)
    assert cascade.suffix.broken is None
    assert batch.original.rest is not None
    count = 0
    with cascade.randomiser("he") as weights:
        for state in cascade.states(batch, order, 0, weights):
            seen = state.capture
            assert seen is not None
            own = capture(cut_at(model, "blocks.0", x[:1]), x, targets=batch.original.targets)
            torch.testing.assert_close(seen.logits, own.logits, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(seen.rest, own.rest, rtol=1e-4, atol=1e-5)
            for name in METHODS:
                wanted = compute(name, own)
                found = compute(name, seen)
                torch.testing.assert_close(
                    found, wanted, rtol=1e-3, atol=1e-4 * float(wanted.max())
                )
            count += 1
    assert count >= 1
