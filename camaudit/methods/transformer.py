"""Methods for vision transformers: they read the attention of every block, or patch tokens."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from camaudit.capture import Capture
from camaudit.errors import NotApplicableError
from camaudit.methods.base import MethodInfo, defined, method
from camaudit.methods.blocks import Attended, attended, kept, spread, transformer_of
from camaudit.methods.options import one_of
from camaudit.methods.reciprocal import Baseline, reciprocal_maps

__all__ = ["attention_rollout", "legrad", "vit_reciprocam"]

Window = Literal["gaussian", "token"]
Pool = Literal["own", "mean"]


@method(
    "attention-rollout",
    MethodInfo(
        paper="Abnar & Zuidema 2020, Quantifying Attention Flow in Transformers",
        equation="eq. 1",
        formula="Π_l ½(mean_heads A^l + I), the class token's row, patch columns",
        family="attention",
        cost="1 model forward",
        tokens=True,
    ),
)
def attention_rollout(capture: Capture) -> Tensor:
    """`Ã^l = ½(mean_h A^l_h + I)`, `R = Ã^L ⋯ Ã^1`, `map = R[class token, patches]`.

    Abnar & Zuidema 2020, eq. 1, over all blocks of the model, whatever the target layer is; the
    paper's residual weight of one half. Where there are several prefix tokens the first is taken
    for the class token. A model without any is read from all of its tokens alike: the mean over
    rows. Blind to the class. Returns N×h×w, each map with a sum of at most 1.

    Raises :class:`camaudit.errors.NotApplicableError` unless all attention of the model is that of
    all tokens to all tokens (a Swin's windows are not).
    """
    grid, keep = transformer_of(capture).grid, kept(capture)
    rollout: Tensor | None = None
    for each in attended(capture):
        A = spread(each.weights.mean(dim=1), keep)
        step = (A + torch.eye(grid.tokens).to(A)) / 2
        rollout = step if rollout is None else step @ rollout
    assert rollout is not None  # noqa: S101 - attended gives one at least
    row = rollout[:, 0] if grid.prefix else rollout[:, keep].mean(dim=1)
    maps = row[:, grid.prefix :].reshape(-1, *grid.size)
    return defined(maps, capture.activations).to(capture.activations.dtype)


@method(
    "legrad",
    MethodInfo(
        paper="Bousselham et al. 2024, LeGrad: An Explainability Method for Vision Transformers "
        "via Feature Formation Sensitivity",
        equation="section 3.2",
        formula="mean_l mean_heads,queries ReLU(∂s^l/∂A^l), patch columns",
        family="attention",
        cost="1 model forward and a gradient of each block and its head",
        tokens=True,
    ),
)
def legrad(capture: Capture, *, pool: Pool = "own") -> Tensor:
    """`(1/L) Σ_l (1/(h n)) Σ_heads,queries ReLU(∂s^l/∂A^l)`, the columns of the patch tokens.

    Bousselham et al. 2024 (LeGrad), section 3.2: `s^l` is the class score that the model's own
    last part (final norm, pooling, classifier) reads off the tokens which block l returns, and
    `A^l` (h×n×n) that block's attention. All blocks take part, whatever the target layer is. The
    paper min-maxes the sum at the end; here it stays raw. Returns N×h×w.

    pool: "own" reads `s^l` as the model does (off the class token, or the mean of patch tokens);
        "mean" puts the mean of all tokens in the place of each first (the authors' code, and
        torchcam's).

    Raises :class:`camaudit.errors.NotApplicableError` unless all attention of the model is that of
    all tokens to all tokens, one in a block, and the last part can be run on its own, and
    :class:`UsageError` for another pool.
    """
    one_of("pool", pool, get_args(Pool))
    divided, keep = transformer_of(capture), kept(capture)
    grid = divided.grid
    rows = torch.arange(len(capture), device=capture.images.device)
    with torch.inference_mode(False), torch.enable_grad():
        found = attended(capture, leaf=True)
        read = divided.after(_last(found), capture.images[:1])
        total = capture.activations.new_zeros(len(capture), grid.tokens)
        for each in found:
            tokens = _tokens(each, keep)
            if each is found[-1]:
                _require_same(read(tokens), capture.logits)
            if pool == "mean":
                tokens = tokens.mean(dim=1, keepdim=True).expand_as(tokens)
            score = capture.objective(read(tokens), rows).sum()
            (G,) = torch.autograd.grad(score, each.weights, retain_graph=True)
            positive = G.masked_fill(each.hidden, 0).relu().mean(dim=1)
            total += spread(positive, keep).sum(dim=1).detach() / int(keep.sum())
    maps = (total / len(found))[:, grid.prefix :].reshape(-1, *grid.size)
    return defined(maps, capture.activations)


def _last(found: list[Attended]) -> torch.nn.Module:
    """The last block. Raises :class:`NotApplicableError` where some attention has no block."""
    blocks = [each.block for each in found]
    last = blocks[-1]
    if last is None or any(block is None for block in blocks):
        raise NotApplicableError(
            "LeGrad reads the tokens that each block returns; some attention of this model runs in "
            "no module of its own that returns N×T×K tokens"
        )
    return last


def _tokens(each: Attended, keep: Tensor) -> Tensor:
    """The tokens of a block that the head may read (N×S×K)."""
    if each.outputs is None or each.outputs.shape[1] not in (len(keep), int(keep.sum())):
        raise NotApplicableError("LeGrad: a block of this model returns other tokens than it read")
    return each.outputs[:, keep] if each.outputs.shape[1] == len(keep) else each.outputs


def _require_same(logits: Tensor, expected: Tensor) -> None:
    """Raise :class:`NotApplicableError` unless the last part gives the model's own logits."""
    scale = expected.abs().max()
    eps = torch.finfo(logits.dtype).eps
    if bool((logits.detach() - expected).abs().max() > max(1e-4, 16 * eps) * scale):
        raise NotApplicableError(
            "LeGrad: the part after the last block gives other logits than the model itself, so "
            "that no score can be read off the blocks' tokens"
        )


@method(
    "vit-reciprocam",
    MethodInfo(
        paper="Byun & Lee 2023, ViT-ReciproCAM: Gradient and Attention-Free Visual Explanations "
        "for Vision Transformer",
        equation="section 3",
        formula="ReLU(s_c(CLS, A ⊙ g_ij) − s_c(CLS, 0)), g a 3×3 Gaussian around (i, j)",
        family="perturbation",
        cost="hw head forwards and one without patch tokens a chunk",
        tokens=True,
    ),
)
def vit_reciprocam(
    capture: Capture, *, window: Window = "gaussian", baseline: Baseline = "zero"
) -> Tensor:
    """`L_ij = ReLU(s(P, A ⊙ g_ij) − s(P, 0))`: the head sees the patch tokens around (i, j) alone.

    Byun & Lee 2023 (ViT-ReciproCAM): the prefix tokens P (class token) keep their values, all
    other patch tokens are 0. Returns N×h×w.

    window: "gaussian" keeps `g = [[1,2,1],[2,4,2],[1,2,1]]/4` around the token, "token" it alone.
    baseline: "zero" subtracts the score without any patch token, "none" nothing (the authors' way,
        who then min-max the map).

    Raises :class:`camaudit.errors.NotApplicableError` where the layer has no tokens, and
    :class:`UsageError` for other options.
    """
    one_of("window", window, get_args(Window))
    transformer_of(capture)
    return reciprocal_maps(capture, baseline, beside=0.5 if window == "gaussian" else 0.0)
