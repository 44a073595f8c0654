"""A page as the tests read it: its tags, its own style and script, and its words."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser


class Page(HTMLParser):
    """Tags with their attributes, the text of style and script elements, and all other text.

    `rows` are the cells of every table row, by the text of each.
    """

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.raw: dict[str, list[str]] = {"script": [], "style": []}
        self.words: list[str] = []
        self.rows: list[list[str]] = []
        self._inside = ""
        self._cell = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs)
        self.tags.append((tag, dict(attrs)))
        self._inside = tag if tag in self.raw else ""
        if self._inside:
            self.raw[tag].append("")
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag == self._inside:
            self._inside = ""
        if tag in ("td", "th"):
            self._cell = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.raw[self._inside][-1] += data
            return
        self.words.append(data)
        if self._cell:
            self.rows[-1][-1] += data

    @property
    def text(self) -> str:
        """All words, with single spaces."""
        return re.sub(r"\s+", " ", "".join(self.words))

    def having(self, name: str, value: str) -> list[dict[str, str | None]]:
        """The attributes of every tag whose attribute `name` holds the word `value`."""
        return [found for _, found in self.tags if value in (found.get(name) or "").split()]

    def policy(self) -> dict[str, str]:
        """The parts of the Content-Security-Policy."""
        (content,) = [
            found["content"] for found in self.having("http-equiv", "Content-Security-Policy")
        ]
        return dict(part.strip().split(" ", 1) for part in (content or "").split(";"))


def digest(text: str) -> str:
    """How a policy names a style or a script."""
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"
