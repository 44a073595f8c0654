"""A policy's file: its table, where each key stands, and what is wrong with it."""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path
from typing import Any

from camaudit.errors import UsageError
from camaudit.gates.lines import KeyPath, key_lines

__all__ = ["POLICY_FILE", "PYPROJECT", "TABLE", "Source", "find_policy", "open_source", "parsed"]

POLICY_FILE = "camaudit.toml"
PYPROJECT = "pyproject.toml"
TABLE = ("tool", "camaudit")  #: where a policy stands in pyproject.toml

_SHOWN = 20  # problems in one message
_PLACE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")


class Source:
    """The table of a policy with the lines of its keys; problems are gathered, then raised as one.

    Paths of keys begin at the policy's own table, wherever that stands in the file.
    """

    def __init__(
        self, path: Path, content: bytes, table: dict[str, Any], lines: dict[KeyPath, int],
        prefix: KeyPath = (),
    ) -> None:  # fmt: skip
        self.path = path
        self.sha256 = hashlib.sha256(content).hexdigest()
        self.table = table
        self._lines = lines
        self._prefix = prefix
        self._problems: list[tuple[int, str]] = []

    def line(self, *keys: str | int) -> int:
        """The line of a key, or else of the nearest table above it."""
        path = (*self._prefix, *keys)
        while path and path not in self._lines:
            path = path[:-1]
        return self._lines.get(path, 1)

    def problem(self, message: str, *keys: str | int) -> None:
        """Note that something is wrong with a key."""
        found = (self.line(*keys), message)
        if found not in self._problems:
            self._problems.append(found)

    @property
    def sound(self) -> bool:
        """Whether no problem was noted."""
        return not self._problems

    def raise_problems(self) -> None:
        """Raise :class:`UsageError` with a line for each problem, if there are any."""
        if self.sound:
            return
        found = sorted(self._problems, key=lambda problem: problem[0])
        lines = [f"{self.path}:{line}: {message}" for line, message in found[:_SHOWN]]
        if len(found) > _SHOWN:
            lines.append(f"and {len(found) - _SHOWN} problems more")
        raise UsageError("\n".join(lines))


def find_policy(folder: Path) -> Path:
    """camaudit.toml in `folder`, or the pyproject.toml there with a table `[tool.camaudit]`.

    Raises :class:`UsageError` where there is neither, or both.
    """
    own, shared = folder / POLICY_FILE, folder / PYPROJECT
    shares = shared.is_file() and _holds_policy(shared)
    if own.is_file() and shares:
        raise UsageError(
            f"{own}:1: there is a policy in {shared} too, under [{'.'.join(TABLE)}]: keep one of "
            "them"
        )
    if own.is_file() or shares:
        return own if own.is_file() else shared
    raise UsageError(
        f"no policy in {folder.resolve()}: expected {POLICY_FILE}, or [{'.'.join(TABLE)}] in "
        f"{PYPROJECT}; camaudit init writes one"
    )


def open_source(path: Path) -> Source:
    """The policy's table in a file; of a file called pyproject.toml, that of `[tool.camaudit]`.

    Raises :class:`UsageError` for a file that cannot be read, is no TOML, or has no policy.
    """
    content, document, lines = parsed(path)
    if path.name != PYPROJECT:
        return Source(path, content, document, lines)
    table: Any = document
    for depth, key in enumerate(TABLE):
        table = table.get(key)
        if not isinstance(table, dict):
            line = lines.get(TABLE[: depth + 1], lines.get(TABLE[:depth], 1))
            raise UsageError(
                f"{path}:{line}: there is no table [{'.'.join(TABLE)}], where a policy stands in "
                f"{PYPROJECT}"
            )
    return Source(path, content, table, lines, TABLE)


def _holds_policy(path: Path) -> bool:
    tool = parsed(path)[1].get(TABLE[0])
    return isinstance(tool, dict) and TABLE[1] in tool


def parsed(path: Path) -> tuple[bytes, dict[str, Any], dict[KeyPath, int]]:
    """Bytes, document and lines of a TOML file; :class:`UsageError` with the line if it is none."""
    try:
        content = path.read_bytes()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise UsageError(f"{path}:1: this file cannot be read: {why}") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path}:{line}: TOML is written in UTF-8, and this is not") from error
    try:
        return content, tomllib.loads(text), key_lines(text)
    except RecursionError as error:
        raise UsageError(
            f"{path}:{_deepest(text)}: arrays or tables are nested too deep"
        ) from error
    except ValueError as error:
        raise UsageError(f"{path}:{_broken(str(error), text)}") from error


def _broken(message: str, text: str) -> str:
    """Line and message of a text that tomllib refused."""
    found = _PLACE.search(message)
    if found is None:  # Python refuses numbers of very many digits, and does not say where
        long = re.search(r"[0-9_]{4000,}", text)
        line = text.count("\n", 0, long.start()) + 1 if long else 1
        return f"{line}: broken TOML: {message}"
    line = int(found[1]) if found[1] else max(text.rstrip().count("\n") + 1, 1)
    return f"{line}: broken TOML: {message[: found.start()]}"


def _deepest(text: str) -> int:
    """The line with the most brackets."""
    brackets = [line.count("[") + line.count("{") for line in text.split("\n")]
    return brackets.index(max(brackets)) + 1
