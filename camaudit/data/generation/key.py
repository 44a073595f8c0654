"""The key of a paid service: read from the environment, and kept out of every text."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import quote, unquote

from camaudit.errors import UsageError

if TYPE_CHECKING:
    import requests

__all__ = ["Key"]

_PIECE = 6
_SHORTEST = 8  # local services take words such as EMPTY for a key, which are no secret
_HIDDEN = "[key]"
_WORD = re.compile(r"[^\s\"'`<>,;(){}\[\]]+")
_MASKED = re.compile(r"\*{3}|….|\.{3}.|•{2}")


class Key:
    """A secret that signs requests and removes itself from texts; an empty one signs nothing.

    Neither `repr` nor `str` nor an error shows it, and it cannot be pickled.
    """

    __slots__ = ("_pieces", "_value")

    def __init__(self, value: str) -> None:
        """Take a key of printable ASCII; spaces around it are dropped.

        Raises :class:`UsageError`, which does not show it, for any other: it fits no header.
        """
        value = value.strip()
        if not re.fullmatch(r"[\x21-\x7e]*", value):
            raise UsageError(
                "the API key holds characters that no key has (spaces inside, line breaks or "
                "letters beyond ASCII): expected one word; copy it again (it is not shown here)"
            )
        self._value = value
        starts = range(len(value) - _PIECE + 1 if len(value) >= _SHORTEST else 0)
        self._pieces = frozenset(value[start : start + _PIECE].casefold() for start in starts)

    @classmethod
    def from_environment(cls, name: str, *, optional: bool = False) -> Key:
        """The key in the environment variable `name`; `optional` admits none.

        Raises :class:`UsageError` if there is none, or if `name` is no name of a variable. A name
        that may be the key itself, given by mistake, is not repeated.
        """
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            raise UsageError(
                "--key-env expects the name of an environment variable, such as OPENAI_API_KEY; "
                "what was given is no such name (it is not shown, lest it be the key itself)"
            )
        value = os.environ.get(name, "").strip()
        if not value and not optional:
            ordinary = re.fullmatch(r"[A-Z_]{1,60}[A-Z0-9_]{0,4}", name)
            shown = name if ordinary else "that --key-env names"
            raise UsageError(
                f"no API key: the environment variable {shown} is not set or empty; put the key "
                "there, or name another variable with --key-env"
            )
        return cls(value)

    def __bool__(self) -> bool:
        return bool(self._value)

    def __repr__(self) -> str:
        return "Key(…)" if self._value else "Key()"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not to be stored")

    def sign(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the header that proves who asks."""
        if self._value:
            request.headers["Authorization"] = f"Bearer {self._value}"
        return request

    def is_in(self, data: str | bytes) -> bool:
        """Whether a text or some bytes hold the whole key, percent-encoded or not."""
        if not self._pieces:
            return False
        if isinstance(data, bytes):
            return self._value.encode("ascii") in data
        return any(self._value in text for text in (data, unquote(data), quote(data, safe="")))

    def redact(self, text: str, *, masks: bool = True) -> str:
        """The text without the key, and without words that hold a piece of it or a mask.

        Services repeat keys in part (`sk-ab***yz`), so that six characters in a row of the key,
        in upper or lower case, or a row of asterisks or dots inside it (unless not `masks`, for
        texts that are no errors) hide the whole word. A key of less than eight characters is no
        secret and hides only itself; without a key the text is unchanged.
        """
        if not self._value:
            return text
        plain = text.replace(self._value, _HIDDEN) if self._pieces else text

        def checked(found: re.Match[str]) -> str:
            word = found[0]
            return _HIDDEN if (masks and _MASKED.search(word)) or self._tells(word) else word

        return _WORD.sub(checked, plain)

    def _tells(self, word: str) -> bool:
        """Whether a word is the key, or holds a part of it that gives it away."""
        if word == self._value:
            return True
        return any(
            piece in form.casefold() for form in {word, unquote(word)} for piece in self._pieces
        )
