"""Fields of plain JSON values, read with their types checked."""

from __future__ import annotations

import math
import re
from typing import Any, NoReturn

from camaudit.errors import UsageError

__all__ = ["Fields"]

_SHA256 = re.compile(r"[0-9a-f]{64}")


class Fields:
    """The fields of one JSON object; `where` says in errors which one it is.

    Every reader raises :class:`UsageError` for a missing field or one of another type. Those
    that end in `or_none` also take null.
    """

    def __init__(self, value: Any, where: str) -> None:
        if not isinstance(value, dict):
            raise UsageError(f"{where}: expected an object, got {_shown(value)}")
        self.value: dict[str, Any] = value
        self.where = where

    def error(self, key: str, wanted: str, came: object) -> UsageError:
        """An error that names the field, what was expected and what came."""
        return UsageError(f"{self.where}: {key} must be {wanted}; got {_shown(came)}")

    def text(self, key: str) -> str:
        """Text that is not empty."""
        value = self._get(key)
        if not isinstance(value, str) or not value:
            self._refuse(key, "text")
        return value

    def text_or_none(self, key: str) -> str | None:
        """Text that is not empty, or null."""
        return None if self._get(key) is None else self.text(key)

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts."""
        value = self._list(key)
        if not all(isinstance(item, str) for item in value):
            self._refuse(key, "a list of texts")
        return tuple(value)

    def digest(self, key: str) -> str:
        """SHA-256 in 64 lower-case hexadecimal digits."""
        value = self._get(key)
        if not isinstance(value, str) or not _SHA256.fullmatch(value):
            self._refuse(key, "64 lower-case hexadecimal digits")
        return value

    def integer(self, key: str) -> int:
        """A whole number, 0 or more."""
        value = self._get(key)
        if not _whole(value) or value < 0:
            self._refuse(key, "a whole number, 0 or more")
        return int(value)

    def integer_or_none(self, key: str) -> int | None:
        """A whole number, 0 or more, or null."""
        return None if self._get(key) is None else self.integer(key)

    def numbers(self, key: str, *, whole: bool, length: int) -> tuple[float, ...]:
        """A list of `length` numbers."""
        value = self._list(key)
        fits = all(_whole(item) if whole else _number(item) for item in value)
        if len(value) != length or not fits:
            self._refuse(key, f"a list of {length} {'whole ' if whole else ''}numbers")
        return tuple(value)

    def pairs_or_none(self, key: str) -> tuple[tuple[int, int], ...] | None:
        """A list of pairs of whole numbers, or null."""
        if self._get(key) is None:
            return None
        pairs = self._list(key)
        for pair in pairs:
            if not (isinstance(pair, list) and len(pair) == 2 and all(map(_whole, pair))):
                self._refuse(key, "a list of pairs of whole numbers, or null")
        return tuple((first, last) for first, last in pairs)

    def mapping(self, key: str) -> dict[str, Any]:
        """An object."""
        value = self._get(key)
        if not isinstance(value, dict):
            self._refuse(key, "an object")
        return value

    def mapping_or_none(self, key: str) -> dict[str, Any] | None:
        """An object, or null."""
        return None if self._get(key) is None else self.mapping(key)

    def entries(self, key: str) -> list[Fields]:
        """A list of objects, each with its place in `where`."""
        return [
            Fields(item, f"{self.where}: {key}[{index}]")
            for index, item in enumerate(self._list(key))
        ]

    def _list(self, key: str) -> list[Any]:
        value = self._get(key)
        if not isinstance(value, list):
            self._refuse(key, "a list")
        return value

    def _get(self, key: str) -> Any:
        if key not in self.value:
            raise UsageError(f"{self.where}: the field {key!r} is missing")
        return self.value[key]

    def _refuse(self, key: str, wanted: str) -> NoReturn:
        raise self.error(key, wanted, self.value[key])


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: Any) -> bool:
    return _whole(value) or (isinstance(value, float) and math.isfinite(value))


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "…"
