"""Text that is safe to show: control characters and marks that turn its direction replaced."""

from __future__ import annotations

import re

__all__ = ["printable"]

# Control characters, and the marks that turn the direction of the text after them.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufffe\uffff]"
)


def printable(text: str) -> str:
    """`text` with a replacement character for each of those.

    >>> printable("a\\x00b")
    'a\ufffdb'
    """
    return _UNPRINTABLE.sub("\ufffd", text)
