"""Trained networks under audit: their own wall, their own classes, the twin beside them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from camaudit.audit.run import Outcome, run_audit
from camaudit.audit.seam import seam_of_wall
from camaudit.audit.settings import Settings
from camaudit.audit.subject import build_subject
from camaudit.errors import ModelError, UsageError, WallError
from camaudit.models.weights import file_sha256
from camaudit.training.loop import train
from camaudit.training.trained import load_trained
from tests.audit.data_sets import mixed
from tests.training.drawn import idx_folder, image_folders, tiny

SIZE = 28


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run of one epoch with a twin leaves."""
    home = tmp_path_factory.mktemp("run")
    data = idx_folder(home / "digits", train=16, validation=8)
    train(tiny(data, home / "out", twin=True, changes={"epochs": 1}))
    return home / "out"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders that go by the network's classes, and one that does not."""
    root = tmp_path_factory.mktemp("pictures")
    image_folders(root, per_class=2, size=SIZE)
    for number in range(3):
        (root / f"class{number}").rename(root / str(number))
    return root


@pytest.fixture
def own(run: Path, tmp_path: Path) -> Path:
    """A copy of the run, to be changed."""
    return shutil.copytree(run, tmp_path / "out")


def audit(folder: Path, pictures: Path, **options: Any) -> Outcome:
    return run_audit(
        Settings(
            model=f"trained:{folder}", images=pictures, methods=("gradcam", "hirescam", "uniform"),
            **options,
        )
    )  # fmt: skip


def describe(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change what model.json says."""
    content = json.loads((folder / "model.json").read_text())
    change(content)
    (folder / "model.json").write_text(json.dumps(content))


# ------------------------------------------------------------------------------ with its twin


def test_masked_and_unmasked_figures_are_of_the_two_networks(run: Path, pictures: Path) -> None:
    outcome = audit(run, pictures, seed=3)
    assert not outcome.failed
    subject = outcome.results.provenance.subject
    trained, twin = load_trained(run), load_trained(run / "unmasked")
    assert subject["model"] == "small VGG (masked) trained on digits"
    assert subject["weights_sha256"] == file_sha256(run / "masked" / "model.safetensors")
    assert subject["unmasked"] == {
        "weights": "model.safetensors",
        "weights_sha256": file_sha256(run / "unmasked" / "model.safetensors"),
    }
    assert (subject["layer"], subject["preprocess"]["name"]) == (
        trained.layer, trained.normalisation.name,
    )  # fmt: skip
    assert outcome.results.provenance.settings["image_size"] == SIZE
    assert outcome.results.provenance.zone["verified"]
    assert not any("no weights file" in text for text in outcome.results.warnings)
    assert not any("no --preprocess" in text for text in outcome.results.warnings)
    summary = {entry.method: entry for entry in outcome.results.summary}
    assert summary["hirescam"].mu_l1.mean == summary["hirescam"].mu_l2.mean == 0
    for interval in (summary["hirescam"].unmasked, summary["hirescam"].unmasked_l2):
        assert interval is not None
        assert (interval.mean or 0) > 0

    built = build_subject(Settings(model=f"trained:{run}"))
    batch = torch.randn(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1))
    assert built.walled.unwalled is not None
    with torch.no_grad():
        torch.testing.assert_close(built.walled(batch), trained.model(batch))
        torch.testing.assert_close(built.walled.unwalled(batch), twin.model(batch))


def test_images_count_by_the_networks_own_classes(run: Path, pictures: Path) -> None:
    results = audit(run, pictures, num_images=8).results
    labelled = [image for image in results.provenance.images if image["label_name"] != "class3"]
    accuracy = results.provenance.subject["accuracy"]
    assert 0 < accuracy["n"] == len(labelled) < len(results.provenance.images)
    right = [image["walled_top1"] == int(image["label_name"]) for image in labelled]
    assert accuracy["walled"] == pytest.approx(sum(right) / len(right))
    for record in results.records:
        assert record.target_name == str(record.target)


@pytest.mark.parametrize("place", [".", "masked"])
def test_the_twin_is_found_from_the_run_and_from_the_masked_network(
    place: str, run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = build_subject(Settings(model=f"trained:{run / place}"))
    monkeypatch.chdir(run / place)
    relative = build_subject(Settings(model="trained:."))
    assert here.description["unmasked"] == relative.description["unmasked"]


# ------------------------------------------------------------------------------ without


def test_the_masked_network_alone_has_no_unmasked_figures(own: Path, pictures: Path) -> None:
    shutil.rmtree(own / "unmasked")
    results = audit(own, pictures).results
    assert "unmasked" not in results.provenance.subject
    assert all(record.unmasked is None for record in results.records)
    for entry in results.summary:
        assert entry.n > 0
        assert (entry.unmasked, entry.unmasked_l2, entry.difference) == (None, None, None)
    accuracy = results.provenance.subject["accuracy"]
    assert (accuracy["unwalled"], accuracy["agreement"]) == (None, None)


def test_the_unmasked_network_has_no_wall_to_audit(own: Path) -> None:
    with pytest.raises(WallError, match="holds the unmasked network, which has no wall"):
        build_subject(Settings(model=f"trained:{own / 'unmasked'}"))
    shutil.rmtree(own / "masked")
    with pytest.raises(WallError, match="holds the unmasked network, which has no wall"):
        build_subject(Settings(model=f"trained:{own}"))


OTHER: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
    "network": (lambda content: content["network"].update(dropout=0.25), "differ in networks;"),
    "classes": (lambda content: content["classes"].reverse(), "differ in classes;"),
    "preprocess": (lambda content: content.update(preprocess="imagenet"), "in preprocessing;"),
    "data": (lambda content: content["training"]["data"].update(sha256="0"), "in training data;"),
    "labels": (
        lambda content: content["training"].update(permute_labels=True), "in training data;",
    ),
    "masked": (lambda content: content["network"].update(live_rows=5), "differ in networks;"),
}  # fmt: skip


@pytest.mark.parametrize(("change", "message"), OTHER.values(), ids=OTHER)
def test_another_network_is_no_twin(
    change: Callable[[dict[str, Any]], object], message: str, own: Path
) -> None:
    describe(own / "unmasked", change)
    with pytest.raises(ModelError, match=f"is no twin of .*{message} train both with --twin"):
        build_subject(Settings(model=f"trained:{own}"))


def test_a_second_masked_network_is_no_twin(own: Path) -> None:
    shutil.rmtree(own / "unmasked")
    shutil.copytree(own / "masked", own / "unmasked")
    with pytest.raises(ModelError, match="is no twin of"):
        build_subject(Settings(model=f"trained:{own}"))


# ------------------------------------------------------------------------------ what it refuses


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"wall": "split"}, "--wall"),
        ({"wall": "insert"}, "--wall"),
        ({"wall": "vgg16"}, "--wall"),
        ({"weights": Path("w.pt")}, "--weights"),
        ({"layer": "features.3"}, "--layer"),
        ({"live_rows": 3}, "--live-rows"),
        ({"layer": "0", "live_rows": 3, "wall": "split"}, "--wall, --layer, --live-rows"),
    ],
)
def test_what_the_network_brings_cannot_be_chosen(options: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=f"brings its own wall, layer and weights: leave {named} "):
        Settings(model="trained:out", **options)
    with pytest.raises(UsageError, match="unmasked weights belong to the paper's VGG16"):
        Settings(model="trained:out", unmasked_weights=Path("w.pt"))


def test_its_images_have_the_size_that_it_was_trained_on(run: Path, tmp_path: Path) -> None:
    settings = Settings(model=f"trained:{run}", image_size=SIZE)
    assert build_subject(settings).size == SIZE
    with pytest.raises(UsageError, match=r"images of 28×28 pixels; got --image-size 64: leave it"):
        build_subject(replace(settings, image_size=64))
    folder = mixed(tmp_path / "mix", count=1, side=32, dead_rows=8)
    with pytest.raises(UsageError, match=r"images of 32×32 .* build the data set again with "
                       "--image-size 28"):  # fmt: skip
        run_audit(Settings(model=f"trained:{run}", data=(folder,), methods=("gradcam",)))


def test_where_there_is_no_network(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no trained network in"):
        build_subject(Settings(model=f"trained:{tmp_path}"))


# ------------------------------------------------------------------------------ its seam


def test_the_seam_of_a_trained_wall(run: Path) -> None:
    wall, size = seam_of_wall(f"trained:{run}")
    zone = build_subject(Settings(model=f"trained:{run}")).walled.zone
    assert size == SIZE
    assert wall.dead_rows == len(zone.pixel_dead_rows) > 0
    assert wall.description.startswith("small VGG (masked) trained on digits, small wall after ")
    assert seam_of_wall(f"trained:{run}", size=SIZE) == (wall, size)
    with pytest.raises(UsageError, match="got --image-size 64"):
        seam_of_wall(f"trained:{run}", size=64)
    with pytest.raises(UsageError, match="leave --layer out"):
        seam_of_wall(f"trained:{run}", layer="features.3")
