"""What may stand behind a key of a policy: readers of single values, each with its own message."""

from __future__ import annotations

import datetime
import math
import re
from collections.abc import Callable, Sequence
from typing import Any

from camaudit.errors import UsageError
from camaudit.gates.names import near

__all__ = [
    "Kind", "boolean", "choice", "choices", "date", "device", "hexadecimal", "label", "model",
    "positive", "preprocess", "shown", "size", "text", "texts", "whole",
]  # fmt: skip

Kind = Callable[[Any], Any]  #: from what tomllib gave to what a policy holds, or UsageError

_SIZE = re.compile(r"\s*(\d{1,12}(?:\.\d{1,12})?)\s*([KMGT]?)i?B?\s*", re.IGNORECASE | re.ASCII)
_LABEL = re.compile(r"[A-Za-z0-9](?:[\w .+-]*[\w.+-])?", re.ASCII)
_DEVICE = re.compile(r"cpu|mps|cuda(?::\d{1,4})?", re.ASCII)
_NORMALISATIONS = ("imagenet", "lite")


def shown(value: Any) -> str:
    """A value as a message quotes it: as TOML has it, and short."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "an array"
    if isinstance(value, int) and abs(value) > 10**18:
        return "a number of more than 18 digits"
    if not isinstance(value, str):
        return str(value)
    return repr(value if len(value) <= 60 else f"{value[:57]}…")


def text(value: Any) -> str:
    """A string that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise UsageError(f"must be a string that is not empty; got {shown(value)}")
    if "\0" in value:
        raise UsageError("must not contain the character 0")
    return value.strip()


def texts(value: Any) -> tuple[str, ...]:
    """An array of at least one string, each once."""
    if not isinstance(value, list) or not value or not all(isinstance(item, str) for item in value):
        hint = f"; write [{shown(value)}]" if isinstance(value, str) else ""
        raise UsageError(f"must be an array of at least one string; got {shown(value)}{hint}")
    found = tuple(text(item) for item in value)
    for item in found:
        if found.count(item) > 1:
            raise UsageError(f"names {shown(item)} twice")
    return found


def label(value: Any) -> str:
    """A name of a condition, which tests are named by."""
    name = text(value)
    if len(name) > 80 or not _LABEL.fullmatch(name):
        raise UsageError(
            "must be a name of at most 80 letters, digits, spaces and _ . + -, with a letter or "
            f"digit first; got {shown(value)}"
        )
    return name


def boolean(value: Any) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise UsageError(f"must be true or false, without quotes; got {shown(value)}")
    return value


def whole(least: int, most: int = 2**63 - 1) -> Kind:
    """A whole number from `least` on."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            upper = "" if most == 2**63 - 1 else f" and at most {most}"
            raise UsageError(
                f"must be a whole number of at least {least}{upper}; got {shown(value)}"
            )
        return value

    return read


def positive(value: Any) -> float:
    """A finite number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise UsageError(f"must be a finite number above 0; got {shown(value)}")
    if value > 10**18:
        raise UsageError(f"must be at most 1e18; got {shown(value)}")
    return float(value)


def choice(known: Sequence[str]) -> Kind:
    """One of the names in `known`."""

    def read(value: Any) -> str:
        if not isinstance(value, str) or value not in known:
            raise UsageError(f"must be one of {', '.join(known)}; got {shown(value)}")
        return value

    return read


def choices(known: Sequence[str], what: str) -> Kind:
    """An array of names in `known`, each once."""

    def read(value: Any) -> tuple[str, ...]:
        found = texts(value)
        for name in found:
            if name not in known:
                raise UsageError(f"has an unknown {what} {shown(name)}: {near(name, known)}")
        return found

    return read


def hexadecimal(value: Any) -> str:
    """A SHA-256."""
    if not isinstance(value, str) or not re.fullmatch("[0-9a-fA-F]{64}", value):
        raise UsageError(
            "must be a SHA-256 of 64 hexadecimal digits, as results.json has it; got "
            f"{shown(value)}"
        )
    return value.lower()


def size(value: Any) -> int:
    """Bytes: a whole number, or a string such as 600M."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**63:
        return value
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    amount = int(float(found[1]) * 1024 ** " KMGT".index(found[2].upper() or " ")) if found else 0
    if amount < 1:
        raise UsageError(f'must be a size such as "600M" or "2G"; got {shown(value)}')
    return amount


def date(value: Any) -> datetime.date:
    """A day, as TOML writes days: without quotes and without a time."""
    if isinstance(value, datetime.datetime) or not isinstance(value, datetime.date):
        hint = ", without quotes" if isinstance(value, str) else ""
        raise UsageError(f"must be a date such as 2026-12-31{hint}; got {shown(value)}")
    return value


def device(value: Any) -> str:
    """A torch device that an audit runs on."""
    if not isinstance(value, str) or not _DEVICE.fullmatch(value):
        raise UsageError(f"must be cpu, cuda, cuda:N or mps; got {shown(value)}")
    return value


def model(value: Any) -> str:
    """A model spec."""
    spec = text(value)
    source, _, name = spec.rpartition(":")
    if spec != "lite0" and not (source and name):
        raise UsageError(
            "must be lite0, torchvision:NAME, timm:NAME, hf:FOLDER, package.module:factory, "
            f"file.py:factory or trained:DIR; got {shown(value)}"
        )
    return spec


def preprocess(value: Any) -> str:
    """A standardisation of images."""
    name = text(value)
    if name.lower() in _NORMALISATIONS:
        return name
    parts = [_numbers(part) for part in name.split("/")]
    if len(parts) != 2 or any(len(part) not in (1, 3) for part in parts):
        raise UsageError(
            f'must be imagenet, lite or MEAN/STD such as "0.5/0.5"; got {shown(value)}'
        )
    means, deviations = parts
    if min(means) < 0 or max(means) > 1 or min(deviations) <= 0:
        raise UsageError(
            "must have means between 0 and 1 (pixels are divided by 255 first) and standard "
            f"deviations above 0; got {shown(value)}"
        )
    return name


def _numbers(listed: str) -> list[float]:
    """Finite numbers between commas; none where one of them is no number."""
    try:
        found = [float(part) for part in listed.split(",")]
    except ValueError:
        return []
    return found if all(map(math.isfinite, found)) else []
