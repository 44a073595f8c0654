"""The processes that train together, as torchrun starts them; one process is a world of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from camaudit.errors import UsageError
from camaudit.models.loading import resolve_device

__all__ = ["World", "joined"]


@dataclass(frozen=True)
class World:
    """This process among `size`, numbered by `rank` from 0; `first` writes the files."""

    rank: int
    size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this process speaks for all."""
        return self.rank == 0

    def sum(self, values: Tensor) -> Tensor:
        """The sum of `values` over all processes, in place."""
        if self.size > 1:
            dist.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        """Whether `flag` is set in any process; all of them must ask."""
        if self.size == 1:
            return flag
        return bool(self.sum(torch.tensor(int(flag), device=self.device)) > 0)

    def same(self, module: nn.Module) -> None:
        """Give every process the buffers (running means) that the first one has."""
        if self.size > 1:
            for buffer in module.buffers():
                dist.broadcast(buffer, 0)

    def wait(self) -> None:
        """Until every process has come here."""
        if self.size > 1:
            dist.barrier()

    def shared(self, module: nn.Module) -> nn.Module:
        """The module with its gradients averaged over all processes."""
        if self.size == 1:
            return module
        ids = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(module, device_ids=ids)


@contextmanager
def joined(device: str) -> Iterator[World]:
    """The world that the environment describes (RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT).

    Processes on CUDA talk through NCCL and take the GPU of their LOCAL_RANK, others through gloo.
    Raises :class:`UsageError` for an incomplete environment.
    """
    size = _number("WORLD_SIZE", 1)
    if size <= 1:
        yield World(0, 1, resolve_device(device))
        return
    rank, local = _number("RANK", None), _number("LOCAL_RANK", 0)
    chosen = resolve_device(f"cuda:{local}" if device == "cuda" else device)
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    try:
        dist.init_process_group(
            "nccl" if chosen.type == "cuda" else "gloo", rank=rank, world_size=size
        )
    except (RuntimeError, ValueError) as error:
        raise UsageError(
            f"the {size} processes cannot find each other: start them with torchrun "
            f"({str(error).splitlines()[0]})"
        ) from error
    try:
        yield World(rank, size, chosen)
    finally:
        dist.destroy_process_group()


def _number(name: str, default: int | None) -> int:
    text = os.environ.get(name)
    if text is None and default is not None:
        return default
    if text is None or not text.isdecimal():
        raise UsageError(f"expected a number in {name}, as torchrun sets it; got {text!r}")
    return int(text)
