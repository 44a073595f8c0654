"""The invariance check in results.json against the schema: bent results are refused."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from camaudit.invariance import Fault, Outcome
from camaudit.report.invariance_cells import MARKS
from camaudit.schema import results_schema
from tests.invariance_results import make_invariance, make_invariance_results


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    return Draft202012Validator(results_schema())


def plain(**changes: Any) -> dict[str, Any]:
    results = make_invariance_results(**changes)
    found: dict[str, Any] = json.loads(json.dumps(results.to_dict(), allow_nan=False))
    return found


def test_a_whole_run_fits(validator: Draft202012Validator) -> None:
    found = plain()
    validator.validate(found)
    properties = results_schema()["$defs"]["invariance"]["properties"]
    assert set(properties) == set(found["invariance"])
    assert set(properties["settings"]["required"]) == set(found["invariance"]["settings"])
    for part in ("properties", "explainers", "findings", "conformance"):
        assert set(properties[part]["items"]["required"]) == set(found["invariance"][part][0])
    assert "invariance" not in results_schema()["required"]


def test_runs_of_less_fit(validator: Draft202012Validator) -> None:
    for invariance in (
        make_invariance(own=False, conformance=False),
        make_invariance(methods=("gradcam",), foreign=(), properties=("hygiene",)),
        make_invariance() | {"findings": []},
    ):
        validator.validate(plain(invariance=invariance))


def test_absent_where_empty(validator: Draft202012Validator) -> None:
    found = plain(invariance={}, timing={})
    assert "invariance" not in found
    validator.validate(found)


def test_every_outcome_and_fault_is_known_to_schema_and_report() -> None:
    finding = results_schema()["$defs"]["invariance"]["properties"]["findings"]["items"]
    outcomes = finding["properties"]["outcome"]["enum"]
    assert {outcome.value for outcome in Outcome} == set(outcomes)
    assert {fault.value for fault in Fault} <= set(finding["properties"]["fault"]["enum"])
    compared = results_schema()["$defs"]["invariance"]["properties"]["conformance"]["items"]
    assert {*outcomes, *compared["properties"]["outcome"]["enum"]} == set(MARKS)


def _bend(*path: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(found: dict[str, Any]) -> None:
        inner: Any = found["invariance"]
        for part in path[:-1]:
            inner = inner[part]
        inner[path[-1]] = value

    return change


def _first(outcome: str, **changes: Any) -> Callable[[dict[str, Any]], None]:
    def change(found: dict[str, Any]) -> None:
        parts = found["invariance"]["findings"]
        next(part for part in parts if part["outcome"] == outcome).update(changes)

    return change


BENT: dict[str, Callable[[dict[str, Any]], Any]] = {
    "unknown part": _bend("extra", value={}),
    "no conformance": lambda found: found["invariance"].pop("conformance"),
    "no examples": _bend("settings", "examples", value=0),
    "unknown setting": _bend("settings", "deadline", value=1),
    "budget of zero": _bend("settings", "budget", value=0),
    "seed below zero": _bend("settings", "seed", value=-1),
    "tolerance below zero": _bend("properties", 0, "tolerance", "float64", value=-1e-9),
    "tolerance without reason": lambda found: found["invariance"]["properties"][0][
        "tolerance"
    ].pop("reason"),
    "property without source": lambda found: found["invariance"]["properties"][0].pop("source"),
    "unknown kind": _bend("explainers", 0, "kind", value="plugin"),
    "claims as a list": _bend("explainers", 0, "claims", value=["gradcam"]),
    "unknown outcome": _bend("findings", 0, "outcome", value="pass"),
    "unknown place": _bend("findings", 0, "on", value="mine"),
    "examples as a share": _bend("findings", 0, "examples", value=0.5),
    "negative count": _bend("findings", 0, "unstable", value=-1),
    "unknown field": _bend("findings", 0, "seconds", value=1),
    "holds with a counterexample": _first(
        "holds", counterexample={"message": "m", "difference": 1, "trace": None, "code": None,
                                 "file": None},
    ),
    "bug without a counterexample": _first("bug", counterexample=None),
    "violation without a counterexample": _first("violated by definition", counterexample=None),
    "fault without its name": _first("fault", fault=None),
    "unknown fault": _first("fault", fault="sulking"),
    "fault that holds": _first("holds", fault="raised"),
    "counterexample without message": lambda found: found["invariance"]["conformance"][0][
        "counterexample"
    ].pop("message"),
    "correlation above one": _bend("conformance", 0, "correlation", value=1.01),
    "difference below zero": _bend("conformance", 0, "difference", value=-1),
    "unknown comparison": _bend("conformance", 0, "outcome", value="holds"),
    "processing without its name": _bend("conformance", 2, "processing", value=None),
    "time below zero": lambda found: found["timing"]["invariance"].update(gradcam=-1),
}  # fmt: skip


@pytest.mark.parametrize("bend", BENT.values(), ids=BENT.keys())
def test_bent_results_are_refused(
    validator: Draft202012Validator, bend: Callable[[dict[str, Any]], Any]
) -> None:
    found = copy.deepcopy(plain())
    bend(found)
    with pytest.raises(ValidationError):
        validator.validate(found)
