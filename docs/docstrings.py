"""Docstrings as the code has them, in reStructuredText.

The code describes arguments and fields as `name: text`, further lines indented, under a heading
`Parameters` or without one. Here these become lists.
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["to_rst"]

_ENTRY = re.compile(r"(\s*)(\w+(?:, \w+)*):(?: (.*))?$")
_CODE = re.compile(r"(`[^`]*`)")


def to_rst(*event: Any) -> None:
    """Rewrite the lines of a docstring in place, those that Sphinx hands over last."""
    lines: list[str] = event[-1]
    lines[:] = _listed(_escaped(_without_heading(lines)))


def _without_heading(lines: list[str]) -> list[str]:
    text = "\n".join(lines)
    return re.sub(r"^(\s*)Parameters\n\s*-+$", r"\1**Parameters**\n", text, flags=re.M).split("\n")


def _escaped(lines: list[str]) -> list[str]:
    """`|map|` is a norm here, and no substitution."""
    return [
        "".join(part if part.startswith("`") else part.replace("|", "\\|") for part in parts)
        for parts in map(_CODE.split, lines)
    ]


def _listed(lines: list[str]) -> list[str]:
    """Entries as lists, with the blank lines that lists want around them."""
    made: list[str] = []
    inside: str | None = None  # the indentation of the list that is being written
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        entry = _ENTRY.match(line)
        if entry and _is_entry(entry, following, inside):
            if inside is None:
                made.append("")
            inside = entry[1]
            made.append(f"{inside}- **{entry[2]}**: {entry[3] or ''}".rstrip())
        elif inside is not None and line.strip() and line.startswith(f"{inside} "):
            made.append(f"{inside}  {line.strip()}")
        else:
            if inside is not None and line.strip():
                made.append("")
                inside = None
            made.append(line)
    return made


def _is_entry(entry: re.Match[str], following: str, inside: str | None) -> bool:
    """Whether the line begins an entry, and is no sentence with a colon that the next line ends."""
    if inside is not None:
        return entry[1] == inside
    ended = not following.strip() or following.startswith(f"{entry[1]} ")
    return ended or bool(_ENTRY.match(following))
