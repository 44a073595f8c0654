"""Slow, literal float64 references of the methods for transformers, on `tests.token_networks`.

Every forward pass is written out here from the weights of a :class:`TinyViT`; nothing of camaudit
is used. `keep` are the tokens that the network has: the others are never computed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from tests.token_networks import TinyViT


def _norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    centred = x - x.mean(dim=-1, keepdim=True)
    return centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt() * weight + bias


def _gelu(x: Tensor) -> Tensor:
    return x * (1 + torch.erf(x / math.sqrt(2))) / 2


def embedded(model: TinyViT, image: Tensor) -> Tensor:
    """The T tokens (T×D) that the blocks read, patch by patch."""
    rows = [model.prefix[0, place] for place in range(model.prefix.shape[1])]
    for i in range(model.grid[0]):
        for j in range(model.grid[1]):
            patch = image[:, 4 * i : 4 * i + 4, 4 * j : 4 * j + 4]
            rows.append((model.patch.weight * patch).sum(dim=(1, 2, 3)) + model.patch.bias)
    return torch.stack(rows) + model.position[0]


def block(model: TinyViT, place: int, x: Tensor) -> tuple[Tensor, Tensor]:
    """The tokens (S×D) after a block and its attention (heads×S×S), which they depend on."""
    b = model.blocks[place]
    z = _norm(x, b.norm1.weight, b.norm1.bias)
    q, k, v = (z @ b.attn.qkv.weight.T + b.attn.qkv.bias).chunk(3, dim=1)
    heads, d = b.attn.heads, x.shape[1] // b.attn.heads
    weights, parts = [], []
    for h in range(heads):
        cut = slice(h * d, (h + 1) * d)
        raw = torch.exp(q[:, cut] @ k[:, cut].T / math.sqrt(d))
        weights.append(raw / raw.sum(dim=1, keepdim=True))
    A = torch.stack(weights)
    if not A.requires_grad:
        A.requires_grad_(True)
    parts = [A[h] @ v[:, h * d : (h + 1) * d] for h in range(heads)]
    x = x + torch.cat(parts, dim=1) @ b.attn.proj.weight.T + b.attn.proj.bias
    z = _norm(x, b.norm2.weight, b.norm2.bias)
    hidden = _gelu(z @ b.mlp[0].weight.T + b.mlp[0].bias)
    return x + hidden @ b.mlp[2].weight.T + b.mlp[2].bias, A


def read_off(model: TinyViT, x: Tensor) -> Tensor:
    """Logits (C) of tokens (S×D) by the final norm, the pooling and the classifier."""
    z = _norm(x, model.norm.weight, model.norm.bias)
    first = model.prefix.shape[1]
    pooled = z[0] if model.pool == "class" else z[first:].mean(dim=0)
    return model.head.weight @ pooled + model.head.bias


def _kept(model: TinyViT, keep: Sequence[int]) -> list[int]:
    """Places of the patch tokens among those of the grid."""
    return [place - model.prefix.shape[1] for place in keep if place >= model.prefix.shape[1]]


def _on_grid(model: TinyViT, values: Tensor, keep: Sequence[int]) -> Tensor:
    """Values of the kept patch tokens on the grid (h×w), 0 for tokens that are not there."""
    flat = values.new_zeros(model.grid[0] * model.grid[1])
    for value, place in zip(values, _kept(model, keep), strict=True):
        flat[place] = value
    return flat.reshape(model.grid)


def rollout(model: TinyViT, image: Tensor, keep: Sequence[int]) -> Tensor:
    """Abnar & Zuidema 2020, eq. 1, with ½(A + I)."""
    x = embedded(model, image)[list(keep)]
    total = torch.eye(len(keep), dtype=x.dtype)
    for place in range(len(model.blocks)):
        x, A = block(model, place, x)
        total = (0.5 * A.mean(dim=0) + 0.5 * torch.eye(len(keep), dtype=x.dtype)) @ total
    first = model.prefix.shape[1]
    row = total[0] if first else total.mean(dim=0)
    return _on_grid(model, row[first:].detach(), keep)


def legrad(
    model: TinyViT, image: Tensor, target: int, keep: Sequence[int], *, pool: str = "own"
) -> Tensor:
    """Bousselham et al. 2024: the mean over blocks, heads and queries of ReLU(∂s^l/∂A^l)."""
    first, n = model.prefix.shape[1], len(keep)
    x = embedded(model, image)[list(keep)].detach()
    total = x.new_zeros(n - first)
    for place in range(len(model.blocks)):
        x, A = block(model, place, x)
        read = x if pool == "own" else torch.stack([x.mean(dim=0)] * n)
        (G,) = torch.autograd.grad(read_off(model, read)[target], A, retain_graph=True)
        for h in range(len(G)):
            for i in range(n):
                total += G[h, i, first:].clamp(min=0) / (len(G) * n)
    return _on_grid(model, total / len(model.blocks), keep)


def vit_reciprocam(
    model: TinyViT, image: Tensor, target: int, layer: int, *, gaussian: bool
) -> Tensor:
    """Byun & Lee 2023 after block `layer`: patch tokens around a cell, less none at all."""

    def score(x: Tensor) -> Tensor:
        for place in range(layer + 1, len(model.blocks)):
            x, _ = block(model, place, x)
        return read_off(model, x)[target]

    x = embedded(model, image)
    for place in range(layer + 1):
        x, _ = block(model, place, x)
    first, (h, w) = model.prefix.shape[1], model.grid
    none = x.clone()
    none[first:] = 0
    found = x.new_zeros(h, w)
    for i in range(h):
        for j in range(w):
            kept = none.clone()
            for a in range(h):
                for b in range(w):
                    far = max(abs(a - i), abs(b - j))
                    near = (2 - abs(a - i)) * (2 - abs(b - j)) / 4 if far <= 1 else 0.0
                    value = near if gaussian else float(far == 0)
                    kept[first + a * w + b] = value * x[first + a * w + b]
            found[i, j] = (score(kept) - score(none)).clamp(min=0)
    return found.detach()
