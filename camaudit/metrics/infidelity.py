"""Infidelity and max-sensitivity: what small random changes of the image do to score and map.

Changes are drawn once an image (:func:`gaussian_noise`, :func:`uniform_noise`), so that every
method meets the same ones, and what they do to the score (:func:`score_changes`) is computed once
for all methods.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from camaudit.errors import UsageError
from camaudit.metrics.registry import MetricInfo, metric

__all__ = ["gaussian_noise", "infidelity", "max_sensitivity", "score_changes", "uniform_noise"]


def gaussian_noise(images: Tensor, *, seed: int, samples: int = 50, sigma: float = 0.2) -> Tensor:
    """I ~ N(0, σ²) for each value of each image, independent of the batch it comes in.

    `sigma` is in units of the images (N×C×H×W, standardised as a rule); 0.2 is what the authors
    of infidelity use on images in [0, 1]. The stream is keyed by `seed` and the image's own
    pixels, so that the first draws are the same however many follow. Returns N×samples×C×H×W in
    the dtype of the images: 30 MB an image of 3×224×224 in float32. Raises :class:`UsageError`
    for other shapes, fewer than one sample, or a `sigma` that is not positive and finite.
    """
    return _noise(images, seed, samples, sigma, _normal)


def uniform_noise(images: Tensor, *, seed: int, samples: int = 10, radius: float = 0.2) -> Tensor:
    """ε uniform in the ball ‖ε‖_∞ ≤ radius, which is where max-sensitivity looks.

    `radius` is in units of the images (N×C×H×W); 0.2 is what the authors use on images in [0, 1].
    The stream, the result and errors are as of :func:`gaussian_noise`.
    """
    return _noise(images, seed, samples, radius, _uniform)


def score_changes(
    model: Callable[[Tensor], Tensor],
    images: Tensor,
    targets: Tensor,
    noise: Tensor,
    *,
    full: Tensor | None = None,
    batch_size: int = 16,
) -> Tensor:
    """`f(x) − f(x − I)` for each image and each change, f the logit of the image's target.

    Parameters
    ----------
    model: images (M×C×H×W) → logits (M×classes); at most `batch_size` images at a time.
    images, targets: x (N×C×H×W) and classes (N, int64).
    noise: I (N×S×C×H×W).
    full: f(x) (N) where it is known already; otherwise the model runs on the images too.

    Returns float64 (N×S): N·S passes, N more without `full`, whatever the number of methods.
    Raises :class:`UsageError` where shapes do not fit, for targets that the model does not have,
    and for a batch size below 1.
    """
    count, samples = _sizes(images, noise)
    _check_scoring(targets, full, count, batch_size)
    every = torch.arange(count, device=images.device)
    with torch.no_grad():
        rows = torch.split(every.repeat_interleave(samples), batch_size)
        parts = zip(rows, torch.split(noise.flatten(0, 1), batch_size), strict=True)
        changed = torch.cat(
            [_scores(model, images[row] - change, targets[row]) for row, change in parts]
        )
        if full is None:
            rows = torch.split(every, batch_size)
            full = torch.cat([_scores(model, images[row], targets[row]) for row in rows])
    return full.detach().to(changed)[:, None] - changed.view(count, samples)


@metric(
    "infidelity",
    MetricInfo(
        check="infidelity",
        title="Infidelity",
        unit="",
        direction="lower",
        paper="Yeh et al. 2019, On the (In)fidelity and Sensitivity of Explanations, eq. 1",
        formula="mean of (β·Iᵀmap − (f(x) − f(x − I)))² over Gaussian I, β the best scale",
        cost="none; one pass for each change of the image, shared by all methods",
        needs="explainer",
    ),
)
def infidelity(maps: Tensor, noise: Tensor, changes: Tensor, *, normalise: bool = True) -> Tensor:
    """`E_I (β·IᵀΛ − (f(x) − f(x − I)))²` (Yeh et al. 2019, eq. 1).

    Parameters
    ----------
    maps: raw upsampled maps Λ (N×H×W), any floating dtype; a pixel's value stands for each of its
        channels.
    noise: I (N×S×C×H×W).
    changes: `f(x) − f(x − I)` (N×S), of :func:`score_changes`.
    normalise: β = E[IᵀΛ·change] / E[(IᵀΛ)²], the scale at which the map does best, as the
        authors' code has it. A map is defined up to a factor only, and without it (β = 1, eq. 1
        to the letter) its factor decides. β < 0 reads a map upside down.

    Returns float64 (N) ≥ 0, in units of the score squared; NaN for what is not finite. A map that
    is zero everywhere says that no change matters, and has E[change²], the largest figure that
    there is with `normalise`. β is fitted to the S changes themselves, which makes the figure too
    small by a factor of about 1 − 1/S. Raises :class:`UsageError` where shapes do not fit.
    """
    _check_maps(maps, noise)
    if changes.shape != noise.shape[:2]:
        raise UsageError(
            f"expected score changes N×S, {tuple(noise.shape[:2])}; got {tuple(changes.shape)}"
        )
    rows = [_product(*pair) for pair in zip(noise, maps, strict=True)]
    guesses, changes = torch.stack(rows), changes.detach().to(maps.device).double()
    if normalise:
        peak = guesses.abs().amax(dim=1, keepdim=True)
        guesses = guesses / torch.where(peak > 0, peak, 1.0)  # of zeros any scale is the best
        power = guesses.square().sum(dim=1, keepdim=True)
        scale = (guesses * changes).sum(dim=1, keepdim=True) / torch.where(power > 0, power, 1.0)
        guesses = scale * guesses
    return _or_nan((guesses - changes).square().mean(dim=1))


@metric(
    "max-sensitivity",
    MetricInfo(
        check="sensitivity",
        title="Max-sensitivity",
        unit="",
        direction="lower",
        paper="Yeh et al. 2019, On the (In)fidelity and Sensitivity of Explanations, section 3",
        formula="largest ‖map(x + ε) − map(x)‖ / ‖map(x)‖ over ε, each value at most r",
        cost="one map for each change of the image",
        needs="explainer",
    ),
)
def max_sensitivity(
    explainer: Callable[[Tensor], Tensor], images: Tensor, maps: Tensor, noise: Tensor
) -> Tensor:
    """`max_ε ‖Λ(x + ε) − Λ(x)‖₂ / ‖Λ(x)‖₂` over drawn ε (Yeh et al. 2019, section 3).

    Parameters
    ----------
    explainer: images (N×C×H×W) → raw upsampled maps (N×H×W), image for image with the target of
        the original. It is called once for each of the S changes, always with all N images in
        their order.
    images, maps: x (N×C×H×W) and Λ(x) (N×H×W).
    noise: ε (N×S×C×H×W), of :func:`uniform_noise`.

    The division by ‖Λ(x)‖, as in the authors' experiments, makes methods comparable. A maximum
    over draws is a lower bound of that over the ball, and grows with S.

    Returns float64 (N) ≥ 0; NaN where a map of the image is not finite or Λ(x) is all zero (a
    relative change of nothing). Raises :class:`UsageError` where shapes do not fit.
    """
    _, samples = _sizes(images, noise)
    _check_maps(maps, noise)
    maps = maps.detach().double()
    peak = maps.abs().amax(dim=(1, 2), keepdim=True)  # squares of huge values would overflow
    length = (maps / peak).flatten(1).norm(dim=1)
    largest = torch.zeros_like(length)
    for sample in range(samples):
        again = explainer(images + noise[:, sample]).detach()
        if again.shape != maps.shape:
            raise UsageError(
                f"expected maps {tuple(maps.shape)} of the explainer, one an image and as large "
                f"as the first ones; got {tuple(again.shape)}"
            )
        moved = ((again.to(maps) - maps) / peak).flatten(1).norm(dim=1)
        largest = torch.maximum(largest, moved)  # NaN stays NaN
    return _or_nan(largest / length)


def _scores(model: Callable[[Tensor], Tensor], images: Tensor, targets: Tensor) -> Tensor:
    """The logits (M, float64) of M images' targets."""
    logits = model(images).detach().double()
    if logits.ndim != 2 or len(logits) != len(images):
        raise UsageError(
            f"expected logits {len(images)}×classes of the model; got {tuple(logits.shape)}"
        )
    if bool(((targets < 0) | (targets >= logits.shape[1])).any()):
        raise UsageError(
            f"target classes must be 0 to {logits.shape[1] - 1}; got {targets.tolist()[:5]}"
        )
    return logits.gather(1, targets.to(logits.device)[:, None])[:, 0]


def _check_scoring(targets: Tensor, full: Tensor | None, count: int, batch_size: int) -> None:
    if targets.shape != (count,) or targets.dtype != torch.int64:
        raise UsageError(
            f"expected {count} target classes (int64), one an image; got {targets.dtype} "
            f"{tuple(targets.shape)}"
        )
    if full is not None and full.shape != (count,):
        raise UsageError(f"expected {count} scores, one an image; got {tuple(full.shape)}")
    if batch_size < 1:
        raise UsageError(f"the batch size is 1 or more; got {batch_size}")


def _normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.standard_normal(shape)


def _uniform(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return rng.uniform(-1.0, 1.0, shape)


def _noise(
    images: Tensor,
    seed: int,
    samples: int,
    scale: float,
    draw: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray],
) -> Tensor:
    """`samples` draws an image, times `scale`.

    The key holds the name of the draw: methods add noise of their own under the same seed, and a
    map must not be tested on the changes that it was averaged over.
    """
    if images.ndim != 4 or 0 in images.shape or not images.is_floating_point():
        raise UsageError(
            "expected images N×C×H×W of floating point, N ≥ 1; got "
            f"{images.dtype} {tuple(images.shape)}"
        )
    if samples < 1 or not (math.isfinite(scale) and scale > 0):
        raise UsageError(f"expected 1 or more samples of positive size; got {samples} of {scale}")
    shape = tuple(images.shape[1:])
    made = torch.empty(len(images), samples, *shape, dtype=images.dtype, device=images.device)
    tag = zlib.crc32(f"{__name__}.{draw.__name__}".encode())
    for row, image in enumerate(images):
        key = zlib.crc32(image.detach().float().contiguous().cpu().numpy().tobytes())
        for sample in range(samples):
            rng = np.random.default_rng([seed, tag, key, sample])
            made[row, sample] = torch.from_numpy(scale * draw(rng, shape)).to(made)
    return made


def _product(noise: Tensor, saliency: Tensor) -> Tensor:
    """IᵀΛ (S) of one image; in float64, image by image, for the sake of memory."""
    pixels = noise.detach().to(saliency.device).sum(dim=1, dtype=torch.float64)
    return pixels.flatten(1) @ saliency.detach().double().flatten()


def _sizes(images: Tensor, noise: Tensor) -> tuple[int, int]:
    """N and S of images N×C×H×W and noise N×S×C×H×W that fit."""
    if images.ndim != 4 or noise.ndim != 5 or 0 in noise.shape:
        raise UsageError(
            "expected images N×C×H×W and changes of them N×S×C×H×W, N and S ≥ 1; got "
            f"{tuple(images.shape)} and {tuple(noise.shape)}"
        )
    if images.shape != noise.shape[:1] + noise.shape[2:]:
        raise UsageError(
            f"changes {tuple(noise.shape)} are none of images {tuple(images.shape)}: expected "
            "N×S×C×H×W of the same N, C, H and W"
        )
    return len(images), int(noise.shape[1])


def _check_maps(maps: Tensor, noise: Tensor) -> None:
    if maps.ndim != 3 or noise.ndim != 5 or 0 in noise.shape or not maps.is_floating_point():
        raise UsageError(
            "expected maps N×H×W of floating point and changes N×S×C×H×W, N and S ≥ 1; got "
            f"{maps.dtype} {tuple(maps.shape)} and {tuple(noise.shape)}"
        )
    if (len(maps), *maps.shape[1:]) != (len(noise), *noise.shape[3:]):
        raise UsageError(
            f"maps {tuple(maps.shape)} do not fit changes {tuple(noise.shape)}: expected a map "
            "N×H×W an image, as large as the image"
        )


def _or_nan(figures: Tensor) -> Tensor:
    """NaN in place of what is infinite."""
    return torch.where(torch.isfinite(figures), figures, torch.nan)
