"""Text of others on its way into an output: one line, printable, nothing that acts."""

from __future__ import annotations

import re

__all__ = ["markdown_code", "markdown_text", "one_line", "printable", "without_trace"]

# Control characters, marks that turn the direction of text, what has no UTF-8 form, non-characters.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)

_TRACE = "Traceback (most recent call last):"
_MARKUP = re.compile(r"[\\`*_{}\[\]~]|^[-+=]")
_NUMBERED = re.compile(r"^(\d+)([.)])(?=\s|$)")
# What markdown leaves alone, but a forge turns into a link, a mention or a formula.
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&#124;"}
_BROKEN = {"@": "@<!-- -->", "#": "#<!-- -->", "://": ":<!-- -->//", "www.": "www<!-- -->.",
           "$": "<span>$</span>"}  # fmt: skip


def printable(text: str) -> str:
    """`text` with every character that a terminal, a page or XML stumbles over replaced by U+FFFD.

    >>> printable("a\\x1b[31mb"), printable("two\\nlines")
    ('a�[31mb', 'two\\nlines')
    """
    return _UNPRINTABLE.sub("\ufffd", text)


def one_line(text: str) -> str:
    """:func:`printable` text with all white space drawn together to single blanks.

    >>> one_line(" two\\r\\n lines ")
    'two lines'
    """
    return " ".join(printable(text).split())


def without_trace(text: str) -> str:
    """`text` with the exception alone in the place of its traceback.

    >>> trace = "Traceback (most recent call last):"
    >>> without_trace(f"it failed: {trace}\\n  File 'a.py', line 1\\nOSError: no such disk")
    'it failed: OSError: no such disk'
    """
    before, mark, rest = text.partition(_TRACE)
    if not mark:
        return text
    lines = rest.rpartition(_TRACE)[2].splitlines()
    while lines and (not lines[0] or lines[0][0].isspace()):
        del lines[0]
    return before + "\n".join(lines)


def markdown_text(text: str) -> str:
    """One line that GitHub's markdown shows as it stands, also in a table and at a line's start.

    Nothing in it becomes markup, HTML, a link, a mention that sends mail, or a formula.

    >>> markdown_text("a|b *c* <i>")
    'a&#124;b \\\\*c\\\\* &lt;i&gt;'
    """
    text = one_line(text)
    for plain, entity in _ENTITIES.items():
        text = text.replace(plain, entity)
    text = _MARKUP.sub(r"\\\g<0>", text)
    text = _NUMBERED.sub(r"\1\\\2", text)
    # "&#124;" holds no mark of these but the "#", which must stay
    text = re.sub(r"(?<!&)#", _BROKEN["#"], text)
    for plain in ("@", "://", "www.", "$"):
        text = text.replace(plain, _BROKEN[plain])
    return text


def markdown_code(text: str) -> str:
    """The same in the letters of code; an empty text is a dash."""
    return f"<code>{markdown_text(text)}</code>" if text.strip() else "–"
