"""A Ray cluster's workers as lanes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from camaudit.audit.executors import Answer, Call, unwrapped
from camaudit.audit.hosting import Host, Order
from camaudit.audit.units import Batch
from camaudit.errors import AuditError, MissingExtraError

__all__ = ["Cluster"]

_START = 300.0  # seconds for a worker to find a place in the cluster


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
                ray.init(address=address, log_to_driver=False, include_dashboard=False)
            except (ConnectionError, RuntimeError, ValueError) as error:
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
        self._busy: dict[Any, int] = {}

    def submit(self, lane: int, call: Call) -> None:
        """Send a call to the lane's actor, with the batch if that is a new one."""
        if lane not in self._actors:
            actor = self._ray.remote(Host).options(scheduling_strategy="SPREAD", **self._needs)
            self._actors[lane] = actor.remote(self._order, lane)
        host = self._actors[lane]
        if self._holding.get(lane) is not call.batch:
            host.hold.remote(call.batch)
            self._holding[lane] = call.batch
        self._busy[host.answer.remote(call.kind, call.method, call.part)] = lane

    def wait(self) -> Sequence[Answer]:
        """What came of the calls; an actor or a node that is gone is an answer too."""
        ready, _ = self._ray.wait(list(self._busy), num_returns=1, timeout=_START)
        if not ready and not self._alive():
            raise AuditError(
                f"no worker found a place in the cluster in {_START:.0f} s: each needs "
                f"{self._needs}, the cluster has {self._ray.available_resources()} left"
            )
        return [self._answer(reference) for reference in ready]

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
            return Answer(lane, self._ray.get(reference))
        except (errors.RayActorError, errors.ObjectLostError, errors.WorkerCrashedError) as error:
            cause = getattr(error, "cause", None)
            if isinstance(error, errors.ActorDiedError) and _raised(error):
                raise unwrapped(cause or error) from error
            self._actors.pop(lane, None)
            self._holding.pop(lane, None)
            return Answer(lane, lost=str(error).strip().splitlines()[0])
        except errors.RayTaskError as error:
            raise unwrapped(error.cause) from error

    def _room(self) -> int:
        """How many actors the cluster's resources hold."""
        has = self._ray.cluster_resources()
        names = {"num_cpus": "CPU", "num_gpus": "GPU"}
        return max(1, min(int(has.get(names[k], 0) // n) for k, n in self._needs.items()))

    def _alive(self) -> bool:
        """Whether any actor of ours has begun."""
        from ray.util.state import list_actors

        return any(actor.state == "ALIVE" for actor in list_actors())


def _raised(error: BaseException) -> bool:
    """Whether an actor died because it could not be built."""
    return "creation task" in str(error)
