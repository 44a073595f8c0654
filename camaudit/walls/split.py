"""The split trunk: an exact pixel dead zone in any architecture, without retraining.

Live cells are computed from the image cropped to their own pixels, dead cells from the whole
image. The wall lets only live cells through, so a pixel outside the crop cannot reach the head,
whatever the receptive fields are; yet the target layer still shows activity behind the wall.
Tokens of a transformer are hidden from its attention instead (:mod:`camaudit.walls.tokens`).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from camaudit.cut import Cut, Trunk
from camaudit.errors import NotApplicableError, WallError
from camaudit.passage import passage_to
from camaudit.sites import settings_kept
from camaudit.walls.insert import Rescale, WalledModel, planned
from camaudit.walls.region import describe, rectangle
from camaudit.walls.stages import BoxPassage, early_box, inner_trunk
from camaudit.walls.tokens import TokenSplit, hides
from camaudit.walls.zone import DeadZone, scored_zone

__all__ = ["SplitTrunk", "split_trunk"]

Box = tuple[slice, slice]


class SplitTrunk(nn.Module):
    """`forward(images) → activations` whose live cells depend on live pixels alone.

    `live` (h×w) and `seen` (H×W) are boolean. Where both are rectangles (`cells` and `crop`) the
    live cells come from the cropped image; otherwise from the image with unseen pixels set to 0
    (the mean colour of a standardised image).
    """

    live: Tensor
    seen: Tensor

    def __init__(
        self, trunk: nn.Module, live: Tensor, seen: Tensor, boxes: tuple[Box, Box] | None
    ) -> None:
        super().__init__()
        self.trunk = trunk
        self.boxes = boxes
        self.register_buffer("live", live, persistent=False)
        self.register_buffer("seen", seen, persistent=False)

    @property
    def frame(self) -> tuple[int, int, int, int] | None:
        """The crop as (top, left, height, width), None where there is none."""
        if self.boxes is None:
            return None
        rows, columns = self.boxes[1]
        return rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start

    def forward(self, images: Tensor) -> Tensor:
        return self._place(self._live_cells(images), self.trunk(images))

    def live_only(self, images: Tensor) -> Tensor:
        """The same live cells with 0 in the dead ones, at the cost of the cropped image alone."""
        return self.placed(self._live_cells(images))

    def placed(self, cells: Tensor) -> Tensor:
        """Live cells, as the trunk gives them for :meth:`seen_part`, with 0 in the dead ones."""
        return self._place(cells, cells.new_zeros(*cells.shape[:2], *self.live.shape))

    def seen_part(self, images: Tensor) -> Tensor:
        """What of the images (N×C×H×W) the live cells are computed from."""
        if images.shape[-2:] != self.seen.shape:
            raise WallError(
                f"the wall is built for images of {tuple(self.seen.shape)} pixels; got "
                f"{tuple(images.shape[-2:])}"
            )
        if self.boxes is None:
            return torch.where(self.seen, images, images.new_zeros(()))
        _, (rows, columns) = self.boxes
        return images[:, :, rows, columns]

    def before(self, early: Cut, example: Tensor) -> tuple[SplitTrunk, BoxPassage]:
        """The split trunk at the layer of `early`, and the passage from there to these maps.

        Raises :class:`NotApplicableError` where the live cells are no rectangle, here or there.
        """
        if self.boxes is None:
            raise NotApplicableError(
                "the live cells are no rectangle, so that no crop of the image computes them: "
                "their earlier layers cannot be told apart from those of dead cells"
            )
        crop = self.boxes[1]
        box, grid = early_box(early, example, crop)
        live = torch.zeros(grid, dtype=torch.bool, device=self.live.device)
        live[box] = True
        target, part = inner_trunk(self), example[:1, :, crop[0], crop[1]]
        passage = passage_to(target.site, early, part, grid=target.grid)
        return SplitTrunk(early.trunk, live, self.seen, (box, crop)), BoxPassage(self, passage, box)

    def _live_cells(self, images: Tensor) -> Tensor:
        cells: Tensor = self.trunk(self.seen_part(images))
        return cells

    def _place(self, cells: Tensor, behind: Tensor) -> Tensor:
        if self.boxes is None:
            return torch.where(self.live, cells.contiguous(), behind.contiguous())
        (rows, columns), _ = self.boxes
        placed = behind.clone(memory_format=torch.contiguous_format)
        placed[:, :, rows, columns] = cells
        return placed


def split_trunk(
    model: nn.Module,
    layer: str,
    example: Tensor,
    *,
    live_rows: int | None = None,
    dead: Tensor | str | None = None,
    rescale: Rescale = "auto",
) -> WalledModel:
    """A walled `model` whose pixel dead zone is exact by construction; parameters as insert_wall.

    Raises :class:`WallError` where no crop of the image gives exactly the live cells.
    """
    plan = planned(model, layer, example, live_rows=live_rows, dead=dead, rescale=rescale)
    cut, live = plan.cut, plan.wall.live.cpu()
    grid = cut.trunk.grid
    masked = grid.layout == "tokens" and hides(cut.trunk, example[:1], plan.wall.live)
    boxes = None if masked or grid.prefix else _boxes(cut.trunk, example[:1], live)
    seen = _seen(live, example, boxes)
    there = seen.to(plan.wall.live.device)
    trunk: nn.Module
    if masked or grid.prefix:
        trunk = TokenSplit(cut.trunk, plan.wall.live, there, masked=masked)
    else:
        trunk = SplitTrunk(cut.trunk, plan.wall.live, there, boxes)
    why = _why(live, boxes, masked=masked)
    zone = DeadZone(~live, ~seen, scored_zone(~live, ~seen), "split trunk", why)
    return WalledModel(
        trunk, plan.wall, plan.head, unwalled=cut, zone=zone,
        description={"wall": "split", **plan.description},
    ).eval()  # fmt: skip


def _boxes(trunk: Trunk, example: Tensor, live: Tensor) -> tuple[Box, Box] | None:
    """The live cells and their crop; None where they are no rectangle.

    Nor are there any where a layer of another layout takes images of one size alone, or where
    the model would be another one after a crop.
    """
    h, w = live.shape
    box = rectangle(live)
    if box is None:
        return None
    if trunk.grid.layout == "maps":
        return box, _crop(trunk, example, box, (h, w))
    with settings_kept(trunk.model) as changed:
        try:
            crop = _crop(trunk, example, box, (h, w))
        except WallError:
            return None
    return None if changed else (box, crop)


def _seen(live: Tensor, example: Tensor, boxes: tuple[Box, Box] | None) -> Tensor:
    height, width = int(example.shape[-2]), int(example.shape[-1])
    if boxes is None:
        rows = torch.arange(height) * live.shape[0] // height
        columns = torch.arange(width) * live.shape[1] // width
        return live[rows][:, columns]
    seen = torch.zeros(height, width, dtype=torch.bool)
    seen[boxes[1]] = True
    return seen


def _crop(trunk: nn.Module, example: Tensor, cells: Box, grid: tuple[int, int]) -> Box:
    """The crop nearest to the cells' own share of the image that yields exactly these cells."""
    wanted = tuple(part.stop - part.start for part in cells)
    rows = _pixels(trunk, example, 0, cells[0], grid[0])
    columns = _pixels(trunk, example, 1, cells[1], grid[1])
    if rows and columns and _cells(trunk, example[:, :, rows, columns]) == wanted:
        return rows, columns
    raise WallError(
        f"no crop of the {example.shape[-2]}×{example.shape[-1]} image gives exactly "
        f"{wanted[0]}×{wanted[1]} cells at this layer; try another number of live rows"
    )


def _pixels(trunk: nn.Module, example: Tensor, axis: int, part: slice, cells: int) -> slice | None:
    """Pixel range along `axis` that gives as many cells as `part`, from its own share onwards.

    The more pixels, the more cells, so the range grows or shrinks one pixel at a time, at the end
    that is not the image's border, until the number is right; None where that jumps over it.
    """
    pixels, wanted = int(example.shape[2 + axis]), part.stop - part.start
    start, stop = round(part.start * pixels / cells), round(part.stop * pixels / cells)
    came = 0
    while 0 <= start < stop <= pixels:
        found = slice(start, stop)
        count = _cells(trunk, example[:, :, found] if axis == 0 else example[..., found])[axis]
        if count == wanted:
            return found
        step = 1 if count < wanted else -1
        if step == -came:
            return None
        came = step
        if part.stop == cells or (stop == pixels and step > 0):
            start -= step
        else:
            stop += step
    return None


def _cells(trunk: nn.Module, crop: Tensor) -> tuple[int, int]:
    """Cells (h, w) that the trunk makes of a crop; none where it cannot run on it."""
    try:
        with torch.no_grad():
            h, w = trunk(crop).shape[-2:]
    except (RuntimeError, ValueError, AssertionError):
        return 0, 0
    return int(h), int(w)


def _why(live: Tensor, boxes: tuple[Box, Box] | None, *, masked: bool) -> str:
    if boxes is None:
        source = "with every other pixel set to the mean colour"
        if masked:
            source += ", where no attention gives weight to a dead token"
    else:
        rows, columns = boxes[1]
        source = (
            f"cropped to pixel rows {rows.start}-{rows.stop - 1} and columns {columns.start}-"
            f"{columns.stop - 1}"
        )
    return (
        f"the head reads only live cells ({describe(live)}), and those are computed from the "
        f"image {source}; no path leads from a dead pixel to the logits."
    )
