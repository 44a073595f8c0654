"""The contact sheet shows every image, and where the seam is."""

import io

import numpy as np
import pytest
from PIL import Image

from camaudit.data.contact_sheet import MOST, Tile, contact_sheet, thumbnail
from camaudit.data.seam import lower_rows, wall_of_rows

SEAM = (225, 0, 120)


def tiles(count, shade=(10, 200, 30), size=(144, 144)):
    pixels = np.full((*size, 3), shade, np.uint8)
    return [Tile(thumbnail(pixels), f"{k} jay", f"jay-{k:012d}") for k in range(count)]


def sheet(*args, **options):
    image = Image.open(io.BytesIO(contact_sheet(*args, **options)))
    assert (image.format, image.mode) == ("PNG", "RGB")
    return np.asarray(image)


def rows_of(pixels, colour):
    return sorted(set((pixels == colour).all(axis=2).nonzero()[0].tolist()))


def test_the_seam_is_marked_where_it_is():
    wall = lower_rows(36, 144)
    pixels = sheet(tiles(1), wall=wall, size=(144, 144))
    top = min(rows_of(pixels, (10, 200, 30)))
    marked = rows_of(pixels, SEAM)
    assert (marked[0] - top, marked[-1] - top) == (108, 143)
    line = (pixels[marked[0]] == SEAM).all(axis=1).sum()
    assert line >= 144  # across the image
    assert 2 < (pixels[marked[5]] == SEAM).all(axis=1).sum() < 12  # bars beside it


def test_rows_at_the_top_and_in_the_middle():
    wall = wall_of_rows("bands", [*range(10), *range(50, 60)], 144)
    pixels = sheet(tiles(1), wall=wall, size=(144, 144))
    top = min(rows_of(pixels, (10, 200, 30)))
    marked = [row - top for row in rows_of(pixels, SEAM)]
    assert marked == [*range(10), *range(50, 60)]


@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 1, 1), (10, 10, 1), (23, 10, 3)])
def test_every_image_is_there(count, columns, rows):
    pixels = sheet(tiles(count), wall=lower_rows(54, 224), size=(224, 224))
    assert pixels.shape[1] // 164 == columns
    assert pixels.shape[0] // 190 == rows
    shown = (pixels == (10, 200, 30)).all(axis=2).sum()
    assert shown == count * 144 * 143  # but for the line of the seam


def test_long_sets_and_odd_names():
    many = tiles(MOST + 50)
    some = sheet(many, wall=lower_rows(54, 224), size=(224, 224))
    assert some.shape == sheet(many[:MOST], wall=lower_rows(54, 224), size=(224, 224)).shape
    odd = [
        Tile(thumbnail(np.zeros((30, 90, 3), np.uint8)), "é 猫\n" * 30, "\udcff"),
        Tile(thumbnail(np.zeros((500, 3, 3), np.uint8)), "", ""),
    ]
    sheet(odd, wall=lower_rows(3, 30), size=(30, 90))


def test_thumbnails_keep_the_shape():
    assert thumbnail(np.zeros((100, 50, 3), np.uint8)).size == (72, 144)
    assert thumbnail(np.zeros((1, 600, 3), np.uint8)).size == (144, 1)
    assert thumbnail(np.zeros((28, 28, 3), np.uint8)).size == (144, 144)
