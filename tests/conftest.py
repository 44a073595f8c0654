"""Settings of the whole suite: two processes, no deadlines, no network."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import settings

from tests.subjects import write_factory, write_photographs

# Timings on shared machines say nothing. On CI the examples are the same every time.
settings.register_profile("camaudit", deadline=None, print_blob=True)
settings.register_profile("ci", parent=settings.get_profile("camaudit"), derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") else "camaudit")

_LOCAL = {"127.0.0.1", "::1", "localhost"}

PROCESSES = 2

collect_ignore = ["example_repo"]  # a repository of its own; tests/testing runs copies of it


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Share the whole suite out to processes, unless the command line says how to run it.

    Hardly a test keeps two cores busy by itself. Named files run in this process: for a few tests
    another start of torch costs more than it saves.
    """
    option = config.option
    if not config.pluginmanager.hasplugin("xdist") or hasattr(config, "workerinput"):
        return
    chosen = option.numprocesses is not None or option.tx
    if not (chosen or option.file_or_dir or option.usepdb or option.trace):
        option.numprocesses = PROCESSES
    if option.numprocesses or option.tx:
        if option.dist == "no":
            option.dist = "worksteal"  # tests that share a fixture stay together, mostly
        # Processes that have several threads each wait for each other's. These are read when torch
        # is loaded: by the processes that are to come, and by the programs that tests start there.
        os.environ.setdefault("OMP_NUM_THREADS", "1")
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where processes share the tests, long ones come first: none is left alone with one."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.get_closest_marker("long") is None)


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
def two_threads() -> Iterator[None]:
    """Torch uses two threads, also where processes share the suite and have one each."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def factory(tmp_path: Path) -> Path:
    """A file with model factories, good and bad (see tests/subjects.py)."""
    return write_factory(tmp_path)


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """A folder of three classes with two photographs each."""
    return write_photographs(tmp_path / "photographs")
