"""Pixels that are read again when they are wanted."""

from __future__ import annotations

import gc
import hashlib
import pickle
import weakref
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from camaudit.data.folders import scan
from camaudit.data.stack_mix import StackMix, plain_images, stack_mix
from camaudit.data.stored import Recent, Stored
from camaudit.errors import ImageError

SIZE = 32


def pixels(value: int, side: int = 4) -> np.ndarray:
    return np.full((side, side, 3), value, np.uint8)


@given(
    st.integers(1, 400),
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 8)), max_size=40),
)
def test_what_is_held_never_takes_more_than_the_limit(
    limit: int, asked: list[tuple[int, int]]
) -> None:
    recent, read = Recent(limit), []
    known: dict[int, Stored] = {}
    for number, side in asked:
        if number not in known:
            known[number] = Stored(
                lambda n=number, s=side: (read.append(n), pixels(n, s))[1], pixels(number, side),
                recent,
            )  # fmt: skip
        assert (known[number].pixels == number).all()
        held = [one for one in known.values() if recent.of(one) is not None]
        assert len(held) == 1 or sum(np.prod(one.shape) for one in held) <= limit


def test_pixels_are_read_once_while_they_are_held() -> None:
    read: list[int] = []
    recent = Recent(100)

    def again() -> np.ndarray:
        read.append(1)
        return pixels(7)

    stored = Stored(again, pixels(7), recent)
    assert stored.sha256 == hashlib.sha256(pixels(7).tobytes()).hexdigest()
    assert (stored.pixels == 7).all()
    assert not read
    Stored(lambda: pixels(8), pixels(8), recent)  # 48 bytes each: two fit
    assert (stored.pixels == 7).all()
    assert not read
    Stored(lambda: pixels(9, 5), pixels(9, 5), recent)
    assert (stored.pixels == 7).all()
    assert read == [1]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    for label in ("a", "b"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(3):
            drawn = draw.integers(0, 255, (40, 48, 3), dtype=np.uint8)
            Image.fromarray(drawn).save(tmp_path / "photos" / label / f"{number}.png")
    return tmp_path / "photos"


def made(folder: Path, kind: str) -> StackMix:
    collection = scan(folder)
    if kind == "plain":
        return plain_images(collection, size=SIZE)
    dead = np.zeros((SIZE, SIZE), np.bool_)
    dead[20:] = True
    return stack_mix(collection, dead=dead, count=6)


@pytest.mark.parametrize("kind", ["plain", "stacked"])
def test_an_image_read_again_is_the_same(
    folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = [image.pixels.copy() for image in made(folder, kind).images]
    monkeypatch.setattr(Recent, "of", lambda *_: None)  # nothing is held
    for image, before in zip(made(folder, kind).images, first, strict=True):
        np.testing.assert_array_equal(image.pixels, before)
        assert image.sha256 == hashlib.sha256(before.tobytes()).hexdigest()
        assert image.size == (SIZE, SIZE)


def test_two_crops_of_a_photograph_are_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "one").mkdir()
    draw = np.random.default_rng(0)
    Image.fromarray(draw.integers(0, 255, (90, 120, 3), dtype=np.uint8)).save(
        tmp_path / "one/1.png"
    )
    (image,) = made(tmp_path, "stacked").images
    assert image.pairing == "two-crops"
    before = image.pixels.copy()
    monkeypatch.setattr(Recent, "of", lambda *_: None)
    np.testing.assert_array_equal(image.pixels, before)


def test_pixels_do_not_stay_in_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[weakref.ref[np.ndarray]] = []
    genuine = Recent.hold

    def watched(self: Recent, stored: Stored, found: np.ndarray) -> None:
        self._limit = 2 * SIZE * SIZE * 3
        drawn.append(weakref.ref(found))
        genuine(self, stored, found)

    monkeypatch.setattr(Recent, "hold", watched)
    images = made(folder, "plain").images
    for image in images:
        assert image.pixels.shape == (SIZE, SIZE, 3)
    gc.collect()
    assert len(drawn) >= len(images) == 6
    assert sum(one() is not None for one in drawn) <= 2


def test_a_file_that_changed_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, *_ = made(folder, "plain").images
    monkeypatch.setattr(Recent, "of", lambda *_: None)
    (folder / "a/0.png").write_bytes((folder / "b/0.png").read_bytes())
    with pytest.raises(ImageError, match=r"a/0.png was changed .* other bytes .* begin again"):
        _ = first.pixels
    (folder / "a/1.png").unlink()
    with pytest.raises(ImageError, match=r"a/1.png was changed or removed .* no such file"):
        _ = second.pixels


def test_what_is_held_can_be_sent_and_what_is_stored_cannot(folder: Path) -> None:
    image = made(folder, "plain").images[0]
    sent = pickle.loads(pickle.dumps(image.held()))  # noqa: S301
    np.testing.assert_array_equal(sent.pixels, image.pixels)
    assert (sent.id, sent.sha256, sent.size) == (image.id, image.sha256, image.size)
    assert sent.held() is sent
