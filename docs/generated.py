"""The parts of the reference that come from code: tables of methods, names and schemas.

A page asks for one by a line `<!-- generated: NAME -->`; it takes that line's place when the page
is read, and is never written to a file.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any

import camaudit
from camaudit.methods import METHODS, STANDARD, method_names, options_listing
from camaudit.methods.base import FAMILIES
from camaudit.schema import gate_schema, policy_schema, results_schema

__all__ = ["PARTS", "fill"]

_MARK = re.compile(r"^<!-- generated: ([a-z-]+) -->$", flags=re.MULTILINE)


def fill(source: list[str]) -> None:
    """Put the parts that a page asks for into it; links to the README go to its page here.

    `source` is the page's text in a list of one, as Sphinx hands it over. Raises KeyError for a
    part that there is none of.
    """
    text = _MARK.sub(lambda mark: PARTS[mark.group(1)](), source[0])
    source[0] = text.replace("](../README.md", "](/readme.md")


def methods() -> str:
    """A section for each registered method, by family."""
    blocks = []
    for family in FAMILIES:
        members = [name for name in method_names() if METHODS[name].info.family == family]
        blocks += [f"## {family}"] * bool(members)
        blocks += [block for name in members for block in _method(name)]
    return "\n\n".join(blocks)


def _method(name: str) -> tuple[str, str, str]:
    info, options = METHODS[name].info, options_listing(name)
    source = info.paper if info.equation == "-" else f"{info.paper}, {info.equation}"
    lines = [f"cost an image: {info.cost}", *[f"options: `{options}`"] * bool(options), source]
    lines += ["runs by default"] * (name in STANDARD)
    return f"### `{name}`", f"`{info.formula}`", "\n".join(f"- {line}" for line in lines)


def names() -> str:
    """One row for each public name of the package, with the first sentence of its docstring."""
    rows = []
    for name in camaudit.__all__[1:]:
        home = camaudit._HOME[name]
        value = getattr(importlib.import_module(home), name)
        is_named = inspect.isclass(value) or inspect.isfunction(value)
        text = inspect.getdoc(value if is_named else type(value)) or ""
        shown = f"{{py:obj}}`camaudit.{name} <{home}.{name}>`" if is_named else f"`camaudit.{name}`"
        rows.append((shown, _first_sentence(text)))
    return _table(("name", "what it is"), rows)


def schema(described: dict[str, Any]) -> str:
    """What a JSON Schema says of every field: a table of the whole, and one a definition."""
    parts = [described.get("description", ""), _fields(described)]
    for name, inner in described.get("$defs", {}).items():
        parts += [f"## `{name}`", inner.get("description", ""), _fields(inner)]
        if "$defs" in inner:
            parts.append(schema({"$defs": inner["$defs"]}))
    return "\n\n".join(part for part in parts if part)


#: What a page may ask for.
PARTS: dict[str, Callable[[], str]] = {
    "methods": methods,
    "names": names,
    "results-schema": lambda: schema({**results_schema(), "$defs": _without_gate()}),
    "gate-schema": lambda: schema(gate_schema()),
    "policy-schema": lambda: schema(policy_schema()),
}


def _without_gate() -> dict[str, Any]:
    return {name: part for name, part in results_schema()["$defs"].items() if name != "gate"}


def _fields(described: dict[str, Any]) -> str:
    rows = [
        (f"`{path}`", _kind(part), part.get("description", "")) for path, part in _walk(described)
    ]
    return _table(("field", "value", "meaning"), rows) if rows else _kind(described)


def _walk(part: dict[str, Any], before: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every field below, by its path: `a.b`, of a list's entries `a[].b`, of any key `a.*.b`."""
    inner = dict(part.get("properties", {}))
    for key, rest in (
        ("*", part.get("additionalProperties")),
        *part.get("patternProperties", {}).items(),
    ):
        if isinstance(rest, dict):
            inner[key] = rest
    for name, field in inner.items():
        path = f"{before}.{name}".lstrip(".")
        yield path, field
        yield from _walk(field, path)
    if isinstance(part.get("items"), dict):
        yield from _walk(part["items"], f"{before}[]")


def _kind(part: dict[str, Any]) -> str:
    """What a field may hold, in short."""
    if "$ref" in part:
        return f"`{part['$ref'].rsplit('/', 1)[-1]}`"
    if "const" in part:
        return f"`{part['const']}`"
    if "enum" in part:
        return ", ".join(f"`{value}`" for value in part["enum"])
    for word in ("oneOf", "anyOf"):
        if word in part:
            return " or ".join(dict.fromkeys(filter(None, map(_kind, part[word]))))
    kinds = part.get("type", [])
    text = " or ".join([kinds] if isinstance(kinds, str) else kinds)
    inner = _kind(part["items"]) if isinstance(part.get("items"), dict) else ""
    ends = [f"{sign} {part[key]:g}" for key, sign in _BOUNDS.items() if key in part]
    return ", ".join([f"{text} of {inner}" if inner else text, *ends])


_BOUNDS = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}


def _first_sentence(text: str) -> str:
    paragraph = " ".join(text.split("\n\n", 1)[0].split())
    plain = re.sub(r":[a-z]+:`([^`]+)`", r"`\1`", paragraph)
    return re.split(r"(?<=[.;]) (?=[A-Z])", plain)[0]


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [" | ".join(cell.replace("|", "\\|") for cell in row) for row in (head, *rows)]
    lines.insert(1, " | ".join(["---"] * len(head)))
    return "\n".join(f"| {line} |" for line in lines)
