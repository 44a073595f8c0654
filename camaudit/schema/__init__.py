"""The JSON Schema of results.json, which is also its documentation."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

__all__ = ["RESULTS_SCHEMA", "results_schema"]

RESULTS_SCHEMA = "results-1.json"


def results_schema() -> dict[str, Any]:
    """The schema (JSON Schema draft 2020-12) of version 1 of results.json."""
    text = files("camaudit.schema").joinpath(RESULTS_SCHEMA).read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
