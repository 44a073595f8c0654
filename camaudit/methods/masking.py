"""Forward passes of masked images, in chunks, and each mask once however many methods want it."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Any, TypeVar

import torch
from torch import Tensor

from camaudit.capture import Capture

__all__ = ["asked", "black_logits", "channel_logits", "distinct", "mask_logits", "take_asked"]

Masks = Callable[[Tensor], Tensor]
T = TypeVar("T")

_ASKED = "asked"


def mask_logits(
    capture: Capture,
    row: int,
    count: int,
    masks: Callable[[int, int], Tensor],
    *,
    background: Tensor | None = None,
) -> Tensor:
    """Logits (count×C) of image `row` under masks: `x ⊙ M_m`.

    On a `background` b (C×H×W) they are `x ⊙ M_m + b ⊙ (1 − M_m)`. `masks(start, stop)` gives
    masks start … stop − 1 (m×H×W); it is asked for at most `capture.batch_size` at a time, so
    memory does not grow with their number.
    """
    image = capture.images[row]
    last = capture.images.is_contiguous(memory_format=torch.channels_last)
    layout = torch.channels_last if last else torch.contiguous_format
    out = capture.logits.new_empty(count, capture.logits.shape[1])
    for start in range(0, count, capture.batch_size):
        stop = min(start + capture.batch_size, count)
        kept = masks(start, stop)[:, None]
        masked = image * kept if background is None else image * kept + background * (1 - kept)
        out[start:stop] = capture.model(masked.contiguous(memory_format=layout))
    return out


def channel_logits(
    capture: Capture, row: int, channels: Tensor, masks: Masks, *, key: Hashable
) -> Tensor:
    """Logits (len(channels)×C) of image `row` masked by `masks(channels)` (m×H×W).

    `key` names the form of the mask: logits are kept in the capture, and equal channels have
    equal masks, so no mask is run twice whichever methods, channels and targets ask for it.
    """
    A = capture.activations[row]
    first = _kept(capture, row, ("first", None), lambda: distinct(A))
    table, known = _kept(
        capture,
        row,
        key,
        lambda: (
            capture.logits.new_empty(len(A), capture.logits.shape[1]),
            torch.zeros(len(A), dtype=torch.bool, device=A.device),
        ),
    )
    wanted = torch.unique(first[channels])
    missing = wanted[~known[wanted]]
    table[missing] = mask_logits(
        capture, row, len(missing), lambda start, stop: masks(missing[start:stop])
    )
    known[missing] = True
    asked(capture.memo[row], key, wanted.tolist())
    return table[first[channels]]


def black_logits(capture: Capture, row: int) -> Tensor:
    """Logits (C) of the all-zero image, which a standardised image calls the mean colour."""
    found = _kept(
        capture,
        row,
        "black",
        lambda: capture.model(torch.zeros_like(capture.images[row : row + 1]))[0],
    )
    asked(capture.memo[row], "black", [0])
    return found


def asked(memo: dict[Any, Any], key: Hashable, which: Iterable[int]) -> None:
    """Note in an image's memo that masks of the form `key` were asked for, run now or before."""
    memo.setdefault(_ASKED, {}).setdefault(repr(key), set()).update(which)


def take_asked(memo: dict[Any, Any]) -> dict[str, set[int]]:
    """The masks that were asked for since the last call, by their form; each is one pass."""
    found: dict[str, set[int]] = memo.pop(_ASKED, {})
    return found


def distinct(A: Tensor) -> Tensor:
    """For each of K maps (K×h×w) the index of the first one that is equal to it bit for bit."""
    _, group = torch.unique(A.flatten(1), dim=0, return_inverse=True)
    places = torch.arange(len(A), device=A.device)
    first = torch.full_like(places, len(A)).scatter_reduce(0, group, places, "amin")
    return first[group]


def _kept(capture: Capture, row: int, key: Hashable, make: Callable[[], T]) -> T:
    memo = capture.memo[row]
    if key not in memo:
        memo[key] = make()
    value: T = memo[key]
    return value
