"""Random weights that depend on a seed and a tensor's name alone, drawn in parallel blocks."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

__all__ = ["BLOCK", "fill_normal_", "key", "normal", "permuted"]

BLOCK = 2**22  #: values that come from one generator


def key(seed: int, name: str, block: int | str) -> int:
    """The generator's seed, in [0, 2³²): from SHA-256 of `seed/name/block`.

    Layers of equal shape have other names, hence other weights.
    """
    digest = hashlib.sha256(f"{seed}/{name}/{block}".encode()).digest()
    return int.from_bytes(digest[:4], "big")


def normal(seed: int, name: str, count: int) -> Tensor:
    """`count` standard normal numbers, float32 on the CPU, the same for any number of threads.

    Block b of :data:`BLOCK` values comes from a generator of its own, seeded `key(seed, name, b)`.
    """
    values = torch.empty(count)
    fill_normal_(values, seed, name)
    return values


def fill_normal_(tensor: Tensor, seed: int, name: str, std: float = 1.0) -> None:
    """Write `std` times the numbers of :func:`normal` into a tensor, row by row.

    The product is taken in float32. A large tensor is filled block by block in several threads,
    for a second copy of it would cost more time than the numbers do.
    """
    flat = tensor.detach()
    if not flat.is_contiguous() or flat.is_inference():
        tensor.copy_(normal(seed, name, tensor.numel()).mul_(std).view(tensor.shape))
        return
    flat = flat.view(-1)

    def fill(block: int) -> None:
        part = flat[block * BLOCK : (block + 1) * BLOCK]
        generator = torch.Generator().manual_seed(key(seed, name, block))
        part.copy_(torch.empty(len(part)).normal_(generator=generator).mul_(std))

    blocks = range(-(-len(flat) // BLOCK))
    if len(blocks) < 2:
        for block in blocks:
            fill(block)
        return
    with ThreadPoolExecutor(torch.get_num_threads()) as pool:
        list(pool.map(fill, blocks))


def permuted(seed: int, name: str, tensor: Tensor) -> Tensor:
    """The entries of `tensor` in random order; those that are exactly 0 stay where they are.

    A wall's or a pruned layer's zeros are part of the architecture, not of what was learned.
    """
    flat = tensor.detach().reshape(-1).clone()
    places = flat.nonzero().flatten()
    generator = torch.Generator().manual_seed(key(seed, name, "permute"))
    order = torch.randperm(len(places), generator=generator).to(flat.device)
    flat[places] = flat[places[order]]
    return flat.view(tensor.shape)
