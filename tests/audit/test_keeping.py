"""The maps that an audit hands on for its report: which, when, and how many it still holds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import camaudit.audit.worker as worker_module
from camaudit.audit.keeping import Keeper
from camaudit.audit.run import Outcome, run_audit
from camaudit.audit.settings import Settings
from camaudit.report.explorer import embedded
from camaudit.report.keeping import MapsWriter, keeping
from camaudit.report.kept_maps import KeptMaps
from camaudit.report.reading import results_of


@pytest.fixture
def settings(factory: Path, photographs: Path) -> Settings:
    return Settings(
        model=f"{factory}:build", images=photographs, image_size=64, preprocess="0.5/0.5",
        num_images=5, batch_size=2, wall="split", layer="0", live_rows=4,
        methods=("gradcam", "scorecam", "uniform"), perturbation_images=1,
    )  # fmt: skip


def kept(settings: Settings, folder: Path, most: int) -> tuple[Outcome, KeptMaps, MapsWriter]:
    with keeping(folder, most) as writer:
        outcome = run_audit(settings, writer=writer)
        writer.place(folder, b"")
        return outcome, KeptMaps(folder / "maps", writer._index(None)), writer


def test_the_first_images_are_kept_with_the_maps_that_were_scored(
    settings: Settings, tmp_path: Path
) -> None:
    outcome, maps, _ = kept(settings, tmp_path, 3)
    assert [image.id for image in maps] == [one["id"] for one in outcome.results.provenance.images][
        :3
    ]
    assert [set(image.maps) for image in maps] == [
        {"gradcam", "scorecam", "uniform"},
        {"gradcam", "uniform"},
        {"gradcam", "uniform"},
    ]
    for ours, theirs in zip(maps.gallery(3), outcome.gallery, strict=False):
        assert (ours.id, ours.title, ours.caption) == (theirs.id, theirs.title, theirs.caption)
        np.testing.assert_array_equal(ours.dead, theirs.dead)
        np.testing.assert_array_equal(ours.scored, theirs.scored)
        for name, values in theirs.maps.items():
            drawn = ours.maps[name]
            assert drawn is not None
            assert values is not None
            span = float(values.max() - values.min()) or 1.0
            np.testing.assert_allclose(drawn, values, atol=0.01 * span)


def test_keeping_maps_changes_no_figure(settings: Settings, tmp_path: Path) -> None:
    with_maps, _, _ = kept(settings, tmp_path, 5)
    without = run_audit(settings)
    assert with_maps.results.records == without.results.records
    assert with_maps.results.provenance == without.results.provenance


def test_an_image_without_logits_is_kept_without_maps(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = worker_module.batch_tensor
    spoilt: list[str] = []

    def spoiling(subject: Any, images: Any) -> torch.Tensor:
        batch = genuine(subject, images)
        if len(images) > 1:
            spoilt[:] = spoilt or [images[-1].id]
        for row, image in enumerate(images):
            if image.id in spoilt:
                batch[row, :, :8] = torch.inf
        return batch

    monkeypatch.setattr(worker_module, "batch_tensor", spoiling)
    outcome, maps, _ = kept(settings, tmp_path, 5)
    assert [image.id for image in maps] == [one["id"] for one in outcome.results.provenance.images]
    assert [dict(image.maps) for image in maps if image.id in spoilt] == [{}]


def test_each_image_is_written_when_it_is_complete(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []
    genuine = Keeper.map

    def counting(self: Keeper, *given: Any) -> None:
        genuine(self, *given)
        held.append(len(self._maps))

    monkeypatch.setattr(Keeper, "map", counting)
    kept(settings, tmp_path, 5)
    assert max(held) == 1


def test_every_target_has_maps_of_its_own(settings: Settings, tmp_path: Path) -> None:
    outcome, maps, _ = kept(replace(settings, targets="top-2"), tmp_path, 2)
    records = [one for one in outcome.results.records if one.method == "gradcam"]
    assert [(image.id, image.target) for image in maps] == [
        (record.image, record.target) for record in records[:4]
    ]
    assert maps[0].photo == maps[1].photo
    for ours, theirs in zip(maps.gallery(4), outcome.gallery, strict=False):
        assert (ours.id, ours.target) == (theirs.id, theirs.target)
        drawn, values = ours.maps["gradcam"], theirs.maps["gradcam"]
        assert drawn is not None
        assert values is not None
        np.testing.assert_allclose(drawn, values, atol=0.01 * float(np.ptp(values)))
    index = json.loads(
        embedded(maps, outcome.results.summary, outcome.results.records, total=5).index
    )
    names = [method["name"] for method in index["methods"]]
    shares = [image["mu"][names.index("gradcam")] for image in index["images"]]
    assert shares == pytest.approx([record.mu_l1 for record in records[:4]], rel=1e-5)
    assert len({image["id"] for image in index["images"]}) == 4
    plain = json.loads(json.dumps(outcome.results.to_dict()))
    assert json.loads(json.dumps(results_of(plain).to_dict())) == plain
