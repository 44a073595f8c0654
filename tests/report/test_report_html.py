"""The page as text: self-contained, escaped, and complete."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable

import pytest

from camaudit.report.gallery import GalleryImage
from camaudit.report.html import render
from camaudit.types import Results
from tests.report.page import Page, digest


def test_policy_admits_only_the_pages_own_style_and_script(
    results: Results, gallery: list[GalleryImage]
) -> None:
    page = Page(render(results, gallery))
    assert len(page.raw["script"]) == len(page.raw["style"]) == 1
    assert page.policy() == {
        "default-src": "'none'", "img-src": "data:", "base-uri": "'none'", "form-action": "'none'",
        "style-src": digest(page.raw["style"][0]), "script-src": digest(page.raw["script"][0]),
    }  # fmt: skip


def test_nothing_points_outside(results: Results, gallery: list[GalleryImage]) -> None:
    page = Page(render(results, gallery))
    for tag, attributes in page.tags:
        for name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
            target = attributes.get(name)
            assert target is None or target.startswith(("data:", "#")), (tag, target)
    assert not re.search(r"url\((?!#)|@import", page.raw["style"][0])


def test_structure(results: Results, gallery: list[GalleryImage]) -> None:
    page = Page(render(results, gallery))
    names = [tag for tag, _ in page.tags]
    assert names.count("h1") == names.count("main") == 1
    assert all(attributes.get("scope") for tag, attributes in page.tags if tag == "th")
    assert all("alt" in attributes for tag, attributes in page.tags if tag == "img")
    scenes = [a for tag, a in page.tags if tag == "svg" and a.get("role") == "img"]
    assert all(attributes["aria-label"] for attributes in scenes)
    identifiers = [a["id"] for _, a in page.tags if "id" in a]
    assert len(identifiers) == len(set(identifiers))
    referred = {
        word
        for _, a in page.tags
        for name in ("aria-labelledby", "for")
        for word in (a.get(name) or "").split()
    } | {(a.get("href") or "")[1:] for _, a in page.tags if (a.get("href") or "").startswith("#")}
    assert referred <= set(identifiers)


def test_the_verdict_and_the_limits_are_on_the_page(
    results: Results, gallery: list[GalleryImage]
) -> None:
    text = Page(render(results, gallery)).text
    assert "7 of 10 methods light up what the network cannot see." in text
    assert "It does not prove that a method with μ = 0 is faithful." in text
    assert "uniform map 35.7 %" in text
    assert "Top-1 accuracy on 400 images" in text
    assert "no --preprocess was given" in text
    assert "None" not in text
    assert "nan" not in text.split()


def test_hostile_text_stays_text(
    results: Results, gallery: list[GalleryImage], hostile_results: Results,
    hostile_gallery: list[GalleryImage],
) -> None:  # fmt: skip
    honest = Page(render(results, gallery))
    page = Page(render(hostile_results, hostile_gallery))
    assert page.raw == honest.raw
    assert {tag for tag, _ in page.tags} == {tag for tag, _ in honest.tags}
    names = {name for _, attributes in page.tags for name in attributes}
    assert names == {name for _, attributes in honest.tags for name in attributes}
    assert not {name for name in names if name.startswith("on") or name == "style"}
    text = "".join(page.words)
    assert "<script>alert(1)</script>" in text
    assert "{{ 7 * 7 }}" in text
    assert "\x00" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_empty_runs_render(build: Callable[..., Results]) -> None:
    page = render(build(summary=[], records=[], warnings=[]))
    assert "No verdict." in page
    assert "No picture was kept for this report." in page


def test_the_page_does_not_change_between_runs(
    results: Results, gallery: list[GalleryImage]
) -> None:
    assert render(results, gallery) == render(results, gallery)


@pytest.mark.parametrize("module", ["html", "table", "writing", "view", "gallery", "panels"])
def test_no_torch(module: str) -> None:
    code = f"import sys, camaudit.report.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
