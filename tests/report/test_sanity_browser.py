"""The sanity checks in a real browser: silent, drawn as computed, usable on a phone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from camaudit.report.html import render
from camaudit.report.sanity import sanity_view
from camaudit.report.writing import write_report
from camaudit.types import Results
from tests.browser import DESKTOP, PHONE, chromium, opened, overflow
from tests.sanity_results import make_pictures, make_sanity, make_sanity_results

NARROW = {"width": 360, "height": 740}
WIDE = {"width": 1400, "height": 900}
LONG = tuple(f"backbone.layer{1 + place // 6}.{place % 6}.conv{1 + place % 3}"
             for place in range(53))  # fmt: skip


def small(**options: Any) -> dict[str, Any]:
    chosen = {"checks": ("mprt", "emprt", "random-logit"), "orders": ("top-down",),
              "similarities": ("spearman", "ssim"), **options}  # fmt: skip
    return make_sanity(**chosen)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    page = render(make_sanity_results(sanity=small()), (), make_pictures())
    return write_report(page, tmp_path_factory.mktemp("report"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, PHONE, NARROW], ids=["wide", "phone", "narrow"])
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
        assert page.locator("table.plain").last.is_visible()
        assert overflow(page) == 0


@pytest.mark.parametrize("viewport", [DESKTOP, NARROW], ids=["desktop", "narrow"])
def test_marks_stand_where_the_view_model_says(
    browser: Any, report: Path, viewport: dict[str, int]
) -> None:
    view = sanity_view(make_sanity_results(sanity=small()))
    assert view is not None
    measure = view.checks[0].cascades[0].measures[0]
    with opened(browser, report, viewport=viewport) as page:
        for number, panel in enumerate(measure.panels):
            area = page.locator(f".area >> nth={number}")
            box = area.bounding_box()
            points = [point for curve in panel.plot.curves for point in curve.points]
            marks = area.locator("use").all()
            assert len(marks) == len(points)
            for mark, point in zip(marks, points, strict=True):
                at = mark.bounding_box()
                x, y = at["x"] + at["width"] / 2, at["y"] + at["height"] / 2
                assert x == pytest.approx(box["x"] + box["width"] * point.x / 100, abs=1.5)
                assert y == pytest.approx(box["y"] + box["height"] * point.y / 100, abs=1.5)
            edge = area.locator("line.edge").bounding_box()
            assert panel.plot.edge is not None
            assert edge["x"] + edge["width"] / 2 == pytest.approx(
                box["x"] + box["width"] * panel.plot.edge / 100, abs=1.5
            )
            level = panel.plot.level
            assert level is not None
            assert area.locator("line.level").count() == (level.y is not None)
            if level.low is not None and level.high is not None:
                band = area.locator("rect.level-band").bounding_box()
                assert band["width"] == pytest.approx(box["width"], abs=1)
                assert band["height"] == pytest.approx(
                    box["height"] * (level.low - level.high) / 100, abs=1
                )


@pytest.mark.parametrize("viewport", [WIDE, DESKTOP, NARROW], ids=["wide", "desktop", "narrow"])
def test_names_of_layers_do_not_touch(
    browser: Any, tmp_path: Path, viewport: dict[str, int]
) -> None:
    sanity = small(layers=LONG, methods=("gradcam", "eigencam", "sobel"), checks=("mprt",))
    path = write_report(render(make_sanity_results(sanity=sanity)), tmp_path)
    with opened(browser, path, viewport=viewport) as page:
        axes = page.locator(".multiples >> nth=0 >> .x-axis").all()
        assert len(axes) == 3
        for axis in axes:
            boxes = [label.bounding_box() for label in axis.locator("text").all()]
            assert len(boxes) >= 3
            for left, right in pairwise(boxes):
                assert left["x"] + left["width"] <= right["x"]
            frame = axis.bounding_box()
            assert boxes[0]["x"] >= frame["x"]
            assert boxes[-1]["x"] + boxes[-1]["width"] <= frame["x"] + frame["width"] + 1


def test_bars_are_sorted_by_keyboard(browser: Any, report: Path) -> None:
    with opened(browser, report) as page:
        table = page.locator("table.bars").first
        table.get_by_role("button", name="Method").focus()
        page.keyboard.press("Enter")
        names = table.locator("tbody >> nth=0 >> tr[data-row] th").all_inner_texts()
        assert names == sorted(names, key=str.lower)
        assert page.locator("#sort-status").inner_text() == "Sorted by Method, ascending."


def test_accessible_names_and_keyboard(browser: Any, report: Path) -> None:
    with opened(browser, report) as page:
        assert page.get_by_role("img", name="GradCAM: Spearman between the maps").count() == 1
        assert page.get_by_role("img", name="EigenCAM on Image 0, trained").count() == 1
        assert page.get_by_role("table", name="Rise in complexity").count() == 1
        assert page.get_by_role("table", name="Spearman at the last step").count() == 1
        summary = page.locator("summary", has_text="SSIM").first
        summary.focus()
        page.keyboard.press("Enter")
        assert page.get_by_role("img", name="GradCAM: SSIM between the maps").first.is_visible()


def test_pictures_and_their_overlay(browser: Any, report: Path) -> None:
    with opened(browser, report, viewport=WIDE) as page:
        scenes = page.locator("table.stages .scene").all()
        assert len(scenes) == 8 * 7
        box = scenes[0].bounding_box()
        assert box["width"] == pytest.approx(box["height"], abs=1)
        assert box["width"] > 80
        page.locator("#overlay-opacity").fill("20")
        opacity = page.evaluate("getComputedStyle(document.querySelector('.overlay')).opacity")
        assert float(opacity) == pytest.approx(0.2)


def test_tables_stay_legible_on_a_phone(browser: Any, report: Path) -> None:
    with opened(browser, report, viewport=NARROW) as page:
        for name in page.locator("table.stages tbody th").all():
            assert name.bounding_box()["width"] > 90
        for method in page.locator("table.unscored tbody th").all():
            assert method.bounding_box()["height"] < 50


def test_without_javascript_and_in_print(browser: Any, report: Path) -> None:
    with opened(browser, report, java_script_enabled=False, viewport=PHONE) as page:
        assert page.locator(".plot").first.is_visible()
        assert not page.locator("#overlay-opacity").is_visible()
    with opened(browser, report, color_scheme="dark") as page:
        page.emulate_media(media="print")
        background = page.evaluate("getComputedStyle(document.body).backgroundColor")
        assert background == "rgb(255, 255, 255)"
        assert overflow(page) == 0


def test_hostile_text_and_small_runs(
    browser: Any, tmp_path: Path, poisoned: Callable[[Any], Any], build: Callable[..., Results]
) -> None:
    hostile = poisoned(make_sanity_results(sanity=small()))
    one = small(layers=("fc",), seeds=(0,), images=1)
    for name, results in (
        ("hostile", hostile), ("one", make_sanity_results(sanity=one)),
        ("both", build(sanity=one)),
    ):  # fmt: skip
        path = write_report(render(results, (), make_pictures()), tmp_path / name)
        with opened(browser, path, viewport=NARROW) as page:
            assert overflow(page) == 0
            assert page.locator(".plot").first.is_visible()
