"""Pictures: colours in order, opacity by intensity, walls to the pixel, files small."""

from __future__ import annotations

import base64
import dataclasses
import io
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from camaudit.errors import ImageError
from camaudit.report.gallery import (
    GalleryImage,
    colour_table,
    intensity,
    jpeg_uri,
    legend_uri,
    overlay_uri,
    wall,
)
from camaudit.report.html import render
from camaudit.report.panels import panels
from camaudit.report.verdict import Finding
from camaudit.types import Results


def decode(uri: str) -> Image.Image:
    head, data = uri.split(",", 1)
    assert re.fullmatch(r"data:image/(png|jpeg);base64", head)
    return Image.open(io.BytesIO(base64.b64decode(data, validate=True)))


def rgba(uri: str) -> NDArray[np.uint8]:
    return np.asarray(decode(uri).convert("RGBA"))


def fill(path: str, shape: tuple[int, int]) -> NDArray[np.int64]:
    """How often each pixel is covered by the rectangles of an area path."""
    covered = np.zeros(shape, dtype=np.int64)
    for left, top, right, bottom, back in re.findall(r"M(\d+) (\d+)H(\d+)V(\d+)H(\d+)Z", path):
        assert left == back
        covered[int(top) : int(bottom), int(left) : int(right)] += 1
    return covered


def test_lightness_rises_with_intensity() -> None:
    table = colour_table().astype(float) / 255
    linear = np.where(table <= 0.04045, table / 12.92, ((table + 0.055) / 1.055) ** 2.4)[:, :3]
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luminance) > 0).all()
    assert luminance[0] < 0.03
    assert luminance[-1] > 0.8
    assert (np.diff(table[:, 3]) > 0).all()
    assert (table[0, 3], table[-1, 3]) == (0, 1)


def test_overlay_opacity_is_intensity() -> None:
    ramp = np.linspace(2.0, 10.0, 64 * 64).reshape(64, 64)
    uri = overlay_uri(ramp)
    assert uri is not None
    alpha = rgba(uri)[..., 3] / 255
    assert np.abs(alpha - (ramp - 2) / 8).max() < 1 / 100
    assert alpha[0, 0] == 0
    assert alpha[-1, -1] == 1


@pytest.mark.parametrize(
    "saliency",
    [np.zeros((8, 8)), np.full((8, 8), np.nan), np.array([[0.0, np.inf]]), np.zeros((0, 0))],
)
def test_nothing_to_draw(saliency: NDArray[np.float64]) -> None:
    assert overlay_uri(saliency) is None


@pytest.mark.parametrize("scale", [1e-320, 1e-300, 1.0, 1e300, 1.7e308])
def test_intensity_of_extreme_scales(scale: float) -> None:
    shown = intensity(np.array([[0.0, scale / 2], [scale / 4, scale]]))
    assert shown is not None
    np.testing.assert_allclose(shown, [[0, 0.5], [0.25, 1]], atol=1e-3)


def test_constant_map_is_drawn_evenly() -> None:
    assert (intensity(np.full((4, 4), 0.2)) == 0.5).all()  # type: ignore[union-attr]


def test_large_images_are_reduced() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (600, 300, 3), dtype=np.uint8)
    assert decode(jpeg_uri(pixels)).size == (128, 256)
    uri = overlay_uri(rng.random((600, 300)))
    assert uri is not None
    assert decode(uri).size == (128, 256)
    assert decode(legend_uri()).size == (64, 1)


def masks() -> dict[str, NDArray[np.bool_]]:
    rows, columns, frame, split, diagonal = (np.zeros((24, 30), dtype=bool) for _ in range(5))
    rows[15:] = True
    columns[:, :7] = True
    frame[:] = True
    frame[5:19, 6:24] = False
    split[:3] = split[20:, 10:] = True
    y, x = np.indices(diagonal.shape)
    diagonal[y > x] = True
    return {
        "rows": rows,
        "columns": columns,
        "frame": frame,
        "split": split,
        "diagonal": diagonal,
        "none": np.zeros((24, 30), dtype=bool),
        "all": np.ones((24, 30), dtype=bool),
    }


@pytest.mark.parametrize("mask", masks().values(), ids=masks().keys())
def test_wall_covers_the_mask_exactly_once(mask: NDArray[np.bool_]) -> None:
    drawn = wall(mask, mask)
    assert drawn.picture == drawn.scored_edge == ""
    np.testing.assert_array_equal(fill(drawn.area, mask.shape), mask.astype(int))
    edges = (mask[1:] != mask[:-1]).sum() + (mask[:, 1:] != mask[:, :-1]).sum()
    horizontal = re.findall(r"M(\d+) \d+H(\d+)", drawn.edge)
    vertical = re.findall(r"M\d+ (\d+)V(\d+)", drawn.edge)
    assert sum(int(end) - int(start) for start, end in horizontal + vertical) == edges


def test_wall_of_the_lower_rows_is_one_rectangle_and_one_line() -> None:
    mask = masks()["rows"]
    assert wall(mask, mask).area == "M0 15H30V24H0Z"
    assert wall(mask, mask).edge == "M0 15H30"


def test_scored_zone_is_drawn_where_it_differs() -> None:
    mask = masks()["rows"]
    scored = mask.copy()
    scored[:17] = False
    assert wall(mask, scored).scored_edge == "M0 17H30"


def test_ragged_masks_become_a_picture() -> None:
    mask = np.random.default_rng(0).random((60, 60)) < 0.5
    drawn = wall(mask, mask)
    assert drawn.area == drawn.edge == ""
    alpha = rgba(drawn.picture)[..., 3]
    assert alpha.shape == mask.shape
    assert (alpha[~mask] == 0).all()
    assert (alpha[mask] > 0).any()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"pixels": np.zeros((4, 4), np.uint8)}, r"uint8 pixels of shape \(H, W, 3\)"),
        ({"pixels": np.zeros((4, 4, 3))}, "got float64"),
        ({"dead": np.zeros((4, 5), bool)}, r"the dead mask in the image's size \(4, 4\)"),
        ({"scored": np.zeros((4, 4))}, "scored mask as bool"),
        ({"maps": {"gradcam": np.zeros((2, 2))}}, "the map of 'gradcam'"),
    ],
)
def test_gallery_images_are_checked(change: dict[str, Any], words: str) -> None:
    mask = np.zeros((4, 4), dtype=bool)
    good: dict[str, Any] = {
        "id": "a",
        "title": "A",
        "caption": "",
        "dead": mask,
        "scored": mask,
        "pixels": np.zeros((4, 4, 3), np.uint8),
        "maps": {"cam": None},
    }
    GalleryImage(**good)
    with pytest.raises(ImageError, match=words):
        GalleryImage(**(good | change))


def test_tiles_say_why_there_is_no_map(results: Results, gallery: list[GalleryImage]) -> None:
    first, second = panels(gallery, results.summary, results.records)
    tiles = {tile.method: tile for tile in (*first.methods, *first.controls)}
    assert len(tiles) == 15
    assert tiles["EigenCAM"].overlay is not None
    assert tiles["EigenCAM"].finding is Finding.LIT
    assert tiles["HiResCAM"].mu_l1 == "0 (exact)"
    assert tiles["GradCAM-ElementWise"].reason.startswith("Degenerate: ")
    assert tiles["GradCAM-ElementWise"].overlay is None
    assert tiles["CAM"].reason == "Not applicable: the head is no pooled Linear"
    assert tiles["broken"].reason.startswith("Failed: RuntimeError")
    assert tiles["broken"].mu_l1 == "undefined"
    assert [tile.method for tile in first.controls] == ["Sobel edges", "Random", "Uniform"]
    later = {tile.method: tile for tile in second.methods}
    assert later["ScoreCAM++"].reason == "Not run on this image."
    assert (first.target, first.dead, first.scored) == ("class 0 (281)", "35.7 %", "35.7 %")


def test_ten_images_of_fifteen_methods_stay_small(
    results: Results, build_gallery: Callable[..., list[GalleryImage]]
) -> None:
    page = render(dataclasses.replace(results, records=[]), build_gallery(10, complete=True))
    assert page.count('class="overlay"') == 150
    assert len(page.encode()) < 4_000_000
