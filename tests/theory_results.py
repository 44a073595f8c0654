"""Results as `camaudit theory` leaves them, built by hand from the formulas it tests."""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from camaudit.types import (
    Claim,
    ClaimOutcome,
    Interval,
    Provenance,
    Record,
    Results,
    Status,
    Summary,
)

SIMPLE = "theory/simple-cnn"
FILTERS = 64
CELLS = 28
FIRST_DEAD = 14
DRAWS = 20_000
METHODS = (
    ("gradcam", "gradient", 0.49),
    ("gradcam++", "gradient", 0.46),
    ("xgradcam", "gradient", 0.44),
    ("hirescam", "gradient", 0.0),
    ("layercam", "gradient", 0.0),
    ("eigencam", "decomposition", 0.51),
    ("scorecam", "perturbation", 0.482),
    ("cam", "activation", None),
    ("uniform", "control", 0.5),
    ("random", "control", 0.501),
)
NETWORKS = (
    ("resnet18", "layer4", "split trunk, rows 0-3 live", 0.62, 3 / 7),
    ("vgg16", "features.29", "masked first linear layer", 0.0004, 0.5),
    ("efficientnet_b0", "features.8", "split trunk, rows 0-3 live", None, 3 / 7),
)
CLAIMS = (
    Claim("theory/proposition-2", "Autograd equals Proposition 2 for L = 1 … 4", ClaimOutcome.PASS,
          3.1e-16, "≤", 1e-12, "Largest relative difference over 40 networks, in float64."),
    Claim("theory/proposition-2", "For L = 1 the channel weights do not depend on the image",
          ClaimOutcome.PASS, 0.0, "≤", 0.0, "Ten images, ten networks, to the last bit."),
    Claim("theory/expectation", "The simulated mean agrees with the closed form",
          ClaimOutcome.PASS, 2.94, "≤", 4.42,
          "Largest |z| over 784 cells and 20 000 networks; a true formula fails once in 100 runs."),
    Claim("theory/bound", "The expectation lies above the paper's bound in every cell",
          ClaimOutcome.PASS, 2.0312, "≥", 1.0, "Smallest ratio of closed form and bound."),
    Claim("theory/dead-zone", "The expectation is positive in the dead zone", ClaimOutcome.PASS,
          0.0471, ">", 0.0, "Smallest over dead cells whose patch is not blank."),
    Claim("theory/methods", "HiResCAM and LayerCAM are exactly 0 in dead cells",
          ClaimOutcome.PASS, 0.0, "≤", 0.0, "200 networks × 3 images."),
    Claim("theory/control", "Without the wall nothing sets the dead rows apart",
          ClaimOutcome.PASS, 0.0013, "≤", 0.02, "Difference of the twins' means."),
)  # fmt: skip


def claim(outcome: ClaimOutcome, **changes: Any) -> Claim:
    """A claim of that outcome; undecided ones have no figure."""
    decided = outcome in (ClaimOutcome.PASS, ClaimOutcome.FAIL)
    values: dict[str, Any] = {
        "check": "theory/bound", "statement": f"A claim with outcome {outcome.value}",
        "outcome": outcome, "figure": 2.0 if decided else None, "relation": "≥",
        "bound": (1.0 if outcome is ClaimOutcome.PASS else 3.0) if decided else None,
        "detail": "Why it is so.",
    }  # fmt: skip
    return Claim(**(values | changes))


@lru_cache
def picture(digit: int) -> NDArray[np.float64]:
    """A digit of 28 × 28 pixels, padded to 29 × 29 at the top and right."""
    image = Image.new("L", (28, 28))
    ImageDraw.Draw(image).text((7, 1), str(digit), fill=255, font=ImageFont.load_default(24))
    return np.pad(np.asarray(image) / 255.0, ((1, 0), (0, 1)))


def patches(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """The 2 × 2 patches under the 28 × 28 cells."""
    return np.stack([image[:-1, :-1], image[:-1, 1:], image[1:, :-1], image[1:, 1:]], axis=-1)


def kappa(filters: int) -> float:
    """E[χ_N] for N ~ Bin(filters, ½), as the sum over N."""
    return math.fsum(
        math.comb(filters, n) * 2.0**-filters * math.sqrt(2)
        * math.exp(math.lgamma((n + 1) / 2) - math.lgamma(n / 2))
        for n in range(1, filters + 1)
    )  # fmt: skip


def dead_cells() -> NDArray[np.bool_]:
    dead = np.zeros((CELLS, CELLS), dtype=bool)
    dead[FIRST_DEAD:] = True
    return dead


def expectation(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """The closed form of E[GradCAM]."""
    scale = math.sqrt(98) / CELLS**2 / math.sqrt(2 * math.pi)
    expected: NDArray[np.float64] = scale * np.linalg.norm(patches(image), axis=-1) * kappa(FILTERS)
    return expected


def gradcam(image: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    """GradCAM of one drawn network."""
    rng = np.random.default_rng(seed)
    features = np.maximum(patches(image) @ rng.normal(size=(4, FILTERS)), 0)
    weights = rng.normal(size=FILTERS) * math.sqrt(98) / CELLS**2
    drawn: NDArray[np.float64] = np.maximum(features @ weights, 0)
    return drawn


def share(values: NDArray[np.float64]) -> float | None:
    total = float(values.sum())
    return float(values[dead_cells()].sum()) / total if total else None


def digit(number: int) -> dict[str, Any]:
    image = picture(number)
    drawn = (gradcam(image, seed) for seed in range(number, number + 50))
    single, exact = next(one for one in drawn if one.any()), expectation(image)
    return {
        "name": f"digit {number}", "image": image.tolist(), "single": single.tolist(),
        "simulated": None, "exact": exact.tolist(), "dead": dead_cells().tolist(),
        "mu_single": share(single), "mu_expected": share(exact),
    }  # fmt: skip


def column(position: int = 14) -> dict[str, Any]:
    exact = expectation(picture(3))[:, position]
    error = exact * 0.6 / math.sqrt(DRAWS)
    noise = np.random.default_rng(5).normal(size=CELLS)
    bound = exact / kappa(FILTERS) * math.sqrt(FILTERS) / 2 * (1 - 20 / FILTERS)
    return {
        "column": position, "rows": list(range(CELLS)), "dead": dead_cells()[:, 0].tolist(),
        "bound": bound.tolist(), "exact": exact.tolist(),
        "simulated": (exact + noise * error).tolist(), "standard_error": error.tolist(),
    }  # fmt: skip


def sweep(name: str, title: str, x: list[Any], *, log: bool = False) -> dict[str, Any]:
    series = []
    for place, (method, base) in enumerate(
        [("gradcam", 0.49), ("gradcam++", 0.45), ("eigencam", 0.52), ("layercam", 0.0)]
    ):
        mean = [base and base + 0.02 * math.sin(place + number) for number in range(len(x))]
        half = [base and 0.03 / (number + 1) for number in range(len(x))]
        series.append({
            "method": method, "mean": mean,
            "ci_low": [m - h for m, h in zip(mean, half, strict=True)],
            "ci_high": [m + h for m, h in zip(mean, half, strict=True)],
            "n": [600] * len(x), "undefined": [0] * len(x),
        })  # fmt: skip
    uniform: list[float] = [0.5] * len(x) if name != "masked fraction" else x
    return {"name": name, "title": title, "x": x, "log": log, "series": series, "uniform": uniform}


def make_theory() -> dict[str, Any]:
    sweeps = [
        sweep("filters", "Filters V", [8, 16, 32, 64, 128, 256, 512, 1024], log=True),
        sweep("layers", "Linear layers L", [1, 2, 3, 4]),
        sweep("masked fraction", "Masked fraction of the cells", [0.1, 0.25, 0.5, 0.75, 0.9]),
        sweep("initialisation", "Initialisation", ["gaussian", "he", "glorot", "default"]),
    ]
    first = sweeps[0]["series"][0]
    first["mean"][0] = first["ci_low"][0] = first["ci_high"][0] = None
    first["n"][0], first["undefined"][0] = 0, 600
    return {
        "setup": {
            "filters": FILTERS, "kernel": 2, "channels": 1, "image": [29, 29],
            "cells": [CELLS, CELLS], "head": "flatten", "layers": 1, "live_cells": 98,
            "read_cells": 196, "initialisation": "gaussian, τ = 1", "image_name": "digit 3",
            "draws": DRAWS,
        },
        "column": column(),
        "digits": [digit(number) for number in range(10)],
        "sweeps": sweeps,
        "deep": [
            {"network": name, "check": f"theory/deep/{name}", "layer": layer, "wall": wall,
             "initialisation": "he", "seeds": 10, "images": 8,
             "logit_variance": {"between_images": between, "relative": between and between / 2},
             "uniform": uniform,
             "note": "" if between else "The logits hardly depend on the image."}
            for name, layer, wall, between, uniform in NETWORKS
        ],
        "simple": {"check": SIMPLE, "uniform": 0.5, "draws": 200, "images": 3},
    }  # fmt: skip


def summary(check: str, method: str, family: str, mean: float | None, uniform: float) -> Summary:
    n = 0 if mean is None else 600
    none = Interval(0, None, None, None, None)

    def around(value: float, half: float) -> Interval:
        half = half if value else 0.0
        return Interval(n, value, max(value - half, 0.0), min(value + half, 1.0), 2 * half)

    def difference(value: float) -> Interval:
        half = 0.01 if value else 0.0
        return Interval(n, value, value - half, value + half, 2 * half)

    walled = none if mean is None else around(mean, 0.02)
    twin = None if mean is None else around(mean or 0.3, 0.02)
    return Summary(
        check=check, method=method, family=family, n=n, degenerate=0,
        not_applicable=600 - n, errors=0, mu_l1=walled,
        mu_l2=none if mean is None else around(math.sqrt(mean), 0.02), mu_l1_minmax=walled,
        uniform=uniform, uniform_l2=math.sqrt(uniform), unmasked=twin,
        unmasked_l2=None if mean is None else around(math.sqrt(mean or 0.3), 0.02),
        difference=None if mean is None else difference(mean - (mean or 0.3)),
    )  # fmt: skip


def make_summary(theory: dict[str, Any]) -> list[Summary]:
    listed = [summary(SIMPLE, *method, 0.5) for method in METHODS]
    for number, part in enumerate(theory["deep"]):
        for name, family, mean in METHODS[: 10 - number]:
            moved = mean if not mean or family == "control" else mean - 0.1 * (number + 1)
            if name == "uniform":
                moved = part["uniform"]
            listed.append(summary(part["check"], name, family, moved, part["uniform"]))
    return listed


def make_records() -> list[Record]:
    """A few records, with the seed of their network."""
    undefined = (None, None, None)
    return [
        Record(SIMPLE, "gradcam", "digit 3", 0, None, 0.49, 0.7, 0.5, Status.OK, seed=0),
        Record(SIMPLE, "cam", "digit 3", 0, None, *undefined, Status.NOT_APPLICABLE,
               "the head is no pooled Linear", seed=0),
        Record(SIMPLE, "gradcam", "digit 1", 0, None, *undefined, Status.DEGENERATE, seed=1),
        Record("theory/deep/vgg16", "gradcam", "cat", 0, None, *undefined, Status.ERROR,
               "RuntimeError: out of memory", seed=3),
    ]  # fmt: skip


def make_theory_results(**changes: Any) -> Results:
    """A whole run: every claim passes, one sweep has a gap, one network hardly looks."""
    theory = changes.pop("theory", None)
    theory = make_theory() if theory is None else theory
    values: dict[str, Any] = {
        "camaudit": "0.1.0",
        "provenance": Provenance(
            environment={"python": "3.11.9", "torch": "2.8.0", "device": "cpu", "threads": 2},
            subject={"class": "SimpleCNN", "layer": "relu", "weights": "random"},
            zone={"kind": "receptive field", "why": "the first linear layer reads only live cells.",
                  "feature_dead": dead_cells().astype(int).tolist(), "pixel_dead_rows": [15, 16],
                  "scored_fraction": 0.5, "verified": True},
            settings={"seed": 0, "draws": DRAWS},
            images=[{"id": f"digit {number}"} for number in range(10)],
        ),
        "records": make_records(),
        "summary": make_summary(theory) if theory.get("deep") is not None else [],
        "timing": {"total_seconds": 812.5},
        "claims": list(CLAIMS),
        "theory": theory,
    }  # fmt: skip
    return Results(**(values | changes))
