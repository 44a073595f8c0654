"""A process that pays for pictures is killed at every place, and none is paid for twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from camaudit.data.generation.images_api import ApiOptions, ImagesApi
from camaudit.data.generation.request import Request
from tests.images_server import ImagesServer

ROOT = Path(__file__).parents[3]
DRIVER = """
import sys
from camaudit.data.generation.images_api import ApiOptions, ImagesApi
from camaudit.data.generation.request import Request

options = ApiOptions(base_url=sys.argv[1], model="m", size="64x48", refine_model="chat")
with ImagesApi(options, sys.argv[2]) as backend:
    for seed in range(4):
        backend.generate(Request(
            id=f"jay-{seed}", label=17, label_name="jay", prompt="Jays.", seed=seed, size=(48, 48)
        ))
        print(seed, flush=True)
"""


@dataclass
class Victim:
    """The driver as a process."""

    server: ImagesServer
    folder: Path
    process: subprocess.Popen[str] | None = None

    def run(self) -> int:
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_PROXY": "*"}
        self.process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, self.server.base, str(self.folder)],
            env=environment, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.process.communicate(timeout=60)
        return self.process.returncode

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def once(self, wanted: int) -> Callable[[int], None]:
        """Kills it when something has the number `wanted` for the first time."""
        done: list[int] = []

        def before(number: int) -> None:
            if number == wanted and not done:
                done.append(number)
                self.kill()

        return before


def generated(server: ImagesServer, folder: Path) -> list[bytes]:
    """The pictures, asked for in this process."""
    options = ApiOptions(base_url=server.base, model="m", size="64x48", refine_model="chat")
    with ImagesApi(options, folder) as backend:
        return [
            backend.generate(
                Request(
                    id=f"jay-{seed}", label=17, label_name="jay", prompt="Jays.", seed=seed,
                    size=(48, 48),
                )
            ).picture
            for seed in range(4)
        ]  # fmt: skip


@pytest.mark.parametrize("place", ["image", "link"])
def test_killed_once_and_gone_on(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the request in the server's hands, or with a picture that still lies at its link.

    At a link even a server that charges for every request gets each picture paid once.
    """
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with ImagesServer(honours_keys=place == "image", by_link=place == "link") as server:
        victim = Victim(server, tmp_path / "set.generation")
        if place == "image":
            server.before = victim.once(3)
        else:
            server.before_link = victim.once(3)
        assert victim.run() == -signal.SIGKILL
        assert server.paid == 3
        pictures = generated(server, victim.folder)
        assert len(set(pictures)) == 4
        assert server.paid == 4
        assert sum(server.chat_bill.values()) == 4
        assert generated(server, victim.folder) == pictures
        assert server.paid == 4


def test_killed_at_whatever_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Kills around what the client does with an answer: reading, storing, journalling it."""
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with ImagesServer() as server:
        victim = Victim(server, tmp_path / "set.generation")
        for delay in (0.0, 0.004, 0.011):
            server.before = lambda _, delay=delay: _later(victim, delay)
            victim.run()
        server.before = lambda _: None
        assert len(set(generated(server, victim.folder))) == 4
        assert server.paid == 4
        assert len(server.bill) == 4


def _later(victim: Victim, delay: float) -> None:
    threading.Timer(delay, victim.kill).start()
