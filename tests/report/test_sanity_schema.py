"""Sanity checks in results.json against the schema: the real thing passes, bent ones do not."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from camaudit.schema import results_schema
from tests.sanity_results import make_sanity, make_sanity_results


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    return Draft202012Validator(results_schema())


def plain(**changes: Any) -> dict[str, Any]:
    small = make_sanity(seeds=(0, 1), images=2)
    results = make_sanity_results(**{"sanity": small, **changes})
    found: dict[str, Any] = json.loads(json.dumps(results.to_dict(), allow_nan=False))
    return found


def test_a_whole_run_fits(validator: Draft202012Validator) -> None:
    found = plain()
    validator.validate(found)
    validator.validate(plain(sanity=make_sanity()))
    properties = results_schema()["$defs"]["sanity"]["properties"]
    assert set(properties) == set(found["sanity"])
    listed = set(properties["settings"]["properties"])
    assert listed == set(found["sanity"]["settings"]) - {"batch_size"}
    for part in ("steps", "curves", "nulls", "effects", "tables", "remarks"):
        assert set(properties[part]["items"]["required"]) == set(found["sanity"][part][0])
    assert "sanity" not in results_schema()["required"]


def test_absent_where_empty(validator: Draft202012Validator) -> None:
    found = plain(sanity={}, claims=[])
    assert "sanity" not in found
    validator.validate(found)


def test_the_zone_is_whole_or_empty(validator: Draft202012Validator) -> None:
    found = plain()
    assert found["zone"] == {}
    found["zone"] = {"kind": "receptive field"}
    with pytest.raises(ValidationError):
        validator.validate(found)


def _sanity(*path: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(found: dict[str, Any]) -> None:
        inner: Any = found["sanity"]
        for part in path[:-1]:
            inner = inner[part]
        inner[path[-1]] = value

    return change


BENT: dict[str, Callable[[dict[str, Any]], Any]] = {
    "unknown part": _sanity("extra", value={}),
    "no families": lambda found: found["sanity"].pop("families"),
    "family as a number": _sanity("families", "gradcam", value=1),
    "similarity above one": _sanity("curves", 0, "values", 0, 0, 0, value=1.5),
    "similarity as text": _sanity("curves", 0, "values", 0, 0, 0, value="0.5"),
    "seed without steps": _sanity("curves", 0, "values", 0, value=0.5),
    "curve without order": lambda found: found["sanity"]["curves"][0].pop("order"),
    "step zero": _sanity("steps", 0, "number", value=0),
    "above as a number": _sanity("steps", 0, "above", value=1),
    "pair of three": _sanity("nulls", 0, "pairs", 0, value=[0, 1, 2]),
    "effect without distance": lambda found: found["sanity"]["effects"][0].pop("distance"),
    "mean of nothing": _sanity("effects", 0, "similarity", "n", value=0),
    "unknown outcome": _sanity("remarks", 0, "outcome", value="fine"),
    "remark without reason": lambda found: found["sanity"]["remarks"][0].pop("reason"),
    "negative count": _sanity("remarks", 0, "count", value=-1),
    "noise of zero": _sanity("settings", "noise", value=0),
    "repeated method": _sanity("settings", "methods", value=["a", "a"]),
    "table with a plain mean": _sanity("tables", 0, "mean", value=0.5),
    "class as text": _sanity("targets", value=["cat"]),
}


@pytest.mark.parametrize("bend", BENT.values(), ids=BENT.keys())
def test_bent_results_are_refused(
    validator: Draft202012Validator, bend: Callable[[dict[str, Any]], Any]
) -> None:
    found = copy.deepcopy(plain())
    bend(found)
    with pytest.raises(ValidationError):
        validator.validate(found)
