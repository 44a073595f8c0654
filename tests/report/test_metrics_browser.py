"""The metrics in a real browser: silent, drawn as computed, usable on a phone and by keyboard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from camaudit.report.html import render
from camaudit.report.metrics import MetricsView, metrics_view
from camaudit.report.writing import write_report
from camaudit.types import Results
from tests.browser import DESKTOP, PHONE, chromium, opened, overflow
from tests.metric_results import make_metric_results, make_metrics, make_protocol
from tests.report.conftest import make_results

NARROW = {"width": 360, "height": 740}
WIDE = {"width": 1400, "height": 900}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def results() -> Results:
    return make_results(metrics=make_metrics(), protocol=make_protocol("scorecam++:main"))


@pytest.fixture(scope="module")
def report(results: Results, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_report(render(results), tmp_path_factory.mktemp("report"))


@pytest.fixture(scope="module")
def view(results: Results) -> MetricsView:
    found = metrics_view(results, results.summary)
    assert found is not None
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("viewport", [WIDE, PHONE, NARROW], ids=["wide", "phone", "narrow"])
def test_page_is_silent_and_fits(
    browser: Any, report: Path, tmp_path: Path, viewport: dict[str, int], scheme: str
) -> None:
    with opened(browser, report, viewport=viewport, color_scheme=scheme) as page:
        page.screenshot(path=tmp_path / "page.png", full_page=True)
        assert (tmp_path / "page.png").stat().st_size > 20_000
        assert overflow(page) == 0
        page.evaluate("document.querySelectorAll('details').forEach(part => part.open = true)")
        assert page.locator(".metrics table.plain").last.is_visible()
        assert overflow(page) == 0


@pytest.mark.parametrize("viewport", [DESKTOP, NARROW], ids=["desktop", "narrow"])
def test_points_stand_where_the_view_model_says(
    browser: Any, report: Path, view: MetricsView, viewport: dict[str, int]
) -> None:
    assert view.scatter is not None
    with opened(browser, report, viewport=viewport) as page:
        for number, panel in enumerate(view.scatter.panels):
            area = page.locator(f".scatter .area >> nth={number}")
            box = area.bounding_box()
            marks = area.locator("use").all()
            assert len(marks) == len(panel.plot.places)
            for mark, place in zip(marks, panel.plot.places, strict=True):
                at = mark.bounding_box()
                x, y = at["x"] + at["width"] / 2, at["y"] + at["height"] / 2
                assert x == pytest.approx(box["x"] + box["width"] * place.x / 100, abs=1.5)
                assert y == pytest.approx(box["y"] + box["height"] * place.y / 100, abs=1.5)


@pytest.mark.parametrize("viewport", [WIDE, NARROW], ids=["wide", "narrow"])
def test_names_of_points_do_not_touch(browser: Any, report: Path, viewport: dict[str, int]) -> None:
    with opened(browser, report, viewport=viewport) as page:
        areas = page.locator(".scatter .area").all()
        assert areas
        for area in areas:
            frame = area.bounding_box()
            boxes = [name.bounding_box() for name in area.locator("text.name").all()]
            assert len(boxes) >= 4
            for number, a in enumerate(boxes):
                assert a["x"] + a["width"] <= frame["x"] + frame["width"] + 2
                for b in boxes[:number]:
                    assert (
                        a["x"] + a["width"] <= b["x"] or b["x"] + b["width"] <= a["x"]
                        or a["y"] + a["height"] <= b["y"] + 3 or b["y"] + b["height"] <= a["y"] + 3
                    )  # fmt: skip


def test_tables_are_sorted_by_keyboard(browser: Any, report: Path) -> None:
    with opened(browser, report) as page:
        table = page.locator("table.measured").first
        table.get_by_role("button", name="Average Drop , lower is better").first.focus()
        page.keyboard.press("Enter")
        shown = table.locator("tbody >> nth=0 >> tr[data-row] td:nth-child(2)").all_inner_texts()
        values = [float(text.split()[0]) for text in shown if not text.startswith("no")]
        assert values == sorted(values, reverse=True)
        assert len(values) >= 4
        assert all(text.startswith("no value") for text in shown[len(values) :])
        assert table.locator("tfoot tr").count() == 1


def test_accessible_names_and_folded_images(browser: Any, report: Path) -> None:
    with opened(browser, report) as page:
        assert page.get_by_role("img", name="Insertion, mean over images: prob").count() == 1
        assert page.get_by_role("img", name="Dead-zone mass against ADCC").count() == 1
        assert page.get_by_role("table", name="Place by each metric").count() == 1
        assert page.get_by_role("table", name="Confidence of the masked image").count() == 1
        assert page.get_by_role("table", name="Tables 1–4: seven methods").count() == 1
        plot = page.get_by_role("img", name="Deletion on cat:")
        assert plot.count() == 0
        page.locator("summary", has_text="cat").first.focus()
        page.keyboard.press("Enter")
        assert plot.is_visible()


def test_without_javascript_and_in_print(browser: Any, report: Path) -> None:
    with opened(browser, report, java_script_enabled=False, viewport=PHONE) as page:
        summary = page.locator("summary", has_text="cat").first
        summary.click()
        assert page.get_by_role("img", name="Deletion on cat:").is_visible()
    with opened(browser, report, color_scheme="dark") as page:
        page.emulate_media(media="print")
        assert page.evaluate("getComputedStyle(document.body).backgroundColor") == (
            "rgb(255, 255, 255)"
        )
        assert overflow(page) == 0


def test_tints_differ_and_text_on_them_is_legible(browser: Any, tmp_path: Path) -> None:
    metrics = make_metrics()
    agreement = metrics["comparison"]["agreement"]
    for number, pair in enumerate(agreement["pairs"]):
        pair["tau"] = (-1.0, -0.5, 0.0, 0.5, 1.0, None)[number % 6]
    path = write_report(render(make_metric_results(metrics=metrics)), tmp_path)
    for scheme in ("light", "dark"):
        with opened(browser, path, color_scheme=scheme) as page:
            colours = {
                name: page.evaluate(
                    "name => getComputedStyle(document.querySelector('.' + name)).backgroundColor",
                    name,
                )
                for name in ("tint-m4", "tint-m2", "tint-0", "tint-2", "tint-4")
            }
            assert len(set(colours.values())) == 5


def test_hostile_text_and_small_runs(
    browser: Any, tmp_path: Path, poisoned: Callable[[Any], Any]
) -> None:
    metrics = make_metrics(checks=("confidence", "insertion-deletion"))
    one = make_metrics(methods=("gradcam",), checks=("adcc", "insertion-deletion"))
    for name, results in (
        ("hostile", poisoned(make_metric_results(metrics=metrics, protocol=make_protocol()))),
        ("one", make_results(metrics=one)),
        ("walls", make_results(protocol=make_protocol("walls"))),
    ):
        path = write_report(render(results), tmp_path / name)
        with opened(browser, path, viewport=NARROW) as page:
            assert overflow(page) == 0
            assert page.locator(".metrics table").first.is_visible()
