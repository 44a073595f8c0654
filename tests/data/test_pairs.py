"""Pairs and crops by their properties."""

from itertools import islice, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camaudit.data.pairs import ordered_pairs, two_crops


@given(st.integers(0, 14))
def test_every_ordered_pair_exactly_once(n):
    pairs = list(ordered_pairs(range(n)))
    assert len(pairs) == n * (n - 1)
    assert set(pairs) == set(permutations(range(n), 2))


@given(st.integers(2, 40))
def test_the_first_pairs_share_no_item_and_rounds_are_even(n):
    first = list(islice(ordered_pairs(range(n)), n // 2))
    assert len({item for pair in first for item in pair}) == 2 * len(first)
    one_round = list(islice(ordered_pairs(range(n)), n))
    assert sorted(top for top, _ in one_round) == list(range(n))
    assert sorted(bottom for _, bottom in one_round) == list(range(n))


def test_pairs_are_lazy():
    assert next(ordered_pairs(range(10**6))) == (0, 1)


def centre(box):
    return np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])


@given(st.integers(8, 400), st.integers(8, 400), st.integers(0, 2**32))
def test_two_crops(height, width, seed):
    boxes = two_crops(height, width, np.random.Generator(np.random.PCG64(seed)))
    sides = [right - left for left, _, right, _ in boxes]
    for (left, top, right, bottom), side in zip(boxes, sides, strict=True):
        assert right - left == bottom - top == side
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        assert 0.5 * min(height, width) <= side <= 0.8 * min(height, width)
    assert np.linalg.norm(centre(boxes[0]) - centre(boxes[1])) >= max(sides) / 4
    assert boxes == two_crops(height, width, np.random.Generator(np.random.PCG64(seed)))


class Stubborn:
    """A generator that always draws the smallest value, so both crops are the same."""

    def integers(self, low, _high):
        return low


@pytest.mark.parametrize("shape", [(32, 32), (33, 90), (200, 64)])
def test_where_drawing_fails_opposite_corners_are_taken(shape):
    first, second = two_crops(*shape, Stubborn())
    side = min(shape) // 2
    assert first == (0, 0, side, side)
    assert second == (shape[1] - side, shape[0] - side, shape[1], shape[0])
    assert np.linalg.norm(centre(first) - centre(second)) >= side / 4
