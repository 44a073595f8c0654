"""Tiny vision transformers, one for each habit of real ones, in eval mode with seeded weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.networks import settle

CLASSES, WIDTH = 5, 16


class Attention(nn.Module):
    """Self-attention by torch's fused function, by a softmax of its own, or of another kind."""

    def __init__(self, heads: int, kind: str) -> None:
        super().__init__()
        self.heads, self.kind = heads, kind
        self.qkv = nn.Linear(WIDTH, 3 * WIDTH)
        self.proj = nn.Linear(WIDTH, WIDTH)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in self.qkv(x).chunk(3, 2)
        )
        if self.kind == "fused":
            found = F.scaled_dot_product_attention(q, k, v)
        elif self.kind == "softmax":
            found = (q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1) @ v
        else:  # no softmax: nothing that a token could be hidden from
            found = (q @ k.mT / k.shape[-2]) @ v
        return self.proj(found.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """A pre-norm block; `heads` 0 takes `nn.MultiheadAttention`."""

    def __init__(self, heads: int, kind: str) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(WIDTH), nn.LayerNorm(WIDTH)
        self.attn: nn.Module = (
            nn.MultiheadAttention(WIDTH, heads, batch_first=True)
            if kind == "module"
            else Attention(heads, kind)
        )
        self.mlp = nn.Sequential(
            nn.Linear(WIDTH, 2 * WIDTH), nn.GELU(), nn.Linear(2 * WIDTH, WIDTH)
        )

    def forward(self, x: Tensor) -> Tensor:
        z = self.norm1(x)
        x = x + (
            self.attn(z, z, z)[0] if isinstance(self.attn, nn.MultiheadAttention) else self.attn(z)
        )
        return x + self.mlp(self.norm2(x))


class TinyViT(nn.Module):
    """Patches of 4×4, `prefix` tokens before them, blocks, norm, and a Linear of the class token.

    pool: "class" reads the first token, "mean" the patch tokens. mixed: before the second block
    every token also gets the mean over all, which is no attention.
    """

    def __init__(
        self,
        *,
        size: tuple[int, int] = (16, 24),
        prefix: int = 1,
        depth: int = 3,
        heads: int = 2,
        kind: str = "fused",
        pool: str = "class",
        mixed: bool = False,
    ) -> None:
        super().__init__()
        self.grid = size[0] // 4, size[1] // 4
        self.pool, self.mixed = pool, mixed
        self.patch = nn.Conv2d(3, WIDTH, 4, stride=4)
        self.prefix = nn.Parameter(torch.zeros(1, prefix, WIDTH))
        self.position = nn.Parameter(torch.zeros(1, prefix + self.grid[0] * self.grid[1], WIDTH))
        self.start = nn.Identity()
        self.blocks = nn.ModuleList([Block(heads, kind) for _ in range(depth)])
        self.norm = nn.LayerNorm(WIDTH)
        self.head = nn.Linear(WIDTH, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        x = self.patch(images).flatten(2).mT
        x = torch.cat([self.prefix.expand(len(x), -1, -1), x], dim=1)
        x = self.start(x + self.position)
        for place, block in enumerate(self.blocks):
            if self.mixed and place == 1:
                x = x + x.mean(dim=1, keepdim=True)
            x = block(x)
        x = self.norm(x)
        first = self.prefix.shape[1]
        return self.head(x[:, 0] if self.pool == "class" else x[:, first:].mean(dim=1))


def tiny(*, seed: int = 0, dtype: torch.dtype = torch.float32, **options: Any) -> TinyViT:
    """A :class:`TinyViT` with weights that keep its tokens apart."""
    model = TinyViT(**options)
    settle(model, seed)
    return model.to(dtype).eval()


def without_tokens(model: nn.Module, start: str, keep: Tensor) -> Callable[[Tensor], Tensor]:
    """The model without the tokens outside `keep` (T), dropped where `start` returns them."""

    def drop(_module: nn.Module, _args: Any, output: Tensor) -> Tensor:
        assert output.shape[1] == len(keep)
        return output[:, keep]

    def run(images: Tensor) -> Tensor:
        handle = model.get_submodule(start).register_forward_hook(drop)
        try:
            with torch.no_grad():
                logits: Tensor = model(images)
        finally:
            handle.remove()
        return logits

    return run
