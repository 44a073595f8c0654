"""The sanity checks on a terminal: one table a check, nothing cut off at 80 columns."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from camaudit.console import print_table
from camaudit.report.sanity_table import sanity_tables
from camaudit.types import Results
from tests.sanity_results import make_sanity, make_sanity_results


def printed(results: Results, width: int) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width)
    for table in sanity_tables(results, width=width):
        console.print(table)
    return stream.getvalue()


def row(text: str, method: str) -> list[str]:
    return next(line.split() for line in text.splitlines() if line.startswith(method + " "))


def test_a_table_a_check_in_the_order_of_the_run() -> None:
    text = printed(make_sanity_results(), 80)
    titles = [line.strip() for line in text.splitlines() if line.strip().endswith(")")
              or line.strip() in ("Random logit", "Data randomisation")]  # fmt: skip
    assert [found for found in titles if found[0].isupper()] == [
        "Model parameter randomisation (MPRT)", "Smooth MPRT (sMPRT)", "Efficient MPRT (eMPRT)",
        "Random logit", "Data randomisation",
    ]  # fmt: skip
    assert "1 of 5 methods fails a sanity check. 7 verdicts: 3 pass" in text


def test_figures_are_those_of_the_last_step() -> None:
    sanity = make_sanity(checks=("mprt",), orders=("independent", "top-down"))
    results = make_sanity_results(sanity=sanity)
    effect = next(
        one
        for one in sanity["effects"]
        if one["order"] == "top-down"
        and (one["method"], one["figure"], one["step"]) == ("fullgrad", "spearman", 8)
    )
    text = printed(results, 80)
    assert "from the logits down, last step: features.0" in text
    cells = row(text, "fullgrad")
    assert [float(cells[place].replace("−", "-")) for place in (1, 2, 3)] == pytest.approx(
        [effect[name]["mean"] for name in ("similarity", "null", "distance")], abs=5e-4
    )
    assert cells[-1] == "FAIL"
    ends = text.splitlines()[
        next(n for n, line in enumerate(text.splitlines()) if line.startswith("fullgrad")) + 1
    ]
    low, high = (f"{effect['similarity'][end]:.3f}" for end in ("ci_low", "ci_high"))
    assert f"{low}, {high}" in ends


@pytest.mark.parametrize(
    ("method", "word"),
    [("gradcam", "PASS"), ("eigencam", "INCONCLUSIVE"), ("fullgrad", "FAIL"), ("broken", "ERROR"),
     ("sobel", "FAIL"), ("uniform", "–")],
)  # fmt: skip
def test_verdicts_are_whole_words(method: str, word: str) -> None:
    sanity = make_sanity(checks=("mprt",), orders=("top-down",))
    for width in (80, 100, 140):
        assert row(printed(make_sanity_results(sanity=sanity), width), method)[-1] == word


def test_cells_without_a_score_say_why() -> None:
    text = printed(make_sanity_results(), 80)
    assert row(text, "broken")[1:5] == ["error", "–", "–", "–"]
    assert row(text, "uniform")[1] == "undefined"
    logit = text[text.index("Random logit") :]
    assert row(logit, "eigencam")[1:5] == ["unchanged"] * 4
    assert row(logit, "eigencam")[-1] == "NOT"
    alone = make_sanity(checks=("mprt",), orders=("independent",))
    assert row(printed(make_sanity_results(sanity=alone), 80), "eigencam")[1] == "unchanged"


def test_lines_fit_and_wide_ones_hold_intervals() -> None:
    assert max(map(len, printed(make_sanity_results(), 80).splitlines())) <= 80
    wide = printed(make_sanity_results(), 120)
    assert max(map(len, wide.splitlines())) <= 120
    assert "[" in " ".join(row(wide, "gradcam"))
    assert "|Sp.|" in wide


def test_few_seeds_a_single_step_and_nothing_at_all() -> None:
    sanity = make_sanity(layers=("fc",), seeds=(0,), images=1)
    text = printed(make_sanity_results(sanity=sanity, claims=[]), 80)
    assert "last step: fc" in text
    assert "verdict:" not in text
    assert sanity_tables(make_sanity_results(sanity={}, claims=[])) == []


def test_hostile_names_are_printed_as_they_are(poisoned: Callable[[Any], Any]) -> None:
    text = printed(poisoned(make_sanity_results()), 200)
    assert "[red]" in text.replace("\n", "")
    assert not set("\x00\x1b\u202e") & set(text)


def test_the_console_prints_the_zone_only_where_there_is_one(
    capsys: pytest.CaptureFixture[str], results: Results, build: Callable[..., Results]
) -> None:
    sanity = make_sanity(checks=("mprt",), orders=("top-down",), seeds=(0, 1))
    print_table(make_sanity_results(sanity=sanity))
    alone = capsys.readouterr().out
    assert "dead zone" not in alone
    assert "Model parameter randomisation" in alone
    print_table(build(sanity=sanity))
    both = capsys.readouterr().out
    assert both.index("Share of the map in the dead zone") < both.index("Model parameter")
    print_table(results)
    assert "Model parameter" not in capsys.readouterr().out
