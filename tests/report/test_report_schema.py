"""results.json against its schema: the real thing passes, everything bent is refused."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from camaudit.schema import results_schema
from camaudit.types import Results


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    schema = results_schema()
    Draft202012Validator.check_schema(schema)
    return Draft202012Validator(schema)


def test_results_fit_the_schema(validator: Draft202012Validator, results: Results) -> None:
    plain = json.loads(json.dumps(results.to_dict(), allow_nan=False))
    validator.validate(plain)
    schema = results_schema()
    assert set(schema["required"]) == set(plain)
    of_several = {"seed", "role", "rank"}
    assert set(schema["$defs"]["record"]["properties"]) - of_several == set(plain["records"][0])
    assert set(schema["$defs"]["summary"]["properties"]) - {"targets"} == set(plain["summary"][0])


def test_results_without_twin_or_accuracy_fit(
    validator: Draft202012Validator, results: Results
) -> None:
    plain = results.to_dict()
    plain["subject"]["accuracy"] = None
    for entry in plain["records"]:
        entry["unmasked"] = None
    for entry in plain["summary"]:
        entry["unmasked"] = entry["difference"] = None
    validator.validate(plain)


def _first(plain: dict[str, Any], status: str) -> dict[str, Any]:
    return next(record for record in plain["records"] if record["status"] == status)


def _set(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(plain: dict[str, Any]) -> None:
        *parents, last = path.split(".")
        for part in parents:
            plain = plain[int(part) if part.isdigit() else part]  # type: ignore[index]
        plain[last] = value

    return change


BENT: dict[str, Callable[[dict[str, Any]], Any]] = {
    "ok without mu_l1": lambda plain: _first(plain, "ok").update(mu_l1=None),
    "ok without mu_l2": lambda plain: _first(plain, "ok").update(mu_l2=None),
    "degenerate with mu_l1": lambda plain: _first(plain, "degenerate").update(mu_l1=0.0),
    "error with mu_l2": lambda plain: _first(plain, "error").update(mu_l2=0.2),
    "not applicable with min-max": lambda plain: _first(plain, "not applicable").update(
        mu_l1_minmax=0.1
    ),
    "share above one": lambda plain: _first(plain, "ok").update(mu_l1=1.01),
    "share below zero": lambda plain: _first(plain, "ok").update(mu_l1=-0.01),
    "figure as text": lambda plain: _first(plain, "ok").update(mu_l1="0.3"),
    "unknown status": lambda plain: _first(plain, "ok").update(status="pass"),
    "unknown record field": lambda plain: _first(plain, "ok").update(score=1),
    "missing target": lambda plain: _first(plain, "ok").pop("target"),
    "twin undefined but ok": lambda plain: _first(plain, "ok")["unmasked"].update(mu_l1=None),
    "unknown summary field": lambda plain: plain["summary"][0].update(rank=1),
    "summary mean without images": _set("summary.0.mu_l1.n", 0),
    "summary share below zero": _set("summary.0.mu_l1.mean", -0.1),
    "summary negative count": _set("summary.0.errors", -1),
    "other version": _set("schema", 2),
    "zone without reason": lambda plain: plain["zone"].pop("why"),
    "zone verified as text": _set("zone.verified", "yes"),
    "rows as text": _set("zone.pixel_dead_rows", ["170-223"]),
    "image without id": lambda plain: plain["images"][0].pop("id"),
    "unknown part": _set("extra", {}),
    "no timing": lambda plain: plain.pop("timing"),
}


@pytest.mark.parametrize("bend", BENT.values(), ids=BENT.keys())
def test_bent_results_are_refused(
    validator: Draft202012Validator, results: Results, bend: Callable[[dict[str, Any]], Any]
) -> None:
    plain = copy.deepcopy(results.to_dict())
    bend(plain)
    with pytest.raises(ValidationError):
        validator.validate(plain)


def _described(schema: Any, path: str = "") -> Iterator[str]:
    """Paths of properties without a description."""
    if isinstance(schema, dict):
        for name, entry in schema.get("properties", {}).items():
            inside_condition = "then" in path or "else" in path or "/if" in path
            refinement = path.endswith("$defs/share")
            if not (inside_condition or refinement) and "description" not in entry:
                yield f"{path}/{name}"
        for key, value in schema.items():
            # a field may itself be called "properties"
            inner = list(value.values()) if key == "properties" else value
            yield from _described(inner, f"{path}/{key}")
    elif isinstance(schema, list):
        for number, value in enumerate(schema):
            yield from _described(value, f"{path}/{number}")


def test_every_field_is_described() -> None:
    assert list(_described(results_schema())) == []
