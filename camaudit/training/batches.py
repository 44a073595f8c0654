"""Batches of standardised images: augmentation as arithmetic on a whole batch.

Images up to 64 px lie in memory as one uint8 tensor, and a batch is cut out of it at once. Larger
ones are decoded when needed, in threads, a few batches ahead.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from camaudit.data.images import Pixels, resize_center_crop
from camaudit.data.preprocess import Normalisation
from camaudit.training.images import Arrays, ImageSet
from camaudit.training.randomness import Indices, uniforms
from camaudit.training.recipe import Recipe

__all__ = ["Batches", "crop_boxes", "shift_of"]

_ATTEMPTS = 10
_AREA = (0.1, 1.0)
_ASPECT = (0.8, 1.25)
_COLUMNS = 2 * _ATTEMPTS + 3  # areas and aspects, two places, the flip
_AHEAD = 3

Boxes = NDArray[np.float64]


def crop_boxes(sizes: NDArray[np.int64], draws: NDArray[np.float64]) -> Boxes:
    """Random crops (left, top, right, bottom) in pixels, (N, 4), of images of `sizes` (N, 2: H, W).

    The area is uniform on 10-100 % of the image, the aspect log-uniform on 0.8-1.25; the first of
    ten attempts that fits is taken, else the largest centred part of an allowed aspect.
    """
    height, width = (sizes[:, axis, None].astype(np.float64) for axis in (0, 1))
    area = height * width * (_AREA[0] + (_AREA[1] - _AREA[0]) * draws[:, :_ATTEMPTS])
    low, high = np.log(_ASPECT)
    aspect = np.exp(low + (high - low) * draws[:, _ATTEMPTS : 2 * _ATTEMPTS])
    w, h = np.sqrt(area * aspect), np.sqrt(area / aspect)
    fits = (w <= width) & (h <= height)
    first = fits.argmax(axis=1)[:, None]
    ratio = np.clip(width / height, *_ASPECT)
    any_fits = fits.any(axis=1, keepdims=True)
    w = np.where(any_fits, np.take_along_axis(w, first, 1), np.minimum(width, height * ratio))
    h = np.where(any_fits, np.take_along_axis(h, first, 1), np.minimum(height, width / ratio))
    place = np.where(any_fits, draws[:, 2 * _ATTEMPTS : 2 * _ATTEMPTS + 2], 0.5)
    left, top = (width - w) * place[:, :1], (height - h) * place[:, 1:]
    right, bottom = np.minimum(left + w, width), np.minimum(top + h, height)  # but for rounding
    return np.concatenate([left, top, right, bottom], axis=1)


def shift_of(size: int) -> int:
    """The largest shift of an image of `size` pixels: 1/16 of its side, at least one pixel."""
    return max(1, size // 16)


@dataclass(frozen=True, eq=False)
class Batches:
    """The images of one set as float32 batches (N×3×S×S, channels last) on `device`."""

    images: ImageSet
    labels: Tensor
    size: int
    normalisation: Normalisation
    recipe: Recipe
    seed: int
    device: torch.device
    workers: int = 1
    _stored: Tensor | None = None

    @classmethod
    def of(
        cls,
        images: ImageSet,
        labels: Indices,
        *,
        size: int,
        normalisation: Normalisation,
        recipe: Recipe,
        seed: int,
        device: torch.device,
        workers: int,
    ) -> Batches:
        """Batches of `images` with `labels` (which may be permuted)."""
        held = isinstance(images, Arrays) and images.images.shape[1:3] == (size, size)
        stored = torch.from_numpy(images.images.copy()).to(device) if held else None  # type: ignore[union-attr]
        return cls(
            images, torch.from_numpy(labels.copy()).to(device), size, normalisation, recipe, seed,
            device, workers, stored,
        )  # fmt: skip

    def training(self, epoch: int, parts: Sequence[Indices]) -> Iterator[tuple[Tensor, Tensor]]:
        """Augmented images and labels for each list of samples in `parts`."""
        if self._stored is None:
            yield from self._decoded(parts, epoch)
            return
        for samples in parts:
            draws = uniforms(self.seed, epoch, samples, _COLUMNS)
            yield self._augmented(self._stored, samples, draws), self._labels(samples)

    def plain(self, parts: Sequence[Indices]) -> Iterator[tuple[Tensor, Tensor]]:
        """Images (short side to S, centre crop) and labels for each list of samples in `parts`."""
        if self._stored is None:
            yield from self._decoded(parts, None)
            return
        for samples in parts:
            chosen = torch.from_numpy(samples).to(self.device)
            yield self._standard(self._stored[chosen]), self._labels(samples)

    def _labels(self, samples: Indices) -> Tensor:
        return self.labels[torch.from_numpy(samples).to(self.device)]

    def _standard(self, pixels: Tensor) -> Tensor:
        """uint8 (N, H, W, 3) to float32 (N, 3, H, W), channels last in memory."""
        mean = torch.tensor(self.normalisation.mean, device=pixels.device) * 255
        scale = 1 / (torch.tensor(self.normalisation.std, device=pixels.device) * 255)
        return ((pixels.float() - mean) * scale).permute(0, 3, 1, 2)

    def _augmented(self, stored: Tensor, samples: Indices, draws: NDArray[np.float64]) -> Tensor:
        flip = (draws[:, -1] < 0.5) & self.recipe.flip
        if self.recipe.crop == "area":
            chosen = torch.from_numpy(samples).to(self.device)
            return self._resampled(self._standard(stored[chosen]), draws, flip)
        reach = shift_of(self.size) if self.recipe.crop == "shift" else 0
        rows, columns = _shifted(self.size, reach, draws, flip)
        index = [torch.from_numpy(part).to(self.device) for part in (samples, rows, columns)]
        pixels = stored[index[0][:, None, None], index[1][:, :, None], index[2][:, None, :]]
        return self._standard(pixels)

    def _resampled(
        self, images: Tensor, draws: NDArray[np.float64], flip: NDArray[np.bool_]
    ) -> Tensor:
        """Random crops, resized bilinearly to the size of `images`."""
        sizes = np.full((len(draws), 2), self.size, dtype=np.int64)
        left, top, right, bottom = (crop_boxes(sizes, draws) / self.size).T
        theta = np.zeros((len(draws), 2, 3))
        theta[:, 0, 0] = (right - left) * np.where(flip, -1, 1)
        theta[:, 1, 1] = bottom - top
        theta[:, 0, 2], theta[:, 1, 2] = left + right - 1, top + bottom - 1
        grid = F.affine_grid(
            torch.from_numpy(theta).to(images), list(images.shape), align_corners=False
        )
        cropped = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
        return cropped.contiguous(memory_format=torch.channels_last)

    def _decoded(
        self, parts: Sequence[Indices], epoch: int | None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Decode in threads, at most a few batches ahead of the one that is used."""
        pool = ThreadPoolExecutor(max(1, self.workers))
        ahead: deque[tuple[Indices, list[Future[Pixels]]]] = deque()
        coming = iter(parts)
        try:
            while True:
                for samples in coming:
                    ahead.append((samples, self._submitted(pool, samples, epoch)))
                    if len(ahead) >= _AHEAD:
                        break
                if not ahead:
                    return
                samples, jobs = ahead.popleft()
                pixels = torch.from_numpy(np.stack([job.result() for job in jobs]))
                yield self._standard(pixels.to(self.device)), self._labels(samples)
        finally:
            pool.shutdown(cancel_futures=True)

    def _submitted(
        self, pool: ThreadPoolExecutor, samples: Indices, epoch: int | None
    ) -> list[Future[Pixels]]:
        if epoch is None:
            return [pool.submit(self._centred, int(sample)) for sample in samples]
        draws = uniforms(self.seed, epoch, samples, _COLUMNS)
        return [
            pool.submit(self._cut, int(sample), row)
            for sample, row in zip(samples, draws, strict=True)
        ]

    def _centred(self, sample: int) -> Pixels:
        return resize_center_crop(self.images.pixels(sample), self.size)

    def _cut(self, sample: int, draws: NDArray[np.float64]) -> Pixels:
        """One augmented image at the batch's size."""
        flip = bool(draws[-1] < 0.5) and self.recipe.flip
        if self.recipe.crop != "area":
            reach = shift_of(self.size) if self.recipe.crop == "shift" else 0
            rows, columns = _shifted(self.size, reach, draws[None], np.array([flip]))
            moved: Pixels = self._centred(sample)[rows[0]][:, columns[0]]
            return moved
        pixels = self.images.pixels(sample)
        box = crop_boxes(np.array([pixels.shape[:2]]), draws[None])[0]
        image = Image.fromarray(pixels).resize(
            (self.size, self.size), Image.Resampling.BILINEAR, box=tuple(box)
        )
        cut = np.asarray(image)
        return np.ascontiguousarray(cut[:, ::-1] if flip else cut)


def _shifted(
    size: int, reach: int, draws: NDArray[np.float64], flip: NDArray[np.bool_]
) -> tuple[Indices, Indices]:
    """Source rows and columns (N, S) of images moved by up to `reach`, mirrored at the border."""
    moves = np.floor(draws[:, -3:-1] * (2 * reach + 1)).astype(np.int64) - reach
    line = np.arange(size)
    rows, columns = (_reflected(line + moves[:, axis, None], size) for axis in (0, 1))
    return rows, np.where(flip[:, None], columns[:, ::-1], columns)


def _reflected(index: Indices, size: int) -> Indices:
    index = np.abs(index)
    return np.where(index >= size, 2 * (size - 1) - index, index)
