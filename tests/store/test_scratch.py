"""What a run holds on disk for itself alone."""

from __future__ import annotations

import os
import resource
import sqlite3

import pytest

from camaudit.errors import OutputError
from camaudit.store import Scratch


def test_what_was_put_is_found() -> None:
    held = Scratch()
    assert held.get([b"a"]) == {}
    held.put([(b"a", {"x": [0.1, "é"]}, None), (b"b", {}, b"\0\1")])
    held.put([(b"b", {"y": None}, b"\2")])
    assert held.get([b"a", b"c", b"b"]) == {
        b"a": ({"x": [0.1, "é"]}, None), b"b": ({"y": None}, b"\2")
    }  # fmt: skip
    assert Scratch().get([b"a"]) == {}


def test_it_does_not_take_memory() -> None:
    """200 MB of it."""
    held, before = Scratch(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    blobs = {number.to_bytes(2, "big"): os.urandom(1_000_000) for number in range(2)}
    for number in range(200):
        held.put([(number.to_bytes(2, "big"), {}, blobs[(number % 2).to_bytes(2, "big")])])
    assert held.get([b"\0\xc7"]) == {b"\0\xc7": ({}, blobs[b"\0\1"])}
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_a_full_disk_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(sqlite3, "connect", full)
    with pytest.raises(OutputError, match=r"cannot be written to a temporary file: .* is full"):
        Scratch().put([(b"a", {}, None)])
