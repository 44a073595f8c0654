"""The process that decodes what could be slow: its limits, its end, and its answers."""

from __future__ import annotations

import io
import os
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from camaudit.data import decoder
from camaudit.data.decoder import decode_elsewhere, is_quick
from camaudit.data.decoding import decoded
from camaudit.data.folders import scan
from camaudit.data.images import MAX_BYTES, decode, read_file
from camaudit.data.loading import Loader
from camaudit.errors import ImageError
from tests.data.bombs import many_scans, skipping_rows

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8)


def encoded(file_format: str, pixels: object = PIXELS) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.asarray(pixels)).save(buffer, file_format)
    return buffer.getvalue()


@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "PPM"])
def test_both_processes_give_the_same(file_format: str) -> None:
    data = encoded(file_format)
    here, there = decoded(data, min_side=1), decode_elsewhere(data, min_side=1)
    np.testing.assert_array_equal(here.pixels, there.pixels)
    assert here.notes == there.notes
    assert there.pixels.flags.writeable
    for bad, side in ((data[: len(data) // 2], 1), (data, 41)):
        with pytest.raises(ImageError) as told:
            decoded(bad, min_side=side)
        with pytest.raises(ImageError) as asked:
            decode_elsewhere(bad, min_side=side)
        assert str(told.value) == str(asked.value)


def test_what_is_quick() -> None:
    assert is_quick(encoded("JPEG"))
    assert is_quick(encoded("PNG"))
    assert is_quick(many_scans(64, 63))
    assert not is_quick(many_scans(64, 64))
    assert not is_quick(encoded("PNG") + bytes(1 << 20))
    for file_format in ("GIF", "BMP", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF"):
        if file_format in Image.SAVE:
            assert not is_quick(encoded(file_format)), file_format


def test_an_image_that_takes_too_long_is_refused_and_the_next_one_is_not() -> None:
    slow = many_scans(4000, 8000)
    assert len(slow) < 5 << 20
    began = time.monotonic()
    with pytest.raises(ImageError, match=r"takes more than 1 seconds; save it anew"):
        decode_elsewhere(slow, min_side=1, seconds=1)
    assert time.monotonic() - began < 30
    np.testing.assert_array_equal(decode(encoded("BMP")).pixels, PIXELS)


def test_such_an_image_is_skipped_and_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoder, "SECONDS", 1.0)
    (tmp_path / "good.bmp").write_bytes(encoded("BMP"))
    (tmp_path / "slow.jpg").write_bytes(many_scans(4000, 8000))
    decode(encoded("BMP"))  # the helper has started
    loader = Loader((32, 32))
    views = [loader.view(photo) for photo in scan(tmp_path).photos]
    assert [view is None for view in views] == [False, True]
    ((name, reason),) = loader.skipped
    assert name == "slow.jpg"
    assert "takes more than 1 seconds" in reason


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is bounded on Linux")
def test_an_image_that_asks_for_all_memory_is_refused() -> None:
    with pytest.raises(ImageError, match="more memory than there is"):
        decode(skipping_rows(), min_side=1)
    np.testing.assert_array_equal(decode(encoded("BMP")).pixels, PIXELS)


def test_a_decoder_that_crashes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "_START", "import os; os._exit(1)")
    monkeypatch.setattr(decoder, "_idle", [])
    with pytest.raises(ImageError, match="a decoder crashed on it"):
        decode(encoded("BMP"))
    assert decoder._idle == []


def test_a_helper_that_died_in_between_is_replaced() -> None:
    decode(encoded("BMP"))
    decoder._idle[-1]._process.kill()
    decoder._idle[-1]._process.wait()
    np.testing.assert_array_equal(decode(encoded("BMP")).pixels, PIXELS)


def test_threads_have_a_helper_each() -> None:
    sources = [np.roll(PIXELS, shift, axis=0) for shift in range(12)]
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda one: decode(encoded("BMP", one)).pixels, sources))
    for one, other in zip(sources, found, strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(decoder._idle) <= 4


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_fork_does_not_talk_through_its_parents_pipes() -> None:
    decode(encoded("BMP"))
    assert decoder._idle
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of forks in processes with threads
        child = os.fork()
    if child == 0:
        os._exit(len(decoder._idle))
    assert os.waitpid(child, 0)[1] == 0
    assert decoder._idle


def test_settings_of_pillow_in_this_process_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    for file_format in ("PNG", "JPEG", "BMP"):
        data = encoded(file_format)
        assert decode(data).pixels.shape == PIXELS.shape
        with pytest.raises(ImageError, match="truncated"):
            decode(data[: len(data) // 2])
    with pytest.raises(ImageError, match="LOAD_TRUNCATED_IMAGES is set"):
        decoded(encoded("PNG"), min_side=1)


def test_files_that_are_too_large_are_not_read(tmp_path: Path) -> None:
    with (tmp_path / "a.tif").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(ImageError, match="more than 1024 MiB, the most that is read"):
        read_file(tmp_path / "a.tif")
