"""Keeping freed memory is a switch of glibc; elsewhere it is a no-op that says so."""

from __future__ import annotations

import subprocess
import sys

import pytest

from camaudit.audit import allocator


def test_it_is_taken_on_glibc() -> None:
    code = "import sys; from camaudit.audit.allocator import keep_freed_memory as k; print(k())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    glibc = sys.platform == "linux" and "GLIBC" in (
        subprocess.run(["ldd", "--version"], capture_output=True, text=True, check=False).stdout
    )
    assert done.stdout.strip() == str(glibc)


def test_other_systems_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(allocator.sys, "platform", "darwin")
    assert allocator.keep_freed_memory() is False
    monkeypatch.setattr(allocator.sys, "platform", "linux")
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda _: object())
    assert allocator.keep_freed_memory() is False
