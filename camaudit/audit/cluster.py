"""A Ray cluster's workers as lanes."""

from __future__ import annotations

import math
import socket
import time
from collections.abc import Sequence
from typing import Any

from camaudit.audit.executors import Answer, Call, unwrapped
from camaudit.audit.hosting import Host, Order
from camaudit.audit.units import Batch
from camaudit.errors import AuditError, MissingExtraError

__all__ = ["Cluster"]

_START = 300.0  # seconds for a worker to find a place in the cluster, and to load its model
_CONNECT = 10.0  # seconds for the cluster to answer
_LOOK = 5.0  # seconds between two looks at those that have not
_RESOURCES = {"num_cpus": "CPU", "num_gpus": "GPU"}  # as Ray asks for them, and as it counts them


def _reach(address: str | None) -> None:
    """Raise OSError where nobody listens at host:port, for which Ray would end the program."""
    host, _, port = (address or "").removeprefix("ray://").rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host, int(port)), timeout=_CONNECT).close()


class Cluster:
    """Actors of a Ray cluster, spread over its nodes, and started again where one was lost.

    The order travels once to every node, weights included, through Ray's object store; a batch
    travels with its first call. `count` actors; None for as many as the cluster has room for.
    """

    def __init__(self, order: Order, count: int | None, address: str | None) -> None:
        try:
            import ray
        except ImportError as error:
            raise MissingExtraError(
                "--executor ray needs Ray: pip install 'camaudit[ray]' here and on every node"
            ) from error
        self._ray: Any = ray
        self._ours = not ray.is_initialized()
        if self._ours:
            try:
                _reach(address)
                ray.init(address=address, log_to_driver=False, include_dashboard=False)
            except (OSError, RuntimeError, ValueError) as error:
                raise AuditError(
                    f"no Ray cluster at {address}: {error}; start one with ray start --head, or "
                    "leave --address out for one on this machine"
                ) from error
        self._needs = {"num_gpus": 1} if order.settings.device == "cuda" else {}
        self._needs |= {"num_cpus": order.threads}
        self.lanes = count or self._room()
        self._order = ray.put(order)
        self._actors: dict[int, Any] = {}
        self._holding: dict[int, Batch] = {}
        self._unborn: dict[int, float] = {}
        self._busy: dict[Any, int] = {}

    def usable(self, lane: int) -> bool:
        """Whether the lane has its actor, or the cluster room for one.

        Where no actor is left, a place is waited for.
        """
        if lane in self._actors or not self._actors:
            return True
        left = self._ray.available_resources()
        return all(left.get(_RESOURCES[name], 0) >= need for name, need in self._needs.items())

    def submit(self, lane: int, call: Call) -> None:
        """Send a call to the lane's actor, with the batch if that is a new one."""
        if lane not in self._actors:
            actor = self._ray.remote(Host).options(scheduling_strategy="SPREAD", **self._needs)
            self._actors[lane] = actor.remote(self._order, lane)
            self._unborn[lane] = time.monotonic()
        host = self._actors[lane]
        if self._holding.get(lane) is not call.batch:
            host.hold.remote(call.batch)
            self._holding[lane] = call.batch
        self._busy[host.answer.remote(call.bare())] = lane

    def wait(self) -> Sequence[Answer]:
        """What came of the calls; an actor or a node that is gone is an answer too.

        So is one that found no place while others have.
        """
        while True:
            ready, _ = self._ray.wait(list(self._busy), num_returns=1, timeout=_LOOK)
            if ready:
                return [self._answer(reference) for reference in ready]
            for reference, lane in list(self._busy.items()):
                if time.monotonic() - self._unborn.get(lane, math.inf) > _START:
                    return [self._unplaced(reference, lane)]

    def _unplaced(self, reference: Any, lane: int) -> Answer:
        """An actor for which there was no room for too long. Raises where none has one."""
        if len(self._unborn) == len(self._actors):
            raise AuditError(
                f"no worker found a place in the cluster in {_START:.0f} s: each needs "
                f"{self._needs}, the cluster has {self._ray.available_resources()} left"
            )
        del self._busy[reference]
        self._ray.kill(self._actors[lane])
        return self._gone(lane, "it found no place in the cluster")

    def _gone(self, lane: int, why: str) -> Answer:
        for known in (self._actors, self._holding, self._unborn):
            known.pop(lane, None)
        return Answer(lane, lost=why)

    def close(self) -> None:
        """End the actors, and the cluster or the connection to it if it was made here."""
        for actor in self._actors.values():
            self._ray.kill(actor)
        self._actors.clear()
        if self._ours:
            self._ray.shutdown()

    def _answer(self, reference: Any) -> Answer:
        lane = self._busy.pop(reference)
        errors = self._ray.exceptions
        try:
            answer = Answer(lane, self._ray.get(reference))
        except (errors.RayActorError, errors.ObjectLostError, errors.WorkerCrashedError) as error:
            if "creation task" in str(error):  # it could not be built
                raise unwrapped(getattr(error, "cause", None) or error) from error
            return self._gone(lane, str(error).strip().splitlines()[0])
        except errors.RayTaskError as error:
            raise unwrapped(error.cause) from error
        self._unborn.pop(lane, None)
        return answer

    def _room(self) -> int:
        """How many actors the cluster's resources hold."""
        has = self._ray.cluster_resources()
        fit = [int(has.get(_RESOURCES[name], 0) // need) for name, need in self._needs.items()]
        return max(1, min(fit))
