"""Provenance as a list of labelled lines: any JSON value in words, long arrays shortened."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from camaudit.types import Results

__all__ = ["OriginGroup", "OriginLine", "describe", "origin"]

_LONG = 12


@dataclass(frozen=True)
class OriginLine:
    """One labelled value."""

    label: str
    value: str


@dataclass(frozen=True)
class OriginGroup:
    """The lines of one part of the provenance."""

    title: str
    lines: tuple[OriginLine, ...]


def origin(results: Results) -> tuple[OriginGroup, ...]:
    """Everything that results.json says of where the figures come from, in its order.

    The papers of the methods stand with the methods.
    """
    source = results.provenance
    groups: dict[str, Mapping[str, Any]] = {
        "Subject": {key: value for key, value in source.subject.items() if key != "accuracy"},
        "Dead zone": source.zone,
        "Settings": {key: value for key, value in source.settings.items() if key != "papers"},
        "Theory": results.theory.get("setup") or {},
        "Sanity checks": results.sanity.get("settings") or {},
        "Invariance": results.invariance.get("settings") or {},
        "Environment": {"camaudit": results.camaudit, **source.environment},
        "Timing": results.timing,
    }
    spread = [OriginGroup(title, tuple(_lines(values))) for title, values in groups.items()]
    images = OriginGroup("Images", tuple(_image_lines(source.images)))
    return tuple(group for group in (*spread, images) if group.lines)


def describe(value: Any) -> str:
    """A JSON value in words.

    >>> describe([170, 171, 172, 200]), describe(True), describe([[0, 1], [1, 1]]), describe(None)
    ('170–172, 200', 'yes', '2 × 2 matrix, 3 set', 'not given')
    """
    if value is None:
        return "not given"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str):
        return value or "empty"
    if isinstance(value, Mapping):
        return "; ".join(f"{_label(key)}: {describe(item)}" for key, item in value.items())
    if isinstance(value, Sequence):
        return _describe_sequence(value)
    return str(value)


def _image_lines(images: Sequence[Mapping[str, Any]]) -> list[OriginLine]:
    """One line an image, without what it does not have."""
    lines = []
    for number, entry in enumerate(images, start=1):
        kept = {key: item for key, item in entry.items() if key != "id" and item not in (None, [])}
        lines.append(OriginLine(str(entry.get("id", number)), describe(kept)))
    return lines


def _lines(values: Mapping[str, Any]) -> list[OriginLine]:
    """Each value on a line; mappings are spread with their key in front, one level deep."""
    lines: list[OriginLine] = []
    for key, value in values.items():
        if isinstance(value, Mapping) and len(value) > 1 and not _short(value):
            lines += [
                OriginLine(f"{_label(key)}: {_label(name)}", describe(item))
                for name, item in value.items()
            ]
        else:
            lines.append(OriginLine(_label(key), describe(value)))
    return lines


def _short(value: Mapping[str, Any]) -> bool:
    return len(describe(value)) <= 100


def _label(key: Any) -> str:
    return str(key).replace("_", " ")


def _describe_sequence(value: Sequence[Any]) -> str:
    if not value:
        return "none"
    if all(type(item) is int for item in value):
        return _ranges(value)
    if all(isinstance(item, list) for item in value) and _is_mask(value):
        cells = [bool(cell) for row in value for cell in row]
        return f"{len(value)} × {len(value[0])} matrix, {sum(cells)} set"
    if any(isinstance(item, Mapping) for item in value):
        return "; ".join(f"({number}) {describe(item)}" for number, item in enumerate(value, 1))
    shown = ", ".join(describe(item) for item in value[:_LONG])
    return shown if len(value) <= _LONG else f"{shown} and {len(value) - _LONG} more"


def _is_mask(rows: Sequence[Any]) -> bool:
    """Whether nested lists hold nothing but 0, 1, true and false."""
    return all(json.dumps(cell) in {"0", "1", "true", "false"} for row in rows for cell in row)


def _ranges(numbers: Sequence[int]) -> str:
    """Integers with consecutive runs drawn together."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    parts = [str(low) if low == high else f"{low}–{high}" for low, high in runs]
    if len(parts) > _LONG:
        return f"{', '.join(parts[:_LONG])} … ({len(numbers)} values)"
    return ", ".join(parts)
