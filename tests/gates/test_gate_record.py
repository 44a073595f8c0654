"""gate.json against its schema, and the view that every output prints."""

from __future__ import annotations

import copy
import dataclasses
import json
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from jsonschema import Draft202012Validator, ValidationError

from camaudit.errors import AuditError
from camaudit.gates.verdict import Decision, Verdict
from camaudit.report.gate import gate_view
from camaudit.schema import gate_schema, results_schema
from tests.gates.drawn import verdicts
from tests.gates.verdicts import VERDICTS, failed, inconclusive, passed, verdict, waiver
from tests.theory_results import make_theory_results

SCHEMA = gate_schema()
VALIDATOR = Draft202012Validator(SCHEMA)


@pytest.mark.parametrize("name", VERDICTS)
def test_every_example_has_its_exit_code_and_fits_the_schema(name: str) -> None:
    found, code = VERDICTS[name]
    record = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    VALIDATOR.validate(record)
    assert record == found.to_dict()
    assert (record["exit_code"], found.exit_code) == (code, code)
    assert sum(record["counts"].values()) == len(found.rulings)
    binding = [ruling.name for ruling in found.binding]
    assert [entry["name"] for entry in record["rulings"] if entry["binds"]] == binding


@given(found=verdicts())
@settings(max_examples=60, deadline=None)
def test_any_verdict_fits_the_schema(found: Verdict) -> None:
    VALIDATOR.validate(found.to_dict())


def test_the_schema_knows_every_decision_and_every_field() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    assert set(SCHEMA["properties"]["decision"]["enum"]) == {one.value for one in Decision}
    record = VERDICTS["everything"][0].to_dict()
    ruling = next(entry for entry in record["rulings"] if entry["waiver"])
    assert set(record) == set(SCHEMA["properties"]) == set(SCHEMA["required"])
    assert set(ruling) == set(SCHEMA["$defs"]["ruling"]["properties"])
    assert list(_undescribed(SCHEMA)) == []


def _undescribed(schema: dict[str, Any]) -> Iterator[str]:
    for name, entry in schema.get("properties", {}).items():
        if "description" not in entry:
            yield name
        yield from _undescribed(entry)
    for entry in schema.get("$defs", {}).values():
        yield from _undescribed(entry)


def _pass_without_rulings(record: dict[str, Any]) -> None:
    record["rulings"] = []


def _pass_with_a_problem(record: dict[str, Any]) -> None:
    record["problems"] = ["wrong model"]


def _pass_of_what_is_open(record: dict[str, Any]) -> None:
    record["rulings"][1]["decision"] = "inconclusive"


def _pass_that_does_not_bind(record: dict[str, Any]) -> None:
    for entry in record["rulings"]:
        entry["binds"] = False


def _another_exit_code(record: dict[str, Any]) -> None:
    record["exit_code"] = 4


def _failure_that_exits_0(record: dict[str, Any]) -> None:
    record["decision"] = "fail"


def _pass_without_a_figure(record: dict[str, Any]) -> None:
    record["rulings"][0]["value"] = None


def _pass_on_no_image(record: dict[str, Any]) -> None:
    record["rulings"][0]["n"] = 0


def _unknown_field(record: dict[str, Any]) -> None:
    record["rulings"][0]["passed"] = True


def _missing_field(record: dict[str, Any]) -> None:
    del record["rulings"][0]["p_pass"]


@pytest.mark.parametrize(
    "bend",
    [
        _pass_without_rulings, _pass_with_a_problem, _pass_of_what_is_open,
        _pass_that_does_not_bind, _another_exit_code, _failure_that_exits_0,
        _pass_without_a_figure, _pass_on_no_image, _unknown_field, _missing_field,
    ],
)  # fmt: skip
def test_a_bent_record_is_refused(bend: Callable[[dict[str, Any]], None]) -> None:
    record = copy.deepcopy(VERDICTS["pass"][0].to_dict())
    VALIDATOR.validate(record)
    bend(record)
    with pytest.raises(ValidationError):
        VALIDATOR.validate(record)


@pytest.mark.parametrize("field", ["value", "low", "high", "bound", "p_pass"])
@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_a_verdict_on_nan_is_no_verdict(field: str, number: float) -> None:
    with pytest.raises(AuditError, match=rf"dead-zone\[hirescam\], {field} is .*finite"):
        verdict(passed(**{field: number})).to_dict()


def test_worst_image_of_nan_is_refused_too() -> None:
    with pytest.raises(AuditError, match="worst"):
        verdict(failed(worst=(("cat", math.nan),))).to_dict()


def test_results_carry_the_gate_where_there_was_one() -> None:
    results = make_theory_results()
    validator = Draft202012Validator(results_schema())
    assert "gate" not in results.to_dict()
    gated = dataclasses.replace(results, gate=VERDICTS["everything"][0].to_dict())
    plain = json.loads(json.dumps(gated.to_dict(), allow_nan=False))
    validator.validate(plain)
    plain["gate"]["exit_code"] = 0
    with pytest.raises(ValidationError):
        validator.validate(plain)


@given(found=verdicts())
@settings(max_examples=60, deadline=None)
def test_only_a_pass_is_said_to_pass(found: Verdict) -> None:
    view = gate_view(found.to_dict())
    assert view.headline.startswith("The gate passes") == (found.exit_code == 0)
    assert (view.verdict.kind.value == "pass") == (found.exit_code == 0)
    assert len(view.rows) == len(found.rulings)
    gravest = [row.decision != "pass" for row in view.binding]
    assert gravest == sorted(gravest, reverse=True)


@pytest.mark.parametrize(
    ("name", "headline"),
    [
        ("pass", "The gate passes: all 2 rulings pass."),
        ("one pass", "The gate passes: its one ruling passes."),
        ("fail, waived", "The gate passes: its one ruling that binds passes."),
        ("fail", "The gate fails: 1 of 3 rulings fails."),
        ("inconclusive", "The gate does not pass: 1 of 2 rulings could not be decided."),
        ("problem", "The gate does not pass: the audit itself went wrong."),
        ("all waived", "The gate does not pass: no ruling binds, so nothing was decided."),
        ("nothing", "The gate does not pass: no ruling binds, so nothing was decided."),
    ],
)
def test_headlines(name: str, headline: str) -> None:
    assert gate_view(VERDICTS[name][0].to_dict()).headline == headline


def test_rounding_never_moves_a_figure_across_its_bound() -> None:
    close = failed(value=0.0500012, low=0.0500001, high=0.0500023)
    (row,) = gate_view(verdict(close).to_dict()).rows
    assert row.measured == "0.0500012 [0.0500001 to 0.0500023]"
    assert row.demanded == "dead_zone.mu_l1 ≤ 0.05"


def test_a_row_says_what_an_open_ruling_needs() -> None:
    (row,) = gate_view(verdict(inconclusive(waiver=waiver())).to_dict()).rows
    assert row.status == "inconclusive, waived"
    assert row.demand == "≤ baseline × 1.1 + 0.01 (0.0551)"
    assert "About 140 more images would decide." in row.details
    assert row.excuse == "Waived until 2030-12-31: the new layer is trained next week."
