"""Images that are read part by part, in place of one tensor of all of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, TypeAlias

import torch
from torch import Tensor

__all__ = ["Images", "Stream", "UnreadError", "unread"]


class UnreadError(Exception):
    """Images were asked for that are not to be read."""


def unread(_part: slice) -> NoReturn:
    """In place of reading images. Raises :class:`UnreadError`."""
    raise UnreadError


class Stream:
    """N images (C×H×W), of which a slice is a tensor that `load` gives; nothing is kept.

    `example` (1×C×H×W) says what the images are like: their shape, dtype and device.
    """

    def __init__(self, load: Callable[[slice], Tensor], example: Tensor, count: int) -> None:
        self.shape = torch.Size((count, *example.shape[1:]))
        self.ndim = example.ndim
        self.dtype = example.dtype
        self.device = example.device
        self._load = load

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, part: slice) -> Tensor:
        """The images of `part`; raises what reading them raises."""
        return self._load(part)

    def is_floating_point(self) -> bool:
        """Whether the images are of a floating dtype."""
        return self.dtype.is_floating_point


Images: TypeAlias = Tensor | Stream
"""All images of a run, N×C×H×W: in memory, or read part by part."""
