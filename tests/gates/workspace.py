"""A repository with a policy that passes, in which accidents happen; and processes to lose there.

The model has three convolutions, and there are eight photographs. A gate has passed in it, so that
its outputs lie there, and `run/` is the run that it judged.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import chdir
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree
from textwrap import dedent
from typing import Any

import pytest

from camaudit.cli import _run, main
from tests.subjects import photograph, write_factory

__all__ = ["BASELINE", "EXPLAINERS", "OUTPUTS", "POLICY", "Done", "Workspace", "prepare"]

IMAGES = 8
#: Where the earlier gate wrote, and the next one writes.
OUTPUTS = {"junit": "ci/junit.xml", "markdown": "ci/comment.md", "badge": "badge.svg",
           "card": "card.json"}  # fmt: skip

POLICY = """version = 1

[subject]
model = "subject.py:build"
layer = "0.6"
image_size = 64
wall = "split"

[images]
folder = "photos"
number = 8

[run]
explainers = ["explainers.py:top"]

[[condition]]
name = "low"
require = "dead_zone.mu_l1 <= 0.05"
"""
#: In place of the last line: a condition that the earlier run itself would pass.
BASELINE = "require = 'dead_zone.mu_l1 <= baseline + 0.01'"

EXPLAINERS = dedent(
    '''
    """Explainers: the first looks at the first row alone, the others go wrong."""
    import os
    import signal
    import sys

    import torch


    def top(model, layer, images, targets):
        maps = torch.zeros(len(images), 8, 8)
        maps[:, 0] = 1
        return maps


    def spread(model, layer, images, targets):
        """Mean brightness: in the dead rows too, each image otherwise."""
        return torch.nn.functional.avg_pool2d(images, 8).mean(dim=1).abs()


    def raises(model, layer, images, targets):
        raise RuntimeError("out of memory")


    def nan(model, layer, images, targets):
        return top(model, layer, images, targets) * float("nan")


    def zeros(model, layer, images, targets):
        return top(model, layer, images, targets) * 0


    def flat(model, layer, images, targets):
        return torch.ones(len(images))


    def writes(model, layer, images, targets):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
        return top(model, layer, images, targets)


    def leaves(model, layer, images, targets):
        sys.exit(0)


    def leaves_at_once(model, layer, images, targets):
        os._exit(0)


    def interrupted(model, layer, images, targets):
        signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in the background
        os.kill(os.getpid(), signal.SIGINT)
        return top(model, layer, images, targets)


    def terminated(model, layer, images, targets):
        os.kill(os.getpid(), signal.SIGTERM)


    def killed(model, layer, images, targets):
        os.kill(os.getpid(), signal.SIGKILL)


    def crashes(model, layer, images, targets):
        os.kill(os.getpid(), signal.SIGSEGV)


    def forks(model, layer, images, targets):
        """As a pool of processes does: the child leaves at once, by right."""
        child = os.fork()
        if child == 0:
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
        return top(model, layer, images, targets)


    class Leaving(torch.nn.Module):
        """Ends the program once it has been called often enough to be an audit's model."""

        def __init__(self):
            super().__init__()
            self.calls = 0

        def forward(self, x):
            self.calls += 1
            if self.calls > 12:
                sys.exit(0)
            return x


    def leaving_model():
        from subject import build

        return torch.nn.Sequential(build()[0], build()[1], Leaving()).eval()
    '''
)


@dataclass(frozen=True)
class Done:
    """What a gate said: its exit code, and its two streams."""

    code: int
    out: str
    err: str


class Workspace:
    """A copy of the repository; `run` calls the command line in this process.

    here: the working folder, mostly the repository's own.
    """

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder = self.here = folder
        self._capsys = capsys

    @property
    def policy(self) -> Path:
        """The policy's file."""
        return self.folder / "camaudit.toml"

    def edit(self, old: str, new: str) -> None:
        """Change one place of the policy."""
        text = self.policy.read_text(encoding="utf-8")
        assert text.count(old) == 1, (old, text)
        self.policy.write_text(text.replace(old, new), encoding="utf-8")

    def change(self, path: str, changed: Callable[[dict[str, Any]], Any]) -> None:
        """Change the object in a JSON file."""
        content = json.loads((self.folder / path).read_text(encoding="utf-8"))
        changed(content)
        (self.folder / path).write_text(json.dumps(content), encoding="utf-8")

    def read(self, path: str = "reports/gate/gate.json") -> dict[str, Any]:
        """The object in a JSON file."""
        found: dict[str, Any] = json.loads((self.folder / path).read_text(encoding="utf-8"))
        return found

    def run(self, *words: str, outputs: bool = True) -> Done:
        """`camaudit gate` in the folder; `outputs`: with every output asked for."""
        self._capsys.readouterr()
        with chdir(self.here):
            code = _run(self._words(words, outputs), debug=False)
        return Done(code, *self._capsys.readouterr())

    def process(
        self, *words: str, before: Callable[[], object] | None = None, outputs: bool = True
    ) -> Done:
        """The same in a process of its own, in which `before` is called first.

        Processes are forked from one that has loaded torch and done nothing else: the second one
        costs next to nothing.
        """
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["camaudit.audit.gating", "camaudit.report.html", __name__])
        given = (str(self.here), self._words(words, outputs), before)
        child = context.Process(target=_child, args=given)
        child.start()
        child.join(timeout=120)
        assert child.exitcode is not None, "it hangs"
        texts = [(self.folder / name).read_text(encoding="utf-8") for name in ("out", "err")]
        return Done(child.exitcode, *texts)

    def program(self, *words: str, python: tuple[str, ...] = (), out: str = "out") -> Done:
        """The same by `python -m camaudit`, which takes its time to start; `out`: its stdout."""
        command = [sys.executable, *python, "-m", "camaudit", *self._words(words, outputs=True)]
        with (self.here / out).open("w") as stream:
            done = subprocess.run(
                command, cwd=self.here, stdout=stream, stderr=subprocess.PIPE, text=True,
                check=False, env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            )  # fmt: skip
        said = "" if out != "out" else (self.here / out).read_text(encoding="utf-8")
        return Done(done.returncode, said, done.stderr)

    def _words(self, words: tuple[str, ...], outputs: bool) -> list[str]:
        asked = {**OUTPUTS, "out": "reports/gate"} if outputs else {}
        paths = [(f"--{name}", str(self.folder / path)) for name, path in asked.items()]
        return ["gate", *(word for pair in paths for word in pair), *words]


def _child(folder: str, words: list[str], before: Callable[[], object] | None) -> None:
    """Where a forked process begins; its streams are files."""
    os.chdir(folder)
    for name, stream in (("out", sys.stdout), ("err", sys.stderr)):
        stream.flush()
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), stream.fileno())
    if before is not None:
        before()
    main(words)


def prepare(folder: Path, capsys: pytest.CaptureFixture[str]) -> Workspace:
    """The repository, and a gate that passes in it."""
    write_factory(folder)
    (folder / "explainers.py").write_text(EXPLAINERS, encoding="utf-8")
    (folder / "photos").mkdir()
    for number in range(IMAGES):
        photograph(number).save(folder / "photos" / f"{number}.png")
    (folder / "camaudit.toml").write_text(POLICY, encoding="utf-8")
    made = Workspace(folder, capsys)
    done = made.run()
    assert done.code == 0, done
    copytree(folder / "reports" / "gate", folder / "run")
    return made
