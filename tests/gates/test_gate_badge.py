"""The badge: well-formed, self-contained, and legible without its colours."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import pytest

from camaudit.gates.badge import badge
from tests.gates.verdicts import HOSTILE, VERDICTS, hostile

SVG = "{http://www.w3.org/2000/svg}"


def luminance(colour: str) -> float:
    """Relative luminance of a colour such as #1f6f5c, as the WCAG defines it."""
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(w * c for w, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("name", VERDICTS)
def test_it_says_the_decision_in_words_and_loads_nothing(name: str) -> None:
    found, _ = VERDICTS[name]
    text = badge(found)
    root = ElementTree.fromstring(text)  # noqa: S314 - our own text
    title = root.findtext(f"{SVG}title") or ""
    words = [element.text for element in root.iter(f"{SVG}text")]
    assert title == root.get("aria-label") == f"{words[0]}: {words[1]}"
    assert title.startswith(f"explanations: {found.decision.value}")
    assert not re.search(r"href|url\(|<script|<style|<image", text)
    assert re.findall(r"https?://\S+?(?=\")", text) == ["http://www.w3.org/2000/svg"]


def test_every_colour_carries_white_text() -> None:
    for found, _ in VERDICTS.values():
        for colour in re.findall(r'fill="(#[0-9a-f]{6})"', badge(found)):
            assert 1.05 / (luminance(colour) + 0.05) >= 4.5


def test_decisions_differ_by_their_mark_too() -> None:
    marks = {}
    for found, _ in VERDICTS.values():
        (mark,) = re.findall(r'<path d="([^"]+)" transform', badge(found))
        marks.setdefault(found.decision, mark)
        assert marks[found.decision] == mark
    assert len(set(marks.values())) == len(marks) == 6


def test_counts_are_of_what_binds() -> None:
    assert "explanations: pass 1/1" in badge(VERDICTS["fail, waived"][0])
    assert "explanations: error 1/7" in badge(VERDICTS["everything"][0])
    assert "explanations: error<" in badge(VERDICTS["problem alone"][0])
    assert "explanations: inconclusive<" in badge(VERDICTS["nothing"][0])


@pytest.mark.parametrize("text", HOSTILE)
def test_text_of_others_is_not_in_it(text: str) -> None:
    assert badge(hostile(text)) == badge(hostile("harmless"))
