"""Progress without a terminal: every stage once, and a line with an ETA now and then."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from camaudit import console as console_module
from camaudit.console import ConsoleProgress, methods_listing, metrics_listing
from camaudit.evaluation.options import CHECKS
from camaudit.methods import METHODS


def lines(*, seconds: float, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    monkeypatch.setattr(console_module, "_SECONDS_BETWEEN_LINES", seconds)
    stream = io.StringIO()
    with ConsoleProgress(Console(file=stream, width=60)) as progress:
        progress.stage("scorecam [1]")
        progress.start(4)
        for _ in range(4):
            progress.stage("scorecam [1]")
            progress.advance(1)
    return stream.getvalue().splitlines()


def test_a_stage_is_printed_once_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert lines(seconds=3600, monkeypatch=monkeypatch) == ["scorecam [1]"]


def test_lines_tell_the_share_done_and_an_eta(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = lines(seconds=0, monkeypatch=monkeypatch)
    assert [line for line in shown if "50 % done, ETA" in line]
    assert "100 % done" in shown[-1]


def test_the_eta_of_a_part_forgets_the_time_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console_module, "_SECONDS_BETWEEN_LINES", 0)
    stream, clock = io.StringIO(), [0.0]
    with ConsoleProgress(Console(file=stream, width=60)) as progress:
        progress._bar.get_time = progress._bar.tasks[0]._get_time = lambda: clock[0]
        progress.start(10)
        clock[0] = 1000.0
        progress.advance(10)
        progress.start(4)
        clock[0] = 1010.0
        progress.advance(1)
    assert stream.getvalue().splitlines()[-1].endswith("25 % done, ETA 30 s")


def test_a_terminal_gets_a_bar() -> None:
    stream = io.StringIO()
    with ConsoleProgress(Console(file=stream, force_terminal=True, width=100)) as progress:
        progress.start(2)
        progress.stage("gradcam, or [/what a server says]")
        progress.advance(1)
    assert "gradcam, or [/what a server says]" in stream.getvalue()
    assert "ETA" in stream.getvalue()


def test_the_listing_has_a_paragraph_a_method() -> None:
    assert len(methods_listing().split("\n\n")) == len(METHODS) + 1


def test_the_metrics_have_a_paragraph_a_check_and_one_of_protocols() -> None:
    parts = [part.split("\n")[0] for part in metrics_listing().split("\n\n")]
    assert parts[1:-1] == list(CHECKS)
    assert parts[-1].startswith("protocols")
