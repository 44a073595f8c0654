"""One cell of a run: what was computed, under a key that says what it was computed from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Cell", "cell_key", "checksum", "decoded", "digest_of", "encoded"]


@dataclass(frozen=True)
class Cell:
    """What one check found with one method on one image.

    `key` is :func:`cell_key` of everything that the value depends on; `value` is plain JSON, and
    `blob` what has no JSON form (maps). The other fields are for looking at a store: they say what
    the cell was when it was written, and no value is found by them.
    """

    key: str
    check: str
    method: str
    image: str
    value: Any
    target: int | None = None
    status: str | None = None
    blob: bytes | None = None


def cell_key(parts: Mapping[str, Any]) -> str:
    """SHA-256 (hexadecimal) of the canonical JSON of `parts`: sorted keys, no spaces.

    Raises :class:`ValueError` for NaN and infinities and :class:`TypeError` for what is no JSON.
    """
    return hashlib.sha256(encoded(parts)).hexdigest()


def digest_of(text: bytes) -> str:
    """SHA-256 (hexadecimal) of some bytes."""
    return hashlib.sha256(text).hexdigest()


def encoded(value: Any) -> bytes:
    """Canonical JSON; lone surrogates, as file names bring them, as escapes."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def decoded(text: bytes) -> Any:
    """The value of canonical JSON."""
    return json.loads(text)


def checksum(*parts: bytes | None) -> bytes:
    """BLAKE2b (16 bytes) over parts and their lengths; it tells damage, not forgery."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(b"-" if part is None else len(part).to_bytes(8, "big") + part)
    return digest.digest()
