"""Counterexamples to what methods violate by their definition; found again by running this module.

`python -m tests.invariance.violations PROPERTY…` draws examples, keeps few that refute every
method named in `violated`, and writes them to violations.json.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from camaudit.invariance import PROPERTIES, Example, Registered, replayed
from camaudit.invariance.explainer import light
from camaudit.methods import method_call
from tests.invariance.drawing import drawn

FILE = Path(__file__).with_suffix(".json")
SEEDS = range(12)
A_SEED = 40  # examples


def stored() -> dict[str, list[dict[str, Any]]]:
    """By property: examples, each with the methods that it refutes."""
    found: dict[str, list[dict[str, Any]]] = json.loads(FILE.read_text())
    return found


def counterexamples(name: str) -> dict[str, Example]:
    """The stored counterexample of each method."""
    return {
        method: Example.from_dict(entry["example"])
        for entry in stored().get(name, [])
        for method in entry["methods"]
    }


def is_refuted(name: str, method: str, example: Example) -> bool:
    """Whether the example does not hold for a registered method."""
    return replayed(name, Registered(light(method_call(method))), example) is not None


def search(name: str) -> list[dict[str, Any]]:
    """A few drawn examples that together refute every method in `violated`, small ones first."""
    left = set(PROPERTIES[name].info.violated)
    entries: list[dict[str, Any]] = []
    for number in SEEDS:
        if not left:
            break
        for example in sorted(drawn(name, A_SEED, number), key=_length):
            refuted = sorted(method for method in left if is_refuted(name, method, example))
            if refuted:
                left -= set(refuted)
                entries.append({"methods": refuted, "example": example.to_dict()})
            if not left:
                break
    assert not left, f"{name}: no counterexample for {sorted(left)}"
    return entries


def _length(example: Example) -> int:
    return len(json.dumps(example.to_dict()))


def main(names: list[str]) -> None:
    """Search for the counterexamples of these properties, and keep those of the others."""
    kept = stored() if FILE.exists() else {}
    for name in names:
        if PROPERTIES[name].info.violated:
            kept[name] = search(name)
            print(name, len(kept[name]), "examples", flush=True)
    FILE.write_text(_written(kept))


def _written(kept: dict[str, list[dict[str, Any]]]) -> str:
    """JSON with one example a line."""
    parts = []
    for name, entries in sorted(kept.items()):
        lines = ",\n".join(json.dumps(entry) for entry in entries)
        parts.append(f"{json.dumps(name)}: [\n{lines}\n]")
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    main(sys.argv[1:])
