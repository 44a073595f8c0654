"""The photographs of scikit-image, found without the network."""

import sys

import numpy as np
import pytest

from camaudit.data import embedded
from camaudit.data.embedded import CREDITS, embedded_photos
from camaudit.data.images import decode
from camaudit.data.stack_mix import stack_mix
from camaudit.errors import MissingExtraError

NAMES = ["astronaut", "camera", "chelsea", "coffee", "motorcycle_left", "rocket"]


@pytest.fixture(autouse=True)
def _skimage():
    pytest.importorskip("skimage", reason="scikit-image is not installed")


def test_six_classes_of_one_photograph():
    found = embedded_photos()
    assert list(found.classes) == NAMES
    assert [photo.label_name for photo in found.photos] == NAMES
    for photo in found.photos:
        assert photo.credit is not None
        assert photo.credit.startswith(f"{photo.label_name}: ")
    assert set(CREDITS) == set(NAMES)


@pytest.mark.parametrize("name", ["astronaut", "chelsea", "coffee", "rocket"])
def test_pixels_are_those_of_scikit_image(name):
    data = pytest.importorskip("skimage.data", reason="scikit-image is not installed")
    (photo,) = embedded_photos().classes[name]
    np.testing.assert_array_equal(decode(photo.path).pixels, getattr(data, name)())


def test_they_stack():
    dead = np.zeros((64, 64), bool)
    dead[48:] = True
    made = stack_mix(embedded_photos(), dead=dead)
    assert len(made.images) == 6
    assert made.skipped == ()
    assert {image.pairing for image in made.images} == {"two-crops"}
    assert all(image.label is None for image in made.images)
    (chelsea,) = (image for image in made.images if image.label_name == "chelsea")
    assert chelsea.notes == ("chelsea: Stefan van der Walt; CC0",)


def test_without_scikit_image(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(MissingExtraError, match=r'pip install "camaudit\[demo\]"'):
        embedded_photos()


def test_without_its_photographs(monkeypatch, tmp_path):
    monkeypatch.setattr(embedded, "_data_folder", lambda: tmp_path)
    with pytest.raises(MissingExtraError, match=r"came without astronaut\.png.*camaudit\[demo\]"):
        embedded_photos()
