"""The invariance check on the page: self-contained, escaped, accessible, in any company."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from camaudit.report.html import render
from camaudit.types import Results
from tests.invariance_results import PROPERTIES, make_invariance, make_invariance_results
from tests.report.page import Page, digest
from tests.sanity_results import make_pictures, make_sanity, make_sanity_results

SANITY = make_sanity(checks=("mprt", "emprt"), orders=("top-down",), seeds=(0, 1))


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(render(make_invariance_results()))


def company(results: Results, *, zone: bool, sanity: bool) -> Results:
    """The invariance check with a dead-zone audit, with sanity checks, or with both."""
    alone = make_invariance_results()
    base = results if zone else alone
    claims = [*alone.claims, *(make_sanity_results(sanity=SANITY).claims if sanity else [])]
    return dataclasses.replace(
        base, invariance=alone.invariance, claims=claims, sanity=SANITY if sanity else {}
    )


def test_policy_admits_only_the_pages_own_styles_and_script(page: Page) -> None:
    assert len(page.raw["style"]) == 3
    assert page.policy() == {
        "default-src": "'none'", "img-src": "data:", "base-uri": "'none'", "form-action": "'none'",
        "style-src": " ".join(map(digest, page.raw["style"])),
        "script-src": digest(*page.raw["script"]),
    }  # fmt: skip
    for style in page.raw["style"]:
        assert not re.search(r"url\((?!#)|@import", style)


@pytest.mark.parametrize(
    ("zone", "sanity", "name"),
    [
        (False, False, "Invariance tests of vgg16"),
        (True, False, "Dead-zone audit and invariance tests of lite0"),
        (False, True, "Sanity checks and invariance tests of vgg16"),
        (True, True, "Dead-zone audit, sanity checks and invariance tests of lite0"),
    ],
)
def test_structure(results: Results, zone: bool, sanity: bool, name: str) -> None:
    pictures = make_pictures() if sanity else []
    found = Page(render(company(results, zone=zone, sanity=sanity), (), pictures))
    assert name in found.text
    names = [tag for tag, _ in found.tags]
    assert names.count("h1") == names.count("main") == 1
    assert len(found.raw["style"]) == 3 + sanity
    assert len(found.having("class", "verdict")) == 1 + zone + sanity
    assert all(attributes.get("scope") for tag, attributes in found.tags if tag == "th")
    identifiers = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    referred = {
        word
        for _, attributes in found.tags
        for attribute in ("aria-labelledby", "for")
        for word in (attributes.get(attribute) or "").split()
    } | {(a.get("href") or "")[1:] for _, a in found.tags if (a.get("href") or "").startswith("#")}
    assert referred <= set(identifiers)
    levels = [int(tag[1]) for tag in names if re.fullmatch(r"h[1-4]", tag)]
    assert all(b - a <= 1 for a, b in pairwise(levels))
    for tag, attributes in found.tags:
        for attribute in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
            target = attributes.get(attribute)
            assert target is None or target.startswith(("data:", "#")), (tag, target)
    assert not re.search(r"\b(None|nan|inf)\b", found.text)


def test_a_page_of_the_invariance_check_speaks_of_nothing_else(page: Page) -> None:
    for sentence in (
        "Do explainers keep what must hold by their own definition, also on vgg16?",
        "1 of 12 explainers has a bug.",
        "On drawn networks",
        "On the audited model",
        "violated by definition: published of the method, and an example of it was found",
        "claims GradCAM; loaded from explainers/mine.py",
        "Bugs and faults",
        "Saved as counterexamples/mine-batch-order-5f1c.json; it is tried first",
        "RuntimeError: The size of tensor a (2)",
        "model = nn.Sequential(OrderedDict(",
        "Is it what it claims to be?",
        "min-max to 0…1",
        "its weights hold powers of the gradient that do not scale alike",
        "Tolerance 10⁻⁶ in float64, 0.002 in float32: rounding",
        "What holds on many networks is not proven.",
        "Violated by definition is a limitation, not a bug.",
    ):
        assert sentence in page.text, sentence
    for absent in ("dead zone", "uniform map", "Gallery", "anity", "not verified", "No verdict"):
        assert absent not in page.text, absent


def test_every_cell_has_a_mark_words_and_a_tooltip(page: Page) -> None:
    rows = [row for row in page.rows if row[0] == "GradCAM++" and len(row) > 20]
    assert "violated by definition, 50 examples" in rows[0][1]
    assert "holds, 50 examples" in rows[0][2]
    assert rows[0][-2:] == ["1250", "12 s"]
    assert len(rows[0]) == 1 + len(PROPERTIES) + 2
    cells = [found for tag, found in page.tags if tag == "td" and "title" in found]
    assert len(cells) == 13 * 25 + 13 * 18
    assert all(": " in (found["title"] or "") for found in cells)
    marks = [found for _, found in page.tags if "mark" in (found.get("class") or "").split()]
    assert all(found["aria-hidden"] == "true" for found in marks)
    regions = page.having("class", "scroll")
    assert all(region["tabindex"] == "0" and region["role"] == "region" for region in regions)


def test_few_cases_are_unfolded_and_many_are_not() -> None:
    few = make_invariance(methods=("gradcam",), foreign=(), properties=("flip",), own=False)
    few["findings"][0] |= {
        "outcome": "bug",
        "counterexample": {"message": "off", "difference": None, "trace": None, "code": "1 / 0",
                           "file": None},
    }  # fmt: skip
    (case,) = Page(render(make_invariance_results(invariance=few))).having("class", "case")
    assert "open" in case
    many = Page(render(make_invariance_results())).having("class", "case")
    assert len(many) == 5 + 2
    assert not any("open" in case for case in many)


def test_parts_without_content_are_left_out() -> None:
    invariance = make_invariance(
        methods=("gradcam",), foreign=(), properties=("flip", "hygiene"), own=False
    )
    found = Page(render(make_invariance_results(invariance=invariance, claims=[])))
    assert "Do explainers keep what must hold by their own definition?" in found.text
    assert "Invariance tests of" not in found.text
    for absent in ("Bugs and faults", "Is it what it claims", "Known limits of the sanity",
                   "Conformance asks", "What says nothing", "Every explainer with",
                   "The audited model is one"):  # fmt: skip
        assert absent not in found.text, absent
    assert "No bug found in GradCAM." in found.text


def test_without_the_check_nothing_of_it_is_there(results: Results) -> None:
    for page in (render(results), render(make_sanity_results(sanity=SANITY)),
                 render(make_invariance_results(invariance={}))):  # fmt: skip
        assert "nvariance" not in Page(page).text


def test_the_dead_zones_page_keeps_its_own_claims_and_verdict(results: Results) -> None:
    found = Page(render(company(results, zone=True, sanity=True), (), make_pictures()))
    for sentence in ("light up what the network cannot see", "1 of 5 methods fails a sanity check",
                     "1 of 12 explainers has a bug", "mine keeps what must hold"):  # fmt: skip
        assert sentence in found.text, sentence
    tables = found.having("class", "tested")
    assert [table["aria-labelledby"] for table in tables] == ["claims", "invariance-claims"]


def hostile(value: Any, text: str, keep: str = "") -> Any:
    """The same findings with `text` behind every string that is not one of the schema's words."""
    if isinstance(value, dict):
        return {key: hostile(item, text, key) for key, item in value.items()}
    if isinstance(value, list):
        return [hostile(item, text, keep) for item in value]
    if isinstance(value, str) and keep not in ("outcome", "fault", "on", "kind"):
        return value + text
    return value


def test_hostile_text_stays_text(poisoned: Callable[[Any], Any]) -> None:
    results = make_invariance_results(warnings=["mind this"])
    honest = Page(render(results))
    text = poisoned("")
    changed = dataclasses.replace(
        results,
        invariance=hostile(results.invariance, text),
        timing={"invariance": {f"gradcam{text}": 2.0}},
    )
    for found in (Page(render(changed)), Page(render(poisoned(results)))):
        assert found.raw == honest.raw
        assert {tag for tag, _ in found.tags} <= {tag for tag, _ in honest.tags}
        names = {name for _, attributes in found.tags for name in attributes}
        assert names <= {name for _, attributes in honest.tags for name in attributes}
        assert not {name for name in names if name.startswith("on") or name == "style"}
        assert found.text.count("<script>alert(1)</script>") > 50
        assert "{{ 7 * 7 }}" in found.text
        assert not set("\x00\x1b\u202e") & set(found.text)
        classes = {found.get("class") or "" for _, found in found.tags}
        assert not any("script" in name for name in classes)
    assert len(Page(render(changed)).having("class", "case")) == 7
