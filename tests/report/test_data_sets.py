"""The table by data set, on the page and in the terminal: one cell a figure, none made up."""

from __future__ import annotations

import dataclasses
import io
import re
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from camaudit import console as console_module
from camaudit.report.data_sets import data_tables, data_view
from camaudit.report.figures import spread
from camaudit.report.gallery import GalleryImage
from camaudit.report.html import render
from camaudit.types import DataSummary, Interval, Results, Summary
from tests.report.page import Page

HEADINGS = ["masked L1", "masked L2", "unmasked L1", "unmasked L2"]


def interval(mean: float | None, std: float | None = None, n: int = 5) -> Interval:
    return Interval(0 if mean is None else n, mean, None, None, std)


def row(
    method: str, l1: Interval, l2: Interval, twin: Interval | None = None,
    twin_l2: Interval | None = None, family: str = "gradient",
) -> Summary:  # fmt: skip
    return Summary(
        "dead-zone", method, family, l1.n, 5 - l1.n, 0, 0, l1, l2, l1, 0.25, 0.5, twin, twin_l2,
        None,
    )  # fmt: skip


ZERO, NONE = interval(0.0, 0.0), interval(None)
FLAT = (interval(0.25, 3e-17), interval(0.5, 0.0))
SUMMARY = [
    row("gradcam", interval(0.169, 0.071), interval(0.35, 0.101), interval(0.2, 0.05), ZERO),
    row("hirescam", ZERO, ZERO, interval(0.3, 0.0123), interval(0.0004, 0.0002)),
    row("cam", NONE, NONE, NONE, NONE),
    row("scorecam(score=probability)", interval(0.5, None, 1), interval(0.9999, 0.00004)),
    row("uniform", *FLAT, *FLAT, family="control"),
]
CELLS = {
    "GradCAM": ["16.9 ± 7.1 %", "35.0 ± 10.1 %", "20.0 ± 5.0 %", "0 (exact)"],
    "HiResCAM": ["0 (exact)", "0 (exact)", "30.0 ± 1.2 %", "<0.1 ± <0.1 %"],
    "CAM": ["undefined"] * 4,
    "scorecam(score=probability)": ["50.0 %", ">99.9 ± <0.1 %", "not run", "not run"],
    "Uniform": ["25.0 %", "50.0 %", "25.0 %", "50.0 %"],
}


def data(kind: str | None, name: str | None = None, **changes: Any) -> DataSummary:
    fields: dict[str, Any] = {
        "name": name or kind, "folder": f"datasets/{name or kind}", "kind": kind,
        "sha256": "ab" * 32 if kind else None, "images": 5, "summary": SUMMARY, **changes,
    }  # fmt: skip
    return DataSummary(**fields)


MIX, GEN, PLAIN = data("stack-mix"), data("stack-gen", images=1), data(None, "holiday")


@pytest.fixture
def several(build: Callable[..., Results]) -> Callable[..., Results]:
    """Results with the data sets that are given."""
    return lambda *sets: build(data=list(sets))


Several = Callable[..., Results]


def table_rows(page: Page) -> list[list[str]]:
    """The rows of the table by data set."""
    start = next(
        number for number, cells in enumerate(page.rows)
        if cells[0] == "Method" and "image" in " ".join(cells[1:])
    )  # fmt: skip
    found = page.rows[start:]
    size = 2 + len(SUMMARY)
    return [[re.sub(r"\s+", " ", cell).strip() for cell in cells] for cells in found[:size]]


# ------------------------------------------------------------------------------ the view


def test_without_data_sets_there_is_no_table(results: Results, gallery: list[GalleryImage]) -> None:
    assert data_view(results) is None
    assert data_tables(results) == []
    page = Page(render(results, gallery))
    assert not page.having("class", "by-data")
    assert "By data set" not in page.text


def test_a_column_is_headed_by_what_it_holds(several: Several) -> None:
    cases = (
        ((MIX, GEN, PLAIN), ["STACK-MIX", "STACK-GEN", "holiday"]),
        # two of one kind are told apart by their folders
        ((data("stack-mix", "a"), data("stack-mix", "b")), ["a", "b"]),
        # a folder of any photographs may have any name
        ((data(None, "stack-mix"),), ["stack-mix"]),
    )
    for sets, wanted in cases:
        view = data_view(several(*sets))
        assert view is not None
        assert [column.name for column in view.sets] == wanted
    view = data_view(several(MIX, GEN))
    assert view is not None
    assert [column.note for column in view.sets] == ["5 images", "1 image"]


def test_a_method_that_a_set_lacks_is_not_run(several: Several) -> None:
    view = data_view(several(MIX, data("stack-gen", summary=SUMMARY[:1])))
    assert view is not None
    assert [line.cells[1] for line in view.rows[1:]] == [("not run",) * 4] * 4
    assert view.uniform == "25.0 % (L1) and 50.0 % (L2)"
    empty = data_view(several(data("stack-mix", summary=[])))
    assert empty is not None
    assert (empty.rows, empty.uniform) == ((), "undefined")


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (interval(None), "undefined"),
        (interval(float("nan"), 0.1), "undefined"),
        (interval(0.0, 0.0), "0 (exact)"),
        (interval(0.0, None, 1), "0 (exact)"),
        (interval(0.2, float("nan")), "20.0 %"),
        (interval(0.2, 1e-12), "20.0 %"),
        (interval(0.2, 1e-4), "20.0 ± <0.1 %"),
        (interval(1e-5, 1e-5), "<0.1 ± <0.1 %"),
        (interval(1.0, 0.0), "100.0 %"),
    ],
)
def test_a_cell_says_what_is_known(value: Interval, shown: str) -> None:
    assert spread(value) == shown


# ------------------------------------------------------------------------------ the page


def test_the_page_has_a_row_a_method_and_four_cells_a_set(several: Several) -> None:
    page = Page(render(several(MIX, GEN), []))
    head, second, *body = table_rows(page)
    assert head == ["Method", "STACK-MIX, 5 images", "STACK-GEN, 1 image"]
    assert second == HEADINGS * 2
    assert body == [[name, *cells, *cells] for name, cells in CELLS.items()]
    (table,) = page.having("class", "by-data")
    identifiers = [found["id"] for _, found in page.tags if "id" in found]
    assert identifiers.count(table["aria-labelledby"]) == 1
    assert [found["colspan"] for found in page.having("scope", "colgroup")] == ["4", "4"]
    assert len(page.having("rowspan", "2")) == 1
    assert all(found.get("scope") for tag, found in page.tags if tag == "th")
    assert (
        "as in Table 1 of the walls paper. A uniform map scores 25.0 % (L1) and 50.0 % (L2)."
        in (page.text.replace("\xa0", " "))
    )


def test_control_rows_are_marked(several: Several) -> None:
    text = render(several(MIX), [])
    table = text[text.index("by-data") : text.index("</table>", text.index("by-data"))]
    assert table.count('<tr class="control">') == 1
    assert '<tr class="control">\n      <th scope="row"><bdi>Uniform</bdi>' in table


def test_names_on_the_page_stay_text(
    several: Several, poisoned: Callable[[Any], Any], build: Callable[..., Results]
) -> None:
    name = '<img src=x onerror="alert(1)">&amp;{{ 7 * 7 }}</th><script>'
    page = Page(render(several(data(None, name)), []))
    assert table_rows(page)[0][1] == f"{name}, 5 images"
    honest = Page(render(several(MIX, PLAIN), []))
    hostile = Page(render(poisoned(build(data=[MIX, PLAIN])), []))
    for found in (page, hostile):
        assert found.raw == honest.raw
        assert {tag for tag, _ in found.tags} == {tag for tag, _ in honest.tags}
    assert "\x1b" not in "".join(hostile.words)


# ------------------------------------------------------------------------------ the terminal


def printed(results: Results, width: int) -> list[str]:
    """The text of every table, by itself."""
    texts = []
    for table in data_tables(results, width=width):
        file = io.StringIO()
        Console(file=file, width=width, color_system=None).print(table)
        texts.append(file.getvalue())
    return texts


@pytest.mark.parametrize(
    ("sets", "width", "tables"),
    [
        ((MIX,), 80, 1),
        ((MIX, GEN), 80, 2),
        ((MIX, GEN), 141, 2),
        ((MIX, GEN), 142, 1),
        ((MIX, GEN, PLAIN), 142, 3),
        ((MIX, GEN, PLAIN), 202, 1),
    ],
)
def test_sets_share_a_table_where_they_fit(
    several: Several, sets: tuple[DataSummary, ...], width: int, tables: int
) -> None:
    texts = printed(several(*sets), width)
    assert len(texts) == tables
    for place, text in enumerate(texts):
        lines = text.splitlines()
        assert max(map(len, lines)) <= width
        assert "…" not in text
        shown = sets if tables == 1 else sets[place : place + 1]
        title = "; ".join(
            f"{name}, {one.images} image{'s' * (one.images > 1)}"
            for one in shown
            for name in [
                {"stack-mix": "STACK-MIX", "stack-gen": "STACK-GEN"}.get(one.name, one.name)
            ]
        )
        assert title in re.sub(r"\s+", " ", text)
        assert "A uniform map scores 25.0 % (L1) and 50.0 % (L2)." in text
        for entry, cells in zip(SUMMARY, CELLS.values(), strict=True):
            if "(" not in entry.method:  # a long name may take several lines
                (line,) = [line for line in lines if line.startswith(f"{entry.method} ")]
                assert re.sub(r"\s+", " ", line).strip() == " ".join(
                    [entry.method, *cells * len(shown)]
                )
        assert text.count("undefined") == 4 * len(shown)


def test_long_names_of_sets_and_methods_cut_no_figure(several: Several) -> None:
    long = data(None, "a-folder-with-a-very-long-name/" * 3)
    for width in (80, 142, 200):
        texts = printed(several(MIX, long), width)
        assert len(texts) == 2
        for text in texts:
            assert "…" not in text
            assert max(map(len, text.splitlines())) <= width
            for cell in {cell for cells in CELLS.values() for cell in cells}:
                assert cell in text


def test_terminal_names_are_literal(several: Several) -> None:
    (text,) = printed(several(data(None, "[red]\x1b[31m")), 80)
    assert "[red]\ufffd[31m, 5 images" in text


@pytest.mark.parametrize("columns", ["40", "80"])
def test_they_are_printed_after_the_main_table(
    columns: str, several: Several, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("COLUMNS", columns)
    console_module.print_table(several(MIX, GEN))
    out = capsys.readouterr().out
    places = [out.index(text) for text in ("Share of the map", "STACK-MIX, 5", "STACK-GEN, 1")]
    assert places == sorted(places)
    assert max(map(len, out.splitlines())) <= 80
    console_module.print_table(dataclasses.replace(several(MIX), data=[]))
    assert "STACK" not in capsys.readouterr().out
