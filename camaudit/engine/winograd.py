"""3×3 convolutions by Winograd's minimal filtering F(4×4, 3×3): a quarter of the products.

Lavin & Gray 2016, *Fast Algorithms for Convolutional Neural Networks*, section 4.3. Each 4×4 tile
of the output is `Aᵀ[(G g Gᵀ) ⊙ (Bᵀ d B)]A` of a 6×6 tile `d` of the input and the filter `g`. The
element-wise products over all tiles and channels are 36 matrix products. In float32 the result
differs from a direct convolution by rounding: 1e-5 to 3e-5 of the largest output.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = ["WORKSPACE_BYTES", "WinogradConv", "suits"]

_BT = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
_G = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
_AT = (
    (1, 1, 1, 1, 1, 0),
    (0, 1, -1, 2, -2, 0),
    (0, 1, 1, 4, 4, 0),
    (0, 1, -1, 8, -8, 1),
)
_EVERYWHERE = 7  # the product (1, 1) of 6×6 counts once in each of the 16 outputs: Aᵀ e₁ = 1
WORKSPACE_BYTES = 2**25  #: what the transformed tiles of one convolution take at most
_TILE_FLOATS = 2**21  # 8 MB of tiles, and as much of products, at a time: what a cache holds
_MIN_PRODUCT = 64 * 128  # with fewer channels the transforms cost more than they save


def suits(module: nn.Module) -> bool:
    """Whether `module` is a convolution that is worth it: float32 on a CPU, 3×3, plain, wide.

    One with hooks or a forward function of its own is not plain: they want to be called.
    """
    return (
        type(module) is nn.Conv2d
        and not (module._forward_hooks or module._forward_pre_hooks or "forward" in vars(module))
        and module.kernel_size == (3, 3)
        and module.stride == (1, 1)
        and module.dilation == (1, 1)
        and module.padding == (1, 1)
        and module.padding_mode == "zeros"
        and module.groups == 1
        and module.in_channels * module.out_channels >= _MIN_PRODUCT
        and module.weight.device.type == "cpu"
        and module.weight.dtype == torch.float32
    )


class WinogradConv:
    """One convolution with its transformed filters: `(N×C×H×W) → (N×K×H×W)`, channels last.

    `rectify` applies a ReLU to the result. Filters take 4 times the weights' memory, and a copy
    of the weights tells whether they still are what the filters were made of.
    """

    def __init__(self, conv: nn.Conv2d, *, rectify: bool) -> None:
        self.rectify = rectify
        self._conv = conv
        self._weight = conv.weight.detach().clone()
        self._bias = None if conv.bias is None else conv.bias.detach().clone()
        g = self._weight.double()
        G = torch.tensor(_G, dtype=torch.float64)
        filters = torch.einsum("ai,kcij,bj->abck", G, g, G).float()
        self.filters = filters.reshape(36, conv.in_channels, conv.out_channels).contiguous()
        BT, AT = (torch.tensor(rows, dtype=torch.float32) for rows in (_BT, _AT))
        self.into, self.out = torch.kron(BT, BT), torch.kron(AT, AT)

    def current(self) -> bool:
        """Whether the convolution still suits and has the weights that it had."""
        return suits(self._conv) and self.same_weights()

    def same_weights(self) -> bool:
        """Whether the convolution has the weights that the filters were made of."""
        conv = self._conv
        if not torch.equal(conv.weight, self._weight):
            return False
        if conv.bias is None or self._bias is None:
            return conv.bias is self._bias
        return torch.equal(conv.bias, self._bias)

    def __call__(self, images: Tensor) -> Tensor:
        N, C, H, W = images.shape
        K = self.filters.shape[2]
        down, across = -(-H // 4), -(-W // 4)
        channels_last = images.permute(0, 2, 3, 1)
        edges = (0, 0, 1, 4 * across + 1 - W, 1, 4 * down + 1 - H)
        result = images.new_empty(N, 4 * down, 4 * across, K)
        fit = _TILE_FLOATS // (36 * across * max(C, K))  # rows of tiles
        step, rows = max(1, fit // down), max(1, min(fit, down))
        for start in range(0, N, step):
            padded = F.pad(channels_last[start : start + step], edges)
            for top in range(0, 4 * down, 4 * rows):
                cells = result[start : start + step, top : top + 4 * rows]
                self._fill(cells, padded[:, top : top + 4 * rows + 2])
        return result[:, :H, :W].permute(0, 3, 1, 2)

    def _fill(self, result: Tensor, padded: Tensor) -> None:
        """`result` (n×4d×4a×K) from its inputs (n×4d+2×4a+2×C): d·a tiles an image."""
        n, height, width, K = result.shape
        down, across, C = height // 4, width // 4, padded.shape[3]
        s = padded.stride()
        strides = (s[1], s[2], s[0], 4 * s[1], 4 * s[2], s[3])
        d = padded.as_strided((6, 6, n, down, across, C), strides, padded.storage_offset())
        tiles = torch.mm(self.into, d.reshape(36, -1)).view(36, -1, C)
        products = torch.bmm(tiles, self.filters)
        if self._bias is not None:
            products[_EVERYWHERE] += self._bias
        cells = torch.mm(self.out, products.view(36, -1)).view(4, 4, n, down, across, K)
        placed = result.view(n, down, 4, across, 4, K).permute(2, 4, 0, 1, 3, 5)
        if self.rectify:
            torch.clamp_min(cells, 0, out=placed)
        else:
            placed.copy_(cells)
