"""The explorer in a real browser: keys, links, colours, walls, and readers of all kinds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from camaudit.report.figures import percent
from camaudit.report.keeping import keeping
from camaudit.report.kept import upsampled
from camaudit.report.kept_maps import KeptMaps
from camaudit.report.pages import report_files
from camaudit.report.writing import write_pages
from tests.benchmarks.report import kept_run, many_results
from tests.browser import DESKTOP, PHONE, chromium, opened, overflow
from tests.report.conftest import HOSTILE, poison

COUNT = 24
TITLE = "document.getElementById('explorer-image').textContent"


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeptMaps]:
    with kept_run(COUNT, tmp_path_factory.mktemp("run"), methods=8) as found:
        yield found


@pytest.fixture(scope="module")
def report(maps: KeptMaps, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = report_files(many_results(COUNT), maps.gallery(1), (), maps)
    return write_pages(made, tmp_path_factory.mktemp("report"))[0]


def until(page: Any, expression: str) -> None:
    """Wait until an expression is true; wait_for_function evaluates text, which a page forbids."""
    for _ in range(100):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"never true: {expression}")


def ready(page: Any, title: str = "image 0") -> None:
    until(page, f"{TITLE} === {title!r}")
    page.wait_for_selector("#explorer-views canvas")


def shown(page: Any) -> list[str]:
    found: list[str] = page.locator("#explorer-views .method").all_inner_texts()
    return found


def linked(browser: Any, report: Path, fragment: str) -> Any:
    page = browser.new_page(viewport=DESKTOP)
    page.goto(report.as_uri() + fragment)
    page.wait_for_selector("#explorer-views canvas")
    return page


def test_keys_move_through_the_images(browser: Any, report: Path) -> None:
    with opened(browser, report) as page:
        ready(page)
        assert page.locator("#explorer-previous").is_disabled()
        page.locator("#explorer-stage").focus()
        for key, number in (("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1),
                            ("End", COUNT - 1), ("ArrowRight", COUNT - 1), ("Home", 0),
                            ("PageDown", 10)):  # fmt: skip
            page.keyboard.press(key)
            ready(page, f"image {number}")
        assert page.evaluate("location.hash") == "#image=image-10"
        assert page.locator("#explorer-status").inner_text().startswith("Image 11 of 24: image 10.")
        page.locator("#explorer-palette").focus()
        page.keyboard.press("ArrowDown")  # a key of the list, not of the images
        ready(page, "image 10")


def test_buttons_and_thumbnails_move_too(browser: Any, report: Path) -> None:
    with opened(browser, report) as page:
        ready(page)
        page.get_by_role("button", name="Next image").click()
        ready(page, "image 1")
        thumbs = page.get_by_role("navigation", name="Jump to an image").get_by_role("button")
        assert thumbs.count() == COUNT
        assert page.locator("#explorer-thumbs [tabindex='0']").count() == 1
        thumbs.nth(4).click()
        ready(page, "image 4")
        page.keyboard.press("ArrowRight")
        ready(page, "image 5")
        focused = "document.activeElement.getAttribute('aria-current')"
        assert page.evaluate(focused) == "true"


def test_thumbnails_are_decoded_where_they_are_looked_at(browser: Any, report: Path) -> None:
    with opened(browser, report, viewport=PHONE) as page:
        ready(page)
        assert page.locator("#explorer-thumbs img[src]").count() == 0  # far down the page
        page.locator("#explorer-thumbs").scroll_into_view_if_needed()
        until(page, "document.querySelectorAll('#explorer-thumbs img[src]').length > 3")
        assert page.locator("#explorer-thumbs img[src]").count() < COUNT


def test_a_link_opens_what_it_names(browser: Any, report: Path) -> None:
    fragment = "#image=image-7&methods=layercam,gradcam&palette=magma&wall=off"
    page = linked(browser, report, fragment)
    ready(page, "image 7")
    assert shown(page) == ["Photograph", "GradCAM", "LayerCAM"]
    assert page.locator("#explorer-palette").input_value() == "magma"
    assert page.locator("#explorer").get_attribute("data-wall") == "off"
    assert page.evaluate("document.getElementById('explorer').getBoundingClientRect().top") < 5
    page.evaluate("location.hash = '#image=image-3'")
    ready(page, "image 3")
    assert page.locator("#explorer-palette").input_value() == "viridis"
    page.close()


@pytest.mark.parametrize(
    "fragment", ["#image=nowhere", "#image=%E0%A4%A&palette=constructor&sort=__proto__",
                 "#image=<img src=x onerror=alert(1)>&methods=<b>,%25", "#figures"],
)  # fmt: skip
def test_links_that_name_nothing_show_the_first_image(
    browser: Any, report: Path, fragment: str
) -> None:
    page = linked(browser, report, fragment)
    ready(page)
    assert page.locator("#explorer-palette").input_value() == "viridis"
    page.close()


def pixels(page: Any) -> list[int]:
    """Opacity, then red, green and blue, of the strongest pixel of the first map."""
    found: list[int] = page.evaluate(
        """() => { const canvas = document.querySelector("#explorer-views canvas");
            const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
            let best = 0;
            for (let at = 0; at < data.length; at += 4)
                if (data[at + 3] > data[best + 3]) best = at;
            return [data[best + 3], data[best], data[best + 1], data[best + 2]]; }"""
    )
    return found


@pytest.mark.parametrize(
    ("palette", "top"),
    [("viridis", [253, 231, 37]), ("cividis", [254, 232, 56]), ("magma", [252, 253, 191]),
     ("grey", [255, 255, 255])],
)  # fmt: skip
def test_the_strongest_cell_has_the_palettes_last_colour(
    browser: Any, report: Path, palette: str, top: list[int]
) -> None:
    with opened(browser, report) as page:
        ready(page)
        page.locator("#explorer-palette").select_option(palette)
        page.wait_for_timeout(150)
        assert pixels(page) == [255, *top]


def alphas(page: Any) -> list[int]:
    """The opacity of every pixel of the first map."""
    found: list[int] = page.evaluate(
        """() => { const canvas = document.querySelector("#explorer-views canvas");
            return [...canvas.getContext("2d").getImageData(0, 0, 224, 224).data]
                .filter((_, at) => at % 4 === 3); }"""
    )
    return found


def test_maps_are_upsampled_as_in_the_audit(browser: Any, report: Path, maps: KeptMaps) -> None:
    gallery = maps.gallery(1)[0]
    with opened(browser, report) as page:
        ready(page)
        name = page.locator("#explorer-views canvas").first.get_attribute("aria-label")
        assert name.startswith("EigenCAM on image 0: μ ")
        data = alphas(page)
    values = gallery.maps["eigencam"]
    assert values is not None
    span = (values - values.min()) / (values.max() - values.min())
    assert max(abs(a - 255 * b) for a, b in zip(data, span.ravel(), strict=True)) < 0.51


def test_methods_order_class_wall_and_opacity(browser: Any, report: Path) -> None:
    with opened(browser, report) as page:
        ready(page)
        page.get_by_text("Methods shown:").click()
        page.get_by_label("XGradCAM", exact=True).check()
        assert "XGradCAM" in shown(page)
        page.locator("#explorer-sort").select_option("gradcam")
        values = """[...document.querySelectorAll("#explorer-views figcaption")].find(
            one => one.textContent.startsWith("GradCAM")).lastElementChild.textContent"""
        page.get_by_label("GradCAM", exact=True).check()
        until(page, f"{values}.startsWith('μ ')")
        first = float(page.evaluate(values).split()[1])
        page.locator("#explorer-next").click()
        page.wait_for_timeout(150)
        assert float(page.evaluate(values).split()[1]) <= first
        page.locator("#explorer-class").select_option(index=2)
        assert page.locator("#explorer-thumbs li").count() == 1
        hatch = "getComputedStyle(document.querySelector('.explorer-hatching')).visibility"
        for mode, seen in (("outlined", "hidden"), ("hatched", "visible"), ("off", "hidden")):
            page.locator("#explorer-wall-mode").select_option(mode)
            assert page.evaluate(hatch) == seen
        page.locator("#explorer-opacity").fill("40")
        canvas = page.locator("#explorer-views canvas").first
        assert canvas.evaluate("map => getComputedStyle(map).opacity") == "0.4"


def figure(page: Any, method: str) -> str:
    caption = page.locator("#explorer-views figcaption", has_text=method)
    found: str = caption.locator("span:last-child").inner_text()
    return found


def percents(method: str, image: str) -> tuple[str, str]:
    """A record's figure with the wall and without, as the report writes them."""
    record = next(
        one for one in many_results(COUNT).records if (one.method, one.image) == (method, image)
    )
    assert record.unmasked is not None
    return percent(record.mu_l1), percent(record.unmasked.mu_l1)


def status(page: Any) -> str:
    found: str = page.locator("#explorer-status").inner_text()
    return found


def unmasked_shown(page: Any) -> None:
    until(page, "document.querySelector('#explorer-views').textContent.includes('unmasked μ')")


def test_the_model_without_the_wall_has_maps_and_figures_of_its_own(
    browser: Any, report: Path, maps: KeptMaps
) -> None:
    walled, unmasked = percents("eigencam", "image-0")
    with opened(browser, report) as page:
        ready(page)
        before = alphas(page)
        assert figure(page, "EigenCAM") == f"μ {walled}"
        said = f"Image 1 of 24: image 0. With the wall: EigenCAM {walled}, "
        assert status(page).startswith(said)
        page.get_by_label("Model", exact=True).focus()
        page.keyboard.press("ArrowDown")
        unmasked_shown(page)
        assert page.evaluate("location.hash") == "#image=image-0&model=unmasked"
        assert figure(page, "EigenCAM") == f"unmasked μ {unmasked}"
        assert page.locator("#explorer-views .lit, #explorer-views .zero").count() == 0
        twin = maps[0].unmasked["eigencam"]
        assert twin is not None
        values = upsampled(twin, (224, 224))
        span = (values - values.min()) / (values.max() - values.min())
        after = alphas(page)
        assert max(abs(a - 255 * b) for a, b in zip(after, span.ravel(), strict=True)) < 0.51
        assert max(abs(a - b) for a, b in zip(after, before, strict=True)) > 50
        name = page.locator("#explorer-views canvas").first.get_attribute("aria-label")
        assert name == f"EigenCAM on image 0 without the wall: unmasked μ {unmasked}"
        assert status(page).startswith(
            "Image 1 of 24: image 0. Without the wall the model sees all of the image: "
            f"EigenCAM {unmasked}, "
        )
        page.keyboard.press("ArrowUp")
        until(page, "!document.querySelector('#explorer-views').textContent.includes('unmasked')")
        assert page.evaluate("location.hash") == "#image=image-0"
        assert alphas(page) == before


def test_without_the_wall_nothing_is_hatched(browser: Any, report: Path) -> None:
    hatch = "getComputedStyle(document.querySelector('.explorer-hatching')).visibility"
    border = "getComputedStyle(document.querySelector('.explorer-border')).visibility"
    with opened(browser, report) as page:
        ready(page)
        note, mode = page.locator("#explorer-model-note"), page.locator("#explorer-wall-mode")
        assert not note.is_visible()
        page.locator("#explorer-model").select_option("unmasked")
        assert note.is_visible()
        assert "it sees all of the image, and no part of it is dead" in note.inner_text()
        assert (page.evaluate(hatch), page.evaluate(border)) == ("hidden", "visible")
        assert mode.input_value() == "outlined"
        assert mode.locator("[value=hatched]").is_disabled()
        page.locator("#explorer-model").select_option("walled")
        assert (page.evaluate(hatch), mode.input_value()) == ("visible", "hatched")
        assert not mode.locator("[value=hatched]").is_disabled()
        assert not note.is_visible()
        page.locator("#explorer-model").select_option("unmasked")
        mode.select_option("off")
        assert page.evaluate(border) == "hidden"


def test_a_link_restores_the_model_without_the_wall(browser: Any, report: Path) -> None:
    fragment = "#image=image-7&methods=gradcam,broken&model=unmasked&sort=gradcam"
    page = linked(browser, report, fragment)
    ready(page, "image 7")
    assert page.locator("#explorer-model").input_value() == "unmasked"
    _, unmasked = percents("gradcam", "image-7")
    assert figure(page, "GradCAM") == f"unmasked μ {unmasked}"
    assert figure(page, "broken") == "no figure"
    reason = page.locator("#explorer-views .absent").inner_text()
    assert reason.startswith("Failed: RuntimeError: the hook")
    page.evaluate("location.hash = '#image=image-3&model=constructor'")
    ready(page, "image 3")
    assert page.locator("#explorer-model").input_value() == "walled"
    page.close()


def test_the_order_is_that_of_the_figures_with_the_wall(
    browser: Any, tmp_path: Path, maps: KeptMaps
) -> None:
    plain = many_results(COUNT)
    records = [
        replace(one, unmasked=replace(one.unmasked, mu_l1=1 - one.mu_l1))
        if one.unmasked is not None and one.mu_l1 is not None
        else one
        for one in plain.records
    ]
    shares = {one.image: one.mu_l1 or 0.0 for one in records if one.method == "gradcam"}
    worst = max(shares, key=shares.__getitem__)
    made = report_files(replace(plain, records=records), (), (), maps)
    path = write_pages(made, tmp_path)[0]
    page = linked(browser, path, "#image=&methods=gradcam&model=unmasked&sort=gradcam")
    ready(page, worst.replace("-", " "))
    assert figure(page, "GradCAM") == f"unmasked μ {percent(1 - shares[worst])}"
    page.close()


def test_a_map_that_is_missing_without_the_wall_is_said_to_be_so(
    browser: Any, tmp_path: Path
) -> None:
    with keeping(tmp_path, 2) as writer:
        for number in range(2):
            one = np.arange(49.0).reshape(7, 7)
            given = {"unmasked": {"gradcam": one[::-1]}} if number else {}
            writer.add(id=f"image-{number}", title=f"image {number}", caption="",
                       maps={"gradcam": one}, pixels=np.zeros((224, 224, 3), dtype=np.uint8),
                       **given)  # fmt: skip
        made = report_files(many_results(2), (), (), writer.finish())
    path = write_pages(made, tmp_path)[0]
    fragment = "#image=image-1&methods=gradcam&model=unmasked"
    page = linked(browser, path, fragment)
    page.locator("#explorer-previous").click()
    until(page, "document.querySelectorAll('#explorer-views .absent').length === 1")
    absent = page.locator("#explorer-views .absent").inner_text()
    assert absent == "The map is zero or was not kept."
    assert page.locator("#explorer-wall-mode").count() == 0  # no wall was drawn
    assert "outline" not in page.locator("#explorer-model-note").inner_text()
    page.close()


def test_without_such_maps_a_link_to_them_shows_the_others(browser: Any, tmp_path: Path) -> None:
    with kept_run(2, tmp_path, methods=3, unmasked=False) as alone:
        path = write_pages(report_files(many_results(2), (), (), alone), tmp_path)[0]
    page = linked(browser, path, "#image=image-1&methods=xgradcam&model=unmasked")
    ready(page, "image 1")
    assert page.locator("#explorer-model").count() == 0
    assert figure(page, "XGradCAM").startswith("μ ")
    assert status(page).startswith("Image 2 of 2: image 1. ")
    assert "wall" not in status(page)
    page.close()


def test_without_a_figure_the_reason_stands_in_its_place(browser: Any, report: Path) -> None:
    page = linked(browser, report, "#image=image-0&methods=broken,elementwise,gradcam")
    ready(page)
    reasons = page.locator("#explorer-views .absent").all_inner_texts()
    assert [text.split(":")[0] for text in reasons] == ["Degenerate", "Failed"]
    page.close()


def test_a_link_to_the_gallery_unfolds_it(browser: Any, report: Path) -> None:
    with opened(browser, report) as page:
        ready(page)
        assert not page.locator(".panel").first.is_visible()
        page.get_by_role("link", name="Gallery").click()
        assert page.locator(".panel").first.is_visible()


def test_without_a_script_the_rest_of_the_report_is_there(browser: Any, report: Path) -> None:
    with opened(browser, report, java_script_enabled=False) as page:
        assert not page.locator("#explorer").is_visible()
        assert page.get_by_role("heading", name="What to do").is_visible()
        assert page.get_by_role("heading", name="Method by method").is_visible()
        assert page.locator(".panel .tile .overlay").first.is_visible()
        assert not page.get_by_role("link", name="Image by image").is_visible()


def test_print_leaves_out_what_needs_a_hand(browser: Any, report: Path) -> None:
    with opened(browser, report) as page:
        ready(page)
        assert not page.locator(".panel").first.is_visible()  # folded beside the explorer
        page.emulate_media(media="print")
        for part in (".explorer-tools", ".explorer-jump", ".contents"):
            assert not page.locator(part).is_visible()
        assert page.locator("#explorer-views figure").first.is_visible()
        assert len(page.pdf(format="A4")) > 50_000


def test_hostile_names_do_nothing(browser: Any, tmp_path: Path, maps: KeptMaps) -> None:
    hostile = poison(many_results(COUNT), "".join(HOSTILE))
    path = write_pages(report_files(hostile, maps.gallery(1), (), maps), tmp_path)[0]
    with opened(browser, path, viewport=PHONE) as page:
        until(page, f"{TITLE} === 'image 0'")
        page.locator("#explorer-next").click()
        assert overflow(page) == 0


def serious(found: dict[str, Any]) -> list[Any]:
    return [
        (one["id"], [node["target"] for node in one["nodes"]])
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize(
    ("viewport", "scheme"), [(DESKTOP, "light"), (PHONE, "dark")], ids=["light", "dark"]
)
def test_axe_finds_nothing_serious(
    browser: Any, report: Path, viewport: dict[str, int], scheme: str
) -> None:
    axe = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")
    with opened(browser, report, viewport=viewport, color_scheme=scheme) as page:
        ready(page)
        page.get_by_text("Methods shown:").click()
        page.locator("details").evaluate_all("all => all.forEach(one => { one.open = true; })")
        page.evaluate(axe)
        found = page.evaluate("axe.run(document)")
        assert len(found["passes"]) > 20
        assert serious(found) == []
        page.locator("#explorer-model").select_option("unmasked")
        unmasked_shown(page)
        found = page.evaluate("axe.run('#explorer')")
        assert len(found["passes"]) > 10
        assert serious(found) == []
        assert overflow(page) == 0
