"""Metrics and protocols in results.json against the schema: real ones pass, bent ones do not."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from jsonschema import Draft202012Validator, ValidationError

from camaudit.schema import results_schema
from tests.metric_results import make_metric_results, make_metrics, make_protocol


@pytest.fixture(scope="module")
def validator() -> Draft202012Validator:
    return Draft202012Validator(results_schema())


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    results = make_metric_results(protocol=make_protocol("scorecam++:main"))
    found: dict[str, Any] = json.loads(json.dumps(results.to_dict(), allow_nan=False))
    return found


def test_a_whole_run_fits(validator: Draft202012Validator, whole: dict[str, Any]) -> None:
    validator.validate(whole)
    defined = results_schema()["$defs"]
    for part in ("metrics", "protocol"):
        assert set(defined[part]["properties"]) == set(whole[part])
        assert part not in results_schema()["required"]
    properties = defined["metrics"]["properties"]
    assert set(properties["settings"]["properties"]) == set(whole["metrics"]["settings"])
    for part in ("rows", "curves", "remarks"):
        assert set(properties[part]["items"]["required"]) == set(whole["metrics"][part][0])


@pytest.mark.parametrize("spec", ["walls", "adcc", "score-cam", "scorecam++:vit"])
def test_every_protocol_fits(validator: Draft202012Validator, spec: str) -> None:
    results = make_metric_results(metrics={}, protocol=make_protocol(spec))
    found = json.loads(json.dumps(results.to_dict(), allow_nan=False))
    assert "metrics" not in found
    validator.validate(found)


def test_one_method_has_nothing_to_compare(validator: Draft202012Validator) -> None:
    alone = make_metrics(methods=("gradcam",), checks=("adcc",))
    validator.validate(make_metric_results(metrics=alone).to_dict())


def _set(*path: str | int, value: Any) -> Callable[[dict[str, Any]], None]:
    def change(found: dict[str, Any]) -> None:
        inner: Any = found
        for part in path[:-1]:
            inner = inner[part]
        inner[path[-1]] = value

    return change


_PAIR = ("metrics", "comparison", "pairs", "average-drop", 0)
_CLAIM = ("protocol", "tables", 0, "claims", 0)

BENT: dict[str, Callable[[dict[str, Any]], Any]] = {
    "unknown part": _set("metrics", "extra", value={}),
    "no rows": lambda found: found["metrics"].pop("rows"),
    "value as text": _set("metrics", "rows", 0, "values", 0, value="0.5"),
    "mean of nothing": _set("metrics", "rows", 0, "mean", "n", value=0),
    "missing without a count": _set("metrics", "rows", 0, "missing", value={"error": None}),
    "rivals as a list": _set("metrics", "rows", 0, "rivals", value=["gradcam"]),
    "curve above one": _set("metrics", "curves", 0, "values", 0, value=1.5),
    "curve of an unnumbered image": _set("metrics", "curves", 0, "images", "cat", value=[0.5]),
    "unknown outcome": _set(*_PAIR, "outcome", value="fine"),
    "p above one": _set(*_PAIR, "p", value=1.2),
    "rank of zero": _set("metrics", "comparison", "ranks", "adcc", "ranks", 0, "rank", value=0),
    "W above one": _set("metrics", "comparison", "agreement", "w", value=1.1),
    "unknown direction": _set("metrics", "infos", "adcc", "direction", value="up"),
    "unknown model": _set("metrics", "on", value="both"),
    "negative forwards": _set("metrics", "forwards", "images", value=-1),
    "unknown verdict": _set(*_CLAIM, "verdict", value="true"),
    "claim without where": lambda found: found["protocol"]["tables"][0]["claims"][0].pop("claim"),
    "published without paper": lambda found: found["protocol"]["tables"][0]["published"][0].pop(
        "paper"
    ),
    "measured as a number": _set("protocol", "tables", 0, "measured", 0, "mean", value=0.5),
}


@pytest.mark.parametrize("bend", BENT.values(), ids=BENT.keys())
def test_bent_results_are_refused(
    validator: Draft202012Validator, whole: dict[str, Any], bend: Callable[[dict[str, Any]], Any]
) -> None:
    found = copy.deepcopy(whole)
    bend(found)
    with pytest.raises(ValidationError):
        validator.validate(found)
