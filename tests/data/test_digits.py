"""Digits and photographs that come with libraries."""

from __future__ import annotations

import numpy as np
import pytest

from camaudit.data import digits as digits_module
from camaudit.data import embedded
from camaudit.data.digits import digits
from camaudit.data.embedded import eight_photos
from camaudit.errors import MissingExtraError, UsageError


def test_digits_are_of_every_class_in_turn_and_of_the_papers_size() -> None:
    found = digits(23)
    assert [digit.label for digit in found] == [*range(10), *range(10), 0, 1, 2]
    assert len({digit.id for digit in found}) == 23
    for digit in found:
        assert digit.pixels.shape == (29, 29)
        assert digit.pixels.dtype == np.float64
        assert not digit.pixels[0].any()
        assert not digit.pixels[:, -1].any()
        assert 0 <= digit.pixels.min() < 0.01 < 0.5 < digit.pixels.max() <= 1


def test_every_digit_can_be_had_and_no_more() -> None:
    assert len(digits(1797)) == 1797
    for count in (0, 1798):
        with pytest.raises(UsageError, match="carries 1797 digits"):
            digits(count)


def test_eight_photographs_without_classes() -> None:
    collection = eight_photos()
    assert len(collection.photos) == 8
    assert not collection.classes
    assert all(photo.path.is_file() and photo.credit for photo in collection.photos)


@pytest.mark.parametrize("module", [digits_module, embedded])
def test_without_the_libraries_the_extra_is_named(
    module: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_name: str) -> object:
        raise ModuleNotFoundError("No module named 'sklearn'")

    monkeypatch.setattr(module, "files", missing)
    call = (lambda: digits(3)) if module is digits_module else eight_photos
    with pytest.raises(MissingExtraError, match=r"camaudit\[demo\]"):
        call()
