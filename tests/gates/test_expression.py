"""The language of conditions."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from camaudit.errors import UsageError
from camaudit.gates.expression import parse
from camaudit.gates.policy import Bound

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
LABELS = st.sampled_from(["gradcam", "gradcam++", "scorecam(score=probability, at=a.b#2)", "a-b"])


def spelled(label: str) -> str:
    return label if label.isidentifier() else f'"{label}"'


@pytest.mark.parametrize(
    ("text", "bound"),
    [
        ("<= 0.05", Bound(offset=0.05)),
        (">= -1e-3", Bound(offset=-0.001)),
        ("<+.5", Bound(offset=0.5)),
        ("== 0", Bound(offset=0.0)),
        ("> baseline", Bound(reference="baseline")),
        ("<= uniform * 0.5", Bound(reference="uniform", factor=0.5)),
        ("<= 0.5*uniform", Bound(reference="uniform", factor=0.5)),
        ("<= 0.5 * uniform - 0.1", Bound(reference="uniform", factor=0.5, offset=-0.1)),
        (">=baseline-0.05", Bound(reference="baseline", offset=-0.05)),
        ("< 'gradcam++' * -2 + 1", Bound(reference="gradcam++", factor=-2.0, offset=1.0)),
        ('< "uniform"', Bound(reference="uniform")),
    ],
)
def test_bounds(text: str, bound: Bound) -> None:
    found = parse(f"dead_zone.mu_l1 {text}")
    assert found.figure == "dead_zone.mu_l1"
    assert text.startswith(found.relation)
    assert found.bound == bound


@given(NUMBERS, NUMBERS, LABELS, st.sampled_from(["<=", "<", ">=", ">", "=="]))
def test_what_is_written_is_read(factor: float, offset: float, label: str, relation: str) -> None:
    sign = "-" if str(offset).startswith("-") else "+"
    text = f"a.b {relation} {spelled(label)} * {factor!r} {sign} {abs(offset)!r}"
    found = parse(text)
    assert (found.figure, found.relation) == ("a.b", relation)
    assert found.bound == Bound(reference=label, factor=factor, offset=offset)
    assert parse(f"a.b{relation}{factor!r}").bound == Bound(offset=factor)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected a figure such as dead_zone.mu_l1, got its end"),
        ("0.5 >= a.b", "expected a figure"),
        ("a.b", "expected one of <= < >= > ==, got its end"),
        ("a.b = 1", "expected one of <= < >= > ==, got '=' at character 5"),
        ("a.b != 1", "got '!=' at character 5"),
        ("a.b <= ", "expected a number, baseline, uniform or an explainer, got its end"),
        ("a.b <= 1 2", "expected the end of the condition, got '2' at character 10"),
        ("a.b <= 5%", "expected the end of the condition, got '%'"),
        ("a.b <= 1.2.3", "expected a number, baseline, uniform or an explainer, got '1.2.3'"),
        ("a.b <= 1e999", "expected a finite number, got '1e999'"),
        ("a.b <= 1 and a.b >= 0", "got 'and'"),
        ("a.b <= baseline * uniform", "expected a number, got 'uniform'"),
        ("a.b <= baseline + -1", "expected a number, got '-'"),
        ("a.b <= baseline + 1 + 1", "expected the end of the condition, got '+'"),
        ("a.b <= baseline + 1 * 2", "expected the end of the condition, got '*'"),
        ("a.b <= gradcam++ * 2", "stand in quotes"),
        ("a.b <= ''", "the name of an explainer within the quotes"),
        ("a.b <= 'x", 'got "\'x"'),
        ("a.b <= ٣", "got '٣'"),
    ],
)
def test_what_is_no_condition_is_refused(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse(text)
    assert says in str(caught.value)
    assert "FIGURE RELATION BOUND" in str(caught.value)


@given(st.text("ab.<>=*+-0e'\" \n\t", max_size=20))
@example("a.b <= \x1f")
@example("a.b <= 1 \x1f")
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        found = parse(text)
    except UsageError:
        return
    assert found.figure in text
    assert found.relation in text
