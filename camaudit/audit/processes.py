"""Processes of this machine as lanes."""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from camaudit.audit.executors import Answer, Call, unwrapped
from camaudit.audit.hosting import Host, Order
from camaudit.audit.units import Batch
from camaudit.errors import CamauditError

__all__ = ["Processes"]

_SECONDS = 5.0  # that a process has to end by itself


class Processes:
    """`count` processes, started when they are first needed, and again where one was lost."""

    def __init__(self, order: Order, count: int) -> None:
        self.lanes = count
        self._order = order
        self._context = multiprocessing.get_context("spawn")
        self._running: dict[int, tuple[BaseProcess, Connection]] = {}
        self._holding: dict[int, Batch] = {}
        self._busy: set[int] = set()

    def usable(self, lane: int) -> bool:  # noqa: ARG002 - all are alike
        """Always: a process that is gone is started again."""
        return True

    def submit(self, lane: int, call: Call) -> None:
        """Send a call to the lane's process, with the batch if that is a new one."""
        if lane not in self._running:
            self._start(lane)
        batch = None if self._holding.get(lane) is call.batch else call.batch
        self._holding[lane] = call.batch
        self._busy.add(lane)
        with suppress(OSError):  # it is gone, as wait() will find
            self._running[lane][1].send((batch, call.bare()))

    def wait(self) -> Sequence[Answer]:
        """What came of the calls; a process that died is an answer too."""
        ready = wait([self._running[lane][1] for lane in self._busy])
        found = []
        for lane in sorted(self._busy):
            connection = self._running[lane][1]
            if connection not in ready:
                continue
            try:
                value, error = connection.recv()
            except (EOFError, OSError):
                found.append(self._lost(lane))
                continue
            self._busy.discard(lane)
            if error is not None:
                raise unwrapped(error)
            found.append(Answer(lane, value))
        return found

    def close(self) -> None:
        """End the processes."""
        for process, connection in self._running.values():
            connection.close()
            if self._busy:
                process.terminate()
        for process, _ in self._running.values():
            process.join(_SECONDS)
            if process.is_alive():
                process.kill()
                process.join()
            process.close()
        self._running.clear()

    @property
    def pids(self) -> list[int]:
        """The processes' numbers."""
        return [process.pid for process, _ in self._running.values() if process.pid is not None]

    def _start(self, lane: int) -> None:
        ours, theirs = self._context.Pipe()
        process = self._context.Process(
            target=_serve, args=(theirs, self._order, lane), daemon=True,
            name=f"camaudit-worker-{lane}",
        )  # fmt: skip
        process.start()
        theirs.close()
        self._running[lane] = (process, ours)

    def _lost(self, lane: int) -> Answer:
        process, connection = self._running.pop(lane)
        connection.close()
        process.join(_SECONDS)
        code = process.exitcode
        self._holding.pop(lane, None)
        self._busy.discard(lane)
        return Answer(lane, lost=f"its process ended with code {code}")


def _serve(connection: Connection, order: Order, lane: int) -> None:
    """Answer calls until the other end is closed."""
    host: Host | None = None
    while True:
        try:
            batch, call = connection.recv()
        except (EOFError, OSError, KeyboardInterrupt):
            return
        answer: tuple[Any, BaseException | None]
        try:
            host = host or Host(order, lane)
            if batch is not None:
                host.hold(batch)
            answer = host.answer(call), None
        except KeyboardInterrupt:
            return
        except CamauditError as error:
            answer = None, error
        except Exception as error:  # of any kind, and maybe one that cannot be sent
            answer = None, unwrapped(error)
        connection.send(answer)
