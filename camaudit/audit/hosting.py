"""Workers in a process of their own: they build the subject again, and hold one batch at a time."""

from __future__ import annotations

import getpass
import hashlib
import os
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from camaudit.audit.executors import Call, answered
from camaudit.audit.exploring import Explorer
from camaudit.audit.foreign import foreign_methods
from camaudit.audit.invariance import foreign_explainers
from camaudit.audit.settings import Settings
from camaudit.audit.subject import Subject, WalledSubject, build_subject, load_subject
from camaudit.audit.units import Batch
from camaudit.audit.worker import Worker, prepared
from camaudit.data.stack_mix import StackImage
from camaudit.errors import AuditError

__all__ = ["Host", "Order", "order_of"]


class Order:
    """What a host is built from: settings, what must come of them, and the weights' bytes.

    `weights` are None where every host reads the same files.
    """

    def __init__(
        self, settings: Settings, state_sha256: str, image: StackImage, threads: int,
        weights: bytes | None = None,
    ) -> None:  # fmt: skip
        self.settings = settings
        self.state_sha256 = state_sha256
        self.image = image
        self.threads = threads
        self.weights = weights


def order_of(settings: Settings, state_sha256: str, image: StackImage, *, ship: bool) -> Order:
    """The order for hosts that shall do as this process does; with `ship` weights travel along."""
    weights = settings.weights.read_bytes() if ship and settings.weights is not None else None
    return Order(settings, state_sha256, image.held(), torch.get_num_threads(), weights)


class Host:
    """What computes, from an order, on the device of a lane.

    That is a :class:`camaudit.audit.worker.Worker` for the check dead-zone and a
    :class:`camaudit.audit.exploring.Explorer` for metrics and sanity checks. A batch is sent with
    its first call; the calls after it name its place alone.
    """

    def __init__(self, order: Order, lane: int) -> None:
        torch.set_num_threads(order.threads)
        settings = replace(order.settings, device=_device(order.settings.device, lane))
        if order.weights is not None:
            settings = replace(settings, weights=_placed(order.weights, settings))
        self._stack = ExitStack()
        foreign = self._stack.enter_context(foreign_methods(foreign_explainers(settings)))
        subject: Subject = (build_subject if settings.walled else load_subject)(settings)
        if subject.description["state_sha256"] != order.state_sha256:
            raise AuditError(
                "a worker loaded other weights than the run itself: expected the same model, by "
                f"the same spec {settings.model!r}, on every machine"
            )
        self._settings, self._subject, self._image = settings, subject, order.image
        self._left = foreign.left
        self._batch: Batch | None = None

    def hold(self, batch: Batch) -> None:
        """The batch of the calls that follow."""
        self._batch = batch

    def answer(self, call: Call) -> Any:
        """What is said to a call on the batch that is held."""
        if self._batch is None:
            raise AuditError("a worker was asked before it had a batch")
        if call.kind == "explore":
            return self._explorer.answer(self._batch, call.asked)
        return answered(self._worker, replace(call, batch=self._batch))

    @cached_property
    def _worker(self) -> Worker:
        if not isinstance(self._subject, WalledSubject):
            raise AuditError("a worker without a wall was asked about the dead zone")
        forwards = prepared(self._settings, self._subject, self._image)
        return Worker(self._settings, self._subject, forwards, left=self._left)

    @cached_property
    def _explorer(self) -> Explorer:
        return Explorer(self._settings, self._subject, self._image, self._left)


def _device(name: str, lane: int) -> str:
    """One GPU a lane, where the run names none."""
    count = torch.cuda.device_count() if name == "cuda" else 0
    return f"cuda:{lane % count}" if count > 1 else name


def _placed(weights: bytes, settings: Settings) -> Path:
    """The weights as a file of this machine, written once for all of its hosts."""
    suffix = settings.weights.suffix if settings.weights is not None else ""
    digest = hashlib.sha256(weights).hexdigest()
    folder = Path(tempfile.gettempdir()) / f"camaudit-weights-{getpass.getuser()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    mine = not hasattr(os, "getuid") or folder.stat().st_uid == os.getuid()  # not on Windows
    if folder.is_symlink() or not mine:
        raise AuditError(f"{folder} belongs to somebody else: remove it")
    path = folder / f"{digest}{suffix}"
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        handle, name = tempfile.mkstemp(dir=folder)
        with os.fdopen(handle, "wb") as file:
            file.write(weights)
        Path(name).replace(path)
    return path
