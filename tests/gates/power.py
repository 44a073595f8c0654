"""How often a gate decides rightly: drawn from recorded scores, planted beside the threshold.

`python -m tests.gates.power` prints the tables of docs/gates.md.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np

from camaudit.metrics.estimates import ALPHA, MINIMUM, estimate

RECORDED = Path(__file__).with_name("recorded.json")
PLANTED = (1.2, 0.8, 1.0)  # of the threshold
IMAGES = 50
RESAMPLES = 399  # the gate takes 9 999; ALPHA · (resamples + 1) is whole here too

Array = np.ndarray[Any, np.dtype[np.float64]]
Interval = Callable[[Array, int], tuple[float, float]]


@dataclass(frozen=True, eq=False)
class Scores:
    """Recorded scores of one method on one model, scaled to a mean of 1."""

    run: str
    method: str
    values: Array

    @property
    def variation(self) -> float:
        """Standard deviation over mean."""
        return float(self.values.std(ddof=1))


def recorded() -> list[Scores]:
    """Every method whose recorded scores vary, on at least 40 images."""
    found = []
    for run in json.loads(RECORDED.read_text())["runs"]:
        for method, listed in run["mu_l1"].items():
            values = np.array(listed)
            if len(values) >= 40 and values.std() > 1e-5:
                found.append(Scores(run["model"].split(",")[0], method, values / values.mean()))
    return found


def studentised(sample: Array, seed: int) -> tuple[float, float]:
    """The gate's own interval."""
    found = estimate(sample, seed=seed, resamples=RESAMPLES)
    if found.exact and found.mean is not None and len(sample) >= MINIMUM:
        return found.mean, found.mean
    assert found.low is not None
    assert found.high is not None
    return found.low, found.high


def percentile(sample: Array, seed: int) -> tuple[float, float]:
    """The percentile bootstrap (Efron 1979)."""
    means = _means(sample, seed)
    low, high = np.quantile(means, [ALPHA, 1 - ALPHA])
    return float(low), float(high)


def accelerated(sample: Array, seed: int) -> tuple[float, float]:
    """The bias-corrected and accelerated bootstrap (Efron 1987)."""
    normal, means, mean = NormalDist(), _means(sample, seed), sample.mean()
    below = (means < mean).mean() + (means == mean).mean() / 2
    bias = normal.inv_cdf(min(max(below, 1 / RESAMPLES), 1 - 1 / RESAMPLES))
    away = sample - mean
    skew = float((away**3).sum() / (6 * (away**2).sum() ** 1.5))

    def place(tail: float) -> float:
        z = bias + normal.inv_cdf(tail)
        return normal.cdf(bias + z / (1 - skew * z))

    low, high = np.quantile(means, [place(ALPHA), place(1 - ALPHA)])
    return float(low), float(high)


def _means(sample: Array, seed: int) -> Array:
    draws = np.random.default_rng(seed).integers(len(sample), size=(RESAMPLES, len(sample)))
    return sample[draws].mean(axis=1)


INTERVALS: dict[str, Interval] = {
    "percentile": percentile,
    "BCa": accelerated,
    "studentised": studentised,
}


@dataclass(frozen=True)
class Rates:
    """Shares of the seeds: failed at 1.2×, passed at 0.8×, and wrongly passed or failed at 1×."""

    failed: float
    passed: float
    false_pass: float
    false_fail: float


def rates(
    scores: Scores, *, seeds: int, images: int = IMAGES, interval: Interval = studentised
) -> Rates:
    """`images` scores drawn with replacement for each seed; the threshold is 1/1.2, 1/0.8 or 1."""
    high, low, even = (1 / planted for planted in PLANTED)
    counts = np.zeros(4)
    for seed in range(seeds):
        sample = np.random.default_rng([images, seed]).choice(scores.values, images)
        bottom, top = interval(sample, seed)
        counts += [bottom > high, top < low, top < even, bottom > even]
    return Rates(*(counts / seeds).tolist())


def reachable(planted: float, *, images: int = IMAGES, power: float = 0.95) -> float:
    """The largest coefficient of variation at which `power` can be expected.

    A mean of `planted` thresholds lies |planted − 1|·√images/(planted·c) standard errors off the
    threshold, and z₀.₉₇₅ + z_power are needed.
    """
    normal = NormalDist()
    needed = normal.inv_cdf(1 - ALPHA) + normal.inv_cdf(power)
    return abs(planted - 1) * math.sqrt(images) / (planted * needed)


def _lines(seeds: int, images: int) -> Iterator[str]:
    yield f"{images} images, {seeds} seeds"
    yield "| model | method | sd/mean | interval | fails at 1.2× | passes at 0.8× | false passes | false fails |"  # noqa: E501
    yield "|---|---|---|---|---|---|---|---|"
    for scores in sorted(recorded(), key=lambda one: one.variation):
        for name, interval in INTERVALS.items():
            found = rates(scores, seeds=seeds, images=images, interval=interval)
            shares = (found.failed, found.passed, found.false_pass, found.false_fail)
            yield (
                f"| {scores.run} | {scores.method} | {scores.variation:.2f} | {name} | "
                + " | ".join(f"{100 * share:.1f} %" for share in shares)
                + " |"
            )


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:]] or [200, IMAGES]
    for line in _lines(*given):
        print(line, flush=True)
