"""What a training run is asked to do, and what that comes to for the data at hand."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from camaudit.data.preprocess import Normalisation, parse_preprocess
from camaudit.errors import ImageError, UsageError, WallError
from camaudit.training.images import Arrays, ImageSet, in_memory
from camaudit.training.networks import SMALL_SIZES, NetworkSpec, build, geometry, spec_for
from camaudit.training.randomness import Indices, first_of_each, permuted
from camaudit.training.recipe import Recipe, recipe
from camaudit.training.sources import Source, open_source

__all__ = ["Job", "TrainSettings", "prepare"]

_HELD_SIZE = 64  # images up to this side lie in memory
_USUAL_SIZE = 224
_SMALLEST_STD = 0.01
_CHUNK = 512  # images that are summed at once


@dataclass(frozen=True)
class TrainSettings:
    """A training run as asked for; None leaves a choice to the data, the preset or the network.

    `twin` trains the unmasked network beside the masked one, on the same batches and from the
    same weights; `unmasked` trains it alone. `per_class` trains on the first images of each class
    alone, so few that even permuted labels can be learnt; the normalisation and the validation
    images stay those of the whole data. `changes` override settings of the preset's recipe,
    `details` fields of the network's spec (`widths`, `hidden`, `dropout`, …).
    """

    data: Path
    out: Path
    preset: str = "small"
    network: str | None = None
    layer: str | None = None
    wall: str = "auto"
    live_rows: int | None = None
    image_size: int | None = None
    twin: bool = False
    unmasked: bool = False
    permute_labels: bool = False
    per_class: int | None = None
    val_share: float = 0.1
    seed: int = 0
    device: str = "cpu"
    workers: int = 2
    checkpoint_every: int | None = None
    resume: bool = False
    changes: dict[str, Any] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.twin and self.unmasked:
            raise UsageError("say either twin (both networks) or unmasked (the baseline alone)")
        if self.seed < 0:
            raise UsageError(f"seed must be 0 or more, got {self.seed}")
        if self.per_class is not None and self.per_class < 1:
            raise UsageError(f"per_class must be 1 or more, got {self.per_class}")
        if self.checkpoint_every is not None and self.checkpoint_every < 1:
            raise UsageError(f"checkpoint_every must be 1 or more, got {self.checkpoint_every}")


@dataclass(frozen=True, eq=False)
class Job:
    """A training run as it will be carried out.

    `specs` are the networks by name ("masked", "unmasked"), `labels` those of the training
    images, permuted or not. `identity` is all that decides the weights, as plain JSON values.
    """

    settings: TrainSettings
    source: Source
    train: ImageSet
    validation: ImageSet
    labels: Indices = field(repr=False)
    recipe: Recipe
    normalisation: Normalisation
    specs: dict[str, NetworkSpec]
    identity: dict[str, Any]
    notes: tuple[str, ...]

    @property
    def size(self) -> int:
        """Side of the images in pixels."""
        return next(iter(self.specs.values())).size

    @property
    def steps(self) -> int:
        """Steps of an epoch; what is left over after whole batches waits for another epoch."""
        return len(self.train) // self.recipe.batch_size


def prepare(settings: TrainSettings) -> Job:
    """Open the data, fill in the defaults and describe the run.

    Raises :class:`UsageError` and its children for what cannot be trained.
    """
    chosen = recipe(settings.preset, **settings.changes)
    source = open_source(settings.data, val_share=settings.val_share)
    if source.directional and "flip" not in settings.changes:
        chosen = replace(chosen, flip=False)
    network = settings.network or ("vgg16" if settings.preset == "paper" else "small")
    size = settings.image_size or _size(network, source.train)
    spec = spec_for(
        network, size=size, classes=len(source.classes), live_rows=settings.live_rows,
        layer=settings.layer, wall=settings.wall, seed=settings.seed,
        **settings.details,
    )  # fmt: skip
    _require_zone(spec)
    train, validation = source.train, source.validation
    if size <= _HELD_SIZE:
        train, validation = (
            in_memory(images, size, workers=settings.workers) for images in (train, validation)
        )
    normalisation = _normalisation(train, settings.preset)
    if settings.per_class is not None:
        train = train.subset(first_of_each(train.labels, settings.per_class))
    chosen, notes = _batches(chosen, len(train), source.notes)
    labels = train.labels
    if settings.permute_labels:
        labels = permuted(labels, settings.seed)
    specs = _specs(spec, settings)
    identity = {
        "data": {"name": source.name, "kind": source.kind, "sha256": source.fingerprint},
        "images": {"train": len(train), "validation": len(validation)},
        "classes": len(source.classes),
        "networks": {name: spec.to_dict() for name, spec in specs.items()},
        "preset": settings.preset,
        "recipe": chosen.to_dict(),
        "preprocess": normalisation.name,
        "permute_labels": settings.permute_labels,
        "seed": settings.seed,
        **({} if settings.per_class is None else {"per_class": settings.per_class}),
    }
    return Job(
        settings, source, train, validation, labels, chosen, normalisation, specs, identity, notes
    )


def _specs(spec: NetworkSpec, settings: TrainSettings) -> dict[str, NetworkSpec]:
    free = replace(spec, masked=False)
    if settings.unmasked:
        return {"unmasked": free}
    return {"masked": spec, "unmasked": free} if settings.twin else {"masked": spec}


def _require_zone(spec: NetworkSpec) -> None:
    """Refuse a wall that would leave nothing to measure, before hours are spent on it."""
    zone = geometry(spec, build(spec))
    if not zone.exists:
        advice = "--wall split or fewer live rows" if spec.wall == "insert" else "fewer live rows"
        raise WallError(f"this wall leaves no pixel to score: {zone.why} Then take {advice}")


def _size(network: str, images: ImageSet) -> int:
    """What the network is made for, or what the images have."""
    if network == "vgg16":
        return _USUAL_SIZE
    native = int(min(images.pixels(0).shape[:2]))
    if network == "small":
        return max(SMALL_SIZES[0], min(SMALL_SIZES[1], native))
    return native if native <= _HELD_SIZE else _USUAL_SIZE


def _batches(made: Recipe, count: int, notes: tuple[str, ...]) -> tuple[Recipe, tuple[str, ...]]:
    """The recipe with batches that the data can fill."""
    if count < 2:
        raise ImageError(f"training needs two images or more; got {count}")
    if count >= made.batch_size:
        return made, notes
    note = f"batches have {count} images, because there are no more (asked: {made.batch_size})"
    return replace(made, batch_size=count), (*notes, note)


def _normalisation(images: ImageSet, preset: str) -> Normalisation:
    """ImageNet's for the paper's recipe and for large images, else that of the images."""
    if preset == "paper" or not isinstance(images, Arrays):
        return parse_preprocess("imagenet")
    # sums over whole numbers are exact, so that the figures are the same on every machine
    sums, squares, count = np.zeros(3), np.zeros(3), 0
    for start in range(0, len(images), _CHUNK):
        part = images.images[start : start + _CHUNK].reshape(-1, 3).astype(np.float64)
        sums, squares = sums + part.sum(axis=0), squares + np.einsum("ij,ij->j", part, part)
        count += len(part)
    means = sums / count / 255
    spread = np.sqrt(np.maximum(squares / count / 255**2 - means**2, 0))
    mean = ",".join(f"{value:.4f}" for value in means)
    std = ",".join(f"{max(value, _SMALLEST_STD):.4f}" for value in spread)
    return parse_preprocess(f"{mean}/{std}")
