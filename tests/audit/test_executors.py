"""The same results from processes as from one, whatever becomes of them."""

from __future__ import annotations

import os
import signal
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from camaudit.audit import loop as loop_module
from camaudit.audit.driving import LOSSES, Job, drive
from camaudit.audit.executors import Answer, Call, answered
from camaudit.audit.images import audit_images
from camaudit.audit.live import Live
from camaudit.audit.loop import Loop
from camaudit.audit.placing import Place
from camaudit.audit.processes import Processes
from camaudit.audit.progress import Silent
from camaudit.audit.run import run_audit
from camaudit.audit.settings import Settings
from camaudit.audit.subject import build_subject
from camaudit.audit.units import Batch
from camaudit.errors import AuditError, UsageError
from tests.audit.test_resuming import IMAGES, METHODS, photographs, plain, settings

__all__ = ["photographs", "settings"]

CELLS = 3 * IMAGES + 4


class Lanes:
    """Two lanes in this process that answer the latest call first, and lose every third."""

    lanes = 2

    def __init__(self, lose: int = 0) -> None:
        self.lose = lose
        self.count = 0
        self.calls: list[tuple[int, Call]] = []

    def usable(self, lane: int) -> bool:
        return lane < self.lanes

    def submit(self, lane: int, call: Call) -> None:
        assert lane not in {other for other, _ in self.calls}
        self.calls.append((lane, call))

    def wait(self) -> list[Answer]:
        lane, call = self.calls.pop()
        self.count += 1
        if self.lose and self.count % self.lose == 0:
            return [Answer(lane, lost="of the test")]
        return [Answer(lane, (call.batch.start, call.method))]

    def close(self) -> None:
        """Nothing."""


def jobs(done: list[Any], count: int) -> Any:
    def steps(number: int) -> Any:
        told = []
        for name in "abc":
            told.append((yield Call("score", Batch(number, ()), name)))
        done.append(told)

    return (Job(lambda number=number: steps(number)) for number in range(count))


@pytest.mark.parametrize("lose", [0, 5])
def test_every_job_comes_to_its_end(lose: int) -> None:
    done: list[Any] = []
    drive(Lanes(lose), partial(next, jobs(done, 20), None))
    assert sorted(done) == [[(number, name) for name in "abc"] for number in range(20)]


def test_a_job_that_loses_every_worker_ends_the_run() -> None:
    lanes = Lanes(lose=1)
    with pytest.raises(AuditError, match=r"3 workers were lost .* because of the test"):
        drive(lanes, partial(next, jobs([], 1), None))
    assert lanes.count == LOSSES


def test_jobs_that_another_one_brings_are_done_too() -> None:
    done: list[Any] = []
    ready = list(jobs(done, 1))

    def bringing() -> Any:
        yield from ready[0].make()
        ready.extend(jobs(done, 5))

    waiting = [Job(bringing)]
    drive(Lanes(0), lambda: waiting.pop() if waiting else ready.pop() if len(ready) > 1 else None)
    assert len(done) == 1 + 5


class Counted(Lanes):
    """Lanes that compute here, and count which lane was given which costly image."""

    def __init__(self, worker: Any) -> None:
        super().__init__(0)
        self.worker = worker
        self.costly: dict[int, list[int]] = {lane: [] for lane in range(self.lanes)}

    def submit(self, lane: int, call: Call) -> None:
        super().submit(lane, call)
        if call.method == "scorecam":
            self.costly[lane].append(call.batch.start + call.part.start)

    def wait(self) -> list[Answer]:
        lane, call = self.calls.pop(0)
        return [Answer(lane, answered(self.worker, call))]


def test_costly_images_of_one_batch_go_to_whoever_is_free(settings: Settings) -> None:
    settings = replace(settings, batch_size=IMAGES, perturbation_images=IMAGES)
    subject = build_subject(settings)
    images = audit_images(settings, subject.walled.zone)
    loops = [Loop(settings, subject, images, settings.methods, Silent()) for _ in range(2)]
    loops[0].run()
    lanes = Counted(loops[1]._worker)
    loops[1].run(lanes)
    assert loops[1].records == loops[0].records
    assert sorted(place for done in lanes.costly.values() for place in done) == [*range(IMAGES)]
    assert min(map(len, lanes.costly.values())) >= IMAGES // lanes.lanes - 1


def test_processes_give_what_this_process_gives(settings: Settings, tmp_path: Path) -> None:
    expected = plain(run_audit(settings))
    found = run_audit(settings, records=tmp_path / "out", place=Place("processes", 2))
    assert plain(found) == expected
    assert found.results.timing["cells"] == {"found": 0, "computed": CELLS}
    again = run_audit(settings, records=tmp_path / "out")
    assert plain(again) == expected
    assert again.results.timing["cells"]["computed"] == 0


def test_a_killed_process_costs_its_own_part_alone(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = plain(run_audit(settings))
    taken: list[tuple[str, int]] = []
    killed: list[int] = []
    genuine_wait, genuine_take = Processes.wait, loop_module.Loop._take

    def wait(self: Processes) -> Any:
        if len(taken) >= 6 and not killed:
            killed.extend(self.pids)
            for pid in self.pids:
                os.kill(pid, signal.SIGKILL)
        return genuine_wait(self)

    def take(self: Any, method: str, place: int, entries: Any) -> None:
        taken.append((method, place))
        genuine_take(self, method, place, entries)

    monkeypatch.setattr(Processes, "wait", wait)
    monkeypatch.setattr(loop_module.Loop, "_take", take)
    found = run_audit(settings, place=Place("processes", 2))
    assert killed
    assert plain(found) == expected
    assert len(taken) == len(set(taken)) == CELLS


def test_what_a_worker_raises_is_raised_here(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = Processes.__init__

    def other_weights(self: Any, order: Any, count: int) -> None:
        order.state_sha256 = "of another model"
        genuine(self, order, count)

    monkeypatch.setattr(Processes, "__init__", other_weights)
    with pytest.raises(AuditError, match="a worker loaded other weights"):
        run_audit(settings, place=Place("processes", 1))


@pytest.mark.parametrize(
    "options",
    [{"kind": "threads"}, {"workers": 2}, {"kind": "processes", "workers": 0},
     {"kind": "processes", "address": "auto"}],
)  # fmt: skip
def test_places_that_cannot_be_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"executor|workers|address"):
        Place(**options)


def test_a_live_model_stays_here() -> None:
    live = Live(model=nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()).eval())
    with pytest.raises(UsageError, match="cannot be sent to other processes"):
        run_audit(Settings(methods=METHODS), live=live, place=Place("processes", 2))
