"""The metrics on a terminal: methods by metrics, nothing cut off at 80 columns."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from camaudit.console import print_table
from camaudit.report.metrics_terminal import metrics_tables
from camaudit.types import Results
from tests.metric_results import make_metric_results, make_metrics, make_protocol


def printed(results: Results, width: int) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width)
    for table in metrics_tables(results, width=width):
        console.print(table)
    return stream.getvalue()


def row(text: str, method: str) -> list[str]:
    return next(line.split() for line in text.splitlines() if line.startswith(method + " "))


def test_means_stand_beneath_their_metric_with_its_arrow() -> None:
    metrics = make_metrics(checks=("insertion-deletion",))
    text = printed(make_metric_results(metrics=metrics), 80)
    means = {(one["metric"], one["method"]): one["mean"]["mean"] for one in metrics["rows"]}
    cells = row(text, "gradcam")
    assert [float(cell) for cell in cells[1:]] == pytest.approx(
        [means[name, "gradcam"] for name in ("insertion-auc", "deletion-auc")], rel=5e-3
    )
    assert all(cell.endswith("*") for cell in row(text, "scorecam")[1:])
    assert row(text, "cam")[1:] == ["–", "–"]
    assert [line.split() for line in text.splitlines() if line.split()[:1] == ["method"]] == [
        ["method", "↑", "↓"]
    ]
    words = " ".join(text.split())
    assert "2 of 2 metrics show one method to be best on these images." in words
    assert "scorecam (2 not run)" in words
    assert "uniform (12 constant map)" in words


@pytest.mark.parametrize("width", [80, 100, 160])
def test_lines_fit_and_nothing_is_cut(width: int) -> None:
    results = make_metric_results(protocol=make_protocol())
    text = printed(results, width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text
    assert "gradcam++ " in text
    heads = sum(line.split()[:1] == ["method"] for line in text.splitlines())
    assert heads == {80: 2, 100: 2, 160: 1}[width]


def test_win_has_a_column_for_each_group_of_rivals() -> None:
    metrics = make_metrics(
        checks=("confidence",), rivals=[("gradcam", "scorecam"), ("layercam", "eigencam", "cam")]
    )
    text = printed(make_metric_results(metrics=metrics), 100)
    assert next(line.split() for line in text.splitlines() if "of 2" in line)[-4:] == [
        "of", "2", "of", "3",
    ]  # fmt: skip
    assert row(text, "gradcam")[-1] == "–"
    assert row(text, "layercam")[-2] == "–"


def test_claims_are_counted_by_table() -> None:
    protocol = make_protocol("scorecam++:main,logit")
    text = printed(make_metric_results(metrics={}, protocol=protocol), 120)
    for table in protocol["tables"]:
        line = next(line for line in text.splitlines() if line.startswith(table["title"]))
        counted = [int(word) for word in line.removeprefix(table["title"]).split()]
        verdicts = [claim["verdict"] for claim in table["claims"]]
        assert counted == [
            verdicts.count(word)
            for word in ("holds", "reversed", "inconclusive", "no difference", "not applicable")
        ]


def test_one_method_and_nothing_at_all() -> None:
    alone = make_metrics(methods=("gradcam",), checks=("adcc",))
    assert "No method was compared" in printed(make_metric_results(metrics=alone), 80)
    assert metrics_tables(make_metric_results(metrics={})) == []


def test_hostile_names_are_printed_as_they_are(poisoned: Callable[[Any], Any]) -> None:
    text = printed(poisoned(make_metric_results(protocol=make_protocol("walls"))), 200)
    assert "[red]" in text.replace("\n", "")
    assert not set("\x00\x1b\u202e") & set(text)


def test_the_console_prints_the_zone_only_where_there_is_one(
    capsys: pytest.CaptureFixture[str], build: Callable[..., Results]
) -> None:
    metrics = make_metrics(checks=("adcc",))
    print_table(make_metric_results(metrics=metrics))
    alone = capsys.readouterr().out
    assert "dead zone" not in alone
    assert "Coherency" in alone
    print_table(build(metrics=metrics))
    both = capsys.readouterr().out
    assert both.index("Share of the map in the dead zone") < both.index("Coherency")
    print_table(build())
    assert "Coherency" not in capsys.readouterr().out
