"""Walled models read at a layer before their wall, which stays where it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from camaudit.cut import Cut, Trunk, cut_at
from camaudit.errors import NotApplicableError
from camaudit.passage import passage_to
from camaudit.probability import Link
from camaudit.sites import Site, require_earlier

if TYPE_CHECKING:
    from camaudit.walls.insert import WalledModel
    from camaudit.walls.split import Box, SplitTrunk

__all__ = ["BoxPassage", "Stage", "early_box", "inner_trunk", "stage_of"]


class Stage(nn.Module):
    """A walled model cut at a layer before its wall: `read` is passage → wall → head.

    `logits` are the walled model's own, and so are the pixel box `frame` and the module `framed`
    that reads it.
    """

    def __init__(
        self, walled: WalledModel, trunk: nn.Module, passage: nn.Module, *, site: Site
    ) -> None:
        super().__init__()
        self.walled = walled
        self.trunk = trunk
        self.passage = passage
        self.layer = site.label
        self._site = (site,)  # in a tuple: the trunk registers its module, once

    def forward(self, images: Tensor) -> Tensor:
        return self.read(self.trunk(images))

    def read(self, activations: Tensor) -> Tensor:
        """Logits (M×C) of the layer's activations (M×K×h×w), read through the wall."""
        return self.walled.read(self.passage(activations))

    def logits(self, images: Tensor) -> Tensor:
        """Logits (N×C) of images (N×C×H×W)."""
        return self.walled.logits(images)

    def at(self, layer: str, example: Tensor) -> nn.Module:
        """The walled model at a layer before this one, see :func:`stage_of`."""
        model = inner_trunk(self.walled.trunk).model
        site = require_earlier(model, layer, self._site[0], example)
        return self if site == self._site[0] else self.walled.at(site.label, example)

    def stages(self, example: Tensor) -> list[str]:
        """Layers for :meth:`at`, this one last."""
        return self.walled.stages(example, layer=self.layer)

    @property
    def link(self) -> Link:
        """What turns the model's logits into probabilities."""
        return self.walled.link

    @property
    def frame(self) -> tuple[int, int, int, int] | None:
        """Pixel box (top, left, height, width) that `framed` reads; None: the whole image."""
        return self.walled.frame

    @property
    def framed(self) -> nn.Module:
        """The part of the model that reads `frame` alone when it computes logits."""
        return self.walled.framed


class BoxPassage(nn.Module):
    """Maps of an earlier layer (M×K×h×w) to those of a split trunk, by their live `box` alone."""

    def __init__(self, split: SplitTrunk, passage: nn.Module, box: Box) -> None:
        super().__init__()
        self.split = split
        self.passage = passage
        self.box = box

    def forward(self, activations: Tensor) -> Tensor:
        rows, columns = self.box
        return self.split.placed(self.passage(activations[:, :, rows, columns]))


def stage_of(walled: WalledModel, layer: str, example: Tensor) -> nn.Module:
    """`walled` at `layer`, which stands before its wall; itself for the wall's own layer.

    Parameters as for :func:`camaudit.cut.cut_at`, whose errors it raises;
    :class:`NotApplicableError` where the live part of the layer's maps is no box of whole cells.
    """
    trunk = inner_trunk(walled.trunk)
    site = require_earlier(trunk.model, layer, trunk.site, example)
    if site == trunk.site:
        return walled
    early = cut_at(trunk.model, site.label, example)
    ends: tuple[nn.Module, nn.Module]
    if walled.trunk is trunk:
        ends = early.trunk, passage_to(trunk.site, early, example, grid=trunk.grid)
    else:
        ends = walled.trunk.before(early, example)  # type: ignore[operator]
    return Stage(walled, *ends, site=site).eval()


def inner_trunk(trunk: nn.Module) -> Trunk:
    """The model's own trunk, under that of a split. Raises :class:`NotApplicableError`."""
    inner = getattr(trunk, "trunk", trunk)
    if not isinstance(inner, Trunk):
        raise NotApplicableError(
            f"the trunk of this walled model is a {type(inner).__name__}, not a model up to a "
            "layer, so that no earlier layer of it can be looked at"
        )
    return inner


def early_box(early: Cut, example: Tensor, crop: Box) -> tuple[Box, tuple[int, int]]:
    """The cells of the earlier maps that the crop gives, and the size of the whole image's maps.

    The crop's first cell is its first pixel divided by the layer's stride `H / h`. Raises
    :class:`NotApplicableError` where that is no whole number or the cells reach too far.
    """
    with torch.no_grad():
        whole = early.trunk(example[:1]).shape[-2:]
        cells = early.trunk(example[:1, :, crop[0], crop[1]]).shape[-2:]
    parts = []
    for axis in range(2):
        pixels, start = int(example.shape[2 + axis]), crop[axis].start * int(whole[axis])
        first, rest = divmod(start, pixels)
        if rest or first + cells[axis] > whole[axis]:
            raise NotApplicableError(
                f"at layer {early.layer!r} the live part of the image does not begin and end at "
                "whole cells: choose another layer or other live cells"
            )
        parts.append(slice(first, first + int(cells[axis])))
    return (parts[0], parts[1]), (int(whole[0]), int(whole[1]))
