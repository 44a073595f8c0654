"""The terminal table at the widths that terminals have."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from camaudit.report.table import terminal_table
from camaudit.types import Results


def printed(results: Results, width: int) -> str:
    file = io.StringIO()
    Console(file=file, width=width, color_system=None).print(terminal_table(results, width=width))
    return file.getvalue()


@pytest.mark.parametrize("width", [80, 100, 140])
def test_every_figure_is_whole(results: Results, width: int) -> None:
    text = printed(results, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    for name in ("eigencam", "ablationcam", "elementwise", "scorecam++", "uniform"):
        assert any(line.startswith(name) for line in text.splitlines())
    for figure in ("0 (exact)", "undefined", "<0.1 %", "not run", "controls"):
        assert figure in text
    assert "A uniform map scores 35.7 % (L1) and 59.8 % (L2)." in text
    assert "Top-1 accuracy on 400 images: 79.0 % with the wall, 88.0 % without" in text
    assert "Without a figure: cam (6 not applicable), broken (6 failed)." in text


@pytest.mark.parametrize(("width", "lines"), [(80, 2), (100, 1)])
def test_intervals_move_beneath_on_narrow_terminals(
    results: Results, width: int, lines: int
) -> None:
    text = printed(results, width).splitlines()
    start = next(number for number, line in enumerate(text) if line.startswith("eigencam"))
    following = next(number for number, line in enumerate(text) if line.startswith("scorecam "))
    assert following - start == lines


def test_controls_stand_apart(results: Results) -> None:
    text = printed(results, 100)
    assert text.index("broken ") < text.index("controls") < text.index("sobel")


def test_names_are_literal(hostile_results: Results) -> None:
    text = printed(hostile_results, 200)
    assert "[red]" in text
    for character in ("\x1b", "\x00", "\u202e", "\ud800"):
        assert character not in text


def test_unverified_zone_is_said(results: Results) -> None:
    results.provenance.zone["verified"] = False
    assert "The dead zone is not verified." in printed(results, 100)
