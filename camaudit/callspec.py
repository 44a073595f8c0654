"""A name with options in brackets, as methods and models are written: `name(option=value, …)`."""

from __future__ import annotations

import re

__all__ = ["split_call"]

_CALL = re.compile(r"\s*([^()\s]+)\s*(?:\((.*)\)\s*)?", re.DOTALL)


def split_call(text: str) -> tuple[str, list[str]] | None:
    """The name, and what stands between the commas of its brackets; None for anything else.

    >>> split_call("resnet18(num_classes=10, in_chans=1)")
    ('resnet18', ['num_classes=10', 'in_chans=1'])
    """
    found = _CALL.fullmatch(text)
    if found is None:
        return None
    name, written = found.groups()
    return name, [part.strip() for part in (written or "").split(",") if part.strip()]
