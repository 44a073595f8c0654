"""What policies may name is what the registries hold, and is spelled as they spell it."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camaudit.audit.settings import DEAD_ZONE, INVARIANCE, WallKind
from camaudit.engine import Precision
from camaudit.errors import CamauditError, UsageError
from camaudit.gates import names
from camaudit.gates.labels import explainer, label_of
from camaudit.invariance.property import PROPERTIES
from camaudit.methods import METHODS, method_call
from camaudit.methods.calls import STANDARD, _options
from camaudit.probability import Link
from camaudit.sanity import CHECKS
from camaudit.sanity.cascade import ORDERS
from camaudit.sanity.randomise import SCHEMES
from camaudit.spelling import spelled


def test_the_methods_are_those_of_the_registry_with_their_defaults() -> None:
    assert {name: _options(name) for name in METHODS} == names.METHODS
    assert names.STANDARD == STANDARD
    controls = [name for name in METHODS if METHODS[name].info.family == "control"]
    assert list(names.CONTROLS) == controls
    assert list(names.COSTLY) == [name for name in METHODS if METHODS[name].info.many_passes]


def test_checks_properties_and_choices_are_those_of_a_run() -> None:
    assert (DEAD_ZONE, *CHECKS, INVARIANCE) == names.CHECKS
    assert tuple(PROPERTIES) == names.PROPERTIES
    assert get_args(WallKind) == names.WALLS
    assert get_args(Precision) == names.PRECISIONS
    assert get_args(Link) == names.HEADS
    assert tuple(ORDERS[:-1]) == names.ORDERS
    assert set(SCHEMES) == set(names.SCHEMES)


WORDS = ["logit", "probability", "TRUE", "false", "0.5", "2", "2.0", "1e-3", "x", "", "±", "mean"]


@st.composite
def specs(draw: st.DrawFn) -> str:
    name = draw(st.sampled_from([*names.METHODS, "grad_cam"]))
    known = [*names.METHODS.get(name, {}), "at", "fuse", "nope"]
    parts = []
    for _ in range(draw(st.integers(0, 3))):
        value = draw(st.sampled_from(["layer3 + layer4", "max", *WORDS]))
        parts.append(
            f"{draw(st.sampled_from(known))}{draw(st.sampled_from(['=', ' = ', '']))}{value}"
        )
    inside = draw(st.sampled_from([",", ", ", " , "])).join(parts)
    return draw(st.sampled_from([name, f" {name} ", f"{name}({inside})", f"{name} ({inside}) "]))


@given(specs())
def test_labels_are_spelled_as_results_spell_them(text: str) -> None:
    try:
        expected = method_call(text).label
    except CamauditError:
        with pytest.raises(UsageError):
            label_of(text)
    else:
        assert label_of(text) == expected
        assert label_of(expected) == expected


@pytest.mark.parametrize("name", ["scorecam", "sscam", "kpcacam", "scorecam++"])
@given(st.data())
def test_every_option_is_spelled_as_results_spell_it(name: str, data: st.DataObject) -> None:
    parts = []
    for key, default in names.METHODS[name].items():
        if isinstance(default, bool):
            values = st.sampled_from(["true", "False"])
        elif isinstance(default, int):
            values = st.integers(1, 99).map(str)
        elif isinstance(default, str):
            values = st.sampled_from([default, "other"])
        else:
            values = st.floats(0.01, 99).map(str)
        parts.append(f"{key}={data.draw(values)}")
    text = f"{name}({', '.join(data.draw(st.permutations(parts)))})"
    assert label_of(text) == method_call(text).label


@pytest.mark.parametrize(
    "text",
    [
        "explainers.py:mine=gradcam",
        "a.b:f",
        " a/b c.py:f=scorecam(score=probability)",
        "C:/a.py:f",
        "captum:Saliency(reduce = sum,abs=FALSE)",
        "maps:out/ig",
        "maps:a(name=ig)",
        "pytorch-grad-cam:GradCAM=gradcam",
    ],
)
def test_explainers_of_ones_own_are_named_as_results_name_them(text: str) -> None:
    made = explainer(text)
    assert made.own
    assert not made.control
    assert made.label == spelled(text).label
    assert made.spec == text.strip()
    assert made.fixed is text.startswith("maps:")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("grad-cam", "unknown explainer 'grad-cam': did you mean gradcam"),
        ("a.py:f=grad-cam", "unknown explainer 'grad-cam'"),
        ("a.py:", "expected package.module:function"),
        ("a.py:f=", "names no method after the ="),
        ("", "NAME or NAME"),
        ("gradcam(x=1)", "gradcam has no option 'x=1'; it has none"),
        ("sscam(samples=many)", "samples must be a whole number; got 'many'"),
        ("gradcam(fuse=sum)", "fuse must be one of mean, max; got 'sum'"),
    ],
)
def test_what_is_no_explainer_is_refused(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says.replace("(", r"\(")):
        explainer(text)


def test_controls_are_known_by_their_name() -> None:
    assert explainer("random").control
    assert not explainer("gradcam").control


def test_all_names_are_listed_where_none_is_near() -> None:
    assert names.near("zzz", ["a", "b"]) == "known are a, b"
