"""The gate's verdict on the HTML report: first of all, escaped, and legible on a phone."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings

from camaudit.gates.verdict import Verdict
from camaudit.report.html import render
from camaudit.report.writing import write_report
from camaudit.types import Provenance, Results
from tests.browser import DESKTOP, PHONE, chromium, opened, overflow
from tests.gates.drawn import verdicts
from tests.gates.verdicts import HOSTILE, VERDICTS, hostile
from tests.invariance_results import make_invariance_results
from tests.sanity_results import make_sanity_results

NARROW = {"width": 360, "height": 740}


EMPTY = Results(
    camaudit="0.0.test", provenance=Provenance({}, {}, {}, {}, []), records=[], summary=[]
)
"""Of a run that left nothing but a gate's verdict; the pages of others take seconds each."""


def gated(found: Verdict, results: Results = EMPTY) -> str:
    return render(dataclasses.replace(results, gate=found.to_dict()))


def words(page: str) -> str:
    """What the page says, without tags, styles and script."""
    page = re.sub(r"<(style|script)>.*?</\1>", " ", page, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", page).split())


def test_without_a_gate_the_page_knows_of_none() -> None:
    page = render(make_sanity_results())
    assert 'id="gate' not in page
    assert ".rulings" not in page


@pytest.mark.parametrize(
    ("name", "results"),
    [
        *((name, EMPTY) for name in VERDICTS),
        ("fail", make_sanity_results()),
        ("everything", make_invariance_results()),
    ],
)
def test_the_verdict_of_the_gate_stands_before_all_others(name: str, results: Results) -> None:
    found, code = VERDICTS[name]
    page = gated(found, results)
    first = page.index('<section class="verdict')
    kind = {0: "pass", 1: "fail", 3: "fail", 4: "open"}[code]
    assert page[first:].startswith(
        f'<section class="verdict verdict-{kind}" aria-labelledby="gate-'
    )
    assert ("The gate passes" in words(page)) == (code == 0)
    assert f"exit code {code}." in words(page)
    identifiers = re.findall(r'\bid="([^"]+)"', page)
    assert len(set(identifiers)) == len(identifiers)
    for used in re.findall(r'<use href="#([^"]+)"', page):
        assert used in identifiers


def test_every_ruling_has_its_row_with_reason_figure_and_demand() -> None:
    page = gated(VERDICTS["everything"][0])
    table = page[page.index('<table class="tested rulings"') :]
    rows = re.findall(r'<tr role="row" class="claim.*?</tr>', table, re.DOTALL)
    said = [words(row) for row in rows][:10]
    assert said[0] == (
        "fail dead-zone[gradcam] the whole interval breaks the bound Worst images: cat (0.312), "
        "rocket (0.244) and clock (0.191). Adjusted p-values: 1 for a pass, 0.0002 for a failure. "
        "0.131 [0.112 to 0.15] dead_zone.mu_l1 ≤ 0.05 n = 50"
    )
    assert [line.split(" dead")[0] for line in said[-3:-1]] == [
        "fail, waived",
        "fail, warning only",
    ]
    assert "the waiver of depends[cam] is not needed" in words(page)
    # what does not bind is not coloured as if it did
    assert re.findall(r'class="claim ?([a-z-]*)"', "".join(rows[:10])) == [
        "fail", "error", "degenerate", "inconclusive", "not-applicable", "pass", "pass", "", "", "",
    ]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE)
def test_text_of_others_stays_text(text: str) -> None:
    page, plain = gated(hostile(text)), gated(hostile("harmless"))
    assert re.findall(r"<(\w+)", page) == re.findall(r"<(\w+)", plain)
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", page)


@given(found=verdicts())
@settings(max_examples=40, deadline=None)
def test_any_verdict_has_a_page(found: Verdict) -> None:
    page = gated(found)
    assert ("The gate passes: " in words(page)[:2000]) == (found.exit_code == 0)
    assert page.count('class="claim') >= len(found.rulings)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE, NARROW], ids=["desktop", "phone", "narrow"])
@pytest.mark.parametrize("text", ["", "two\nlines <script>alert(1)</script>", "x" * 200])
def test_page_is_silent_and_fits(
    browser: Any, tmp_path: Path, viewport: dict[str, int], scheme: str, text: str
) -> None:
    found = hostile(text) if text else VERDICTS["everything"][0]
    path = write_report(gated(found), tmp_path)
    with opened(browser, path, viewport=viewport, color_scheme=scheme) as page:
        assert overflow(page) == 0
        box = page.locator("section.verdict").first.bounding_box()
        assert box["y"] < viewport["height"] / 2
        assert page.locator("section.verdict").first.get_attribute("aria-labelledby") == (
            "gate-verdict"
        )
        assert page.locator("table.rulings tbody tr").first.is_visible()
