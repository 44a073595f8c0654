"""What processes of one run share: made once, read by all, also where the maker is killed."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from camaudit.testing.shared import Shared


def _slow(folder: Path, mark: Path) -> dict[str, Any]:
    def make() -> dict[str, Any]:
        with mark.open("a") as file:
            file.write("made\n")
        time.sleep(0.3)
        return {"who": os.getpid()}

    shared = Shared(folder)
    shared.add({"who": os.getpid()})
    return shared.once("audit", make)


def _killed(folder: Path) -> None:
    def make() -> dict[str, Any]:
        os.kill(os.getpid(), signal.SIGKILL)
        return {}

    Shared(folder).once("audit", make)


@pytest.mark.parametrize("folder", [True, False])
def test_one_process_makes_it_once(tmp_path: Path, folder: bool) -> None:
    shared = Shared(tmp_path if folder else None)
    assert shared.known("audit") is None
    assert shared.once("audit", lambda: {"figure": None}) == {"figure": None}
    assert shared.once("audit", lambda: {"figure": 2}) == {"figure": None}
    assert shared.known("audit") == {"figure": None}
    shared.add({"a": 1})
    shared.add({"b": 2})
    assert shared.records() == [{"a": 1}, {"b": 2}]


def test_of_many_processes_one_makes_it_and_all_have_it(tmp_path: Path) -> None:
    mark = tmp_path / "made.txt"
    with multiprocessing.get_context("fork").Pool(3) as pool:
        found = pool.starmap(_slow, [(tmp_path, mark)] * 3)
    assert len({one["who"] for one in found}) == 1
    assert mark.read_text() == "made\n"
    assert len(Shared(tmp_path).records()) == 3


def test_where_the_first_is_killed_the_next_makes_it(tmp_path: Path) -> None:
    process = multiprocessing.get_context("fork").Process(target=_killed, args=(tmp_path,))
    process.start()
    process.join()
    assert process.exitcode == -signal.SIGKILL
    shared = Shared(tmp_path)
    assert shared.known("audit") is None
    assert shared.once("audit", lambda: {"who": "next"}) == {"who": "next"}
