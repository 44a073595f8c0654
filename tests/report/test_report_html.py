"""The page as text: self-contained, escaped, and complete."""

from __future__ import annotations

import base64
import hashlib
import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser

import pytest

from camaudit.report.gallery import GalleryImage
from camaudit.report.html import render
from camaudit.types import Results


class Page(HTMLParser):
    """Tags, attributes and the text of style and script elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self.text: list[str] = []
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs)
        self.tags.append((tag, dict(attrs)))
        self._inside = tag if tag in self.raw else ""
        if self._inside:
            self.raw[tag].append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.raw[self._inside][-1] += data
        else:
            self.text.append(data)


def policy(page: Page) -> dict[str, str]:
    content = next(
        attributes["content"] or ""
        for tag, attributes in page.tags
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    )
    return dict(part.strip().split(" ", 1) for part in content.split(";"))


def digest(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


def test_policy_admits_only_the_pages_own_style_and_script(
    results: Results, gallery: list[GalleryImage]
) -> None:
    page = Page(render(results, gallery))
    assert len(page.raw["script"]) == len(page.raw["style"]) == 1
    assert policy(page) == {
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
    text = re.sub(r"\s+", " ", "".join(Page(render(results, gallery)).text))
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
    text = "".join(page.text)
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
