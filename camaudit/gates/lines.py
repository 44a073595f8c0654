"""Where a key of a TOML file stands: tomllib reads values and forgets their lines.

The text must be one that tomllib has read; what it means is tomllib's to say.
"""

from __future__ import annotations

import re
import tomllib

__all__ = ["KeyPath", "key_lines"]

KeyPath = tuple[str | int, ...]  #: keys from the root down; a number counts in an array, from 0

_GAP = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SPACE = re.compile(r"[ \t]*")
_KEY = re.compile(r"""[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""")
_STRING = re.compile(
    r'''"""(?:[^\\]|\\.)*?"""(?:"{0,2})|\'\'\'.*?\'\'\'(?:'{0,2})'''  # two more may close it
    r"""|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'""",
    re.DOTALL,
)
_SCALAR = re.compile(r"[^,\]}#\n]+")


def key_lines(text: str) -> dict[KeyPath, int]:
    """The line, from 1, at which each key, table and element of an array first stands.

    A path is as one would walk through what `tomllib.loads` returns: `("condition", 1, "name")` is
    the name in the second `[[condition]]`. Raises ValueError for text that is no TOML; not all such
    text is noticed.

    >>> key_lines("a.b = 1\\n[c]\\nd = [\\n  2]")[("c", "d", 0)]
    4
    """
    return _Scanner(text.replace("\r\n", "\n")).run()


class _Scanner:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.line = 1
        self.lines: dict[KeyPath, int] = {}
        self.tables: dict[KeyPath, int] = {}  # arrays of tables, and how many they have by now

    def run(self) -> dict[KeyPath, int]:
        table: KeyPath = ()
        self._take(_GAP)
        while self.at < len(self.text):
            if self.text.startswith("[[", self.at):
                table = self._header("]]")
            elif self.text.startswith("[", self.at):
                table = self._header("]")
            else:
                self._pair(table)
            self._take(_GAP)
        return self.lines

    def _header(self, closing: str) -> KeyPath:
        self._skip(closing.replace("]", "["))
        keys = self._keys()
        self._skip(closing)
        path: KeyPath = ()
        for key in keys[:-1]:
            path = self._current(self._note((*path, key)))
        path = self._note((*path, keys[-1]))
        if closing == "]":
            return path
        number = self.tables.get(path, 0)
        self.tables[path] = number + 1
        return self._note((*path, number))

    def _current(self, path: KeyPath) -> KeyPath:
        """`path`, or its last element where it is an array of tables."""
        return (*path, self.tables[path] - 1) if path in self.tables else path

    def _pair(self, table: KeyPath) -> None:
        path = table
        for key in self._keys():
            path = self._note((*path, key))
        self._skip("=")
        self._value(path)

    def _keys(self) -> list[str]:
        """A key, dotted or not."""
        keys = []
        while True:
            self._take(_SPACE)
            keys.append(_plain(self._take(_KEY)))
            self._take(_SPACE)
            if not self.text.startswith(".", self.at):
                return keys
            self._skip(".")

    def _value(self, path: KeyPath) -> None:
        self._take(_SPACE)
        first = self.text[self.at : self.at + 1]
        if first == "[":
            self._array(path)
        elif first == "{":
            self._inline_table(path)
        else:
            self._take(_STRING if first in ('"', "'") else _SCALAR)

    def _array(self, path: KeyPath) -> None:
        self._skip("[")
        number = 0
        while not self._ends("]"):
            self._value(self._note((*path, number)))
            number += 1

    def _inline_table(self, path: KeyPath) -> None:
        self._skip("{")
        while not self._ends("}"):
            self._pair(path)

    def _ends(self, closing: str) -> bool:
        """Step over a comma, or over `closing` and say so."""
        self._take(_GAP)
        if self.text.startswith(",", self.at):
            self._skip(",")
            self._take(_GAP)
        if not self.text.startswith(closing, self.at):
            return False
        self._skip(closing)
        return True

    def _note(self, path: KeyPath) -> KeyPath:
        self.lines.setdefault(path, self.line)
        return path

    def _skip(self, expected: str) -> None:
        self._take(_SPACE)
        self._take(re.compile(re.escape(expected)))

    def _take(self, pattern: re.Pattern[str]) -> str:
        found = pattern.match(self.text, self.at)
        if found is None:
            raise ValueError(f"line {self.line} is no TOML: {self.text[self.at : self.at + 20]!r}")
        self.at = found.end()
        self.line += found[0].count("\n")
        return found[0]


def _plain(key: str) -> str:
    """A key without its quotes and escapes."""
    if key[0] not in "\"'":
        return key
    (only,) = tomllib.loads(f"{key} = 0")
    return only
