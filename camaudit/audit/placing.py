"""Which executor a run has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from camaudit.audit.executors import Executor
from camaudit.audit.hosting import order_of
from camaudit.audit.settings import Settings
from camaudit.audit.subject import Subject
from camaudit.data.stack_mix import StackImage
from camaudit.errors import UsageError

__all__ = ["Place", "PlaceKind", "placed"]

PlaceKind = Literal["serial", "processes", "ray"]


@dataclass(frozen=True)
class Place:
    """Where a run's work is done. It changes no figure, and so is none of the settings.

    kind: "serial", in this process; "processes" of this machine; "ray", a cluster.
    workers: how many; None for one a GPU, or else one for every two cores (of the cluster).
    address: of the cluster; None starts one on this machine, "auto" finds a running one.
    """

    kind: PlaceKind = "serial"
    workers: int | None = None
    address: str | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(PlaceKind):
            raise UsageError(
                f"executor must be one of {', '.join(get_args(PlaceKind))}; got {self.kind!r}"
            )
        if self.workers is not None and (self.workers < 1 or self.kind == "serial"):
            raise UsageError(
                "--workers: expected at least 1, with --executor processes or ray; got "
                f"{self.workers} with {self.kind}"
            )
        if self.address is not None and self.kind != "ray":
            raise UsageError("--address is that of a Ray cluster: give --executor ray too")


@contextmanager
def placed(
    place: Place, settings: Settings, subject: Subject, image: StackImage
) -> Iterator[Executor | None]:
    """The executor of a place, None for this process; it is closed at the end, work or no work.

    Raises :class:`camaudit.errors.MissingExtraError` where Ray is not installed.
    """
    if place.kind == "serial":
        yield None
        return
    executor: Executor
    digest = subject.description["state_sha256"]
    if place.kind == "processes":
        from camaudit.audit.processes import Processes

        order = order_of(settings, digest, image, ship=False)
        executor = Processes(order, place.workers or _count(settings))
    else:
        from camaudit.audit.cluster import Cluster

        order = order_of(settings, digest, image, ship=True)
        executor = Cluster(order, place.workers, place.address)
    try:
        yield executor
    finally:
        executor.close()


def _count(settings: Settings) -> int:
    """One process a GPU, or for as many threads as each has."""
    import os

    if settings.device.startswith("cuda"):
        return torch.cuda.device_count() if settings.device == "cuda" else 1
    return max(1, (os.cpu_count() or 1) // torch.get_num_threads())
