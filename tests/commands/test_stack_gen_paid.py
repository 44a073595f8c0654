"""`camaudit data stack-gen` with a paid service: killed midway, it pays for no image twice."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from camaudit.cli import main
from camaudit.data.manifest import read_manifest, verify
from tests.images_server import ImagesServer, failure

ROOT = Path(__file__).parents[2]
SECRET = "sk-planted-0f1E2d3C4b5A6978"  # noqa: S105 - planted, to be looked for
COUNT = 4


@dataclass
class Runs:
    """The same command, again and again, as a process of its own or in this one."""

    server: ImagesServer
    out: Path
    capsys: pytest.CaptureFixture[str]
    shown: list[str] = field(default_factory=list)
    process: subprocess.Popen[str] | None = None

    def command(self, *more: str) -> list[str]:
        return [
            "data", "stack-gen", "--backend", "api", "--base-url", self.server.base, "--model",
            "dall-e-3", "--size", "64x96", "--image-size", "48", "--dead-rows", "12", "--count",
            str(COUNT), "--price", "0.04", "--out", str(self.out), *more,
        ]  # fmt: skip

    def here(self, *more: str) -> int:
        """Run it in this process; its exit code."""
        with pytest.raises(SystemExit) as ended:
            main(self.command(*more))
        self.shown += self.capsys.readouterr()
        return int(ended.value.code or 0)

    def apart(self) -> int:
        """Run it as a process, which the server may kill; its exit code."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "camaudit", *self.command()], env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self.shown += self.process.communicate(timeout=120)
        return self.process.returncode

    def everything(self) -> str:
        """All that was printed, and every file."""
        files = [path for path in self.out.parent.rglob("*") if path.is_file()]
        assert files
        texts = [path.name + path.read_bytes().decode("latin-1") for path in files]
        return "\n".join([*self.shown, *texts])

    def check(self) -> None:
        """A whole data set, one payment an image, and no trace of the key."""
        manifest = read_manifest(self.out)
        assert len(manifest.images) == COUNT
        assert verify(self.out).problems == ()
        origins = [image.generation or {} for image in manifest.images]
        assert len({origin["response_id"] for origin in origins}) == COUNT
        assert {origin["cost"] for origin in origins} == {0.04}
        assert self.server.paid == COUNT
        assert "sk-planted" not in self.everything()
        assert SECRET[-6:] not in self.everything()


@pytest.fixture
def runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Runs]:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.setenv("NO_PROXY", "*")
    with ImagesServer(key=SECRET) as server:
        yield Runs(server, tmp_path / "set", capsys)


def test_killed_with_a_request_in_flight_it_goes_on(runs: Runs) -> None:
    def before(number: int) -> None:
        if number == 4 and runs.process is not None:  # the second image, on the bill all the same
            runs.process.send_signal(signal.SIGKILL)

    runs.server.before = before
    runs.server.events = [
        failure(500, f"{SECRET} is busy", {"Retry-After": "0"}),
        failure(429, "", {"Retry-After": "0"}),
    ]
    assert runs.apart() == -signal.SIGKILL
    assert not runs.out.exists()
    assert runs.server.paid == 2
    assert runs.apart() == 0
    runs.check()
    notes = read_manifest(runs.out).notes
    assert any(note.startswith("1 requests for images ended without an answer") for note in notes)


def test_the_budget_stops_it_and_more_of_it_goes_on(runs: Runs) -> None:
    assert runs.here("--budget", "0.10") == 3
    assert "would exceed --budget 0.10: so far 0.08" in runs.shown[-1]
    assert runs.server.paid == 2
    assert runs.here("--budget", "0.16") == 0
    runs.check()
    manifest = (runs.out / "manifest.json").read_bytes()
    assert runs.here("--force") == 0  # built anew from what is paid
    assert len(runs.server.posts) == COUNT
    assert (runs.out / "manifest.json").read_bytes() == manifest


def test_a_prompt_that_is_refused_is_listed_and_the_next_one_made(runs: Runs) -> None:
    refusal = "Your request was rejected by our safety system."
    runs.server.events = [failure(400, refusal, code="content_policy_violation")]
    assert runs.here() == 0
    runs.check()
    (rejection,) = read_manifest(runs.out).rejected
    assert refusal in rejection.reason


def test_a_wrong_key_stops_it_unseen(runs: Runs) -> None:
    runs.server.events = [failure(401, f"Incorrect API key provided: {SECRET}.")]
    assert runs.here("--debug") == 3
    assert "does not accept the API key" in runs.shown[-1]
    assert "Traceback" in runs.shown[-1]
    assert len(runs.server.posts) == 1
    assert not runs.out.exists()
    assert "sk-planted" not in runs.everything()
