"""Small maps: colours to the value, walls to the cell, nothing blurred."""

from __future__ import annotations

import base64
import io
import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from camaudit.errors import AuditError
from camaudit.report.heatmaps import grey_map, heat_map, heat_scale, matrix, unread


def pixels(uri: str) -> NDArray[np.uint8]:
    head, data = uri.split(",", 1)
    assert head == "data:image/png;base64"
    image = Image.open(io.BytesIO(base64.b64decode(data, validate=True)))
    assert "transparency" not in image.info
    return np.asarray(image.convert("RGB"))


def centres(values: NDArray[np.uint8], shape: tuple[int, int]) -> NDArray[np.uint8]:
    """One pixel of every cell, after a check that each cell is of one colour."""
    scale = values.shape[0] // shape[0]
    cells = values.reshape(shape[0], scale, shape[1], scale, 3)
    assert (cells == cells[:, :1, :, :1]).all()
    return cells[:, 0, :, 0]


def test_colours_run_from_zero_to_the_maximum() -> None:
    values = np.linspace(0, 7, 28 * 28).reshape(28, 28)
    found = heat_map(values.tolist(), None, "a map")
    assert (found.width, found.height) == (224, 224)
    cells = centres(pixels(found.picture), (28, 28)).reshape(-1, 3)
    scale = pixels(heat_scale())[0]
    np.testing.assert_array_equal(cells[0], scale[0])
    np.testing.assert_array_equal(cells[-1], scale[63])
    nearest = [int(np.abs(scale[:64].astype(int) - cell).sum(axis=1).argmin()) for cell in cells]
    np.testing.assert_allclose(np.array(nearest) / 63, values.reshape(-1) / 7, atol=1 / 126 + 1e-9)


def test_zero_stays_dark_however_high_the_minimum_is() -> None:
    high = centres(pixels(heat_map([[0.9, 1.0]], None, "").picture), (1, 2))
    assert int(high[0, 0].sum()) > int(pixels(heat_scale())[0, 32].sum())


def test_undefined_cells_are_grey() -> None:
    for missing in (None, math.nan):
        cells = centres(pixels(heat_map([[missing, 1.0], [0.0, 0.5]], None, "").picture), (2, 2))
        assert cells[0, 0].tolist() == [128, 128, 128]


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([[0.0, 0.0]], "The map is zero everywhere."),
        ([[None, None]], "The map is undefined."),
        ([[math.nan]], "The map is undefined."),
        ([], "The map is undefined."),
    ],
)
def test_nothing_to_draw_is_said(values: Any, reason: str) -> None:
    found = heat_map(values, None, "GradCAM of digit 3")
    assert (found.picture, found.reason) == ("", reason)
    assert found.alternative.startswith("GradCAM of digit 3: the map")


def test_the_wall_follows_the_cells() -> None:
    dead = np.zeros((4, 7), dtype=bool)
    dead[2:, :3] = True
    found = heat_map(np.ones((4, 7)).tolist(), dead.tolist(), "")
    assert found.wall is not None
    assert found.wall.area == "M0 64H96V128H0Z"
    assert (found.width, found.height) == (224, 128)
    assert found.wall.scored_edge == ""


def test_images_are_grey_and_walls_may_be_missing() -> None:
    found = grey_map([[0.0, 0.5], [1.0, 0.25]], None, "digit 3")
    cells = centres(pixels(found.picture), (2, 2))
    np.testing.assert_array_equal(cells[..., 0], [[0, 128], [255, 64]])
    assert found.wall is None
    assert grey_map([], None, "").reason == "The image is empty."


@pytest.mark.parametrize("kernel", [1, 2, 3])
def test_a_pixel_is_unread_where_no_live_cell_covers_it(kernel: int) -> None:
    rng = np.random.default_rng(kernel)
    dead = rng.random((6, 5)) < 0.6
    size = (6 + kernel - 1, 5 + kernel - 1)
    expected = np.ones(size, dtype=bool)
    for row, column in zip(*np.nonzero(~dead), strict=True):
        expected[row : row + kernel, column : column + kernel] = False
    np.testing.assert_array_equal(unread(dead.tolist(), size), expected)


def test_sizes_that_do_not_fit() -> None:
    assert unread([[True, False]], (1, 1)) is None
    assert unread([], (3, 3)) is None
    with pytest.raises(AuditError, match=r"rows of one length, got \[1, 2\]"):
        matrix([[1.0], [1.0, 2.0]], "a map")
    with pytest.raises(AuditError, match=r"map's size \(1, 2\), got \(2, 1\)"):
        heat_map([[1.0, 2.0]], [[True], [False]], "")
