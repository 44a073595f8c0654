"""Policies as TOML text, from plain values, and Hypothesis' drawing of sound ones."""

from __future__ import annotations

import datetime
import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from camaudit.gates import names
from camaudit.gates.figures import FIGURES
from camaudit.gates.policy import Policy
from camaudit.gates.reading import read_policy

__all__ = ["TODAY", "policies", "read", "write"]

TODAY = datetime.date(2026, 11, 21)
SHA = "0123456789abcdef" * 4


def write(tables: dict[str, Any], *, prefix: str = "") -> str:
    """TOML, one key a line, tables in their order; those of a list as `[[…]]`."""
    lines = [f"{key} = {_value(value)}" for key, value in tables.items() if _is_plain(value)]
    for key, value in tables.items():
        if isinstance(value, dict):
            lines += ["", f"[{prefix}{key}]", *_pairs(value)]
        elif not _is_plain(value):
            for entry in value:
                lines += ["", f"[[{prefix}{key}]]", *_pairs(entry)]
    return "\n".join(lines) + "\n"


def read(text: str, folder: Path, *, name: str = "camaudit.toml") -> Policy:
    """What the reader makes of `text` on :data:`TODAY`."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return read_policy(path, today=TODAY)


def _is_plain(value: Any) -> bool:
    return not isinstance(value, dict) and not (
        isinstance(value, list) and value and all(isinstance(item, dict) for item in value)
    )


def _pairs(table: dict[str, Any]) -> list[str]:
    return [f"{_key(key)} = {_value(value)}" for key, value in table.items()]


def _key(key: str) -> str:
    return key if key.isidentifier() and key.isascii() else _value(key)


def _value(value: Any) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(_pairs(value))} }}"
    return str(value)


METHODS = [name for name in names.METHODS if name not in (*names.CONTROLS, *names.COSTLY)]
LABELS = [*METHODS, "fem(k=3)", "gradcam(at=a.b+c#2, fuse=max)"]
PLAIN = st.text("abcxyz-_./ é", min_size=1, max_size=8).filter(str.strip)


@st.composite
def policies(draw: st.DrawFn) -> dict[str, Any]:
    """A policy without a mistake, as plain values."""
    explainers = draw(st.lists(st.sampled_from(LABELS), min_size=2, max_size=4, unique=True))
    figures = draw(st.lists(st.sampled_from(list(FIGURES)), min_size=1, max_size=3, unique=True))
    checks = {FIGURES[figure].check for figure in figures}
    own = ["tools/mine.py:mine=gradcam"] if "invariance" in checks and draw(st.booleans()) else []
    conditions = [draw(_conditions(figure, explainers)) for figure in figures]
    for number, condition in enumerate(conditions):
        if number and draw(st.booleans()):
            condition["severity"] = draw(st.sampled_from(["fail", "warn"]))
    found: dict[str, Any] = {"version": 1}
    found["subject"] = draw(_subjects(checks))
    found["images"] = draw(_images(checks))
    found["run"] = draw(_runs(checks, [*explainers, *own, "random"], found["images"]))
    found["condition"] = conditions
    if draw(st.booleans()):
        found["waiver"] = [draw(_waivers(conditions[0]))]
    return found


@st.composite
def _conditions(draw: st.DrawFn, figure: str, explainers: list[str]) -> dict[str, Any]:
    known = FIGURES[figure]
    last = json.dumps(explainers[-1])
    if known.count:
        require = draw(st.sampled_from(["== 0", "<= 3", "<= baseline", f"<= {last} + 1"]))
    else:
        forms = ["<= 0.05", "< 1e-1", "<= baseline * 1.1 + 0.01", f"<= {last}", f"< 0.9 * {last}"]
        forms += ["<= uniform * 0.5"] if known.uniform else []
        require = draw(st.sampled_from(forms))
    made: dict[str, Any] = {"require": f"{figure} {require}"}
    if draw(st.booleans()):
        made["name"] = f"about {figure}"
    if last in require or draw(st.booleans()):
        made["explainers"] = explainers[:-1]
    return made


@st.composite
def _subjects(draw: st.DrawFn, checks: set[str]) -> dict[str, Any]:
    keys = {
        "model": st.sampled_from(["lite0", "torchvision:resnet18", "a.b:build", "m/net.py:build"]),
        "weights": PLAIN,
        "output": PLAIN,
        "head": st.sampled_from(["softmax", "sigmoid"]),
        "layer": PLAIN,
        "weights_sha256": st.sampled_from([SHA, SHA.upper()]),
        "state_sha256": st.just(SHA),
        "preprocess": st.sampled_from(["lite", "ImageNet", "0.5/0.5", "0,0.5,1/0.1, 0.2,3"]),
        "image_size": st.integers(8, 512),
    }
    if "dead-zone" in checks:
        keys |= {
            "wall": st.sampled_from(["auto", "split", "vgg16"]),
            "live_rows": st.integers(1, 9),
        }
    found = draw(st.fixed_dictionaries({}, optional=keys))
    if found.get("wall") == "vgg16":
        found = {key: value for key, value in found.items() if key not in ("output", "head")}
    if "data-randomisation" in checks:
        found["permuted"] = "trained:permuted"
    if found.get("wall") == "vgg16" and draw(st.booleans()):
        found["unmasked_weights"] = "twin.safetensors"
    return found


@st.composite
def _images(draw: st.DrawFn, checks: set[str]) -> dict[str, Any]:
    keys: dict[str, st.SearchStrategy[Any]] = {
        "sha256": st.just(SHA),
        "number": st.integers(6, 200),
    }
    if "dead-zone" in checks:
        keys["perturbation_number"] = st.integers(0, 20)
    source = draw(st.sampled_from([{}, {"folder": "photos"}, {"data": ["stack-mix", "a b"]}]))
    return {**source, **draw(st.fixed_dictionaries({}, optional=keys))}


@st.composite
def _runs(
    draw: st.DrawFn, checks: set[str], explainers: list[str], images: dict[str, Any]
) -> dict[str, Any]:
    keys: dict[str, st.SearchStrategy[Any]] = {
        "checks": st.permutations(sorted(checks)),
        "seed": st.integers(0, 2**63 - 1),
        "device": st.sampled_from(["cpu", "cuda:3", "mps"]),
        "batch_size": st.integers(1, 64),
        "memory": st.sampled_from([1, 10**9, "600M", "2 GiB", "1.5g"]),
        "precision": st.sampled_from(names.PRECISIONS),
        "exact": st.booleans(),
        "orders": st.sampled_from([["top-down"], ["independent", "bottom-up"]]),
        "sanity_seeds": st.integers(6, 20),
        "scheme": st.sampled_from(names.SCHEMES),
        "cascade_steps": st.integers(2, 40),
        "costly_cascades": st.booleans(),
        "examples": st.integers(1, 99),
        "explainer_budget": st.sampled_from([1, 0.5, 1e6]),
        "escalate": st.integers(images.get("number", 0) + 1, 500),
        "baseline": PLAIN,
    }
    if "invariance" in checks:
        some = st.sampled_from(names.PROPERTIES)
        keys["properties"] = st.lists(some, min_size=1, max_size=3, unique=True)
    return {"explainers": explainers, **draw(st.fixed_dictionaries({}, optional=keys))}


@st.composite
def _waivers(draw: st.DrawFn, condition: dict[str, Any]) -> dict[str, Any]:
    name = condition.get("name", condition["require"].split()[0])
    days = draw(st.integers(0, 400))
    made = {"condition": name, "reason": "é", "expires": TODAY + datetime.timedelta(days=days)}
    if "explainers" in condition and draw(st.booleans()):
        made["explainer"] = condition["explainers"][0]
    return made
