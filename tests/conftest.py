"""Settings of the whole suite: no deadlines, no network."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.subjects import write_factory, write_photographs

# Timings on shared machines say nothing. On CI the examples are the same every time.
settings.register_profile("camaudit", deadline=None, print_blob=True)
settings.register_profile("ci", parent=settings.get_profile("camaudit"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "camaudit")

_LOCAL = {"127.0.0.1", "::1", "localhost"}


@pytest.fixture(autouse=True, scope="session")
def no_network() -> Iterator[None]:
    """Connecting to anything but this machine fails the test that tries."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in _LOCAL:
            raise AssertionError(f"a test tried to reach {address[0]}")
        connect(self, address)

    patch = pytest.MonkeyPatch()
    patch.setattr(socket.socket, "connect", guarded)
    yield
    patch.undo()


@pytest.fixture
def factory(tmp_path: Path) -> Path:
    """A file with model factories, good and bad (see tests/subjects.py)."""
    return write_factory(tmp_path)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """A folder of three classes with two photographs each."""
    return write_photographs(tmp_path / "photographs")
