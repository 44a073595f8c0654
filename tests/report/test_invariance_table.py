"""The invariance check on a terminal: a line an explainer, nothing cut off at 80 columns."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console

from camaudit.console import print_table
from camaudit.report.invariance_table import invariance_tables
from camaudit.types import Results
from tests.invariance_results import make_invariance, make_invariance_results
from tests.sanity_results import make_sanity


def printed(results: Results, width: int = 80) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=width)
    for table in invariance_tables(results):
        console.print(table)
    return stream.getvalue()


def row(text: str, name: str) -> list[str]:
    return next(line.split() for line in text.splitlines() if line.startswith(name + " "))


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("gradcam", ["25+18", "–", "–", "–", "–", "–", "–", "1430"]),
        ("gradcam++", ["22+15", "3+3", "–", "–", "–", "–", "–", "1430"]),
        ("scorecam", ["20+14", "4+3", "0+1", "–", "–", "1", "–", "1380"]),
        ("cam", ["25+1", "–", "–", "–", "–", "–", "0+17", "1260"]),
        ("mine", ["23+17", "–", "–", "2+1", "–", "–", "–", "1335"]),
        ("broken", ["–", "–", "–", "–", "25+18", "–", "–", "0"]),
    ],
)
def test_counts_are_those_of_the_findings(name: str, cells: list[str]) -> None:
    assert row(printed(make_invariance_results()), name)[1:] == cells


def test_without_an_audited_model_there_are_plain_counts() -> None:
    text = printed(make_invariance_results(invariance=make_invariance(own=False)))
    assert row(text, "gradcam++")[1:3] == ["22", "3"]
    assert "on the audited model" not in text


def test_every_bug_stands_beneath_with_property_message_and_file() -> None:
    text = printed(make_invariance_results(), 120)
    beneath = text[text.index("Bugs and faults") :]
    lines = [line.split() for line in beneath.splitlines() if line.startswith("mine  ")]
    assert [line[:3] for line in lines[:3]] == [
        ["mine", "BUG", "batch-order"], ["mine", "BUG", "hygiene"], ["mine", "BUG", "batch-order"],
    ]  # fmt: skip
    for words in ("differs by 0.313, allowed 1e-06", "a hook is left on layer 'trunk'",
                  "saved as counterexamples/mine-batch-order-5f1c.json", "on the audited model",
                  "FAULT", "25 properties", "RuntimeError: The size of tensor a (2)"):  # fmt: skip
        assert words in beneath, words


def test_a_bug_goes_by_the_name_of_the_first_table() -> None:
    invariance = make_invariance(methods=("gradcam",), foreign=(), conformance=False)
    invariance["findings"][0] |= {
        "outcome": "bug",
        "counterexample": {"message": "off", "difference": 1.0, "trace": None, "code": None,
                           "file": None},
    }  # fmt: skip
    text = printed(make_invariance_results(invariance=invariance))
    assert row(text[text.index("Bugs") :], "gradcam")[1:4] == ["BUG", "logit-scale", "off"]
    assert "GradCAM has a bug." in text


def test_comparisons_have_a_line_each() -> None:
    text = printed(make_invariance_results())
    compared = text[text.index("Conformance") :]
    assert row(compared, "mine") == ["mine", "gradcam", "drawn", "different", "0.812", "0.41", "50"]
    assert "min-max to 0…1" in compared
    assert compared.index("1 of 12 explainers has a bug.") > compared.index("twin")
    assert "559 findings" in compared


def test_a_run_without_bugs_or_claims_is_one_table() -> None:
    invariance = make_invariance(methods=("gradcam", "hirescam"), foreign=())
    tables = invariance_tables(make_invariance_results(invariance=invariance))
    assert len(tables) == 1
    text = printed(make_invariance_results(invariance=invariance))
    assert "No bug found in 2 explainers." in text
    compared = make_invariance() | {"findings": []}
    (only,) = invariance_tables(make_invariance_results(invariance=compared))
    assert "Conformance" in str(only.title)
    assert invariance_tables(make_invariance_results(invariance={})) == []


@pytest.mark.parametrize("width", [80, 100, 160])
def test_lines_fit(width: int) -> None:
    long = [{"name": "package.module.submodule:explain_with_options", "claims": "gradcam",
             "kind": "callable", "note": None}]  # fmt: skip
    for results in (
        make_invariance_results(),
        make_invariance_results(invariance=make_invariance(foreign=long, conformance=False)),
    ):
        text = printed(results, width)
        assert max(map(len, text.splitlines())) <= width
        assert "…\n" not in text


def test_hostile_names_are_printed_as_they_are(poisoned: Callable[[Any], Any]) -> None:
    text = printed(poisoned(make_invariance_results()), 300)
    assert "[red]" in text.replace("\n", "")
    assert not set("\x00\x1b\u202e") & set(text)


def test_the_console_prints_the_zone_only_where_there_is_one(
    capsys: pytest.CaptureFixture[str], results: Results, build: Callable[..., Results]
) -> None:
    print_table(make_invariance_results())
    alone = capsys.readouterr().out
    assert "dead zone" not in alone
    assert alone.startswith("Invariance")
    sanity = make_sanity(checks=("mprt",), orders=("top-down",), seeds=(0, 1))
    print_table(build(sanity=sanity, invariance=make_invariance()))
    every = capsys.readouterr().out
    titles = ("Share of the map in the dead zone", "Model parameter", "Invariance", "Conformance")
    places = [every.index(words) for words in titles]
    assert places == sorted(places)
    print_table(results)
    assert "Invariance" not in capsys.readouterr().out
