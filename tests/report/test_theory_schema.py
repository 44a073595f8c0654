"""Claims and theory in results.json against the schema: the real thing passes, bent ones do not."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from camaudit.schema import results_schema
from camaudit.types import ClaimOutcome
from tests.theory_results import claim, make_theory, make_theory_results


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    return Draft202012Validator(results_schema())


def plain(**changes: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        json.dumps(make_theory_results(**changes).to_dict(), allow_nan=False)
    )
    return found


def test_a_whole_run_fits(validator: Draft202012Validator) -> None:
    found = plain()
    validator.validate(found)
    properties = results_schema()["$defs"]["theory"]["properties"]
    assert set(properties) == set(found["theory"])
    assert set(properties["setup"]["properties"]) == set(found["theory"]["setup"])
    for part in ("column", "simple"):
        assert set(properties[part]["required"]) == set(found["theory"][part])
    for part in ("digits", "sweeps", "deep"):
        assert set(properties[part]["items"]["required"]) == set(found["theory"][part][0])
    assert {"claims", "theory"}.isdisjoint(results_schema()["required"])


@pytest.mark.parametrize("part", sorted(make_theory()))
def test_every_part_is_optional(validator: Draft202012Validator, part: str) -> None:
    found = plain()
    del found["theory"][part]
    validator.validate(found)


def test_absent_where_empty(validator: Draft202012Validator) -> None:
    found = plain(claims=[], theory={})
    assert "claims" not in found
    assert "theory" not in found
    validator.validate(found)


@pytest.mark.parametrize("outcome", ClaimOutcome)
def test_every_outcome_fits(validator: Draft202012Validator, outcome: ClaimOutcome) -> None:
    validator.validate(plain(claims=[claim(outcome)]))


def test_what_may_be_undefined_may_be_null(validator: Draft202012Validator) -> None:
    found = plain()
    found["theory"]["column"] |= {"bound": None, "exact": None}
    found["theory"]["digits"][0] |= {
        "simulated": None, "exact": None, "mu_single": None, "mu_expected": None,
    }  # fmt: skip
    found["theory"]["deep"][0]["logit_variance"] = {"between_images": None, "relative": None}
    validator.validate(found)


def _theory(*path: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(found: dict[str, Any]) -> None:
        inner: Any = found["theory"]
        for part in path[:-1]:
            inner = inner[part]
        inner[path[-1]] = value

    return change


def _claim(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda found: found["claims"][0].update(changes)


BENT: dict[str, Callable[[dict[str, Any]], Any]] = {
    "passed without a figure": _claim(figure=None),
    "failed without a bound": _claim(outcome="fail", bound=None),
    "figure as text": _claim(figure="0.5"),
    "unknown outcome": _claim(outcome="passed"),
    "unknown relation": _claim(relation="≈"),
    "claim without a statement": _claim(statement=""),
    "unknown field of a claim": _claim(rank=1),
    "claim without detail": lambda found: found["claims"][0].pop("detail"),
    "no claims at all": lambda found: found["claims"].clear(),
    "unknown part": _theory("extra", value={}),
    "no part at all": lambda found: found["theory"].clear(),
    "column without rows": lambda found: found["theory"]["column"].pop("rows"),
    "simulation that is null": _theory("column", "simulated", value=None),
    "negative expectation": _theory("column", "exact", 0, value=-0.1),
    "dead as a number": _theory("column", "dead", 0, value=1),
    "pixel above one": _theory("digits", 0, "image", 0, value=[1.5]),
    "digit without single map": _theory("digits", 0, "single", value=None),
    "share above one": _theory("digits", 0, "mu_single", value=1.2),
    "names among numbers": _theory("sweeps", 0, "x", 0, value="eight"),
    "log as text": _theory("sweeps", 0, "log", value="yes"),
    "negative count": _theory("sweeps", 0, "series", 0, "n", 0, value=-1),
    "mean as text": _theory("sweeps", 0, "series", 0, "mean", 1, value="0.5"),
    "series without intervals": lambda found: found["theory"]["sweeps"][0]["series"][0].pop(
        "ci_low"
    ),
    "variance above one": _theory("deep", 0, "logit_variance", "between_images", value=1.1),
    "variance missing": _theory("deep", 0, "logit_variance", value=None),
    "note that is null": _theory("deep", 0, "note", value=None),
    "seeds as text": _theory("deep", 0, "seeds", value="10"),
    "simple without check": lambda found: found["theory"]["simple"].pop("check"),
    "filters of zero": _theory("setup", "filters", value=0),
    "seed of a record as text": lambda found: found["records"][0].update(seed="0"),
    "seed of a record that is null": lambda found: found["records"][0].update(seed=None),
}


@pytest.mark.parametrize("bend", BENT.values(), ids=BENT.keys())
def test_bent_results_are_refused(
    validator: Draft202012Validator, bend: Callable[[dict[str, Any]], Any]
) -> None:
    found = copy.deepcopy(plain())
    bend(found)
    with pytest.raises(ValidationError):
        validator.validate(found)
