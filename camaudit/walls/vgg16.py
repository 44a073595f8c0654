"""The paper's VGG16: no last pooling, flatten, and a first Linear that cannot read dead rows.

*CAM-Based Methods Can See through Walls* (2024), section 3.1. The layers are numbered as in the
authors' `nn.Sequential`: 0-29 features (28 the last convolution, 29 its ReLU, the target layer),
30 flatten, 31 classifier; so their state dicts load as they are.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from camaudit.cut import cut_at
from camaudit.errors import WallError, WeightsError
from camaudit.initialisation import draw_weights_
from camaudit.walls.insert import WalledModel, receptive_field_zone
from camaudit.walls.region import dead_cells, describe

__all__ = [
    "GRID",
    "TARGET_LAYER",
    "MaskedLinear",
    "PaperVGG16",
    "paper_twins",
    "paper_wall",
    "paper_widths",
]

GRID = (14, 14)  #: cells of the target layer for 224×224 images
TARGET_LAYER = "29"
_PLAN = (64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512)

Init = Literal["he", "default", "glorot"]


class MaskedLinear(nn.Linear):
    """A Linear that never reads the features where `dead` (boolean, length in_features) is True.

    Their weights are 0 and stay 0 under any optimiser: the features are replaced by 0 before the
    product, so the weights' gradients are exactly 0.
    """

    dead: Tensor

    def __init__(
        self, in_features: int, out_features: int, dead: Tensor, *, bias: bool = True
    ) -> None:
        super().__init__(in_features, out_features, bias=bias)
        self.register_buffer("dead", dead, persistent=False)
        self.apply_mask_()

    def apply_mask_(self) -> None:
        """Set the weights of dead features to 0, in place."""
        with torch.no_grad():
            self.weight.masked_fill_(self.dead, 0)

    def forward(self, features: Tensor) -> Tensor:
        return F.linear(features.masked_fill(self.dead, 0), self.weight, self.bias)


class PaperVGG16(nn.Sequential):
    """The paper's network on N×3×224×224 images, as a plain numbered Sequential.

    Parameters
    ----------
    live_rows: rows of the 14 that the classifier can read (the paper's 5); ignored if not masked.
    masked: False builds the baseline without a wall.
    channels: output channels of the last convolution: 256 as in the authors' checkpoints, or 512.
    hidden, num_classes: widths of the classifier's Linear layers.
    init: "he" (normal, fan in; biases 0), "glorot" (normal; biases 0) or "default" (PyTorch's).
    seed: seeds the initial weights without touching the global random state.

    Raises :class:`WallError` for live rows outside 1-13.
    """

    def __init__(
        self,
        *,
        live_rows: int = 5,
        masked: bool = True,
        channels: int = 256,
        hidden: int = 4096,
        num_classes: int = 1000,
        init: Init = "he",
        seed: int = 0,
    ) -> None:
        self.feature_dead = dead_cells(GRID, live_rows=live_rows)
        self.masked = masked
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            first = _first_linear(channels, hidden, self.feature_dead if masked else None)
            classifier = nn.Sequential(
                first, nn.ReLU(), nn.Dropout(), nn.Linear(hidden, hidden), nn.ReLU(),
                nn.Dropout(), nn.Linear(hidden, num_classes),
            )  # fmt: skip
            super().__init__(*_features(channels), nn.Flatten(), classifier)
            _initialise(self, init)
        self.apply_mask_()

    def __getitem__(self, idx: slice | int) -> nn.Module:  # type: ignore[override]
        """A layer, or for a slice a plain Sequential of the layers with their numbers."""
        if isinstance(idx, slice):
            return nn.Sequential(OrderedDict(list(self._modules.items())[idx]))
        return super().__getitem__(idx)

    def apply_mask_(self) -> None:
        """Re-apply the wall to the weights, as the authors do after every optimiser step."""
        for module in self.modules():
            if isinstance(module, MaskedLinear):
                module.apply_mask_()

    def load_paper_state(self, state: Mapping[str, Tensor], *, remask: bool = False) -> None:
        """Load a state dict with the authors' keys ("28.weight", "31.0.weight", …).

        Raises :class:`WeightsError` for other keys or shapes, and for a masked network where the
        weights of dead rows are not 0, unless `remask` sets them to 0.
        """
        own = self.state_dict()
        wrong = [
            key
            for key in sorted({*own, *state})
            if key not in own or key not in state or own[key].shape != state[key].shape
        ]
        if wrong:
            raise WeightsError(
                f"the state dict does not fit the paper's VGG16: {_compare(own, state, wrong)}"
            )
        first = self.get_submodule("31.0")
        if isinstance(first, MaskedLinear) and not remask:
            leaking = int((state["31.0.weight"].to(first.dead.device)[:, first.dead] != 0).sum())
            if leaking:
                raise WeightsError(
                    f"{leaking} weights of dead rows are not 0: these are weights of another wall "
                    "or of the baseline; load them into an unmasked network, or pass remask=True"
                )
        self.load_state_dict(dict(state))
        self.apply_mask_()


def paper_twins(
    *,
    live_rows: int = 5,
    channels: int = 256,
    hidden: int = 4096,
    num_classes: int = 1000,
    init: Init = "he",
    seed: int = 0,
) -> tuple[PaperVGG16, PaperVGG16]:
    """The masked network and its unmasked twin with the same weights, both in eval mode."""
    build = partial(
        PaperVGG16,
        live_rows=live_rows, channels=channels, hidden=hidden, num_classes=num_classes, seed=seed,
    )  # fmt: skip
    unmasked = build(masked=False, init=init)
    masked = build(masked=True, init="default")
    masked.load_paper_state(unmasked.state_dict(), remask=True)
    return masked.eval(), unmasked.eval()


def paper_widths(state: Mapping[str, Tensor]) -> dict[str, int]:
    """`channels`, `hidden` and `num_classes` of the :class:`PaperVGG16` that `state` fits.

    Those whose key is missing or holds no rows are left out; loading the state then says so.
    """
    keys = {"channels": "28.weight", "hidden": "31.0.weight", "num_classes": "31.6.weight"}
    found = {name: state[key].shape for name, key in keys.items() if key in state}
    return {name: shape[0] for name, shape in found.items() if shape.numel() and len(shape)}


def paper_wall(
    masked: PaperVGG16, example: Tensor, *, unmasked: PaperVGG16 | None = None
) -> WalledModel:
    """The paper's network as a walled model; its wall is in its weights.

    `unmasked` is the twin for the paired control; a masked checkpoint alone has none, because its
    weights of dead rows are gone.
    """
    if not masked.masked:
        raise WallError("this network has no mask: build PaperVGG16(masked=True)")
    cut = cut_at(masked, TARGET_LAYER, example)
    twin = None if unmasked is None else cut_at(unmasked, TARGET_LAYER, example)
    zone = receptive_field_zone(cut.trunk, example[:1], masked.feature_dead)
    description = {
        "wall": "vgg16",
        "layer": TARGET_LAYER,
        "live": describe(~masked.feature_dead),
        "rescale": 1.0,
    }
    return WalledModel(
        cut.trunk, nn.Identity(), cut.head, unwalled=twin, zone=zone, description=description
    ).eval()


def _features(channels: int) -> Iterator[nn.Module]:
    width = 3
    for out in (*_PLAN, channels):
        if out == 0:
            yield nn.MaxPool2d(2)
            continue
        yield nn.Conv2d(width, out, 3, padding=1)
        yield nn.ReLU()
        width = out


def _first_linear(channels: int, hidden: int, feature_dead: Tensor | None) -> nn.Linear:
    inputs = channels * math.prod(GRID)
    if feature_dead is None:
        return nn.Linear(inputs, hidden)
    return MaskedLinear(inputs, hidden, feature_dead.flatten().repeat(channels))


def _initialise(model: nn.Module, init: Init) -> None:
    if init not in ("he", "glorot", "default"):
        raise WallError(f"init must be he, glorot or default; got {init!r}")
    if init != "default":  # the layers have just drawn PyTorch's own
        draw_weights_(model, init)


def _compare(own: Mapping[str, Tensor], state: Mapping[str, Tensor], wrong: list[str]) -> str:
    key = wrong[0]
    expected = tuple(own[key].shape) if key in own else "no such key"
    came = tuple(state[key].shape) if key in state else "nothing"
    more = f" ({len(wrong) - 1} more keys differ)" if len(wrong) > 1 else ""
    return f"key {key!r}: expected {expected}, got {came}{more}"
