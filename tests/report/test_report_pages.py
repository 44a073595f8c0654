"""A report read again from its run's folder: the same, in one file or on pages."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from camaudit.errors import AuditError, UsageError
from camaudit.report.explorer import SIZES, embedded, fitted, script_json
from camaudit.report.figures import percent
from camaudit.report.html import render_theory
from camaudit.report.kept_maps import KeptMaps
from camaudit.report.pages import report_files
from camaudit.report.panels import unmasked_reason
from camaudit.report.reading import read_run, results_of
from camaudit.report.writing import write_pages, write_results
from camaudit.types import DeadZoneFigures, Results, Status
from tests.benchmarks.report import kept_run, many_results
from tests.report.conftest import HOSTILE
from tests.report.page import Page, digest
from tests.theory_results import make_theory_results

COUNT = 30


@pytest.fixture(scope="module")
def many() -> Results:
    return many_results(COUNT)


@pytest.fixture(scope="module")
def maps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KeptMaps]:
    with kept_run(COUNT, tmp_path_factory.mktemp("run"), methods=8) as found:
        yield found


def data(page: Page) -> tuple[dict[str, Any], list[Any]]:
    """The explorer's index and its parts."""
    found = [json.loads(text) for text in page.raw["script"] if text.startswith(("{", "["))]
    return found[0], found[1:]


def test_results_come_back_as_they_were(results: Results, tmp_path: Path) -> None:
    plain = json.loads(write_results(results, tmp_path).read_text())
    assert results_of(plain) == results
    run = read_run(tmp_path)
    assert (run.results, run.maps, run.note) == (results, None, "")
    assert read_run(tmp_path / "results.json").folder == tmp_path


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("{", AuditError, "cannot be read"),
        ("[]", AuditError, "has schema None"),
        ('{"schema": 2}', AuditError, "has schema 2, expected 1"),
        ('{"schema": 1}', AuditError, "not as its schema describes"),
    ],
)
def test_what_is_no_run_is_refused(
    tmp_path: Path, text: str, error: type[Exception], words: str
) -> None:
    (tmp_path / "results.json").write_text(text)
    with pytest.raises(error, match=words):
        read_run(tmp_path)


def test_folders_without_results_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UsageError, match=r"holds no results\.json"):
            read_run(path)


def test_one_file_carries_every_image(many: Results, maps: KeptMaps) -> None:
    files = report_files(many, maps.gallery(2), (), maps)
    assert list(files) == ["report.html"]
    page = Page(files["report.html"])
    index, parts = data(page)
    assert [image["id"] for image in index["images"]] == [f"image-{n}" for n in range(COUNT)]
    assert [len(part) for part in parts] == [20, 10]
    names = [method["name"] for method in index["methods"]]
    assert {"gradcam", "uniform", "broken"} <= set(names)
    record = next(r for r in many.records if (r.method, r.image) == ("gradcam", "image-3"))
    assert index["images"][3]["mu"][names.index("gradcam")] == pytest.approx(record.mu_l1, rel=1e-5)
    assert index["images"][3]["reasons"][str(names.index("broken"))].startswith("Failed: Runtime")
    assert index["images"][0]["reasons"][str(names.index("elementwise"))].startswith("Degenerate")
    scripts = [text for text in page.raw["script"] if not text.startswith(("{", "["))]
    assert page.policy()["script-src"].split() == [digest(text) for text in scripts]


def test_both_models_maps_and_figures_are_in_the_page(many: Results, maps: KeptMaps) -> None:
    page = Page(report_files(many, (), (), maps)["report.html"])
    index, parts = data(page)
    names = [method["name"] for method in index["methods"]]
    gradcam = names.index("gradcam")
    record = next(r for r in many.records if (r.method, r.image) == ("gradcam", "image-3"))
    assert record.unmasked is not None
    shown = index["images"][3]["unmasked"]
    assert shown["mu"][gradcam] == pytest.approx(record.unmasked.mu_l1, rel=1e-5)
    assert shown["text"][gradcam] == percent(record.unmasked.mu_l1)
    assert shown["reasons"][str(names.index("broken"))].startswith("Failed: Runtime")
    assert index["images"][0]["unmasked"]["reasons"][str(names.index("elementwise"))] == (
        "Degenerate: the map is zero everywhere or not finite"
    )
    kept = maps[3].unmasked["gradcam"]
    assert kept is not None
    height, width, text = parts[0][3]["unmasked"][gradcam]
    assert (height, width) == kept.levels.shape
    assert base64.b64decode(text) == kept.levels.tobytes()
    assert parts[0][3]["unmasked"][gradcam] != parts[0][3]["maps"][gradcam]
    assert parts[0][3]["unmasked"][names.index("broken")] is None
    assert page.having("id", "explorer-model")


def test_maps_that_look_the_same_are_carried_once(many: Results, tmp_path: Path) -> None:
    with kept_run(1, tmp_path) as all_methods:
        index, parts = data(Page(report_files(many, (), (), all_methods)["report.html"]))
    at = [method["name"] for method in index["methods"]].index("random")
    assert parts[0][0]["unmasked"][at] == "same"
    assert parts[0][0]["maps"][at][:2] == [56, 56]


def test_without_such_a_map_there_is_nothing_to_choose(many: Results, tmp_path: Path) -> None:
    with kept_run(2, tmp_path, methods=3, unmasked=False) as alone:
        page = Page(report_files(many, (), (), alone)["report.html"])
    index, parts = data(page)
    assert not index["unmasked"]
    assert all("unmasked" not in image for image in [*index["images"], *parts[0]])
    assert not page.having("id", "explorer-model")
    assert not page.having("id", "explorer-model-note")


@pytest.mark.parametrize(
    ("walled", "message", "twin", "expected"),
    [
        (Status.OK, None, Status.OK, ""),
        (Status.OK, None, None, "Not run on this image without the wall."),
        (Status.ERROR, "no logits", None, "Failed: no logits"),
        (Status.ERROR, "no logits", Status.OK, ""),
        (Status.OK, "on the unmasked twin: no hook", Status.ERROR,
         "Failed: on the unmasked twin: no hook"),
        (Status.ERROR, "no hook", Status.ERROR, "Failed: with the wall too: no hook"),
        (Status.ERROR, "no hook", Status.DEGENERATE,
         "Degenerate: the map is zero everywhere or not finite"),
        (Status.NOT_APPLICABLE, None, Status.NOT_APPLICABLE,
         "Not applicable: the method is not defined on this model"),
    ],
)  # fmt: skip
def test_why_there_is_no_map_without_the_wall(
    many: Results, walled: Status, message: str | None, twin: Status | None, expected: str
) -> None:
    other = None if twin is None else DeadZoneFigures(None, None, None, twin)
    record = dataclasses.replace(many.records[0], status=walled, message=message, unmasked=other)
    assert unmasked_reason(record) == expected
    assert unmasked_reason(None) == "Not run on this image."


def test_photographs_are_made_smaller_before_there_are_pages(many: Results, maps: KeptMaps) -> None:
    given = {"summary": many.summary, "records": many.records, "total": COUNT}
    sizes = [embedded(maps, **given, photos=photos).size for photos in SIZES]
    assert sizes == sorted(sizes, reverse=True)
    for photos, size in zip(SIZES, sizes, strict=True):
        found = fitted(maps, **given, room=size)
        assert found is not None
        assert found.size == size
        assert bool(found.note) == (photos is not None)
    assert fitted(maps, **given, room=sizes[-1] - 1) is None


def test_a_report_that_is_too_large_has_pages(
    many: Results, maps: KeptMaps, tmp_path: Path
) -> None:
    limit = 300_000
    files = report_files(many, maps.gallery(1), (), maps, limit=limit)
    first, *pages = files
    assert first == "report.html"
    assert len(pages) > 1
    found = []
    for name in pages:
        assert len(files[name].encode()) <= limit
        page = Page(files[name])
        found += [image["id"] for image in data(page)[0]["images"]]
        assert page.having("id", "explorer-model")
        assert {link["href"] for tag, link in page.tags if tag == "a"} >= {"../report.html"}
    assert found == [f"image-{number}" for number in range(COUNT)]
    links = {link["href"] for tag, link in Page(files[first]).tags if tag == "a"}
    assert set(pages) <= links
    written = write_pages(files, tmp_path)
    assert all(path.is_file() for path in written)
    write_pages({"report.html": "small"}, tmp_path)
    assert sorted((tmp_path / "report").iterdir()) == []


def test_nothing_in_the_data_can_leave_its_script_element() -> None:
    text = script_json({mark: [mark] for mark in HOSTILE})
    assert not re.search(r"[<>&\u2028\u2029]|[^\x20-\x7e]", text)
    assert json.loads(text) == {mark: [mark] for mark in HOSTILE}


def test_hostile_names_are_printable_in_the_index(
    hostile_results: Results, maps: KeptMaps, build: Callable[..., Results]
) -> None:
    given = {"records": hostile_results.records, "total": COUNT}
    index = json.loads(embedded(maps, hostile_results.summary, **given).index)
    titles = [method["title"] for method in index["methods"]]
    assert any("<script>" in title for title in titles)
    assert not any(mark in title for title in titles for mark in "\u202e\x1b\x00")
    plain = Page(report_files(build(), (), (), None)["report.html"])
    assert len(plain.raw["script"]) == 1


def test_runs_without_a_wall_have_no_explorer(many: Results, maps: KeptMaps) -> None:
    alone = dataclasses.replace(many, summary=[], records=[])
    page = Page(report_files(alone, (), (), maps)["report.html"])
    assert not page.having("id", "explorer")


def test_theory_results_have_their_own_page() -> None:
    theory = make_theory_results()
    assert report_files(theory) == {"report.html": render_theory(theory)}
    assert results_of(json.loads(json.dumps(theory.to_dict()))) == theory
