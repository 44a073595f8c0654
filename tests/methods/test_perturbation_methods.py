"""Methods that score masked images or masked feature maps, against literal references."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from camaudit.capture import Capture, capture
from camaudit.errors import UsageError
from camaudit.maps import minmax, upsample
from camaudit.methods import METHODS, reciprocal
from camaudit.methods.grouped import groupcam
from camaudit.objective import Objective, contrastive, counterfactual, custom
from tests.methods.drawn import Case, cases
from tests.methods.test_contract import make
from tests.references.perturbation_cams import PERTURBATION_REFERENCES

OBJECTIVES = {
    "logit": Objective(),
    "contrastive": contrastive(2, strength=0.7),
    "counterfactual": counterfactual(),
    "custom": custom(lambda logits: (logits[:, 1] - 0.3 * logits[:, 2]).tanh()),
}
NAMES = sorted(PERTURBATION_REFERENCES)
FEW: dict[str, dict[str, Any]] = {
    "gscorecam": {"channels": 2},
    "opticam": {"steps": 4},
    "rise": {"masks": 5},
    "sscam": {"samples": 3},
    "iscam": {"steps": 3},
}

#: Adam divides by the gradient's own size, which carries a gradient's rounding over to u.
RTOL = {"opticam": 1e-7}


def ours(name: str, captured: Capture, **options: Any) -> Tensor:
    return METHODS[name].function(captured, **options)


def expected(name: str, captured: Capture, row: int, **options: Any) -> Tensor:
    """The reference's map of one image."""
    form = "objective" if name == "scorecam" else "score"
    return PERTURBATION_REFERENCES[name](
        image=captured.images[row],
        activations=captured.activations[row],
        gradients=captured.gradients[row],
        target=int(captured.targets[row]),
        head=captured.head,
        model=captured.model,
        **{form: lambda logits: captured.score(logits, row), **options},
    )


def require_equal(name: str, case: Case, objective: str = "logit", **options: Any) -> None:
    captured = capture(
        case.divided,
        case.images,
        targets=case.targets,
        objective=OBJECTIVES[objective],
        batch_size=3,
    )
    maps = ours(name, captured, **options)
    for row in range(len(captured)):
        wanted = expected(name, captured, row, **options)
        torch.testing.assert_close(maps[row], wanted, rtol=RTOL.get(name, 1e-9), atol=1e-12)


@pytest.mark.parametrize("objective", sorted(OBJECTIVES))
@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=6, deadline=None)
@given(case=cases(), seed=st.integers(0, 9))
def test_method_equals_its_reference(name: str, objective: str, case: Case, seed: int) -> None:
    seeded = {"seed": seed} if METHODS[name].info.seeded else {}
    require_equal(name, case, objective, **FEW.get(name, {}), **seeded)


@pytest.mark.parametrize("baseline", ["none", "black", "input", "blur"])
@pytest.mark.parametrize("channel_softmax", [True, False])
@settings(max_examples=12, deadline=None)
@given(
    case=cases(),
    objective=st.sampled_from(sorted(OBJECTIVES)),
    score=st.sampled_from(["logit", "probability"]),
    normalise=st.sampled_from(["after", "before"]),
    align_corners=st.booleans(),
)
def test_scorecam_in_all_its_forms_equals_its_reference(
    case: Case, objective: str, channel_softmax: bool, baseline: str, **options: Any
) -> None:
    options |= {"channel_softmax": channel_softmax, "baseline": baseline}
    require_equal("scorecam", case, objective, **options)


@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid", "mish", "swish", "shipped"])
@pytest.mark.parametrize("gate_map", [True, False])
@settings(max_examples=10, deadline=None)
@given(
    case=cases(),
    objective=st.sampled_from(sorted(OBJECTIVES)),
    baseline=st.sampled_from(["none", "black", "input", "blur"]),
)
def test_scorecam_plus_plus_in_all_its_forms_equals_its_reference(
    case: Case, objective: str, baseline: str, activation: str, gate_map: bool
) -> None:
    options = {"baseline": baseline, "activation": activation, "gate_map": gate_map}
    require_equal("scorecam++", case, objective, **options)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sscam", {"samples": 2, "std": 0.1}),
        ("sscam", {"samples": 3, "noise": "input"}),
        ("iscam", {}),
        ("gscorecam", {}),
        ("gscorecam", {"channels": 1}),
        ("reciprocam", {"baseline": "none"}),
        ("reciprocam-gaussian", {"baseline": "none"}),
        ("rise", {"masks": 4, "cells": 3, "keep": 0.2}),
        ("rise", {"masks": 1, "cells": 1, "keep": 1.0}),
        ("opticam", {"steps": 12, "learning_rate": 0.5}),
        ("groupcam", {"groups": 1}),
        ("groupcam", {"groups": 2, "percentile": 30.0}),
        ("groupcam", {"groups": 3, "percentile": 0}),
        ("groupcam", {"percentile": 100}),
    ],
)
@settings(max_examples=8, deadline=None)
@given(case=cases())
def test_options_equal_their_references(name: str, options: dict[str, Any], case: Case) -> None:
    require_equal(name, case, **options)


@settings(max_examples=10, deadline=None)
@given(case=cases(), name=st.sampled_from(["sscam", "iscam", "gscorecam", "groupcam", "opticam"]))
def test_constant_channels_equal_their_references(case: Case, name: str) -> None:
    captured = case.capture()
    A, G = captured.activations.clone(), captured.gradients
    A[0, 0] = 0.7
    spoilt = replace(captured, activations=A)
    maps = ours(name, spoilt, **FEW.get(name, {}))
    for row in range(len(A)):
        wanted = expected(name, spoilt, row, **FEW.get(name, {}))
        torch.testing.assert_close(maps[row], wanted, rtol=RTOL.get(name, 1e-9), atol=1e-12)
    assert torch.equal(spoilt.gradients, G)


def counting(captured: Capture) -> tuple[Capture, list[int]]:
    """The capture with a fresh memo, and the number of images of every forward that it makes."""
    sizes: list[int] = []

    def model(images: Tensor) -> Tensor:
        sizes.append(len(images))
        return captured.divided.logits(images)

    return replace(captured, model=model), sizes


def test_gscorecam_after_scorecam_runs_nothing_and_the_other_way_round_only_the_rest() -> None:
    captured, sizes = counting(make(channels=7))
    ours("scorecam", captured)
    whole = sum(sizes)
    ours("gscorecam", captured, channels=3)
    assert sum(sizes) == whole
    captured, sizes = counting(make(channels=7))
    ours("gscorecam", captured, channels=3)
    assert sum(sizes) == 9
    ours("scorecam", captured)
    assert sum(sizes) == whole == 21


def test_other_scores_run_no_masked_image_again() -> None:
    for name in ("iscam", "gscorecam", "rise"):
        captured, sizes = counting(make())
        ours(name, captured, **FEW[name] if name != "gscorecam" else {})
        whole = sum(sizes)
        assert whole > 0
        other = captured.explaining(contrastive(1))
        maps = ours(name, other, **FEW[name] if name != "gscorecam" else {})
        assert sum(sizes) == whole, name
        assert not torch.allclose(maps, ours(name, captured, **FEW[name]))


def test_rise_keeps_the_masked_images_of_each_seed_and_setting_apart() -> None:
    captured, sizes = counting(make())
    for options in ({"seed": 0}, {"seed": 1}, {"cells": 3}, {"keep": 0.4}, {"masks": 6}):
        before = sum(sizes)
        maps = ours("rise", captured, **{"masks": 5, **options})
        fresh = ours("rise", make(), **{"masks": 5, **options})
        assert sum(sizes) == before + 3 * options.get("masks", 5)
        assert torch.equal(maps, fresh)


def test_iscam_shares_its_last_step_with_scorecam() -> None:
    captured, sizes = counting(make())
    ours("scorecam", captured, normalise="before", align_corners=False)
    ours("iscam", captured, steps=1)
    assert sum(sizes) == 15


@pytest.mark.parametrize(
    ("name", "options", "forwards"),
    [
        ("gscorecam", {}, 15),
        ("iscam", {"steps": 2}, 30),
        ("sscam", {"samples": 2, "noise": "input"}, 30),
        ("sscam", {"samples": 2}, 60),  # each mask has its own noise
    ],
)
def test_equal_channels_are_run_once(name: str, options: dict[str, Any], forwards: int) -> None:
    plain = make()
    twice, sizes = counting(
        replace(
            plain,
            activations=torch.cat([plain.activations, plain.activations], dim=1),
            gradients=torch.cat([plain.gradients, plain.gradients], dim=1),
        )
    )
    ours(name, twice, **options)
    assert sum(sizes) == forwards


def test_a_memo_is_not_shared_with_other_activations() -> None:
    captured, sizes = counting(make())
    for name in ("iscam", "gscorecam", "rise"):
        ours(name, captured, **FEW[name])
    other = replace(captured, activations=captured.activations.square())
    assert not any(other.memo)
    for name in ("iscam", "gscorecam", "rise"):
        before = sum(sizes)
        maps = ours(name, other, **FEW[name])
        assert sum(sizes) > before
        fresh = replace(make(), activations=captured.activations.square())
        assert torch.equal(maps, ours(name, fresh, **FEW[name]))


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("sscam", {"samples": 2}),
        ("sscam", {"samples": 2, "noise": "input"}),
        ("iscam", {"steps": 2}),
        ("gscorecam", {}),
        ("rise", {"masks": 7}),
        ("opticam", {"steps": 2}),
        ("groupcam", {}),
    ],
)
@pytest.mark.parametrize("batch_size", [1, 3])
def test_batch_size_bounds_every_forward(
    name: str, options: dict[str, Any], batch_size: int
) -> None:
    captured, sizes = counting(replace(make(channels=7), batch_size=batch_size))
    ours(name, captured, **options)
    assert sizes
    assert max(sizes) <= batch_size


def head_counting(captured: Capture) -> tuple[Capture, list[int]]:
    sizes: list[int] = []

    def head(maps: Tensor) -> Tensor:
        sizes.append(len(maps))
        return captured.divided.read(maps)

    return replace(captured, head=head), sizes


@pytest.mark.parametrize("name", ["reciprocam", "reciprocam-gaussian"])
def test_head_passes_are_bounded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    captured, sizes = head_counting(make())
    whole = ours(name, captured)
    assert sizes == [21] * 3  # 4×5 cells, and no features at all
    sizes.clear()
    monkeypatch.setattr(reciprocal, "_HEAD_FLOATS", 4 * captured.activations[0].numel())
    torch.testing.assert_close(ours(name, captured), whole, rtol=1e-12, atol=1e-14)
    assert max(sizes) == 4
    assert sum(sizes) == 3 * (20 + 7)


def test_reciprocam_of_a_pooled_linear_head_is_hirescam() -> None:
    captured = make()
    torch.testing.assert_close(ours("reciprocam", captured), ours("hirescam", captured))


@pytest.mark.parametrize("name", ["reciprocam", "reciprocam-gaussian"])
def test_cells_that_the_head_does_not_read_are_exactly_zero(name: str) -> None:
    captured = make(layers=2)
    blind = replace(
        captured, head=lambda maps: captured.head(maps * (torch.arange(4) < 2)[:, None])
    )
    maps = ours(name, blind)
    unread = 2 if name == "reciprocam" else 3  # the Gaussian reaches one row further
    assert bool((maps[:, unread:] == 0).all())
    assert bool((maps[:, :unread] > 0).any())


def test_without_noise_sscam_is_scorecam_and_so_is_one_step_of_iscam() -> None:
    captured = make()
    plain = ours("scorecam", captured, normalise="before", align_corners=False)
    for noise in ("mask", "input"):
        still = ours("sscam", captured, samples=2, std=0.0, noise=noise)
        torch.testing.assert_close(still, plain)
    assert torch.equal(ours("iscam", captured, steps=1), plain)


def test_gscorecam_of_all_channels_is_scorecam_bit_for_bit() -> None:
    captured = make()
    assert torch.equal(ours("gscorecam", captured), ours("scorecam", captured))


def test_gscorecam_takes_the_lower_channels_of_equal_gradients() -> None:
    captured = make()
    level = replace(captured, gradients=torch.ones_like(captured.gradients))
    first = replace(level, activations=captured.activations[:, :2])
    torch.testing.assert_close(ours("gscorecam", level, channels=2), ours("scorecam", first))


def test_rise_that_keeps_everything_is_the_probability_everywhere() -> None:
    captured = make()
    rows = torch.arange(3)
    probability = captured.objective(captured.logits.softmax(dim=1), rows)
    maps = ours("rise", captured, masks=3, keep=1.0)
    torch.testing.assert_close(maps, probability[:, None, None].expand(maps.shape))


def test_rise_is_empty_where_the_score_is_negative() -> None:
    captured = make().explaining(counterfactual())
    assert not ours("rise", captured, masks=3).any()


def seen_through(captured: Capture, maps: Tensor) -> Tensor:
    """Scores of the images seen through maps of the activations' size."""
    masks = minmax(upsample(maps, captured.size))[:, None]
    logits = captured.model(captured.images * masks)
    return captured.objective(logits, torch.arange(len(maps)))


def test_opticam_never_loses_what_it_found() -> None:
    captured = make()
    best = seen_through(captured, captured.activations.mean(dim=1))
    for steps in (1, 5, 40):
        found = seen_through(captured, ours("opticam", captured, steps=steps))
        assert bool((found >= best - 1e-12).all())
        best = found
    assert bool((best > seen_through(captured, captured.activations.mean(dim=1))).all())


def test_opticam_without_a_mask_is_the_mean_of_the_channels() -> None:
    captured, sizes = counting(make())
    A = torch.tensor([0.1, -0.2, 0.3, 0.5, 0.7]).double()[None, :, None, None].expand(3, 5, 4, 5)
    maps = ours("opticam", replace(captured, activations=A), steps=3)
    torch.testing.assert_close(maps, A.mean(dim=1))
    assert not sizes
    opposite = torch.stack([captured.activations[:, 0], 1 - captured.activations[:, 0]], dim=1)
    torch.testing.assert_close(
        ours("opticam", replace(captured, activations=opposite), steps=3),
        torch.full((3, 4, 5), 0.5, dtype=torch.float64),
    )


def test_groupcam_of_channels_that_speak_against_the_class_is_empty_and_runs_nothing() -> None:
    captured, sizes = counting(make())
    against = replace(captured, gradients=-torch.ones_like(captured.gradients))
    assert not groupcam(against).any()
    assert not sizes


def test_groupcam_keeps_the_value_that_its_percentile_falls_on() -> None:
    """0.28 · 25 is 7.000000000000001 in floating point: a value would be cut that is at place 7."""
    cells = torch.arange(26.0, dtype=torch.float64).square().reshape(1, 1, 2, 13)
    captured = make(size=(4, 26), channels=1).rows(0, 1)
    steep = replace(captured, activations=cells, gradients=torch.ones_like(cells))
    maps = groupcam(steep, percentile=28.0)
    assert maps.any()
    torch.testing.assert_close(maps[0], expected("groupcam", steep, 0, percentile=28.0))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("sscam", {"samples": 0}, r"samples .* at least 1; got 0"),
        ("sscam", {"samples": 2.0}, r"samples .* integer .* got 2\.0"),
        ("sscam", {"std": -1.0}, r"std .* got -1\.0"),
        ("sscam", {"std": float("nan")}, "std .* got nan"),
        ("sscam", {"noise": "both"}, "noise must be one of mask, input; got 'both'"),
        ("iscam", {"steps": 0}, "steps .* got 0"),
        ("gscorecam", {"channels": -3}, "channels .* got -3"),
        ("gscorecam", {"channels": True}, "channels .* got True"),
        ("reciprocam", {"baseline": "black"}, "baseline must be one of zero, none; got 'black'"),
        ("reciprocam-gaussian", {"baseline": "x"}, "baseline .* got 'x'"),
        ("rise", {"masks": 0}, "masks .* got 0"),
        ("rise", {"cells": 0}, "cells .* got 0"),
        ("rise", {"keep": 0.0}, r"keep must be above 0 and at most 1; got 0\.0"),
        ("rise", {"keep": 1.5}, r"keep .* got 1\.5"),
        ("opticam", {"steps": 0}, "steps .* got 0"),
        ("opticam", {"learning_rate": 0.0}, r"learning_rate .* got 0\.0"),
        ("opticam", {"learning_rate": float("inf")}, "learning_rate .* got inf"),
        ("groupcam", {"groups": 0}, "groups .* got 0"),
        ("groupcam", {"percentile": 101}, "percentile must be at least 0 and at most 100; got 101"),
        ("scorecam", {"score": "x"}, "score must be one of logit, probability; got 'x'"),
        ("scorecam", {"normalise": "x"}, "normalise .* got 'x'"),
        ("scorecam", {"baseline": "x"}, "baseline .* got 'x'"),
        ("scorecam++", {"activation": "x"}, "activation .* got 'x'"),
        ("scorecam++", {"baseline": "x"}, "baseline .* got 'x'"),
    ],
)
def test_options_that_mean_nothing_are_refused(
    name: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        ours(name, make(), **options)


@pytest.mark.parametrize(
    "function", [METHODS[name].function for name in NAMES], ids=lambda f: f.__name__
)
def test_options_are_keyword_only(function: Callable[..., Tensor]) -> None:
    with pytest.raises(TypeError, match="positional argument"):
        function(make(), 1)
