"""Views: decoded once, refused once, and the recorded crop is the one that is shown."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from camaudit.data import loading
from camaudit.data.folders import Photo
from camaudit.data.loading import Loader

COLUMNS = np.tile(np.arange(200, dtype=np.uint8)[None, :, None], (100, 1, 3))


@pytest.fixture
def photo(tmp_path):
    Image.fromarray(COLUMNS).save(tmp_path / "a.png")
    return Photo("k/a.png", tmp_path / "a.png", "k", "k: by nobody")


@pytest.fixture
def decodings(monkeypatch):
    calls = []
    decode = loading.decode
    monkeypatch.setattr(
        loading, "decode", lambda data, **o: (calls.append(len(data)), decode(data, **o))[1]
    )
    return calls


def test_view(photo, decodings):
    loader = Loader((50, 50))
    view = loader.view(photo)
    assert view.pixels.shape == (50, 50, 3)
    assert view.source.id == "k/a.png"
    assert view.source.sha256 == hashlib.sha256(photo.path.read_bytes()).hexdigest()
    assert view.source.crop == (0.25, 0.0, 0.75, 1.0)
    assert view.notes == ("k: by nobody",)
    assert loader.view(photo) is view
    assert loader.shape(photo) == (100, 200)
    assert len(decodings) == 1


def test_the_crop_is_in_fractions_of_the_upright_photograph(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.fromarray(COLUMNS).save(tmp_path / "t.png", exif=exif)  # upright: 200 high, 100 wide
    view = Loader((50, 50)).view(Photo("t", tmp_path / "t.png"))
    assert view.source.crop == (0.0, 0.25, 1.0, 0.75)
    assert view.notes == ("t: turned upright (EXIF orientation 8)",)


def test_a_crop_of_a_crop_is_composed(photo):
    view = Loader((30, 60)).crop(photo, (40, 20, 100, 80))
    assert view.source.crop == pytest.approx((0.2, 0.35, 0.5, 0.65))
    np.testing.assert_array_equal(view.pixels, COLUMNS[35:65, 40:100])


def test_a_copy_in_the_same_class_is_refused(photo, tmp_path):
    Image.fromarray(COLUMNS).save(tmp_path / "copy.bmp")
    loader = Loader((50, 50))
    copy = Photo("k/copy.bmp", tmp_path / "copy.bmp", "k")
    elsewhere = Photo("m/copy.bmp", tmp_path / "copy.bmp", "m")
    assert loader.view(photo) is not None
    assert loader.view(copy) is None
    assert loader.view(elsewhere) is not None
    assert loader.refused(copy)
    assert not loader.refused(photo)
    assert loader.skipped == (("k/copy.bmp", "shows the same pixels as k/a.png"),)
    assert loader.shape(copy) is None


def test_failures_are_recorded_once(tmp_path, decodings):
    (tmp_path / "bad.png").write_bytes(b"nothing")
    bad, gone = Photo("bad", tmp_path / "bad.png"), Photo("gone", tmp_path / "gone.png")
    loader = Loader((8, 8))
    for _ in range(3):
        assert loader.view(bad) is None
        assert loader.view(gone) is None
        assert loader.crop(bad, (0, 0, 4, 4)) is None
    assert len(decodings) == 1
    assert [name for name, _ in loader.skipped] == ["bad", "gone"]
    assert "no such file" in loader.skipped[1][1]
