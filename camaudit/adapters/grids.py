"""Layers of tokens in other libraries: the grid that `reshape_transform` would have to know."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from weakref import WeakKeyDictionary

from torch import Tensor, nn

from camaudit.errors import LayerError, MethodError
from camaudit.tokens import Grid, grid_at

__all__ = ["Grids"]


class Grids:
    """How layers lay out their cells; each is asked for once a model and size of images."""

    def __init__(self) -> None:
        self._known: WeakKeyDictionary[nn.Module, dict[tuple[str, int, int], Grid]] = (
            WeakKeyDictionary()
        )

    def of(self, model: nn.Module, layer: str, images: Tensor) -> Grid:
        """The grid of `layer` for images of this size."""
        grids = self._known.setdefault(model, {})
        key = layer, int(images.shape[-2]), int(images.shape[-1])
        if key not in grids:
            grids[key] = grid_at(model, layer, images)
        return grids[key]

    def reshaping(
        self, model: nn.Module, layers: tuple[str, ...], images: Tensor
    ) -> Callable[[Tensor], Tensor] | None:
        """A `reshape_transform` of these layers, None where they all give maps.

        Raises :class:`MethodError` where they are of several layouts.
        """
        grids = {self.of(model, layer, images) for layer in layers}
        if len(grids) > 1 and any(grid.layout != "maps" for grid in grids):
            raise MethodError(
                f"the layers {', '.join(layers)} have cells in several layouts, and one "
                "reshape_transform serves them all: choose layers of one kind"
            )
        grid = next(iter(grids), Grid())
        return None if grid.layout == "maps" else partial(_cells, grid)


def _cells(grid: Grid, output: Tensor) -> Tensor:
    """The cells N×K×h×w of an output, or of a gradient of it."""
    try:
        return grid.split(output, grid.pixels)[0]
    except LayerError as error:
        raise MethodError(f"the layer gave other tokens than before: {error}") from error
