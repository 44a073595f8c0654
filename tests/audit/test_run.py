"""An audit end to end on a small network: records, summaries, controls, failures."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from camaudit.audit import loop as loop_module
from camaudit.audit import run as run_module
from camaudit.audit import worker as worker_module
from camaudit.audit.images import AuditImages, audit_images
from camaudit.audit.progress import Silent
from camaudit.audit.run import Outcome, run_audit
from camaudit.audit.settings import Settings
from camaudit.audit.subject import build_subject
from camaudit.capture import Capture, capture
from camaudit.data.labels import imagenet_index
from camaudit.data.stack_mix import StackImage
from camaudit.errors import (
    DegenerateModelError,
    NotApplicableError,
    UnknownNameError,
    UsageError,
    WallError,
    ZoneError,
)
from camaudit.maps import upsample
from camaudit.methods import METHODS, STANDARD, compute
from camaudit.methods.base import MethodInfo
from camaudit.registry import Entry
from camaudit.types import Status
from camaudit.walls import DeadZone
from tests.references.cams import reference_mu


@pytest.fixture
def settings(factory: Path, photographs: Path) -> Settings:
    return Settings(
        model=f"{factory}:build", images=photographs, image_size=64, preprocess="0.5/0.5",
        num_images=5, batch_size=2, wall="split", layer="0", live_rows=4,
    )  # fmt: skip


@pytest.fixture
def outcome(settings: Settings) -> Outcome:
    return run_audit(settings)


@pytest.fixture
def planted() -> Iterator[dict[str, Any]]:
    """Methods registered for one test only."""
    functions: dict[str, Any] = {}
    before = dict(METHODS._entries)
    info = MethodInfo("test", "-", "-", "gradient", "none")

    def crash(_: Capture) -> torch.Tensor:
        raise TypeError("out of luck")

    def refuse(_: Capture) -> torch.Tensor:
        raise NotApplicableError("needs a transformer")

    def empty(given: Capture) -> torch.Tensor:
        return torch.zeros_like(given.activations[:, 0])

    def misshapen(given: Capture) -> torch.Tensor:
        return given.activations

    def negative(given: Capture) -> torch.Tensor:
        return -given.activations[:, 0] - 1

    def vandal(given: Capture) -> torch.Tensor:
        given.activations.mul_(2)
        return given.activations[:, 0]

    def alternating(given: Capture) -> torch.Tensor:
        calls.append(0)
        if len(calls) % 2 == 0:  # the twin comes second
            raise KeyError("twin")
        return torch.ones_like(given.activations[:, 0])

    calls: list[int] = []
    functions = {
        "crash": crash, "refuse": refuse, "empty": empty, "misshapen": misshapen,
        "negative": negative, "vandal": vandal, "alternating": alternating,
    }  # fmt: skip
    for name, function in functions.items():
        METHODS._entries[name] = Entry(name, function, info)
    yield functions
    METHODS._entries.clear()
    METHODS._entries.update(before)


def test_every_method_has_one_record_an_image_and_one_summary(outcome: Outcome) -> None:
    results = outcome.results
    assert [entry.method for entry in results.summary] == list(STANDARD)
    assert len(results.records) == 5 * len(STANDARD)
    assert len({(r.method, r.image) for r in results.records}) == len(results.records)
    assert not outcome.failed
    for entry in results.summary:
        assert entry.n + entry.degenerate + entry.not_applicable + entry.errors == 5
        assert entry.mu_l1.n == entry.n


def test_local_methods_score_exactly_zero_and_uniform_the_area(outcome: Outcome) -> None:
    summary = {entry.method: entry for entry in outcome.results.summary}
    area = outcome.results.provenance.zone["scored_fraction"]
    for name in ("hirescam", "layercam", "elementwise"):
        assert summary[name].mu_l1.mean == 0
        assert summary[name].unmasked is not None
        assert (summary[name].unmasked.mean or 0) > 0
    assert summary["uniform"].mu_l1.mean == pytest.approx(area, abs=1e-6)
    assert summary["uniform"].uniform == area
    assert summary["uniform"].uniform_l2 == pytest.approx(area**0.5)
    assert summary["uniform"].difference is not None
    assert summary["uniform"].difference.mean == 0
    assert (summary["gradcam"].mu_l1.mean or 0) > 0


def test_records_hold_the_figures_of_the_maps(settings: Settings, outcome: Outcome) -> None:
    """Recomputed from the subject and the images alone, in another batch, by the reference μ."""
    subject = build_subject(settings)
    zone = subject.walled.zone
    stacked = audit_images(settings, zone).images
    batch = subject.normalisation.to_tensor([image.pixels for image in stacked])
    for name in ("gradcam", "scorecam", "ablationcam", "eigencam", "random"):
        seen = capture(subject.walled, batch)
        maps = upsample(compute(name, seen, seed=settings.seed), (64, 64))
        records = [record for record in outcome.results.records if record.method == name]
        assert [record.image for record in records] == [image.id for image in stacked]
        for record, one in zip(records, maps, strict=True):
            expected = reference_mu(one.double(), zone.scored, 1)
            assert expected is not None
            assert record.mu_l1 == pytest.approx(float(expected), rel=1e-4, abs=1e-7)
        assert subject.walled.unwalled is not None
        twin = capture(subject.walled.unwalled, batch, targets=seen.targets)
        maps = upsample(compute(name, twin, seed=settings.seed), (64, 64))
        for record, one in zip(records, maps, strict=True):
            assert record.unmasked is not None
            expected = reference_mu(one.double(), zone.scored, 1)
            assert expected is not None
            assert record.unmasked.mu_l1 == pytest.approx(float(expected), rel=1e-4, abs=1e-7)


def test_targets_are_the_walled_models_top1_and_accuracy_counts_labels(
    settings: Settings, outcome: Outcome
) -> None:
    subject = build_subject(settings)
    stacked = audit_images(settings, subject.walled.zone).images
    batch = subject.normalisation.to_tensor([image.pixels for image in stacked])
    with torch.no_grad():
        walled = subject.walled(batch).argmax(dim=1)
        assert subject.walled.unwalled is not None
        unwalled = subject.walled.unwalled(batch).argmax(dim=1)
    labels = torch.tensor([image.label for image in stacked])
    gradcam = [record for record in outcome.results.records if record.method == "gradcam"]
    assert [record.target for record in gradcam] == walled.tolist()
    accuracy = outcome.results.provenance.subject["accuracy"]
    assert accuracy["n"] == 5
    assert accuracy["walled"] == pytest.approx(float((walled == labels).double().mean()))
    assert accuracy["unwalled"] == pytest.approx(float((unwalled == labels).double().mean()))
    assert accuracy["agreement"] == pytest.approx(float((walled == unwalled).double().mean()))


def test_the_zone_is_verified_and_explained(outcome: Outcome) -> None:
    zone = outcome.results.provenance.zone
    assert zone["verified"] is True
    assert zone["pixel_dead_rows"] == list(range(32, 64))
    assert zone["scored_rows"] == list(range(36, 64))
    assert "cropped to pixel rows 0-31" in zone["why"]


def test_the_same_run_twice_differs_in_timing_alone(settings: Settings, outcome: Outcome) -> None:
    first, second = outcome.results.to_dict(), run_audit(settings).results.to_dict()
    assert first.pop("timing") != second.pop("timing")
    assert json.dumps(first) == json.dumps(second)


def test_another_seed_draws_other_images(settings: Settings, outcome: Outcome) -> None:
    other = run_audit(replace(settings, seed=1, methods=("gradcam",)))
    assert (
        other.results.provenance.subject["images_sha256"]
        != outcome.results.provenance.subject["images_sha256"]
    )


def test_batch_size_does_not_change_the_figures(settings: Settings, outcome: Outcome) -> None:
    whole = run_audit(replace(settings, batch_size=64))
    for ours, theirs in zip(outcome.results.records, whole.results.records, strict=True):
        assert (ours.method, ours.image, ours.target) == (
            theirs.method,
            theirs.image,
            theirs.target,
        )
        assert ours.mu_l1 == pytest.approx(theirs.mu_l1, rel=1e-4, abs=1e-6)


def test_perturbation_methods_take_fewer_images_and_say_so(settings: Settings) -> None:
    outcome = run_audit(replace(settings, perturbation_images=3))
    counts = {entry.method: entry.n for entry in outcome.results.summary}
    slow = [name for name in STANDARD if METHODS[name].info.many_passes]
    assert slow == ["scorecam", "scorecam++"]
    assert {counts[name] for name in slow} == {3}
    assert {counts[name] for name in STANDARD if name not in slow} == {5}
    (note,) = [text for text in outcome.results.warnings if "--perturbation-images" in text]
    assert note == (
        "scorecam, scorecam++ ran on 3 of 5 images, because that runs the model many times an "
        "image; --perturbation-images 5 takes all"
    )
    everything = run_audit(replace(settings, perturbation_images=5, methods=("scorecam",)))
    assert not [text for text in everything.results.warnings if "--perturbation-images" in text]
    assert (settings.perturbation_count, Settings().perturbation_count) == (8, 2)
    none = run_audit(replace(settings, perturbation_images=0, methods=("scorecam", "gradcam")))
    assert [entry.n for entry in none.results.summary] == [0, 5]
    assert none.results.summary[0].mu_l1.mean is None


@pytest.mark.usefixtures("planted")
def test_failures_are_recorded_apart_and_do_not_end_the_run(settings: Settings) -> None:
    names = ("crash", "refuse", "empty", "misshapen", "gradcam")
    outcome = run_audit(replace(settings, methods=names))
    by_method = {name: [r for r in outcome.results.records if r.method == name] for name in names}
    expected = {
        "crash": (Status.ERROR, "TypeError: out of luck"),
        "refuse": (Status.NOT_APPLICABLE, "needs a transformer"),
        "empty": (Status.DEGENERATE, None),
        "gradcam": (Status.OK, None),
    }
    for name, (status, message) in expected.items():
        assert {(record.status, record.message) for record in by_method[name]} == {
            (status, message)
        }
    assert {record.status for record in by_method["misshapen"]} == {Status.ERROR}
    summary = {entry.method: entry for entry in outcome.results.summary}
    assert (summary["crash"].errors, summary["crash"].n) == (5, 0)
    assert (summary["refuse"].not_applicable, summary["empty"].degenerate) == (5, 5)
    for name in ("crash", "refuse", "empty"):
        assert summary[name].mu_l1.mean is None
    assert outcome.failed


@pytest.mark.usefixtures("planted")
def test_a_failure_on_the_twin_alone_is_a_failure_too(settings: Settings) -> None:
    outcome = run_audit(replace(settings, methods=("alternating",)))
    assert {record.status for record in outcome.results.records} == {Status.OK}
    messages = {record.message for record in outcome.results.records}
    assert messages == {"on the unmasked twin: KeyError: 'twin'"}
    assert outcome.failed
    assert outcome.results.summary[0].unmasked is not None
    assert outcome.results.summary[0].unmasked.n == 0


@pytest.mark.usefixtures("planted")
def test_negative_maps_and_vandals_are_errors_of_their_own(settings: Settings) -> None:
    outcome = run_audit(replace(settings, methods=("negative", "vandal")))
    messages = {record.method: record.message or "" for record in outcome.results.records}
    assert "negative values" in messages["negative"]
    assert "wrote into its capture" in messages["vandal"]


def test_the_twin_is_averaged_over_the_same_images(outcome: Outcome) -> None:
    for entry in outcome.results.summary:
        assert entry.unmasked is not None
        assert entry.difference is not None
        assert entry.unmasked.n == entry.difference.n <= entry.n
        if entry.unmasked.n == entry.n:
            assert entry.mu_l1.mean is not None
            assert entry.unmasked.mean is not None
            gap = entry.mu_l1.mean - entry.unmasked.mean
            assert entry.difference.mean == pytest.approx(gap, abs=1e-12)


def test_one_undecided_image_is_an_error_of_its_own(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image whose logits are not finite costs its own records, not the run's."""
    genuine = worker_module.batch_tensor
    spoilt_id = ""

    def spoiling(subject: Any, images: Any) -> torch.Tensor:
        nonlocal spoilt_id
        batch = genuine(subject, images)
        if len(images) > 1:
            spoilt_id = spoilt_id or images[-1].id
        for row, image in enumerate(images):
            if image.id == spoilt_id:
                batch[row, :, :8] = torch.inf
        return batch

    monkeypatch.setattr(worker_module, "batch_tensor", spoiling)
    outcome = run_audit(replace(settings, methods=("gradcam", "scorecam")))
    for method in ("gradcam", "scorecam"):
        records = [record for record in outcome.results.records if record.method == method]
        statuses = {record.image: record.status for record in records}
        assert len(statuses) == 5
        assert statuses.pop(spoilt_id) is Status.ERROR
        assert set(statuses.values()) == {Status.OK}
    spoilt = next(r for r in outcome.results.records if r.image == spoilt_id)
    assert (spoilt.target, spoilt.mu_l1) == (None, None)
    assert "NaN or infinite" in (spoilt.message or "")
    assert outcome.failed


@pytest.mark.parametrize(
    ("classes", "name", "label"),
    [
        (5, "3", 3),
        (5, "7", None),
        (5, "n01440764", None),
        (5, "goldfish", None),
        (1000, "n01440764", 0),
        (1000, "goldfish", 1),
        (1000, "7", 7),
        (1000, "my cats", None),
    ],
)
def test_labels_count_only_in_the_models_own_numbering(
    classes: int, name: str, label: int | None, settings: Settings
) -> None:
    image = StackImage(
        "id", np.zeros((64, 64, 3), np.uint8), imagenet_index(name), name, (), "single"
    )
    loop = loop_module.Loop(settings, build_subject(settings), AuditImages((image,)), [], Silent())
    loop.classes = classes
    assert loop.label(image) == label


def test_agreement_needs_no_labels(settings: Settings, photographs: Path) -> None:
    (photographs / "0").rename(photographs / "zero")
    (photographs / "1").rename(photographs / "one")
    (photographs / "2").rename(photographs / "two")
    outcome = run_audit(replace(settings, methods=("gradcam",)))
    accuracy = outcome.results.provenance.subject["accuracy"]
    assert (accuracy["n"], accuracy["walled"]) == (0, None)
    assert 0 <= accuracy["agreement"] <= 1


def test_the_insert_wall_has_a_receptive_field_zone(settings: Settings) -> None:
    outcome = run_audit(replace(settings, wall="insert", methods=("gradcam", "hirescam")))
    zone = outcome.results.provenance.zone
    assert zone["kind"] == "receptive field"
    assert zone["verified"] is True
    assert outcome.results.summary[1].mu_l1.mean == 0


def test_auto_prefers_receptive_fields_where_they_leave_enough(settings: Settings) -> None:
    chosen = build_subject(replace(settings, wall="auto")).walled
    assert chosen.zone.kind == "receptive field"
    assert chosen.zone.scored_fraction >= 0.1


def test_settings_refuse_nonsense() -> None:
    for bad in ({"wall": "brick"}, {"num_images": 0}, {"batch_size": 0}, {"methods": ()},
                {"image_size": 7}, {"seed": -1}, {"live_rows": 0}, {"memory": 0}, {"memory": -5},
                {"precision": "float8"}):  # fmt: skip
        with pytest.raises(UsageError):
            Settings(**bad)  # type: ignore[arg-type]
    with pytest.raises(UnknownNameError, match="gradcam"):
        run_audit(Settings(methods=("gradcm",)))


@pytest.mark.parametrize("rows", [8, 100])
def test_live_rows_must_leave_a_dead_row(settings: Settings, rows: int) -> None:
    with pytest.raises(WallError, match="live rows must be 1 to 7"):
        run_audit(replace(settings, live_rows=rows))


def test_models_without_a_decision_are_refused(settings: Settings, factory: Path) -> None:
    with pytest.raises(DegenerateModelError, match="NaN"):
        run_audit(replace(settings, model=f"{factory}:nan"))
    with pytest.raises(ZoneError, match="ignores its input"):
        run_audit(replace(settings, model=f"{factory}:deaf"))


def test_a_refuted_zone_ends_the_run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """A subject whose claimed zone is one row too tall."""
    build = run_module.build_subject

    def lying(given: Settings, live: Any) -> Any:
        subject = build(given, live)
        zone = subject.walled.zone
        dead = zone.pixel_dead.clone()
        dead[zone.pixel_dead_rows[0] - 1] = True
        subject.walled.zone = DeadZone(
            zone.feature_dead, dead, zone.scored, zone.kind, "because I say so"
        )
        return subject

    monkeypatch.setattr(run_module, "build_subject", lying)
    with pytest.raises(ZoneError, match="refuted"):
        run_audit(settings)


def test_progress_reaches_its_total(settings: Settings) -> None:
    class Recorder:
        total = done = 0
        stages: list[str] = []  # noqa: RUF012 - one test, one instance
        parts: list[tuple[str, int, int]] = []  # noqa: RUF012

        def start(self, work: int) -> None:
            self.parts.append((self.stages[-1], self.done, self.total))
            self.total, self.done = work, 0

        def stage(self, text: str) -> None:
            self.stages.append(text)

        def advance(self, work: int) -> None:
            self.done += work

    recorder = Recorder()
    run_audit(replace(settings, perturbation_images=3), progress=recorder)
    assert recorder.done == recorder.total > 0
    count = settings.num_images
    assert [part[1:] for part in recorder.parts] == [(0, 0), (count, count)]  # reading, scoring
    assert recorder.parts[0][0] == "reading the images"
    assert any("gradcam" in stage for stage in recorder.stages)


def test_the_gallery_carries_the_images_and_their_maps(outcome: Outcome) -> None:
    assert len(outcome.gallery) == 5
    first = outcome.gallery[0]
    assert set(first.maps) == set(STANDARD)
    hirescam, gradcam = first.maps["hirescam"], first.maps["gradcam"]
    assert hirescam is not None
    assert gradcam is not None
    assert np.all(hirescam[first.scored] == 0)
    assert gradcam.shape == (64, 64)
