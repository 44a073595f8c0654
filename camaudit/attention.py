"""Attention taken over while a model runs: tokens hidden from it, and its weights recorded.

Models call torch's fused attention, `nn.MultiheadAttention`, or a softmax over a product of their
own. All three are met by a mode of torch, without changing the model: within :class:`Hiding` some
tokens get no weight as keys, so that what the others become does not depend on them; within
:class:`Recording` every attention is computed as `softmax(q kᵀ/√d) v` and its weights are kept.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from camaudit.errors import NotApplicableError

__all__ = ["Hiding", "Recording", "Weights"]

_SOFTMAX = {F.softmax, torch.softmax, Tensor.softmax}
_MULTI_HEAD = inspect.signature(F.multi_head_attention_forward)


class _Attention(TorchFunctionMode):
    """Hands every attention of a pass to :meth:`attend` and :meth:`normalise`."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is F.scaled_dot_product_attention:
            return self._fused(*args, **kwargs)
        if func is F.multi_head_attention_forward:
            return self._multi_head(*args, **kwargs)
        if func in _SOFTMAX:
            return self._softmax(func, *args, **kwargs)
        return func(*args, **kwargs)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
        """The values v (…×T×d) that queries q (…×S×d) attend to by keys k (…×T×d)."""
        raise NotImplementedError

    def normalise(self, logits: Tensor, softmax: Callable[[Tensor], Tensor]) -> Tensor:
        """`softmax` of attention logits (…×S×T) over their keys."""
        raise NotImplementedError

    def _fused(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        _require(not is_causal and not dropout_p, "is causal, or drops weights at random")
        if enable_gqa:
            groups = query.shape[-3] // key.shape[-3]
            key, value = (each.repeat_interleave(groups, -3) for each in (key, value))
        scale = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
        return self.attend(query, key, value, attn_mask, scale)

    def _multi_head(self, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
        """:func:`torch.nn.functional.multi_head_attention_forward` of sequences (T×N×K)."""
        call = _MULTI_HEAD.bind(*args, **kwargs)
        call.apply_defaults()
        given = SimpleNamespace(**call.arguments)
        plain = given.query.ndim == 3 and not given.use_separate_proj_weight
        _require(plain, "has no batch, or keys of another width")
        _require(given.bias_k is None and not given.add_zero_attn, "adds keys of its own")
        _require(given.key_padding_mask is None and not given.is_causal, "has padding or is causal")
        _require(not (given.training and given.dropout_p), "drops weights at random")
        sources = given.query, given.key, given.value
        biases = [None] * 3 if given.in_proj_bias is None else given.in_proj_bias.chunk(3)
        q, k, v = (
            _by_head(F.linear(x, weight, bias), given.num_heads)
            for x, weight, bias in zip(sources, given.in_proj_weight.chunk(3), biases, strict=True)
        )
        mask = given.attn_mask
        if mask is not None and mask.ndim == 3:
            mask = mask.unflatten(0, (-1, given.num_heads))
        if mask is not None and mask.dtype == torch.bool:
            mask = ~mask  # there True hides a key, in the fused attention it lets it in
        scale, weights = 1 / math.sqrt(q.shape[-1]), None
        if given.need_weights:
            weights = self.normalise(_logits(q, k, mask, scale), _over_keys)
            found = weights @ v
            weights = weights.mean(dim=1) if given.average_attn_weights else weights
        else:
            found = self.attend(q, k, v, mask, scale)
        joined = found.permute(2, 0, 1, 3).flatten(2)
        return F.linear(joined, given.out_proj_weight, given.out_proj_bias), weights

    def _softmax(self, func: Any, *args: Any, **kwargs: Any) -> Tensor:
        given = dict(zip(("input", "dim"), args, strict=False)) | kwargs
        logits, dim = given.pop("input"), given.pop("dim", None)

        def softmax(logits: Tensor) -> Tensor:
            found: Tensor = func(logits, dim, *args[2:], **given)
            return found

        over_keys = logits.ndim in (3, 4) and dim in (-1, logits.ndim - 1)
        return self.normalise(logits, softmax) if over_keys else softmax(logits)


class Hiding(_Attention):
    """Within the context the tokens outside `keep` get no weight in attention over all of them.

    `keep` (T, boolean) are the tokens that stay; `images` (N) run at a time. Attention over other
    keys than these T of each image (windows, keys of a coarser grid) is left as it is. `whole` and
    `others` count both kinds. With `keep` None nothing is hidden, and `tokens` is T.
    """

    def __init__(self, keep: Tensor | None, images: int, *, tokens: int | None = None) -> None:
        super().__init__()
        self._keep = keep
        self._tokens = tokens if keep is None else len(keep)
        self._images = images
        self.whole = 0
        self.others = 0

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
        """Fused attention to the tokens that stay."""
        if self._hides(k.shape[-2], k) and self._keep is not None:
            if mask is None:
                mask = self._keep.expand(1, 1, q.shape[-2], -1)
            elif mask.dtype == torch.bool:
                mask = mask & self._keep
            else:
                mask = mask.masked_fill(~self._keep, -torch.inf)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=scale)

    def normalise(self, logits: Tensor, softmax: Callable[[Tensor], Tensor]) -> Tensor:
        """The softmax over the tokens that stay."""
        if self._hides(logits.shape[-1], logits) and self._keep is not None:
            logits = logits.masked_fill(~self._keep, -torch.inf)
        return softmax(logits)

    def _hides(self, keys: int, of: Tensor) -> bool:
        whole = keys == self._tokens and len(of) == self._images
        self.whole += whole
        self.others += not whole
        return whole


@dataclass(frozen=True, eq=False)
class Weights:
    """Weights (N×heads×S×T) of one attention; `hidden` entries cannot be other than 0."""

    values: Tensor
    hidden: Tensor


class Recording(_Attention):
    """Within the context the weights of every attention are kept, in `weights`.

    `leaf` makes each a leaf that requires a gradient: of what comes after it, not before.
    `told` is called after each with its place among them.
    """

    def __init__(self, *, leaf: bool = False, told: Callable[[int], None] | None = None) -> None:
        super().__init__()
        self._leaf = leaf
        self._told = told
        self.weights: list[Weights] = []

    def attend(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, scale: float) -> Tensor:
        """Attention by its weights."""
        return self.normalise(_logits(q, k, mask, scale), _over_keys) @ v

    def normalise(self, logits: Tensor, softmax: Callable[[Tensor], Tensor]) -> Tensor:
        """The weights, kept."""
        weights = softmax(logits)
        if self._leaf:
            weights = weights.detach().requires_grad_(True)
        self.weights.append(Weights(weights, torch.isneginf(logits)))
        if self._told is not None:
            self._told(len(self.weights) - 1)
        return weights


def _by_head(x: Tensor, heads: int) -> Tensor:
    """A sequence T×N×K as N×heads×T×d."""
    return x.reshape(len(x), x.shape[1], heads, -1).permute(1, 2, 0, 3)


def _logits(q: Tensor, k: Tensor, mask: Tensor | None, scale: float) -> Tensor:
    """`scale · q kᵀ` (…×S×T) with a mask: True lets a key in, a number is added."""
    logits = scale * (q @ k.mT)
    if mask is None:
        return logits
    return logits.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else logits + mask


def _over_keys(logits: Tensor) -> Tensor:
    return logits.softmax(dim=-1)


def _require(condition: bool, what: str) -> None:
    if not condition:
        raise NotApplicableError(
            f"an attention of this model {what}, so that no token can be hidden from it and its "
            "weights cannot be told: expected plain attention in evaluation mode"
        )
