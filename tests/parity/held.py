"""What is held fixed while a library runs: its random numbers, and signs that it leaves open.

Every function here is a :class:`tests.parity.libraries.Peer`'s `patch`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from itertools import count
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from camaudit.methods.noise import normal
from tests.parity.cases import Case
from tests.parity.libraries import load

__all__ = [
    "SEED",
    "channel_draws",
    "image_noise",
    "kernel_components",
    "loud_scores",
    "mask_noise",
    "singular_vectors",
    "uniform_draws",
]

SEED = 0
Floats = NDArray[np.float64]


@contextmanager
def image_noise(case: Case, extractor: Any) -> Iterator[None]:
    """torchcam's noise on images becomes ours: sample i of an image is its draw i."""
    images, samples = case.images, count()

    def sample(size: torch.Size) -> Tensor:
        i = next(samples)
        draws = [normal(SEED, image, i, tuple(size[1:])) for image in images]
        return extractor.std * torch.as_tensor(np.stack(draws)).to(images)

    extractor._distrib = SimpleNamespace(sample=sample)
    yield


@contextmanager
def mask_noise(case: Case, extractor: Any) -> Iterator[None]:
    """torchcam's noise on masks becomes ours: sample i of channel k is draw `(i, k)`."""
    images, samples = case.images, count()

    def sample(size: torch.Size) -> Tensor:
        i, channels = next(samples), size[1]
        draws = [
            [normal(SEED, image, (i, k), tuple(size[2:])) for k in range(channels)]
            for image in images
        ]
        return extractor.std * torch.as_tensor(np.stack(draws)).to(images)

    extractor._distrib = SimpleNamespace(sample=sample)
    yield


def singular_vectors(sign: int) -> Callable[[Case, Any], AbstractContextManager[None]]:
    """NumPy's first singular vector v₁ gets the sign of our convention, or the opposite one.

    Either is a singular value decomposition: `Σ_cells (B v₁)·mean_k B` is made ≥ 0 or ≤ 0.
    """
    original = np.linalg.svd

    def signed(B: Floats, full_matrices: bool = True) -> tuple[Floats, Floats, Floats]:
        U, S, VT = original(B, full_matrices=full_matrices)
        agreement = sign * ((B @ VT[0]) * B.mean(axis=1)).sum()
        return (U, S, VT) if agreement >= 0 else (-U, S, -VT)

    @contextmanager
    def held(_case: Case, _explainer: Any) -> Iterator[None]:
        with mock.patch.object(np.linalg, "svd", signed):
            yield

    return held


@contextmanager
def kernel_components(_case: Case, _explainer: Any) -> Iterator[None]:
    """scikit-learn's first kernel component gets the sign of our convention."""
    cls = load("sklearn.decomposition", "KernelPCA")
    original = cls.fit_transform

    def signed(self: Any, B: Floats) -> Floats:
        projection: Floats = original(self, B)
        agreement = (projection[:, 0] * B.mean(axis=1)).sum()
        return projection if agreement >= 0 else -projection

    with mock.patch.object(cls, "fit_transform", signed):
        yield


@contextmanager
def loud_scores(_case: Case, _explainer: Any) -> Iterator[None]:
    """pytorch-grad-cam explains a million times the score, so that no epsilon of its counts."""
    cls = load("pytorch_grad_cam.utils.model_targets", "ClassifierOutputTarget")
    original = cls.__call__

    def loud(self: Any, logits: Tensor) -> Tensor:
        score: Tensor = original(self, logits)
        return 1e6 * score

    with mock.patch.object(cls, "__call__", loud):
        yield


def channel_draws(shape: tuple[int, int]) -> Floats:
    """One number in [−1, 1) an image and channel, the same every time."""
    return np.random.default_rng(4).uniform(-1, 1, shape)


@contextmanager
def uniform_draws(_case: Case, _explainer: Any) -> Iterator[None]:
    """NumPy's global uniform numbers become :func:`channel_draws`."""

    def uniform(_low: float, _high: float, size: tuple[int, int]) -> Floats:
        return channel_draws(size)

    with mock.patch.object(np.random, "uniform", uniform):
        yield
