"""The invariance check in a real browser: silent, legible on a phone, usable by keyboard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from camaudit.report.html import render
from camaudit.report.writing import write_report
from camaudit.types import Results
from tests.browser import DESKTOP, PHONE, chromium, opened, overflow
from tests.invariance_results import make_invariance, make_invariance_results
from tests.sanity_results import make_sanity

NARROW = {"width": 360, "height": 740}
PAPER = {"width": 718, "height": 1047}  # what A4 leaves between its margins


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(render(make_invariance_results()), tmp_path_factory.mktemp("report"))


def unfold(page: Any) -> None:
    page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE, NARROW], ids=["desktop", "phone", "narrow"])
def test_page_is_silent_and_fits(
    browser: Any, report: Path, tmp_path: Path, viewport: dict[str, int], scheme: str
) -> None:
    with opened(browser, report, viewport=viewport, color_scheme=scheme) as page:
        page.screenshot(path=tmp_path / "page.png", full_page=True)
        assert (tmp_path / "page.png").stat().st_size > 20_000
        assert overflow(page) == 0
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert (int(background.removeprefix("rgb(").split(",")[0]) < 60) == (scheme == "dark")
        unfold(page)
        assert page.locator(".case pre").first.is_visible()
        assert overflow(page) == 0


def test_names_stay_in_view_while_the_matrix_scrolls(browser: Any, report: Path) -> None:
    with opened(browser, report, viewport=NARROW) as page:
        region = page.locator(".scroll").first
        assert region.evaluate("part => part.scrollWidth > part.clientWidth")
        region.evaluate("part => part.scrollLeft = part.scrollWidth")
        name = page.locator("table.matrix tbody th[scope=row]").first
        name.evaluate("part => window.scrollBy(0, part.getBoundingClientRect().top - 300)")
        box, frame = name.bounding_box(), region.bounding_box()
        assert box["x"] == pytest.approx(frame["x"], abs=1)
        assert 60 < box["width"] < frame["width"] / 2
        middle = [box["x"] + box["width"] / 2, box["y"] + box["height"] / 2]
        shown = page.evaluate("at => document.elementFromPoint(...at).textContent", middle)
        assert "GradCAM" in shown  # no cell lies over the name


@pytest.mark.parametrize("viewport", [DESKTOP, NARROW], ids=["desktop", "narrow"])
def test_marks_stand_in_their_column_and_headings_above_it(
    browser: Any, report: Path, viewport: dict[str, int]
) -> None:
    with opened(browser, report, viewport=viewport) as page:
        table = page.locator("table.matrix").first
        headings = table.locator("thead th.property").all()
        assert len(headings) == 25
        rows = table.locator("tbody tr:not(.group)")
        for row in (rows.nth(0), rows.nth(10), rows.nth(11)):
            for heading, mark in zip(headings, row.locator(".mark").all(), strict=True):
                over, at = heading.bounding_box(), mark.bounding_box()
                assert at["x"] + at["width"] / 2 == pytest.approx(
                    over["x"] + over["width"] / 2, abs=1
                )
                assert at["width"] <= over["width"]
        longest = table.locator("th.property a", has_text="channel-permutation").bounding_box()
        assert longest["height"] > 3 * longest["width"]
        assert longest["y"] >= table.bounding_box()["y"]


def test_a_mark_leads_to_its_finding_and_unfolds_it(browser: Any, report: Path) -> None:
    with opened(browser, report) as page:
        bug = page.locator("table.matrix").first.get_by_role("link", name="bug, 1 example")
        code = page.locator("#case-2 pre")
        assert not code.is_visible()
        bug.focus()
        page.keyboard.press("Enter")
        code.wait_for(state="visible", timeout=5000)
        assert "nn.Conv2d(1, 2, 1, bias=False)" in code.inner_text()
        page.locator("a[href='#property-3']").first.click()
        assert page.locator("#property-3").bounding_box()["y"] < DESKTOP["height"]
    with opened(browser, report) as page:
        page.goto(report.as_uri() + "#violation-1")
        assert page.locator("#violation-1 pre").is_visible()


def test_accessible_names(browser: Any, report: Path) -> None:
    with opened(browser, report) as page:
        for name in ("On drawn networks", "On the audited model", "Is it what it claims to be?"):
            assert page.get_by_role("table", name=name).count() == 1
            assert page.get_by_role("region", name=name).count() >= 1
        cell = page.get_by_role("cell", name="violated by definition, 50 examples").first
        assert cell.get_attribute("title") == (
            "GradCAM++, logit-scale: violated by definition, 50 examples; its weights hold powers "
            "of the gradient that do not scale alike"
        )
        summary = page.locator("summary", has_text="What says nothing")
        summary.focus()
        page.keyboard.press("Enter")
        assert page.get_by_role("table", name="What says nothing").is_visible()


def test_tables_stay_legible_on_a_phone(browser: Any, report: Path) -> None:
    with opened(browser, report, viewport=NARROW) as page:
        unfold(page)
        for method in page.locator("table.unscored tbody th").all():
            assert method.bounding_box()["height"] < 50
        for code in page.locator(".case pre").all():
            assert code.bounding_box()["width"] < NARROW["width"]
        for mark in page.locator(".marks-key .mark").all():
            assert mark.bounding_box()["height"] < 24


def test_without_javascript_and_in_print(browser: Any, report: Path) -> None:
    with opened(browser, report, java_script_enabled=False, viewport=PHONE) as page:
        assert page.locator("table.matrix").first.is_visible()
        page.locator("#case-1 > summary").click()
        assert page.locator("#case-1 pre").is_visible()
    with opened(browser, report, color_scheme="dark", viewport=PAPER) as page:
        page.emulate_media(media="print")
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert background == "rgb(255, 255, 255)"
        assert overflow(page) == 0


def test_hostile_text_and_all_parts_together(
    browser: Any, tmp_path: Path, poisoned: Callable[[Any], Any], build: Callable[..., Results]
) -> None:
    sanity = make_sanity(checks=("mprt",), orders=("top-down",), layers=("fc",), seeds=(0,),
                         images=1, similarities=("spearman",))  # fmt: skip
    one = make_invariance(methods=("gradcam",), foreign=(), properties=("flip",), own=False)
    for name, results in (
        ("hostile", poisoned(make_invariance_results())),
        ("one", make_invariance_results(invariance=one)),
        ("all", build(sanity=sanity, invariance=make_invariance())),
    ):
        path = write_report(render(results), tmp_path / name)
        with opened(browser, path, viewport=NARROW) as page:
            assert overflow(page) == 0
            unfold(page)
            assert overflow(page) == 0
            assert page.locator("table.matrix").first.is_visible()
