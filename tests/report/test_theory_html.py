"""The theory page as text: self-contained, escaped, accessible, and complete."""

from __future__ import annotations

import copy
import dataclasses
import re
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from camaudit.report.html import render_theory
from camaudit.types import ClaimOutcome, Results
from tests.report.page import Page, digest
from tests.theory_results import CLAIMS, claim, make_theory, make_theory_results, summary


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(render_theory(make_theory_results()))


def test_policy_admits_only_the_pages_own_styles_and_script(page: Page) -> None:
    assert len(page.raw["style"]) == 2
    assert page.policy() == {
        "default-src": "'none'", "img-src": "data:", "base-uri": "'none'", "form-action": "'none'",
        "style-src": " ".join(map(digest, page.raw["style"])),
        "script-src": digest(*page.raw["script"]),
    }  # fmt: skip


def test_nothing_points_outside(page: Page) -> None:
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
            target = attributes.get(name)
            assert target is None or target.startswith(("data:", "#")), (tag, target)
    for style in page.raw["style"]:
        assert not re.search(r"url\((?!#)|@import", style)


def test_structure(page: Page) -> None:
    names = [tag for tag, _ in page.tags]
    assert names.count("h1") == names.count("main") == 1
    assert all(found.get("scope") for tag, found in page.tags if tag == "th")
    assert all(found.get("alt") for tag, found in page.tags if tag == "img")
    identifiers = [found["id"] for _, found in page.tags if "id" in found]
    assert len(identifiers) == len(set(identifiers))
    referred = {
        word
        for _, found in page.tags
        for name in ("aria-labelledby", "for")
        for word in (found.get(name) or "").split()
    } | {(a.get("href") or "")[1:] for _, a in page.tags if (a.get("href") or "").startswith("#")}
    assert referred <= set(identifiers)
    levels = [int(tag[1]) for tag in names if re.fullmatch(r"h[1-4]", tag)]
    assert all(b - a <= 1 for a, b in pairwise(levels))


def test_every_plot_has_words_and_a_table(page: Page) -> None:
    plots = page.having("class", "plot")
    assert len(plots) == 5
    assert all(plot["role"] == "img" and len(plot["aria-label"] or "") > 60 for plot in plots)
    assert len({plot["aria-label"] for plot in plots}) == 5
    tables = page.having("class", "plain")
    assert len(tables) == 5 + 1 + 2  # plots, digits, and the two tables of the deep networks
    scenes = [found for tag, found in page.tags if tag == "svg" and found.get("role") == "img"]
    assert len(scenes) == 30
    assert all(scene["aria-label"] for scene in scenes)
    for tag, found in page.tags:
        if tag == "svg" and found.get("role") != "img" and "viewbox" not in found:
            assert found.get("aria-hidden") == "true", found


def test_what_the_page_says(page: Page) -> None:
    for sentence in (
        "All 7 claims pass.",
        "20 000 draws",
        "% of its peak in the live ones.",
        "a uniform map would score 50.0 %",
        "Autograd equals Proposition 2 for L = 1 … 4",
        "3.1 × 10⁻¹⁶ ≤ 10⁻¹²",
        "GradCAM has no defined figure at 8.",
        "No deep network",
        "The logits hardly depend on the image.",
        "It says nothing about trained networks.",
        "RuntimeError: out of memory",
    ):
        assert (sentence in page.text) == (sentence != "No deep network"), sentence
    assert not re.search(r"\b(None|nan|inf)\b", page.text)


@pytest.mark.parametrize("outcome", ClaimOutcome)
def test_every_outcome_has_its_word_and_sign(outcome: ClaimOutcome) -> None:
    found = Page(render_theory(make_theory_results(claims=[*CLAIMS[:1], claim(outcome)])))
    slug = outcome.value.replace(" ", "-")
    assert len(found.having("class", "badge")) == 2
    assert len(found.having("href", f"#sign-{slug}")) == 1 + (slug == "pass")
    assert found.having("id", f"sign-{slug}")
    assert f"A claim with outcome {outcome.value}" in found.text
    assert ("All" in found.text) or outcome is not ClaimOutcome.PASS


def test_hostile_text_stays_text(page: Page, poisoned: Callable[[Any], Any]) -> None:
    results = dataclasses.replace(make_theory_results(), warnings=["mind this"])
    honest = Page(render_theory(results))
    found = Page(render_theory(poisoned(results)))
    assert found.raw == honest.raw == page.raw
    assert {tag for tag, _ in found.tags} == {tag for tag, _ in honest.tags}
    names = {name for _, attributes in found.tags for name in attributes}
    assert names == {name for _, attributes in honest.tags for name in attributes}
    assert not {name for name in names if name.startswith("on") or name == "style"}
    assert found.text.count("<script>alert(1)</script>") > 100
    assert "{{ 7 * 7 }}" in found.text
    assert not set("\x00\x1b\u202e") & set(found.text)


MISSING = {
    "column": "The expectation was not computed in this run.",
    "digits": "No picture was kept for this report.",
    "sweeps": "No sweep was made in this run.",
    "simple": "The methods were not run on the simple CNN.",
    "deep": "No deep network was measured in this run.",
    "setup": "All 7 claims pass.",
}


@pytest.mark.parametrize("part", MISSING)
@pytest.mark.parametrize("empty", [False, True])
def test_missing_parts_are_said(part: str, empty: bool) -> None:
    theory = make_theory()
    if empty:
        theory[part] = None
    else:
        del theory[part]
    prefix = {"simple": "theory/simple", "deep": "theory/deep"}.get(part, "nothing")
    full = make_theory_results()
    kept = [entry for entry in full.summary if not entry.check.startswith(prefix)]
    found = Page(render_theory(dataclasses.replace(full, theory=theory, summary=kept)))
    assert MISSING[part] in found.text
    assert not re.search(r"\b(None|nan)\b", found.text)


def test_formulas_are_shown_only_where_they_hold() -> None:
    theory = make_theory()
    assert len([t for t, _ in Page(render_theory(make_theory_results())).tags if t == "math"]) == 3
    theory["column"]["bound"] = None
    found = Page(render_theory(make_theory_results(theory=copy.deepcopy(theory))))
    assert [tag for tag, _ in found.tags].count("math") == 2
    assert "The paper's lower bound does not apply to this setup" in found.text
    theory["column"]["exact"] = None
    found = Page(render_theory(make_theory_results(theory=theory)))
    assert "math" not in [tag for tag, _ in found.tags]
    assert "No closed form is known for this setup" in found.text


def test_empty_and_undefined_runs_render() -> None:
    nothing = Results("0.1.0", make_theory_results().provenance, [], [])
    assert "No claim was put to the test." in Page(render_theory(nothing)).text
    undefined = make_theory_results(
        summary=[summary("theory/simple-cnn", "gradcam", "gradient", None, 0.5)]
    )
    text = Page(render_theory(undefined)).text
    assert "undefined" in text
    assert "No method was run on this network." in text


def test_the_page_does_not_change_between_runs() -> None:
    assert render_theory(make_theory_results()) == render_theory(make_theory_results())


def test_the_page_stays_small() -> None:
    assert len(render_theory(make_theory_results())) < 600_000


@pytest.mark.parametrize("module", ["html", "theory", "theory_tables", "heatmaps"])
def test_no_torch(module: str) -> None:
    code = f"import sys, camaudit.report.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
