"""The page in a real browser: silent, self-contained, usable on a phone and without script."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from camaudit.report.gallery import GalleryImage
from camaudit.report.html import render
from camaudit.report.writing import write_report
from camaudit.types import Results
from tests.browser import DESKTOP, PHONE, chromium, opened, overflow


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture
def report(results: Results, gallery: list[GalleryImage], tmp_path: Path) -> Path:
    return write_report(render(results, gallery), tmp_path)


def column(page: Any, table: str, position: int) -> list[list[str]]:
    """The texts of a column, one list per group of rows."""
    return page.evaluate(  # type: ignore[no-any-return]
        """([table, position]) => [...document.querySelectorAll(`table.${table} tbody`)].map(
            body => [...body.querySelectorAll("tr[data-row]")].map(
                row => row.cells[position].textContent.trim()))""",
        [table, position],
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_page_is_silent_and_fits(
    browser: Any, report: Path, tmp_path: Path, viewport: dict[str, int], scheme: str
) -> None:
    with opened(browser, report, viewport=viewport, color_scheme=scheme) as page:
        picture = tmp_path / f"{scheme}-{viewport['width']}.png"
        page.screenshot(path=picture, full_page=True)
        assert picture.stat().st_size > 20_000
        assert overflow(page) == 0
        assert page.evaluate(
            "[...document.images].every(image => image.complete && image.naturalWidth > 0)"
        )
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        channel = int(background.removeprefix("rgb(").split(",")[0])
        assert (channel < 60) == (scheme == "dark")


def test_slider_acts_on_all_overlays(browser: Any, report: Path) -> None:
    opacities = """[...new Set([...document.querySelectorAll(".overlay")].map(
        overlay => getComputedStyle(overlay).opacity))]"""
    with opened(browser, report) as page:
        assert page.evaluate(opacities) == ["0.85"]
        page.locator("#overlay-opacity").fill("30")
        assert page.evaluate(opacities) == ["0.3"]
        assert page.locator("#overlay-opacity-value").inner_text() == "30 %"
        page.locator("#overlay-opacity").focus()
        page.keyboard.press("ArrowRight")
        assert page.evaluate(opacities) == ["0.31"]


def test_hatching_can_be_hidden(browser: Any, report: Path) -> None:
    with opened(browser, report) as page:
        tile = page.locator(".tile .scene").first
        tile.scroll_into_view_if_needed()
        assert (
            page.locator(".photo .hatch").first.evaluate(
                "hatch => getComputedStyle(hatch).visibility"
            )
            == "visible"
        )
        before = tile.screenshot()
        page.get_by_label("Hatching").focus()
        page.keyboard.press("Space")
        assert (
            page.locator(".photo .hatch").first.evaluate(
                "hatch => getComputedStyle(hatch).visibility"
            )
            == "hidden"
        )
        assert tile.screenshot() != before


def test_sorting(browser: Any, report: Path) -> None:
    with opened(browser, report) as page:
        header = page.locator("table.figures th", has_text="μ (L1)").first
        assert header.get_attribute("aria-sort") == "descending"
        before = column(page, "figures", 1)
        assert before[0][0].startswith("31.4 %")
        header.get_by_role("button").click()
        assert header.get_attribute("aria-sort") == "ascending"
        methods, controls = column(page, "figures", 1)
        assert methods[0].startswith("0 (exact)")
        assert methods[-2:] == ["undefined", "undefined"]
        assert sorted(methods) == sorted(before[0])
        assert sorted(controls) == sorted(before[1])
        assert page.locator("#sort-status").inner_text() == "Sorted by μ (L1), ascending."
        assert page.locator("table.figures tbody").nth(1).locator("tr").first.inner_text() == (
            "CONTROLS"
        )


def test_sorting_by_keyboard_moves_aria_sort(browser: Any, report: Path) -> None:
    with opened(browser, report) as page:
        name = page.locator("table.chart th", has_text="Method").first
        name.get_by_role("button").focus()
        page.keyboard.press("Enter")
        assert page.locator("table.chart th[aria-sort]").count() == 1
        assert name.get_attribute("aria-sort") == "ascending"
        methods = column(page, "chart", 0)[0]
        assert (methods[0], methods[-1]) == ("AblationCAM", "XGradCAM")
        assert page.locator("table.figures th[aria-sort]").count() == 1
        outline = "getComputedStyle(document.activeElement).outlineStyle"
        assert page.evaluate(outline) == "solid"


def test_undefined_figures_stay_last_in_both_directions(browser: Any, report: Path) -> None:
    with opened(browser, report) as page:
        button = page.locator("table.figures th", has_text="Difference").get_by_role("button")
        for _ in range(2):
            button.click()
            assert column(page, "figures", 5)[0][-2:] == ["not run", "not run"]


def test_without_javascript(browser: Any, report: Path) -> None:
    with opened(browser, report, java_script_enabled=False, viewport=PHONE) as page:
        assert page.get_by_role("heading", name="Gallery").is_visible()
        assert page.locator("table.figures").is_visible()
        assert not page.locator("#overlay-opacity").is_visible()
        assert not page.get_by_label("Hatching").is_visible()
        assert page.locator(".tile .overlay").first.is_visible()
        assert page.locator("noscript").inner_text().startswith("Sorting and the overlay slider")
        assert page.locator("button").count() == 0


def test_wide_tables_scroll_by_keyboard_on_a_phone(browser: Any, report: Path) -> None:
    with opened(browser, report, viewport=PHONE) as page:
        region = page.get_by_role("region", name="All figures, scrollable")
        assert region.evaluate("box => box.scrollWidth > box.clientWidth")
        region.focus()
        page.keyboard.press("ArrowRight")
        page.wait_for_timeout(300)
        assert region.evaluate("box => box.scrollLeft") > 0


def test_hostile_text_does_nothing(
    browser: Any, tmp_path: Path, hostile_results: Results, hostile_gallery: list[GalleryImage]
) -> None:
    path = write_report(render(hostile_results, hostile_gallery), tmp_path)
    with opened(browser, path, viewport=PHONE) as page:
        assert overflow(page) == 0
        assert page.locator("h1").inner_text().count("<script>alert(1)</script>") == 1
        page.locator("#overlay-opacity").fill("10")
        page.locator("table.chart th button").first.click()
        page.screenshot(path=tmp_path / "hostile.png", full_page=True)


def test_ragged_walls_and_empty_runs(
    browser: Any, tmp_path: Path, build: Callable[..., Results], gallery: list[GalleryImage]
) -> None:
    import numpy as np

    mask = np.random.default_rng(0).random((224, 224)) < 0.5
    ragged = GalleryImage("cat", "Cat", "", gallery[0].pixels, mask, mask, gallery[0].maps)
    path = write_report(render(build(), [ragged]), tmp_path / "ragged")
    with opened(browser, path) as page:
        assert page.locator(".photo image.hatch").count() == 1
    path = write_report(render(build(summary=[], records=[])), tmp_path / "empty")
    with opened(browser, path) as page:
        assert "No verdict." in page.locator(".headline").inner_text()


def test_print_has_no_controls(browser: Any, report: Path) -> None:
    with opened(browser, report, color_scheme="dark") as page:
        page.emulate_media(media="print")
        assert not page.locator(".toolbar").is_visible()
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert background == "rgb(255, 255, 255)"


INTRUDERS = {
    "a script": "<script>document.title = 'owned'</script>",
    "a script that data hold": (
        "<script src=\"data:text/javascript,document.title='owned'\"></script>"
    ),
    "a handler": "<img src='x:' onerror=\"document.title = 'owned'\">",
    "a frame": "<iframe srcdoc=\"<script>parent.document.title = 'owned'</script>\"></iframe>",
    "a style": "<style>body { visibility: hidden }</style>",
    "a style of an element": "<script></script><p style='position: fixed' id='styled'>x</p>",
    "a base": "<base href='https://elsewhere.example/'>",
    "a form": "<form action='https://elsewhere.example/'><button id='send'>x</button></form>",
    "a picture from elsewhere": "<img src='https://elsewhere.example/a.png'>",
}


@pytest.mark.parametrize("intruder", INTRUDERS)
def test_what_is_smuggled_in_does_nothing(
    browser: Any, report: Path, tmp_path: Path, intruder: str
) -> None:
    """The policy stops what escaping should have stopped before; the page works on beside it."""
    text = report.read_text("utf-8")
    head, mark, rest = text.partition("</main>")
    assert mark
    path = tmp_path / "smuggled.html"
    path.write_text(head + INTRUDERS[intruder] + mark + rest, "utf-8")
    context = browser.new_context(viewport=DESKTOP)
    try:
        page, asked, told = context.new_page(), [], []
        page.on("response", lambda answer: asked.append(answer.url))
        page.on("console", lambda message: told.append(message.text))
        page.goto(path.as_uri())
        title = page.title()
        page.wait_for_timeout(100)
        assert page.title() == title != "owned"
        assert page.evaluate("getComputedStyle(document.body).visibility") == "visible"
        if intruder == "a style of an element":
            styled = page.evaluate("getComputedStyle(document.getElementById('styled')).position")
            assert styled == "static"
        assert page.evaluate("document.baseURI") == path.as_uri()
        header = page.locator("table.figures th", has_text="μ (L1)").first
        header.get_by_role("button").dispatch_event("click")
        assert header.get_attribute("aria-sort") == "ascending"
        if intruder == "a form":
            page.locator("#send").click(no_wait_after=True)
            page.wait_for_timeout(100)
        assert page.url == path.as_uri()
        assert asked == [path.as_uri()]  # what the policy stops is not sent
        assert any("Content Security Policy" in text for text in told)
    finally:
        context.close()
