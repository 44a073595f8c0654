"""The maps that an audit hands on for its report: which, when, and how many it still holds."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import camaudit.audit.ledger as ledger_module
import camaudit.audit.loop as loop_module
import camaudit.audit.scoring as scoring_module
import camaudit.audit.worker as worker_module
from camaudit.audit.keeping import Keeper
from camaudit.audit.loop import Loop
from camaudit.audit.run import Outcome, run_audit
from camaudit.audit.scoring import Scored
from camaudit.audit.settings import Settings
from camaudit.audit.units import Entry
from camaudit.capture import Capture
from camaudit.report.explorer import embedded
from camaudit.report.keeping import MapsWriter, keeping
from camaudit.report.kept import KeptMap, upsampled
from camaudit.report.kept_maps import KeptMaps
from camaudit.report.reading import results_of
from camaudit.store import open_store
from camaudit.types import DeadZoneFigures, Status
from camaudit.walls import WalledModel


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


def share(kept_map: KeptMap | None, scored: np.ndarray[Any, np.dtype[np.bool_]]) -> float:
    """μ of a kept map, taken literally."""
    assert kept_map is not None
    drawn = upsampled(kept_map, (scored.shape[0], scored.shape[1]))
    return float(drawn[scored].sum() / drawn.sum())


def test_the_maps_without_the_wall_are_those_that_its_figures_are_of(
    settings: Settings, tmp_path: Path
) -> None:
    methods = ("gradcam", "hirescam", "uniform")
    outcome, maps, _ = kept(replace(settings, methods=methods), tmp_path, 3)
    records = {(one.method, one.image): one for one in outcome.results.records}
    assert maps.wall is not None
    for image in maps:
        assert set(image.unmasked) == set(image.maps)
        for name, twin in image.unmasked.items():
            record = records[name, image.id]
            assert record.unmasked is not None
            assert share(twin, maps.wall[1]) == pytest.approx(record.unmasked.mu_l1, abs=0.01)
        assert share(image.maps["hirescam"], maps.wall[1]) == 0
        assert share(image.unmasked["hirescam"], maps.wall[1]) > 0.05
    uniform = maps._index["images"][0]
    assert uniform["maps"]["uniform"]["at"] == uniform["unmasked"]["uniform"]["at"]


def test_without_an_unmasked_twin_there_are_no_such_maps(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WalledModel, "unwalled", property(lambda _: None))
    outcome, maps, _ = kept(settings, tmp_path, 2)
    assert all(record.unmasked is None for record in outcome.results.records)
    assert [dict(image.unmasked) for image in maps] == [{}, {}]
    assert maps[0].maps["gradcam"] is not None


def test_a_method_that_fails_without_the_wall_has_no_map_there(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = scoring_module.score

    def failing(method: str, capture: Capture, *given: Any, **options: Any) -> Scored:
        if method == "gradcam" and not isinstance(capture.divided, WalledModel):
            nothing = DeadZoneFigures(None, None, None, Status.ERROR)
            return Scored([nothing] * len(capture), None, "out of memory")
        return genuine(method, capture, *given, **options)

    monkeypatch.setattr(scoring_module, "score", failing)
    outcome, maps, _ = kept(settings, tmp_path, 2)
    assert maps[0].maps["gradcam"] is not None
    assert maps[0].unmasked["gradcam"] is None
    assert maps[0].unmasked["uniform"] is not None
    given = {"records": outcome.results.records, "total": 5}
    index = json.loads(embedded(maps, outcome.results.summary, **given).index)
    place = [method["name"] for method in index["methods"]].index("gradcam")
    assert index["images"][0]["unmasked"]["reasons"][str(place)] == (
        "Failed: on the unmasked twin: out of memory"
    )


@pytest.mark.parametrize(("first", "most"), [(2, 4), (4, 2), (2, 0)])
def test_no_map_is_held_longer_than_it_is_wanted(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int, most: int
) -> None:
    monkeypatch.setattr(loop_module, "GALLERY_IMAGES", first)
    genuine = Loop._hand_on
    wanted: list[bool] = []

    def checking(self: Loop) -> None:
        genuine(self)
        for (_, place), entries in self._entries.items():
            waits = self._handed <= place < most
            wanted.extend(waits or place < first for one in entries if one.map is not None)
            wanted.extend(waits for one in entries if one.unmasked_map is not None)

    monkeypatch.setattr(Loop, "_hand_on", checking)
    kept(settings, tmp_path, most)
    assert wanted
    assert all(wanted)


def test_both_maps_of_a_cell_come_back_from_the_store() -> None:
    draw = np.random.default_rng(0)
    one, other = (draw.random((3, 4), dtype=np.float32) for _ in range(2))
    figures = DeadZoneFigures(0.25, 0.5, None, Status.OK)
    for own, twin in ((one, other), (one, one), (one, None), (None, other), (None, None)):
        entry = Entry(figures, figures, "why", own, ("hooks",), twin)
        cell = ledger_module._cell("key", "gradcam", "image", 3, entry, maps=True)
        again = ledger_module._entry(replace(cell, value=json.loads(json.dumps(cell.value))))
        assert (again.figures, again.unmasked, again.message, again.left) == (
            figures, figures, "why", ("hooks",),
        )  # fmt: skip
        for found, expected in ((again.map, own), (again.unmasked_map, twin)):
            assert (found is None) == (expected is None)
            np.testing.assert_array_equal(found, expected)
        assert (cell.blob is None) == (own is None and twin is None)
    both, once = (
        ledger_module._cell(
            "key", "gradcam", "image", 3, Entry(figures, None, None, one, (), twin), maps=True
        )
        for twin in (other, one)
    )
    assert both.blob is not None
    assert once.blob is not None
    assert len(both.blob) == 2 * len(once.blob)


def test_maps_out_of_the_store_are_kept_as_those_that_are_computed(
    settings: Settings, tmp_path: Path
) -> None:
    found = []
    asked = replace(settings, methods=("gradcam", "hirescam", "uniform"))
    for name in ("first", "second"):
        with keeping(tmp_path / name, 3) as writer:
            outcome = run_audit(asked, writer=writer, records=tmp_path / "store")
            found.append([(image.maps, image.unmasked) for image in writer.finish()])
    assert outcome.results.timing["cells"]["computed"] == 0
    with open_store(tmp_path / "store") as store:
        places = {one.method: one.value["maps"] for one in store.members(1) if one.blob}
    assert places["uniform"] == [0, 0]  # equal maps are in a cell once
    assert places["hirescam"] == [0, 1]
    for before, after in zip(*found, strict=True):
        for those, these in zip(before, after, strict=True):
            assert list(those) == list(these)
            for name, one in those.items():
                again = these[name]
                assert one is not None
                assert again is not None
                np.testing.assert_array_equal(one.levels, again.levels)


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
