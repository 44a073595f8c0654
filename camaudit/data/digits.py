"""Handwritten digits that scikit-learn's wheel carries, brought to the size of MNIST's.

Optical recognition of handwritten digits (Alpaydin & Kaynak 1998, UCI; CC BY 4.0): 8×8 pixels,
0 to 16. They are found as a file of the installed package; nothing is fetched.
"""

from __future__ import annotations

import csv
import gzip
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from camaudit.errors import MissingExtraError, UsageError

__all__ = ["Digit", "digits"]

_SIDE, _INNER, _LARGEST = 8, 28, 16


@dataclass(frozen=True, eq=False)
class Digit:
    """A digit as the theory's networks read it: `pixels` (29×29, float64 from 0 to 1).

    28×28 pixels, with one row above and one column at the right that are 0, as in the walls
    paper's notebook. `id` is unique among the digits of a call.
    """

    id: str
    label: int
    pixels: NDArray[np.float64]


def digits(count: int) -> list[Digit]:
    """The first examples of 0, 1, …, 9, then the second ones, and so on: `count` in all.

    Raises :class:`MissingExtraError` without scikit-learn, :class:`UsageError` for more digits
    than there are.
    """
    rows = _rows()
    groups = [[row for row in rows if row[-1] == label] for label in range(10)]
    order = [
        row for turn in range(max(map(len, groups))) for g in groups for row in g[turn : turn + 1]
    ]
    if not 1 <= count <= len(order):
        raise UsageError(f"scikit-learn carries {len(order)} digits; got count={count}")
    return [_digit(place, row) for place, row in enumerate(order[:count])]


def _digit(place: int, row: list[int]) -> Digit:
    small = np.array(row[:-1], dtype=np.float32).reshape(_SIDE, _SIDE) / _LARGEST
    inner = Image.fromarray(small).resize((_INNER, _INNER), Image.Resampling.BILINEAR)
    pixels = np.pad(np.asarray(inner, dtype=np.float64), ((1, 0), (0, 1)))
    label, turn = row[-1], place // 10
    return Digit(f"digit {label}" + (f" ({turn + 1})" if turn else ""), label, pixels)


def _rows() -> list[list[int]]:
    """64 pixels and the label of every digit."""
    try:
        path = Path(str(files("sklearn"))) / "datasets" / "data" / "digits.csv.gz"
    except ImportError as error:
        raise MissingExtraError(
            "the handwritten digits come with scikit-learn, which is not installed; install it "
            'with: pip install "camaudit[demo]"'
        ) from error
    if not path.is_file():
        raise MissingExtraError(
            "this scikit-learn came without its digits; install its wheel: "
            'pip install --force-reinstall "camaudit[demo]"'
        )
    with gzip.open(path, "rt") as text:
        return [[int(float(value)) for value in row] for row in csv.reader(text)]
