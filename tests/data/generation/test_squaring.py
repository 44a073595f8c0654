"""The square around the boundary, against its formula, and the boundary where it is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from camaudit.data.generation.squaring import Square, found_boundary, square_around, squared
from camaudit.errors import ImageError, UsageError
from tests.data.generation.doubles import picture

fractions = st.floats(0.02, 0.98)


@given(st.integers(20, 90), st.integers(20, 90), fractions, fractions)
@settings(max_examples=150, deadline=None)
def test_the_wall_lies_at_the_boundary_and_no_larger_square_does(height, width, boundary, dead):
    pixels = np.zeros((height, width, 3), dtype=np.uint8)
    square = square_around(pixels, boundary, dead)
    row = boundary * height
    assert square.top + (1 - dead) * square.side == pytest.approx(row)
    assert square.top >= -1e-9
    assert square.top + square.side <= height + 1e-9
    assert -1e-9 <= square.left <= width - square.side + 1e-9
    touches = [
        square.side == pytest.approx(width),
        square.top == pytest.approx(0, abs=1e-6),
        square.top + square.side == pytest.approx(height),
    ]
    assert any(touches)


def test_the_paper_s_crop_of_a_large_square_picture():
    # boundary in the middle of 1024 rows, 54 of 224 dead: s = 512/(170/224)
    square = square_around(np.zeros((1024, 1024, 3), dtype=np.uint8), 0.5, 54 / 224)
    assert square.side == pytest.approx(512 * 224 / 170)
    assert square.top == pytest.approx(0)
    assert square.left == pytest.approx((1024 - square.side) / 2, abs=1)


def test_the_boundary_becomes_the_wall_s_row():
    pixels = picture(3, height=200, width=200, boundary=0.4)
    cut = squared(pixels, square_around(pixels, 0.4, 0.25), (64, 64))
    red = cut[..., 0].mean(axis=1)
    assert red[:47].min() > 120
    assert red[49:].max() < 90


def test_the_square_goes_where_the_detail_is():
    pixels = np.full((100, 300, 3), 128, dtype=np.uint8)
    pixels[:, 200:280] = np.random.default_rng(0).integers(0, 256, (100, 80, 3))
    square = square_around(pixels, 0.5, 0.5)
    assert square.side == 100
    assert 175 <= square.left <= 200


@pytest.mark.parametrize("boundary", [0.35, 0.5, 0.62])
@pytest.mark.parametrize("soft", [False, True])
def test_a_step_of_colour_is_found(boundary, soft):
    pixels = picture(7, height=240, width=200, boundary=boundary)
    if soft:
        small = Image.fromarray(pixels).resize((50, 60), Image.Resampling.BOX)
        pixels = np.asarray(small.resize((200, 240), Image.Resampling.BICUBIC))
    assert found_boundary(pixels) == pytest.approx(boundary, abs=0.02)


def test_no_boundary_where_there_is_none():
    slope = np.repeat(np.linspace(0, 255, 200)[:, None, None], 100, 1).repeat(3, 2)
    assert found_boundary(slope.astype(np.uint8)) is None
    assert found_boundary(np.zeros((100, 100, 3), dtype=np.uint8)) is None
    assert found_boundary(np.zeros((3, 100, 3), dtype=np.uint8)) is None


def test_bad_squares_are_refused():
    pixels = picture(1)
    for boundary, dead in ((0, 0.2), (1, 0.2), (0.5, 0), (0.5, 1), (float("nan"), 0.2)):
        with pytest.raises(UsageError, match="must lie between 0 and 1"):
            square_around(pixels, boundary, dead)
    with pytest.raises(ImageError, match="30 pixels a side, too few for 64×64"):
        squared(pixels, Square(0, 0, 30), (64, 64))
    with pytest.raises(ImageError, match="a single colour"):
        squared(np.full((80, 80, 3), 7, np.uint8), Square(0, 0, 80), (64, 64))
