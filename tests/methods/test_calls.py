"""Methods written as one string: names, options, layers, lists of them, and every misspelling."""

from __future__ import annotations

import inspect
from typing import Any, get_args, get_type_hints

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from camaudit.capture import Capture, capture
from camaudit.cut import cut_at
from camaudit.errors import LayerError, UnknownNameError, UsageError
from camaudit.methods import METHODS, STANDARD, compute, method_call, options_listing, select
from camaudit.methods.base import MethodInfo
from camaudit.methods.calls import MethodCall, fused
from camaudit.registry import Entry
from tests.networks import build, images


def options_of(name: str) -> dict[str, Any]:
    """Keyword options with their defaults, read from the function itself; not the seed."""
    parameters = inspect.signature(METHODS[name].function).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY and p.name != "seed"}


WITH_OPTIONS = [name for name in METHODS if options_of(name)]


@pytest.fixture(scope="module")
def seen() -> Capture:
    model: nn.Module = build("chain").double()
    return capture(cut_at(model, "5", images(1).double()), images(2).double())


# --------------------------------------------------------------------------------------- reading


@pytest.mark.parametrize("name", METHODS)
def test_a_bare_name_is_the_method_with_its_defaults(name: str) -> None:
    for spec in (name, f" {name} ", f"{name}()", f"{name} ( ) "):
        call = method_call(spec)
        assert call == MethodCall(name)
        assert call.label == name
        assert call.info is METHODS[name].info


@pytest.mark.parametrize("name", WITH_OPTIONS)
def test_defaults_written_out_are_the_bare_name(name: str) -> None:
    defaults = {key: value for key, value in options_of(name).items() if value is not None}
    given_options = ", ".join(f"{key}={value}" for key, value in defaults.items())
    assert method_call(f"{name}({given_options})") == MethodCall(name)


def test_options_are_read_by_the_type_of_their_default() -> None:
    call = method_call(
        "scorecam(score=probability, normalise = before,align_corners=False, channel_softmax=TRUE)"
    )
    assert call.options == (
        ("align_corners", False), ("normalise", "before"), ("score", "probability"),
    )  # fmt: skip
    assert call.label == "scorecam(align_corners=false, normalise=before, score=probability)"
    assert dict(method_call("rise(masks=10, keep=0.25)").options) == {"masks": 10, "keep": 0.25}
    assert type(dict(method_call("fem(k=3)").options)["k"]) is float
    assert dict(method_call("kpcacam(gamma=1e-3)").options) == {"gamma": 0.001}
    assert dict(method_call("polycam(form=+)").options) == {"form": "+"}
    assert method_call("polycam(form=±)").options == ()


@st.composite
def written(draw: st.DrawFn) -> tuple[str, MethodCall]:
    """A method with drawn options, written in a drawn order with drawn blanks, and the call."""
    name = draw(st.sampled_from(WITH_OPTIONS))
    defaults, hints = options_of(name), get_type_hints(METHODS[name].function)
    values: dict[str, Any] = {}
    for key in draw(st.lists(st.sampled_from(sorted(defaults)), unique=True)):
        words = [word for word in get_args(hints[key]) if isinstance(word, str)]
        if words:
            values[key] = draw(st.sampled_from(words))
        elif isinstance(defaults[key], bool):
            values[key] = draw(st.booleans())
        elif isinstance(defaults[key], int):
            values[key] = draw(st.integers(-10, 10**6))
        elif isinstance(defaults[key], str):
            values[key] = draw(st.sampled_from(sorted(METHODS)))
        else:
            values[key] = draw(st.floats(allow_nan=False, allow_infinity=False))
    blank = st.sampled_from(["", " ", "  "])
    parts = [
        f"{draw(blank)}{key}{draw(blank)}={draw(blank)}{value}{draw(blank)}"
        for key, value in values.items()
    ]
    changed = {key: value for key, value in values.items() if value != defaults[key]}
    return f"{name}({','.join(parts)})", MethodCall(name, tuple(sorted(changed.items())))


@given(drawn=written())
def test_any_options_are_read_and_written_back(drawn: tuple[str, MethodCall]) -> None:
    spec, expected = drawn
    call = method_call(spec)
    assert call == expected
    assert method_call(call.label) == call
    keys = [part.partition("=")[0] for part in call.label.partition("(")[2].split(", ")]
    assert keys == sorted(keys)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", r"written NAME or NAME\(option=value, …\); got ''"),
        ("gradcam)", r"written NAME or NAME.*got 'gradcam\)'"),
        ("gradcam(", "written NAME or NAME"),
        ("(k=1)", "written NAME or NAME"),
        ("fem(k=1)x", "written NAME or NAME"),
        ("fem cam", "written NAME or NAME"),
        ("gradcam(k=1)", "gradcam has no option 'k=1'; it has no options"),
        ("fem(q=1)", r"fem has no option 'q=1'; it has k=2\.0, form=paper\|pytorch-grad-cam"),
        ("fem(k)", "fem has no option 'k'"),
        ("fem(1.5)", r"fem has no option '1\.5'"),
        ("fem(=1)", "fem has no option '=1'"),
        ("fem((k=1))", r"fem has no option '\(k=1\)'"),
        ("random(seed=3)", "random has no option 'seed=3'"),
        ("fem(k=much)", "fem: k must be a number; got 'much'"),
        ("fem(k=)", "fem: k must be a number; got ''"),
        ("rise(masks=1.5)", "rise: masks must be a whole number; got '1.5'"),
        ("rise(masks=1e3)", "rise: masks must be a whole number; got '1e3'"),
        ("scorecam(align_corners=yes)", "align_corners must be true or false; got 'yes'"),
        ("scorecam(align_corners=1)", "align_corners must be true or false; got '1'"),
        ("kpcacam(gamma=small)", "kpcacam: gamma must be a number; got 'small'"),
        ("gradcam(at=)", "gradcam has no option 'at='"),
        ("gradcam(at=3, fuse=sum)", "fuse must be one of mean, max; got 'sum'"),
    ],
)
def test_misspelt_options_say_what_they_may_be(spec: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        method_call(spec)


@pytest.mark.parametrize("spec", ["gradcm", "gradcm(k=1)", "GradCAM", "standard", "all"])
def test_unknown_names_are_refused(spec: str) -> None:
    with pytest.raises(UnknownNameError, match="unknown method"):
        method_call(spec)
    with pytest.raises(UnknownNameError, match="did you mean gradcam"):
        method_call("gradcm(k=1)")


# --------------------------------------------------------------------------------------- computing


@pytest.mark.parametrize(
    ("spec", "name", "options"),
    [
        ("scorecam(score=probability, channel_softmax=false)", "scorecam",
         {"score": "probability", "channel_softmax": False}),
        ("scorecam++(activation=relu)", "scorecam++", {"activation": "relu"}),
        ("fem(form=pytorch-grad-cam,k=1)", "fem", {"form": "pytorch-grad-cam", "k": 1.0}),
        ("kpcacam(kernel=rbf, gamma=0.2)", "kpcacam", {"kernel": "rbf", "gamma": 0.2}),
        ("layercam", "layercam", {}),
    ],
)  # fmt: skip
def test_compute_passes_the_options_on(
    spec: str, name: str, options: dict[str, Any], seen: Capture
) -> None:
    expected = METHODS[name].function(seen, **options)
    assert torch.equal(compute(spec, seen), expected)
    if options:
        assert not torch.equal(compute(name, seen), expected)


def test_the_seed_reaches_seeded_methods_alone(seen: Capture) -> None:
    for spec in ("random", "sscam(samples=2)", "rise(masks=5)"):
        assert method_call(spec).info.seeded
        first, again, other = (compute(spec, seen, seed=seed) for seed in (1, 1, 2))
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
    assert torch.equal(compute("gradcam", seen, seed=1), compute("gradcam", seen, seed=2))


def test_a_word_that_an_option_does_not_know_is_the_methods_own_error(seen: Capture) -> None:
    with pytest.raises(UsageError, match="form must be one of paper, pytorch-grad-cam"):
        compute("fem(form=papr)", seen)
    with pytest.raises(UsageError, match="samples must be an integer of at least 1; got 0"):
        compute("smoothgradcam++(samples=0)", seen)


def test_other_layers_are_run_and_fused(seen: Capture) -> None:
    call = method_call("fem( k=1, at = 2+ 5, fuse=max )")
    assert (call.name, call.layers, call.fuse) == ("fem", ("2", "5"), "max")
    assert call.label == "fem(at=2+5, fuse=max, k=1.0)"
    assert method_call(call.label) == call
    expected = fused(MethodCall("fem", (("k", 1.0),)), seen, ["2", "5"], how="max")
    assert expected.shape == (2, 16, 16)
    assert torch.equal(call(seen), expected)
    assert method_call("gradcam(at=2)").label == "gradcam(at=2, fuse=mean)"
    assert not torch.equal(compute("gradcam(at=2+5)", seen), compute("gradcam(at=5)", seen))
    with pytest.raises(LayerError):
        compute("gradcam(at=nowhere)", seen)


# ----------------------------------------------------------------------------------------- listing


def test_standard_methods_are_registered_once_and_select_none_means_them() -> None:
    assert len(set(STANDARD)) == len(STANDARD)
    assert set(STANDARD) <= set(METHODS)
    for specs in (None, (), ("standard",), (" standard ",)):
        assert [call.label for call in select(specs)] == list(STANDARD)


def test_all_means_every_method() -> None:
    assert [call.label for call in select(("all",))] == list(METHODS)


def test_selected_methods_keep_their_order_and_come_once() -> None:
    calls = select(("sobel", "fem(k=2.0)", "gradcam", "fem", " fem(k=3)", "sobel", "fem(k=3.0)"))
    assert [call.label for call in calls] == ["sobel", "fem", "gradcam", "fem(k=3.0)"]
    mixed = [call.label for call in select(("fem(k=3)", "standard", "sobel"))]
    assert mixed == ["fem(k=3.0)", *STANDARD]


def test_select_refuses_what_it_does_not_know() -> None:
    with pytest.raises(UnknownNameError, match="'standrad'"):
        select(("gradcam", "standrad"))
    with pytest.raises(UsageError, match="no option"):
        select(("standard(k=1)", "gradcam(k=1)")[1:])


def test_the_listing_shows_every_option_with_its_default_first() -> None:
    assert options_listing("gradcam") == ""
    assert options_listing("fem") == "k=2.0, form=paper|pytorch-grad-cam"
    assert options_listing("scorecam").startswith("score=logit|probability, normalise=after|before")
    for name in WITH_OPTIONS:
        shown = [part.partition("=")[0] for part in options_listing(name).split(", ")]
        assert shown == list(options_of(name))


def test_a_method_registered_later_has_its_options_at_once(seen: Capture) -> None:
    def planted(given_capture: Capture, *, gain: float = 1.0, flip: bool = False) -> torch.Tensor:
        maps = gain * given_capture.activations[:, 0].relu()
        return maps.flip(-1) if flip else maps

    METHODS._entries["planted"] = Entry(
        "planted", planted, MethodInfo("test", "-", "-", "activation", "none")
    )
    try:
        expected = 2 * seen.activations[:, 0].relu().flip(-1)
        assert torch.equal(compute("planted(gain=2, flip=true)", seen), expected)
        assert options_listing("planted") == "gain=1.0, flip=false"
    finally:
        del METHODS._entries["planted"]
