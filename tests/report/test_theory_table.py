"""The theory on the terminal: outcomes first, everything literal, at the widths terminals have."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import pytest
from rich.console import Console
from rich.table import Table

from camaudit.report.theory_tables import claims_table, mu_tables
from camaudit.types import ClaimOutcome
from tests.theory_results import CLAIMS, claim, make_theory_results


def printed(*tables: Table, width: int = 100) -> str:
    file = io.StringIO()
    console = Console(file=file, width=width, color_system=None)
    for table in tables:
        console.print(table)
    return file.getvalue()


@pytest.mark.parametrize("width", [80, 100, 140])
def test_claims(width: int) -> None:
    results = make_theory_results(claims=[*CLAIMS, *map(claim, ClaimOutcome)])
    text = printed(claims_table(results), width=width)
    assert max(map(len, text.splitlines())) <= width
    assert "…" not in text.replace("1 … 4", "").replace("1 …", "")
    for outcome in ClaimOutcome:
        assert any(line.startswith(outcome.value.upper() + " ") for line in text.splitlines())
    assert "3.1 × 10⁻¹⁶ ≤ 10⁻¹²" in text
    assert "1 of 11 claims that apply fails." in text
    assert text.count("Why it is so.") == 4


def test_no_claims() -> None:
    assert "No verdict." in printed(claims_table(make_theory_results(claims=[])))


@pytest.mark.parametrize("width", [80, 120])
def test_networks(width: int) -> None:
    tables = mu_tables(make_theory_results(), width=width)
    assert len(tables) == 4
    text = printed(*tables, width=width)
    assert max(map(len, text.splitlines())) <= width
    for word in ("Simple CNN", "resnet18", "vgg16", "efficientnet_b0", "0 (exact)", "undefined",
                 "not run", "controls", "A uniform map scores 42.9 %.", "draws 200; images 3",
                 "The logits hardly depend on the image.", "49.0 %"):  # fmt: skip
        assert word in text
    assert ("49.0 % [47.0–51.0]" in text) == (width >= 100)
    assert text.index("scorecam ") < text.index("controls") < text.index("random ")


def test_nothing_measured() -> None:
    assert mu_tables(make_theory_results(theory={}, summary=[])) == []


def test_names_are_literal(poisoned: Callable[[Any], Any]) -> None:
    results = poisoned(make_theory_results(claims=[claim(one) for one in ClaimOutcome]))
    text = printed(claims_table(results), *mu_tables(results), width=300)
    assert "[red]" in text
    for character in ("\x1b", "\x00", "\u202e", "\ud800"):
        assert character not in text


def test_nothing_is_printed_by_itself(capsys: pytest.CaptureFixture[str]) -> None:
    claims_table(make_theory_results())
    mu_tables(make_theory_results())
    assert capsys.readouterr() == ("", "")
