"""The theory page in a real browser: silent, drawn as computed, usable on a phone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from camaudit.report.html import render_theory
from camaudit.report.theory import theory_view
from camaudit.report.writing import write_report
from camaudit.types import ClaimOutcome
from tests.browser import DESKTOP, PHONE, chromium, opened, overflow
from tests.theory_results import CLAIMS, claim, make_theory_results

NARROW = {"width": 360, "height": 740}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture
def report(tmp_path: Path) -> Path:
    return write_report(render_theory(make_theory_results()), tmp_path)


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
        page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
        assert page.locator("table.plain").first.is_visible()
        assert overflow(page) == 0


@pytest.mark.parametrize("viewport", [DESKTOP, NARROW], ids=["desktop", "narrow"])
def test_markers_and_curves_stand_where_the_view_model_says(
    browser: Any, report: Path, viewport: dict[str, int]
) -> None:
    view = theory_view(make_theory_results())
    assert view.column is not None
    with opened(browser, report, viewport=viewport) as page:
        area = page.locator(".area").first.bounding_box()
        for curve in view.column.plot.curves:
            style = curve.style
            assert style is not None
            group = page.locator(f".area >> nth=0 >> g.curve-{style.colour}")
            marks = group.locator("use").all()
            assert len(marks) == len(curve.points)
            for mark, point in list(zip(marks, curve.points, strict=True))[::9]:
                box = mark.bounding_box()
                assert box["x"] + box["width"] / 2 == pytest.approx(
                    area["x"] + area["width"] * point.x / 100, abs=1.5
                )
                assert box["y"] + box["height"] / 2 == pytest.approx(
                    area["y"] + area["height"] * point.y / 100, abs=1.5
                )
        line = page.locator(".area >> nth=0 >> g.curve-0 path.curve").bounding_box()
        assert line["x"] == pytest.approx(area["x"] + area["width"] / 56, abs=2)
        assert line["width"] == pytest.approx(area["width"] * 27 / 28, abs=3)


@pytest.mark.parametrize("viewport", [DESKTOP, NARROW], ids=["desktop", "narrow"])
def test_labels_of_an_axis_do_not_touch(
    browser: Any, report: Path, viewport: dict[str, int]
) -> None:
    with opened(browser, report, viewport=viewport) as page:
        for axis in page.locator(".x-axis").all():
            boxes = [label.bounding_box() for label in axis.locator("text").all()]
            assert len(boxes) > 2
            for left, right in pairwise(boxes):
                assert left["x"] + left["width"] <= right["x"]
            assert boxes[-1]["x"] + boxes[-1]["width"] <= viewport["width"]


def test_the_wall_covers_the_lower_half_and_can_be_hidden(browser: Any, report: Path) -> None:
    with opened(browser, report) as page:
        scene = page.locator(".digit").first.locator(".scene").nth(1)
        scene.scroll_into_view_if_needed()
        box, hatch = scene.bounding_box(), scene.locator(".hatch").bounding_box()
        assert hatch["y"] == pytest.approx(box["y"] + box["height"] / 2, abs=1.5)
        assert hatch["height"] == pytest.approx(box["height"] / 2, abs=1.5)
        before = scene.screenshot()
        page.get_by_label("Hatching").focus()
        page.keyboard.press("Space")
        assert scene.screenshot() != before


@pytest.mark.parametrize("viewport", [DESKTOP, NARROW], ids=["desktop", "narrow"])
def test_bars_beside_one_another_share_a_scale(
    browser: Any, report: Path, viewport: dict[str, int]
) -> None:
    with opened(browser, report, viewport=viewport) as page:
        row = page.locator(".glance tbody tr").first
        assert row.locator("th").inner_text() == "EigenCAM"
        widths = [bar.bounding_box()["width"] for bar in row.locator("rect.bar").all()]
        assert [width / widths[0] for width in widths] == pytest.approx(
            [1, 41 / 51, 31 / 51, 21 / 51], rel=0.02
        )
        assert row.locator("svg").first.bounding_box()["width"] > 60


def test_tables_open_by_keyboard_and_sort(browser: Any, report: Path) -> None:
    with opened(browser, report) as page:
        details = page.locator("details.data").first
        assert not details.locator("table").is_visible()
        details.locator("summary").focus()
        page.keyboard.press("Enter")
        assert details.locator("table").is_visible()
        table = page.locator("table.chart").first
        table.locator("th", has_text="Method").get_by_role("button").click()
        names = table.locator("tbody >> nth=0 >> tr[data-row] th").all_inner_texts()
        assert names == sorted(names, key=str.lower)
        assert page.locator("#sort-status").inner_text() == "Sorted by Method, ascending."


def test_accessible_names(browser: Any, report: Path) -> None:
    with opened(browser, report) as page:
        assert page.get_by_role("img", name="Line plot of the expected GradCAM").count() == 1
        assert page.get_by_role("img", name="Plot of the mean μ against Filters V").count() == 1
        assert page.get_by_role("row", name="Autograd equals Proposition 2").count() == 1
        assert page.get_by_role("table", name="The claims").count() == 1


@pytest.mark.parametrize("outcome", ClaimOutcome)
def test_outcomes_are_visible(browser: Any, tmp_path: Path, outcome: ClaimOutcome) -> None:
    results = make_theory_results(claims=[*CLAIMS, claim(outcome)])
    path = write_report(render_theory(results), tmp_path)
    with opened(browser, path, viewport=NARROW) as page:
        badge = page.locator(".badge", has_text=outcome.value).last
        assert badge.is_visible()
        assert badge.locator("svg").bounding_box()["width"] == 16


def test_without_javascript_and_in_print(browser: Any, report: Path) -> None:
    with opened(browser, report, java_script_enabled=False, viewport=PHONE) as page:
        assert page.locator(".plot").first.is_visible()
        assert not page.get_by_label("Hatching").is_visible()
        assert page.locator("noscript").inner_text().startswith("Sorting needs JavaScript")
    with opened(browser, report, color_scheme="dark") as page:
        page.emulate_media(media="print")
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert background == "rgb(255, 255, 255)"


def test_hostile_text_and_empty_runs(
    browser: Any, tmp_path: Path, poisoned: Callable[[Any], Any]
) -> None:
    path = write_report(render_theory(poisoned(make_theory_results())), tmp_path / "hostile")
    with opened(browser, path, viewport=NARROW) as page:
        assert overflow(page) == 0
    nothing = make_theory_results(theory={}, claims=[], summary=[], records=[])
    path = write_report(render_theory(nothing), tmp_path / "empty")
    with opened(browser, path) as page:
        assert page.locator(".headline").inner_text() == "No verdict."
