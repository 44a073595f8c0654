"""Batches against literal loops over pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from camaudit.data.preprocess import parse_preprocess
from camaudit.training.batches import Batches, crop_boxes, shift_of
from camaudit.training.images import Arrays, ImageSet, in_memory
from camaudit.training.randomness import uniforms
from camaudit.training.recipe import recipe
from camaudit.training.sources import open_source
from tests.training.drawn import image_folders

PREPROCESS = parse_preprocess("0.4,0.5,0.6/0.2,0.3,0.4")
SIZE = 16


def arrays(count: int = 6, size: int = SIZE) -> Arrays:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (count, size, size, 3), dtype=np.uint8)
    return Arrays(images, np.arange(count))


def batches(
    images: ImageSet, *, size: int = SIZE, crop: str = "none", flip: bool = False
) -> Batches:
    return Batches.of(
        images, images.labels, size=size, normalisation=PREPROCESS,
        recipe=recipe("small", crop=crop, flip=flip), seed=3, device=torch.device("cpu"), workers=2,
    )  # fmt: skip


def all_of(made: Batches, epoch: int | None) -> Tensor:
    parts = [np.array([0, 3, 1]), np.array([5, 2])]
    produced = made.plain(parts) if epoch is None else made.training(epoch, parts)
    found = list(produced)
    labels = torch.cat([labels for _, labels in found])
    assert torch.equal(labels, made.labels[torch.tensor([0, 3, 1, 5, 2])])
    return torch.cat([images for images, _ in found])


def test_plain_batches_are_the_standardised_images_channels_last() -> None:
    images = arrays()
    found = all_of(batches(images), None)
    expected = PREPROCESS.to_tensor(images.images[[0, 3, 1, 5, 2]])
    assert torch.allclose(found, expected, atol=1e-5)
    one, _ = next(batches(images).plain([np.arange(3)]))
    assert one.is_contiguous(memory_format=torch.channels_last)


def test_shifts_and_flips_against_a_loop() -> None:
    images = arrays()
    found = all_of(batches(images, crop="shift", flip=True), 4)
    reach = shift_of(SIZE)
    flipped = moved = 0
    for row, sample in enumerate([0, 3, 1, 5, 2]):
        draws = uniforms(3, 4, np.array([sample]), 23)[0]
        down, right = (int(draws[-3 + axis] * (2 * reach + 1)) - reach for axis in (0, 1))
        padded = np.pad(images.images[sample], ((reach, reach), (reach, reach), (0, 0)), "reflect")
        cut = padded[reach + down :][:SIZE, reach + right :][:, :SIZE]
        cut = cut[:, ::-1] if draws[-1] < 0.5 else cut
        flipped, moved = flipped + (draws[-1] < 0.5), moved + (down != 0 or right != 0)
        assert torch.allclose(found[row], PREPROCESS.to_tensor(cut[None])[0], atol=1e-5)
    assert 0 < flipped < 5
    assert moved


@given(height=st.integers(1, 500), width=st.integers(1, 500), seed=st.integers(0, 2**31))
@settings(max_examples=60)
def test_crops_lie_inside_and_keep_their_area_and_aspect(
    height: int, width: int, seed: int
) -> None:
    draws = uniforms(seed, 0, np.arange(8), 23)
    boxes = crop_boxes(np.tile([[height, width]], (8, 1)), draws)
    left, top, right, bottom = boxes.T
    assert (left >= 0).all()
    assert (top >= 0).all()
    assert (right <= width).all()
    assert (bottom <= height).all()
    w, h = right - left, bottom - top
    assert (w > 0).all()
    assert (w / h >= 0.8 - 1e-9).all()
    assert (w / h <= 1.25 + 1e-9).all()
    if 0.8 <= width / height <= 1.25:
        assert (w * h >= 0.1 * width * height * (1 - 1e-9)).all()


def test_crops_of_the_whole_are_the_image_and_flips_mirror_it() -> None:
    images = arrays()
    made = batches(images, crop="area")
    draws = np.zeros((2, 23))
    draws[:, :10] = 1.0  # all of the area
    draws[:, 10:20] = 0.5  # aspect 1
    draws[1, -1] = 0.0
    standard, _ = next(made.plain([np.array([0, 3])]))
    flips = np.array([False, True])
    found = made._resampled(standard, draws, flips)
    assert torch.allclose(found[0], standard[0], atol=1e-4)
    assert torch.allclose(found[1], standard[1].flip(-1), atol=1e-4)


@pytest.mark.parametrize("crop", ["none", "shift", "area"])
def test_decoded_images_give_what_stored_ones_give(tmp_path: Path, crop: str) -> None:
    source = open_source(image_folders(tmp_path, per_class=4, size=SIZE), val_share=0.3)
    held = in_memory(source.train, SIZE)
    for epoch in (None, 2):
        lazy = all_of(batches(source.train, crop=crop, flip=True), epoch)
        fast = all_of(batches(held, crop=crop, flip=True), epoch)
        # Pillow rounds to whole grey levels after resizing each axis
        allowed = 1.1 / 255 / 0.2 if crop == "area" and epoch is not None else 1e-5
        assert float((lazy - fast).abs().max()) <= allowed


def test_epochs_differ_and_repeat() -> None:
    made = batches(arrays(), crop="area", flip=True)
    assert torch.equal(all_of(made, 1), all_of(made, 1))
    assert not torch.equal(all_of(made, 1), all_of(made, 2))
