"""The sanity checks on the page: self-contained, escaped, accessible, and only where they ran."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
import re
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from camaudit.report.gallery import GalleryImage
from camaudit.report.html import render
from camaudit.report.sanity_pictures import SanityPicture
from camaudit.types import Results
from tests.report.test_theory_html import Page
from tests.sanity_results import FAMILIES, make_pictures, make_sanity, make_sanity_results


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(render(make_sanity_results(), (), make_pictures()))


@pytest.fixture
def both(results: Results) -> Results:
    """A dead-zone audit with sanity checks of the same model."""
    alone = make_sanity_results(sanity=make_sanity(checks=("mprt", "emprt"), seeds=(0, 1)))
    return dataclasses.replace(results, sanity=alone.sanity, claims=alone.claims)


def digest(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def test_policy_admits_only_the_pages_own_styles_and_script(page: Page) -> None:
    (content,) = [
        found["content"] for found in page.having("http-equiv", "Content-Security-Policy")
    ]
    policy = dict(part.strip().split(" ", 1) for part in (content or "").split(";"))
    assert len(page.raw["style"]) == 3
    assert policy == {
        "default-src": "'none'", "img-src": "data:", "base-uri": "'none'", "form-action": "'none'",
        "style-src": " ".join(map(digest, page.raw["style"])),
        "script-src": digest(*page.raw["script"]),
    }  # fmt: skip
    for style in page.raw["style"]:
        assert not re.search(r"url\((?!#)|@import", style)


@pytest.mark.parametrize("combined", [False, True])
def test_structure(page: Page, both: Results, gallery: list[GalleryImage], combined: bool) -> None:
    found = Page(render(both, gallery, make_pictures())) if combined else page
    names = [tag for tag, _ in found.tags]
    assert names.count("h1") == names.count("main") == 1
    assert all(attributes.get("scope") for tag, attributes in found.tags if tag == "th")
    assert all(attributes.get("alt") for tag, attributes in found.tags if tag == "img")
    identifiers = [attributes["id"] for _, attributes in found.tags if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))
    referred = {
        word
        for _, attributes in found.tags
        for name in ("aria-labelledby", "for")
        for word in (attributes.get(name) or "").split()
    } | {(a.get("href") or "")[1:] for _, a in found.tags if (a.get("href") or "").startswith("#")}
    assert referred <= set(identifiers)
    levels = [int(tag[1]) for tag in names if re.fullmatch(r"h[1-4]", tag)]
    assert all(b - a <= 1 for a, b in pairwise(levels))
    for tag, attributes in found.tags:
        for name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
            target = attributes.get(name)
            assert target is None or target.startswith(("data:", "#")), (tag, target)


def test_every_plot_has_words_and_tables(page: Page) -> None:
    plots = page.having("class", "plot")
    groups = 2 * 3 * 4  # checks × orders × similarities
    assert len(plots) == groups * len(FAMILIES)
    assert all(plot["role"] == "img" and len(plot["aria-label"] or "") > 80 for plot in plots)
    assert len(page.having("class", "plain")) == 2 * groups
    assert len(page.having("class", "bars")) == 1 + 4 + 4
    scenes = page.having("class", "scene")
    assert len(scenes) == 8 * (len(FAMILIES) - 1)
    assert all(scene["aria-label"] for scene in scenes)
    for tag, found in page.tags:
        if tag == "svg" and found.get("role") != "img" and "viewbox" not in found:
            assert found.get("aria-hidden") == "true", found


def test_a_page_of_sanity_checks_speaks_of_nothing_else(page: Page) -> None:
    for sentence in (
        "Sanity checks of vgg16",
        "Do the saliency maps of vgg16 depend on what it has learnt?",
        "1 of 5 methods fails a sanity check.",
        "7 verdicts: 3 pass, 1 fails, 1 is inconclusive, 1 does not apply, 1 could not be tested.",
        "Of the controls, Sobel edges fails.",
        "target layer features.14; He initialisation",
        "only layers after it are random up to step 3",
        "Steps 1–3: unchanged by construction.",
        "Step 3: undefined.",
        "Rise in complexity",
        "RuntimeError: out of memory",
        "head.scale: its weights are all 0 and stay 0",
        "Necessary, not sufficient.",
        "The order of the layers matters.",
        "Normalisation matters.",
        "Noise looks like sensitivity.",
        "Adebayo et al. 2018",
    ):
        assert sentence in page.text, sentence
    for absent in ("dead zone", "uniform map", "Gallery", "The wall", "not verified", "No verdict"):
        assert absent not in page.text, absent
    assert not re.search(r"\b(None|nan|inf)\b", page.text)


def test_a_page_of_both_has_two_verdicts_and_one_toolbar(
    both: Results, gallery: list[GalleryImage]
) -> None:
    found = Page(render(both, gallery, make_pictures()))
    assert "Dead-zone audit and sanity checks of lite0" in found.text
    assert len(found.having("class", "verdict")) == 2
    assert len(found.having("class", "toolbar")) == 1
    assert len(found.having("id", "sort-status")) == 1
    for sentence in ("light up what the network cannot see", "1 of 5 methods fails a sanity check",
                     "Share of the map in the dead zone", "Known limits of the sanity checks",
                     "What the test shows, and what it does not"):  # fmt: skip
        assert sentence in found.text, sentence


def test_without_sanity_checks_nothing_of_them_is_there(
    results: Results, gallery: list[GalleryImage]
) -> None:
    found = Page(render(results, gallery))
    assert len(found.raw["style"]) == 1
    assert "anity" not in found.text
    assert not found.having("class", "sanity")
    assert "anity" not in Page(render(make_sanity_results(sanity={}, claims=[]))).text


def test_without_pictures_or_claims_their_sections_are_left_out() -> None:
    found = Page(render(make_sanity_results(claims=[])))
    assert "No method was judged in this run" in found.text
    assert "Maps along the cascade" not in found.text
    assert not found.having("class", "toolbar")
    assert not found.having("class", "tested")


def poisoned_pictures(text: str) -> list[SanityPicture]:
    return [
        dataclasses.replace(
            picture, id=picture.id + text, title=picture.title + text,
            steps=tuple(step + text for step in picture.steps),
            maps={method + text: maps for method, maps in picture.maps.items()},
        )
        for picture in make_pictures()
    ]  # fmt: skip


def test_hostile_text_stays_text(poisoned: Callable[[Any], Any]) -> None:
    sanity = make_sanity(checks=("mprt", "random-logit"), orders=("top-down",))
    results = make_sanity_results(sanity=sanity, warnings=["mind this"])
    honest = Page(render(results, (), make_pictures()))
    changed = dataclasses.replace(results, sanity=sanity | poisoned_methods(sanity, poisoned("")))
    for found in (
        Page(render(changed, (), poisoned_pictures(poisoned("")))),
        Page(render(poisoned(results), (), poisoned_pictures(poisoned("")))),
    ):
        assert found.raw == honest.raw
        assert {tag for tag, _ in found.tags} <= {tag for tag, _ in honest.tags}
        names = {name for _, attributes in found.tags for name in attributes}
        assert names <= {name for _, attributes in honest.tags for name in attributes}
        assert not {name for name in names if name.startswith("on") or name == "style"}
        assert found.text.count("<script>alert(1)</script>") > 50
        assert "{{ 7 * 7 }}" in found.text
        assert not set("\x00\x1b\u202e") & set(found.text)


def poisoned_methods(sanity: dict[str, Any], text: str) -> dict[str, Any]:
    """The parts of `sanity` with `text` behind every method and layer."""

    def hostile(part: dict[str, Any]) -> dict[str, Any]:
        return {
            key: value + text if key in ("method", "layer", "reason") and value else value
            for key, value in part.items()
        }

    changed: dict[str, Any] = {
        name: [hostile(part) for part in sanity[name]]
        for name in ("steps", "curves", "effects", "tables", "remarks")
    }
    changed["families"] = {name + text: family for name, family in sanity["families"].items()}
    return changed
