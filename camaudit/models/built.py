"""What a source of models hands over: a network, where its values come from, what it expects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import nn

__all__ = ["Built", "Expected", "standardisation"]


@dataclass(frozen=True)
class Expected:
    """What a model's own configuration says of its images; None where it is silent.

    `size` is their height and width in pixels, `preprocess` their standardisation as
    :func:`camaudit.data.preprocess.parse_preprocess` reads it, `crop` the central share of both
    sides of a photograph that is shown, `interpolation` how it is resized there. `source` says
    which configuration.
    """

    source: str
    size: int | None = None
    channels: int | None = None
    preprocess: str | None = None
    crop: float | None = None
    interpolation: str | None = None


@dataclass(frozen=True, eq=False)
class Built:
    """A network; `weights` and their hash where it came with them, `notes` on how it was taken."""

    model: nn.Module
    weights: str | None = None
    weights_sha256: str | None = None
    expected: Expected | None = None
    notes: tuple[str, ...] = ()


def standardisation(mean: Sequence[float], std: Sequence[float], channels: int) -> str:
    """Mean and standard deviation as MEAN/STD; one number each where all channels agree.

    For one channel in place of three the three are averaged.

    >>> standardisation((0.5, 0.5, 0.5), (0.2, 0.2, 0.2), 3), standardisation((0, 1), (1, 1), 1)
    ('0.5/0.2', '0.5/1.0')
    """
    return "/".join(_numbers(values, channels) for values in (mean, std))


def _numbers(values: Sequence[float], channels: int) -> str:
    if channels == 1 or len(set(values)) == 1:
        return repr(round(sum(values) / len(values), 12))
    return ",".join(repr(float(value)) for value in values)
