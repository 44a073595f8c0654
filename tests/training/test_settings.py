"""What a run comes to for the data at hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from camaudit.errors import UsageError
from camaudit.training.images import Arrays
from camaudit.training.settings import TrainSettings, prepare
from tests.training.drawn import image_folders, tiny


def test_images_in_memory_are_standardised_by_their_own_figures(
    digits: Path, tmp_path: Path
) -> None:
    job = prepare(tiny(digits, tmp_path))
    assert isinstance(job.train, Arrays)
    grey = job.train.images[..., 0] / 255
    assert job.normalisation.mean == pytest.approx([grey.mean()] * 3, abs=5e-5)
    assert job.normalisation.std == pytest.approx([grey.std()] * 3, abs=5e-5)


def test_the_papers_preset_brings_its_network_and_imagenets_figures(tmp_path: Path) -> None:
    data = image_folders(tmp_path, per_class=2, size=40)
    details = {"hidden": 8}
    job = prepare(TrainSettings(data, tmp_path / "out", preset="paper", details=details))
    spec = job.specs["masked"]
    assert (spec.network, spec.size, spec.live_rows, spec.layer) == ("vgg16", 224, 5, "29")
    assert job.normalisation.name == "imagenet"
    assert job.steps == 1
    assert not isinstance(job.train, Arrays)  # decoded when needed


def test_labels_are_permuted_for_training_alone(digits: Path, tmp_path: Path) -> None:
    true, mixed = (prepare(tiny(digits, tmp_path, permute_labels=p)) for p in (False, True))
    assert not np.array_equal(true.labels, mixed.labels)
    assert np.array_equal(np.sort(true.labels), np.sort(mixed.labels))
    assert np.array_equal(true.validation.labels, mixed.validation.labels)


def test_the_first_of_each_class_are_normalised_as_all_are(digits: Path, tmp_path: Path) -> None:
    whole = prepare(tiny(digits, tmp_path))
    few = prepare(tiny(digits, tmp_path, per_class=3))
    assert np.array_equal(
        np.unique(few.labels, return_counts=True)[1], [3] * len(np.unique(whole.labels))
    )
    assert few.normalisation == whole.normalisation
    assert np.array_equal(few.validation.labels, whole.validation.labels)
    first = np.flatnonzero(whole.labels == whole.labels[0])[0]
    assert np.array_equal(few.train.pixels(0), whole.train.pixels(int(first)))
    assert few.identity["per_class"] == 3
    assert "per_class" not in whole.identity


def test_less_than_one_image_a_class_is_refused(digits: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="per_class must be 1 or more"):
        tiny(digits, tmp_path, per_class=0)
