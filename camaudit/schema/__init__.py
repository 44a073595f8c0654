"""The JSON Schemas of results.json and gate.json, which are also their documentation."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

__all__ = ["GATE_SCHEMA", "RESULTS_SCHEMA", "gate_schema", "results_schema"]

RESULTS_SCHEMA = "results-1.json"
GATE_SCHEMA = "gate-1.json"


def results_schema() -> dict[str, Any]:
    """The schema (JSON Schema draft 2020-12) of version 1 of results.json.

    That of gate.json is bundled under `$defs`, so that the result stands alone.
    """
    schema = _read(RESULTS_SCHEMA)
    schema["$defs"]["gate"] = gate_schema()
    return schema


def gate_schema() -> dict[str, Any]:
    """The schema (JSON Schema draft 2020-12) of version 1 of gate.json."""
    return _read(GATE_SCHEMA)


def _read(name: str) -> dict[str, Any]:
    text = files("camaudit.schema").joinpath(name).read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
