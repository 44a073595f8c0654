"""The JSON Schemas of results.json, gate.json and policies, which are also their documentation."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

__all__ = [
    "GATE_SCHEMA",
    "POLICY_SCHEMA",
    "RESULTS_SCHEMA",
    "gate_schema",
    "policy_schema",
    "results_schema",
]

POLICY_SCHEMA = "policy-1.json"
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


def policy_schema() -> dict[str, Any]:
    """The schema (JSON Schema draft 2020-12) of version 1 of policies, dates being strings."""
    return _read(POLICY_SCHEMA)


def _read(name: str) -> dict[str, Any]:
    text = files("camaudit.schema").joinpath(name).read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema
