"""Hygiene: whatever an explainer leaves behind is named, also after an error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from camaudit.errors import NotApplicableError
from camaudit.invariance import PROPERTIES, Explain, checked
from camaudit.invariance.hygiene import Failing, InterruptedRunError, prepared
from camaudit.invariance.process import random_states, restored, settings
from camaudit.invariance.snapshots import ASPECTS, changed_between, taken
from camaudit.invariance.transforms import after
from tests.invariance import wrong
from tests.invariance.drawing import drawn, refuted
from tests.invariance.wrong import before, behind, raise_thoughtlessly


def reseed(*_: Any) -> None:
    torch.manual_seed(5)


def draw_numpy(*_: Any) -> None:
    np.random.random()


def draw_python(*_: Any) -> None:
    import random

    random.random()  # noqa: S311 # no secret


def no_grad(*_: Any) -> None:
    torch.set_grad_enabled(False)


def double_by_default(*_: Any) -> None:
    torch.set_default_dtype(torch.float64)


def more_threads(*_: Any) -> None:
    torch.set_num_threads(torch.get_num_threads() + 1)


def anomalies(*_: Any) -> None:
    torch.autograd.set_detect_anomaly(True)


def deterministic(*_: Any) -> None:
    torch.use_deterministic_algorithms(True, warn_only=True)


def benchmark(*_: Any) -> None:
    torch.backends.cudnn.benchmark = True


def silence(*_: Any) -> None:
    np.seterr(all="ignore", under="raise")


LEFT: list[tuple[str, Callable[..., Any]]] = [
    ("state", wrong.scale_and_divide),
    ("state", wrong.train_mode),
    ("state", wrong.freeze),
    ("state", wrong.thaw),
    ("state", wrong.run_in_training),
    ("state", wrong.new_parameter),
    ("grad", wrong.clear_gradients),
    ("grad", wrong.propagate),
    ("hooks", wrong.leave_hook),
    ("hooks", wrong.leave_backward_hook),
    ("hooks", wrong.leave_pre_hook),
    ("hooks", wrong.leave_parameter_hook),
    ("hooks", wrong.clear_hooks),
    ("hooks", wrong.wrap_forward),
    ("hooks", wrong.keep_activations),
    ("hooks", wrong.swap_activations),
    ("input", wrong.darken),
    ("input", wrong.shift_targets),
    ("input", wrong.require_gradient),
    ("input", wrong.detach_images),
    ("input", wrong.into_image_gradient),
    ("random", reseed),
    ("random", draw_numpy),
    ("random", draw_python),
    ("settings", no_grad),
    ("settings", double_by_default),
    ("settings", more_threads),
    ("settings", anomalies),
    ("settings", deterministic),
    ("settings", benchmark),
    ("settings", silence),
]


@pytest.mark.filterwarnings("ignore:Anomaly Detection has been enabled")
@pytest.mark.parametrize(("aspect", "action"), LEFT)
def test_what_an_explainer_leaves_behind_is_found(aspect: str, action: Callable[..., Any]) -> None:
    """And in no other aspect than its own; the process is then as it was before."""
    states, kept = random_states(), settings()
    found = refuted(f"hygiene-{aspect}", behind(action), 12)
    assert found is not None
    assert found.message.startswith("the explainer changed ")
    assert random_states() == states
    assert settings() == kept
    for other in {"state", "hooks", "random", "settings"} - {aspect}:
        assert refuted(f"hygiene-{other}", behind(action), 2) is None


def test_a_hook_that_is_left_is_named_with_its_layer() -> None:
    found = refuted("hygiene-hooks", behind(wrong.leave_hook), 3)
    assert found is not None
    assert "the hooks of trunk" in found.message


def keep_mode(model: nn.Module, *_: Any) -> list[tuple[nn.Module, bool]]:
    frozen = [value for value in model.parameters() if value.requires_grad]
    for value in frozen:
        value.requires_grad_(False)
    return frozen  # type: ignore[return-value]


def give_back(frozen: list[Any]) -> None:
    for value in frozen:
        value.requires_grad_(True)


def hook(model: nn.Module, layer: str, *_: Any) -> Any:
    return model.get_submodule(layer).register_forward_hook(lambda *_args: None)


def grad_off(*_: Any) -> bool:
    kept = torch.is_grad_enabled()
    torch.set_grad_enabled(False)
    return kept


def reseeded(*_: Any) -> torch.Tensor:
    kept = torch.get_rng_state()
    torch.manual_seed(0)
    return kept


THOUGHTLESS: list[tuple[Explain, str]] = [
    (raise_thoughtlessly(hook, lambda handle: handle.remove()), "hooks"),
    (raise_thoughtlessly(keep_mode, give_back), "requires_grad"),
    (raise_thoughtlessly(grad_off, torch.set_grad_enabled), "grad mode"),
    (raise_thoughtlessly(reseeded, torch.set_rng_state), "random state"),
]


@pytest.mark.parametrize(("explain", "named"), THOUGHTLESS)
def test_what_is_undone_only_without_an_error_is_found(explain: Explain, named: str) -> None:
    found = refuted("hygiene-error", explain, 12)
    assert found is not None
    assert named in found.message
    assert "failed" in found.message
    for aspect in ASPECTS:
        assert refuted(f"hygiene-{aspect}", explain, 3) is None


def test_errors_are_found_where_they_come_in_a_backward_pass_or_of_a_target() -> None:
    explain = THOUGHTLESS[0][0]
    seen = set()
    for example in drawn("hygiene-error", 40):
        verdict = checked("hygiene-error", explain, example)
        assert verdict.fault is not None
        seen.add(example.parameters["where"])
    assert seen == {"forward", "backward", "target"}


@pytest.mark.parametrize("backward", [False, True])
def test_a_failing_layer_fails_once_and_hands_on_otherwise(backward: bool) -> None:
    given = drawn("hygiene-error", 3)[2].drawn.situation()
    failing = Failing(backward=backward)
    wrapped = after(given, failing)
    assert torch.equal(wrapped.logits(), given.logits())
    images = given.images.clone().requires_grad_(True)
    with failing.at_pass(1), pytest.raises(InterruptedRunError):
        wrapped.model(images).sum().backward()
    failing.passes = 0
    wrapped.model(images).sum().backward()
    assert failing.passes == 1


def test_a_model_that_changes_itself_is_not_held_against_the_explainer() -> None:
    class Remembering(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("count", torch.zeros(()))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            self.count += 1
            return x

    given = after(drawn("hygiene-state", 1)[0].drawn.situation(), Remembering())
    with pytest.raises(NotApplicableError, match="own forward pass"):
        PROPERTIES["hygiene-state"].function(wrong.RIGHT["gradcam"], given, {})


def test_a_users_model_is_copied_first() -> None:
    given = drawn("hygiene-grad", 1)[0].drawn.situation()
    before_it = taken(given, tuple(ASPECTS))
    own = prepared(given, images_require_grad=True)
    weights = list(own.model.parameters())
    assert [value.grad is not None for value in weights] == [
        place % 2 == 0 for place in range(len(weights))
    ]
    assert not weights[-1].requires_grad
    assert own.images.requires_grad
    assert changed_between(before_it, taken(given, tuple(ASPECTS))) == []


def test_buffers_that_are_nan_stay_the_same() -> None:
    module = nn.BatchNorm2d(1).double().eval()
    assert module.running_mean is not None
    module.running_mean.fill_(torch.nan)
    given = drawn("hygiene-state", 1)[0].drawn.situation()
    own = given.changed(model=module)
    one, other = taken(own, ("state",)), taken(own, ("state",))
    assert changed_between(one, other) == []
    module.running_mean.fill_(0.0)
    assert changed_between(one, taken(own, ("state",))) == ["the values of running_mean"]


def test_doing_it_first_is_found_as_well() -> None:
    assert refuted("hygiene-input", before(wrong.darken), 5) is not None
    with restored():
        assert refuted("hygiene-random", before(reseed), 5) is not None
