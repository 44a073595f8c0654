"""The section of a model card: what a gate found of a model's explanations, and of what scope."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from typing import Any

from camaudit.gates.text import markdown_code, markdown_text
from camaudit.gates.verdict import Verdict
from camaudit.report.gate import GateRow, GateView, gate_view

__all__ = ["card", "card_markdown"]

_SUBJECT = ("model", "class", "parameters", "layer", "weights", "weights_sha256", "state_sha256")
_DATA = ("image_source", "images", "images_sha256")
_ENVIRONMENT = ("python", "torch", "torchvision", "device", "device_name")
_LABELS = {
    "model": "Model", "class": "Class", "parameters": "Parameters", "layer": "Target layer",
    "weights": "Weights", "weights_sha256": "SHA-256 of the weights file",
    "state_sha256": "SHA-256 of the model's state", "image_source": "Source of the images",
    "images": "Images", "images_sha256": "SHA-256 of the images", "python": "Python",
    "torch": "torch", "torchvision": "torchvision", "device": "Device",
    "device_name": "Name of the device", "seed": "Seed",
}  # fmt: skip
_SCOPE = (
    "It holds for this model, target layer and image set alone, by their hashes, and for the "
    "explainers that are named.",
    "The interval is over images (or over seeds and images, where networks are drawn); of images "
    "of another kind it says nothing.",
)
_DOES_NOT_SAY = (
    "That the explanations are right: each condition rules out one fault.",
    "That the model is right, fair or safe.",
    "Anything of explainers, layers or figures that the policy does not name.",
)


def card(verdict: Verdict, results: Mapping[str, Any], *, date: datetime.date) -> dict[str, Any]:
    """The section as plain JSON values; null is what the run did not record or is undefined.

    results: those of results.json. date: when the gate decided.
    Raises :class:`AuditError` where a figure is NaN or infinite.
    """
    gate = verdict.to_dict()
    view = gate_view(gate)
    subject = results.get("subject") or {}
    environment = results.get("environment") or {}
    return {
        "section": "explanations",
        "schema": 1,
        "date": date.isoformat(),
        "camaudit": results.get("camaudit"),
        "policy": view.policy,
        "decision": view.decision,
        "exit_code": view.exit_code,
        "verdict": view.headline,
        "rulings": gate["rulings"],
        "problems": list(view.problems),
        "notes": list(view.notes),
        "subject": {key: subject.get(key) for key in _SUBJECT},
        "data": {key: subject.get(key) for key in _DATA},
        "seed": (results.get("settings") or {}).get("seed"),
        "environment": {key: environment.get(key) for key in _ENVIRONMENT},
        "scope": list(_SCOPE),
        "does_not_say": list(_DOES_NOT_SAY),
    }


def card_markdown(verdict: Verdict, results: Mapping[str, Any], *, date: datetime.date) -> str:
    """The same in markdown, from a second-level heading down; raises as :func:`card` does."""
    found = card(verdict, results, date=date)
    view = gate_view(verdict.to_dict())
    environment = {"camaudit": found["camaudit"], **found["environment"]}
    parts = [
        "## Explanations",
        f"**{markdown_text(view.headline)}** Decided on {date.isoformat()} by policy "
        f"{markdown_code(view.policy)}.",
        "\n".join(f"- Problem: {markdown_text(text)}" for text in view.problems),
        _table(view),
        "\n".join(_excuses(view)),
        markdown_text(view.verdict.rule),
        "### What was audited",
        _facts({**found["subject"], **found["data"], "seed": found["seed"]}),
        "### Scope",
        "\n".join(f"- {text}" for text in _SCOPE),
        "### What it does not say",
        "\n".join(f"- {text}" for text in _DOES_NOT_SAY),
        "### Made with",
        _facts(environment),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _table(view: GateView) -> str:
    if not view.rows:
        return "No condition was put to the test."
    lines = ["| Explainer | Figure | Value [95 % interval] | Demanded | n | Outcome |",
             "|---|---|---|---|--:|---|"]  # fmt: skip
    lines += [_line(row) for row in view.rows]
    return "\n".join(lines)


def _line(row: GateRow) -> str:
    cells = (
        markdown_code(row.explainer),
        markdown_text(row.what),
        markdown_text(row.measured),
        markdown_text(row.demand),
        row.n,
        markdown_text(row.status),
    )
    return f"| {' | '.join(cells)} |"


def _excuses(view: GateView) -> list[str]:
    """Every waiver with its reason: a card that hides them would be no honest one."""
    return [
        f"- {markdown_code(row.name)}: {markdown_text(row.excuse)}"
        for row in view.rows
        if row.waived
    ]


def _facts(values: Mapping[str, Any]) -> str:
    shown = {key: "unknown" if value is None else markdown_code(str(value))
             for key, value in values.items()}  # fmt: skip
    return "\n".join(f"- {_LABELS.get(key, key)}: {value}" for key, value in shown.items())
