"""Every class of the libraries put to every property: what is stored, and what the page says."""

from __future__ import annotations

from typing import Any

import pytest

from camaudit.adapters import captum, pytorch_grad_cam, torchcam
from camaudit.invariance import PROPERTIES, Example, Outcome, replayed
from tests.invariance.__main__ import DOCS
from tests.invariance.explained import PROCESSING, STATED, cause
from tests.invariance.libraries import LEFT_OUT, SUBJECTS, Subject, stored
from tests.invariance.libraries_page import PARTS, TOO_SLOW, cause_of, parts

MODULES = {"pytorch_grad_cam": pytorch_grad_cam, "torchcam": torchcam, "captum": captum}
KEPT = stored()


def of(label: str) -> Subject:
    return next(one for one in SUBJECTS if f"{one.package}:{one.name}" == label)


def wrong(subject: Subject) -> dict[str, dict[str, Any]]:
    """What is violated without the method's definition."""
    return {
        name: found
        for name, found in KEPT[subject.spec]["findings"].items()
        if found["outcome"] in (Outcome.BUG, Outcome.FAULT) and found.get("fault") != TOO_SLOW
    }


@pytest.mark.parametrize("package", MODULES)
def test_every_class_is_there_or_is_left_out_with_a_reason(package: str) -> None:
    known = {f"{package}:{name}" for name in MODULES[package].classes()}  # type: ignore[attr-defined]
    tested = {f"{one.package}:{one.name}" for one in SUBJECTS if one.package == package}
    left = {name for name in LEFT_OUT if name.startswith(f"{package}:")}
    assert tested | left == known
    assert not tested & left


def test_every_class_was_put_to_every_property() -> None:
    assert list(KEPT) == [one.spec for one in SUBJECTS]
    for spec, row in KEPT.items():
        assert set(row["findings"]) == set(PROPERTIES), spec


def test_every_violation_is_explained_and_every_explanation_is_of_one() -> None:
    used = set()
    for subject in SUBJECTS:
        for name, found in wrong(subject).items():
            why = cause_of(subject, name, found)
            assert why is not None, f"{subject.spec} violates {name} and nothing says why"
            used.add(why)
    assert {one.title for one in STATED} <= used


@pytest.mark.parametrize("name", PARTS)
def test_the_page_says_what_is_stored(name: str) -> None:
    text = DOCS.read_text(encoding="utf-8")
    written = text.partition(f"<!-- {name}:begin -->\n")[2].partition(f"\n<!-- {name}:end -->")[0]
    assert written == parts()[name], "write it again: python -m tests.invariance.libraries_page"


@pytest.mark.parametrize(
    ("label", "name", "title"),
    [
        ("pytorch_grad_cam:HiResCAM", "translation", PROCESSING),
        ("pytorch_grad_cam:GradCAMPlusPlus", "channel-scale", "1e-6 in α's denominator"),
        ("pytorch_grad_cam:EigenCAM", "flip-horizontal", "the sign of v₁ is LAPACK's"),
        ("pytorch_grad_cam:ShapleyCAM", "hygiene-grad", None),
        ("torchcam:GradCAMpp", "channel-scale", "α is never divided"),
        ("torchcam:CAM", "channel-scale", None),
        ("torchcam:SSCAM", "batch-size", None),
    ],
)
def test_a_stored_example_refutes_its_class(label: str, name: str, title: str | None) -> None:
    """And the cause that was written down is the one that is found again."""
    subject = of(label)
    example = Example.from_dict(KEPT[subject.spec]["findings"][name]["example"])
    assert replayed(name, subject.explain(name), example) is not None
    found = cause(subject.package, subject.name, subject.claims, name, example)
    assert found == title
    assert KEPT[subject.spec]["findings"][name].get("cause") == title


def test_what_holds_has_no_cause() -> None:
    """Neither post-processing nor a known difference is blamed for an example that holds."""
    kept = KEPT[of("pytorch_grad_cam:EigenCAM").spec]["findings"]["flip-horizontal"]["example"]
    example = Example.from_dict(kept)
    for label in ("pytorch_grad_cam:GradCAM", "pytorch_grad_cam:GradCAMPlusPlus"):
        one = of(label)
        assert cause(one.package, one.name, one.claims, "flip-horizontal", example) is None
