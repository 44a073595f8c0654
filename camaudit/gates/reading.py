"""Policies: from camaudit.toml, or `[tool.camaudit]` in pyproject.toml, to a frozen value.

Everything that can be known without running anything is checked here, and every problem is told
with its file and line.
"""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from camaudit.errors import UsageError
from camaudit.gates import kinds
from camaudit.gates.binding import expanded
from camaudit.gates.conditions import Names, read_condition, read_waiver
from camaudit.gates.figures import FIGURES
from camaudit.gates.names import (
    CHECKS,
    HEADS,
    ORDERS,
    PRECISIONS,
    PROPERTIES,
    SCHEMES,
    WALLS,
    near,
)  # fmt: skip
from camaudit.gates.policy import Condition, Policy, Waiver
from camaudit.gates.reach import check_reach
from camaudit.gates.settings import check_settings
from camaudit.gates.source import POLICY_FILE, Source, find_policy, open_source

__all__ = ["KEYS", "POLICY_FILE", "VERSION", "Key", "find_policy", "read_policy"]

VERSION = 1  #: of the format of policies


@dataclass(frozen=True)
class Key:
    """A key of a policy: what `camaudit run` calls it (with underscores), and what it holds.

    `pin`: a hash that the run must have, and no setting of it. `of_policy`: no setting either, but
    a field of :class:`Policy`.
    """

    name: str
    kind: kinds.Kind
    pin: bool = False
    of_policy: bool = False


#: The keys of the tables that say what is audited and how.
KEYS: dict[str, dict[str, Key]] = {
    "subject": {
        "model": Key("model", kinds.model),
        "weights": Key("weights", kinds.text),
        "weights_sha256": Key("weights_sha256", kinds.hexadecimal, pin=True),
        "state_sha256": Key("state_sha256", kinds.hexadecimal, pin=True),
        "output": Key("output", kinds.text),
        "head": Key("head", kinds.choice(HEADS)),
        "layer": Key("layer", kinds.text),
        "wall": Key("wall", kinds.choice(WALLS)),
        "live_rows": Key("live_rows", kinds.whole(1)),
        "unmasked_weights": Key("unmasked_weights", kinds.text),
        "preprocess": Key("preprocess", kinds.preprocess),
        "image_size": Key("image_size", kinds.whole(8)),
        "permuted": Key("permuted", kinds.text),
    },
    "images": {
        "folder": Key("images", kinds.text),
        "data": Key("data", kinds.texts),
        "sha256": Key("images_sha256", kinds.hexadecimal, pin=True),
        "number": Key("num_images", kinds.whole(1)),
        "perturbation_number": Key("perturbation_images", kinds.whole(0)),
    },
    "run": {
        "checks": Key("checks", kinds.choices(CHECKS, "check")),
        "explainers": Key("methods", kinds.texts),
        "seed": Key("seed", kinds.whole(0)),
        "device": Key("device", kinds.device),
        "batch_size": Key("batch_size", kinds.whole(1)),
        "memory": Key("memory", kinds.size),
        "precision": Key("precision", kinds.choice(PRECISIONS)),
        "exact": Key("exact", kinds.boolean),
        "orders": Key("orders", kinds.choices(ORDERS, "order")),
        "sanity_seeds": Key("sanity_seeds", kinds.whole(1, 1000)),
        "scheme": Key("scheme", kinds.choice(SCHEMES)),
        "cascade_steps": Key("cascade_steps", kinds.whole(2)),
        "costly_cascades": Key("costly_cascades", kinds.boolean),
        "properties": Key("properties", kinds.choices(PROPERTIES, "property")),
        "examples": Key("examples", kinds.whole(1)),
        "explainer_budget": Key("explainer_budget", kinds.positive),
        "escalate": Key("escalate", kinds.whole(1), of_policy=True),
        "baseline": Key("baseline", kinds.text, of_policy=True),
    },
}

_ROOT = ("version", *KEYS, "condition", "waiver")


def read_policy(path: Path, *, today: datetime.date | None = None) -> Policy:
    """The policy of a file: camaudit.toml, or a pyproject.toml with `[tool.camaudit]`.

    today: the day that waivers are held against, the present one by default. Raises
    :class:`UsageError` with a line `FILE:LINE: message` for each problem.
    """
    source = open_source(Path(path))
    _check_root(source)
    values = {name: _table(source, name, keys) for name, keys in KEYS.items()}
    settings, pins, own = _sorted_out(values)
    explainers = _explainers(source, settings)
    entries = _entries(source, "condition")
    names = Names(source, explainers, [entry.get("name") for entry in entries])
    conditions = [read_condition(names, entry, number) for number, entry in enumerate(entries)]
    made = [condition for condition in conditions if condition is not None]
    if "checks" not in settings:
        settings["checks"] = _checks_of(made)
    waivers = [
        read_waiver(names, entry, number, made, today or datetime.date.today())
        for number, entry in enumerate(_entries(source, "waiver"))
    ]
    policy = _policy(source, made, [waiver for waiver in waivers if waiver], settings, pins, own)
    if source.sound:  # what follows supposes that each value is one
        check_settings(source, policy)
        check_reach(source, policy)
    source.raise_problems()
    return policy


def _policy(
    source: Source,
    conditions: list[Condition],
    waivers: list[Waiver],
    settings: dict[str, Any],
    pins: dict[str, str],
    own: dict[str, Any],
) -> Policy:
    return Policy(
        path=source.path,
        conditions=tuple(conditions),
        waivers=tuple(waivers),
        settings=settings,
        pins=pins,
        baseline=Path(own["baseline"]) if "baseline" in own else None,
        escalate=own.get("escalate"),
        sha256=source.sha256,
    )


def _check_root(source: Source) -> None:
    for key in source.table:
        if key not in _ROOT:
            source.problem(f"unknown table or key {kinds.shown(key)}: {near(key, _ROOT)}", key)
    version = source.table.get("version")
    if "version" not in source.table:
        source.problem(f"version is missing: write version = {VERSION} at the top")
    elif isinstance(version, bool) or version != VERSION or not isinstance(version, int):
        source.problem(
            f"version must be {VERSION}, the only one that this camaudit reads; got "
            f"{kinds.shown(version)}",
            "version",
        )


def _table(source: Source, name: str, keys: Mapping[str, Key]) -> dict[str, Any]:
    """The values of one table, by its keys; problems are noted, and their keys left out."""
    given = source.table.get(name, {})
    if not isinstance(given, dict):
        source.problem(f"{name} must be a table, [{name}]; got {kinds.shown(given)}", name)
        return {}
    found = {}
    for key, value in given.items():
        if key not in keys:
            source.problem(
                f"unknown key {kinds.shown(key)} in {name}: {near(key, keys)}", name, key
            )
            continue
        try:
            found[key] = keys[key].kind(value)
        except UsageError as error:
            source.problem(f"{name}.{key} {error}", name, key)
    return found


def _sorted_out(
    values: dict[str, dict[str, Any]],
) -> tuple[dict[str, Any], dict[str, str], dict[str, Any]]:
    """Settings of the run, pinned hashes, and what is the policy's own."""
    settings: dict[str, Any] = {}
    pins: dict[str, str] = {}
    own: dict[str, Any] = {}
    for name, table in values.items():
        for key, value in table.items():
            entry = KEYS[name][key]
            place = pins if entry.pin else own if entry.of_policy else settings
            place[entry.name] = value
    return settings, pins, own


def _explainers(source: Source, settings: dict[str, Any]) -> list[Any]:
    """The run's explainers; in `settings` they become methods and explainers of the user's own."""
    written = settings.pop("methods", None)
    found = []
    for number, name in enumerate(written or ("standard",)):
        try:
            found += expanded((name,))
        except UsageError as error:
            source.problem(f"run.explainers: {error}", "run", "explainers", number)
    found = list({one.spec: one for one in found}.values())
    for number, one in enumerate(found):
        if one.label in [other.label for other in found[:number]]:
            source.problem(
                f"run.explainers has two called {one.label!r}, which results could not tell apart: "
                "rename one of them",
                "run",
                "explainers",
            )
    if written is not None:
        # a run has at least one method: beside functions of the user's own alone it is a control
        settings["methods"] = tuple(one.spec for one in found if not one.own) or ("uniform",)
    own = tuple(one.spec for one in found if one.own)
    if own:
        settings["explainers"] = own
    return found


def _entries(source: Source, name: str) -> list[dict[str, Any]]:
    """The tables of an array of tables."""
    given = source.table.get(name, [])
    if not isinstance(given, list) or not all(isinstance(entry, dict) for entry in given):
        came = "one table" if isinstance(given, dict) else kinds.shown(given)
        source.problem(
            f"{name} must be an array of tables, each begun by [[{name}]]; got {came}", name
        )
        return []
    return given


def _checks_of(conditions: list[Condition]) -> tuple[str, ...]:
    """What the figures of the conditions need, in the checks' own order."""
    needed = {FIGURES[condition.figure].check for condition in conditions}
    return tuple(check for check in CHECKS if check in needed)
