"""Sanity checks within an audit: with a wall and without, judged, pictured and written."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import torch
from jsonschema import Draft202012Validator

from camaudit.audit.run import Outcome, run_audit
from camaudit.audit.sanity import PICTURES
from camaudit.audit.settings import Settings
from camaudit.audit.subject import build_subject, load_second, load_subject
from camaudit.errors import ModelError, UsageError, WallError
from camaudit.report.html import render
from camaudit.report.sanity_pictures import MOST_STEPS
from camaudit.sanity import execution_order
from camaudit.training.loop import train
from camaudit.types import ClaimOutcome
from tests.training.drawn import idx_folder, tiny

METHODS = ("gradcam", "eigencam", "sobel", "uniform")


@pytest.fixture
def settings(factory: Path, photographs: Path) -> Settings:
    return Settings(
        model=f"{factory}:build", images=photographs, image_size=64, preprocess="0.5/0.5",
        num_images=6, batch_size=4, layer="0", methods=METHODS, checks=("mprt",),
    )  # fmt: skip


def outcomes(outcome: Outcome, check: str) -> dict[str, ClaimOutcome]:
    claims = [claim for claim in outcome.results.claims if claim.check == check]
    return {claim.statement.split()[0]: claim.outcome for claim in claims}


def valid(outcome: Outcome) -> None:
    text = json.dumps(outcome.results.to_dict(), allow_nan=False)
    source = resources.files("camaudit.schema").joinpath("results-1.json").read_text()
    Draft202012Validator(json.loads(source)).validate(json.loads(text))


def test_without_the_dead_zone_no_wall_is_built(settings: Settings) -> None:
    outcome = run_audit(settings)
    results = outcome.results
    assert [results.summary, results.records, outcome.gallery] == [[], [], []]
    assert results.provenance.zone == {}
    assert "wall" not in results.provenance.subject
    assert results.provenance.subject["layer"] == "0"
    assert {image["pairing"] for image in results.provenance.images} == {"single"}
    assert not outcome.failed
    assert not outcome.empty
    assert set(results.timing["seconds"]) == {"subject", "images", "sanity"}
    assert results.timing["sanity"]["total"] > 0
    valid(outcome)
    page = render(results, outcome.gallery, outcome.pictures)
    assert "Sanity checks of" in page


def test_verdicts_tell_the_blind_from_the_constant(settings: Settings) -> None:
    found = outcomes(run_audit(settings), "mprt")
    assert found["Sobel"] is ClaimOutcome.FAIL
    assert found["Uniform"] is ClaimOutcome.NOT_APPLICABLE
    assert set(found) == {"GradCAM", "EigenCAM", "Sobel", "Uniform"}
    few = run_audit(replace(settings, sanity_seeds=2))
    assert outcomes(few, "mprt")["Sobel"] is ClaimOutcome.INCONCLUSIVE


def test_with_the_dead_zone_both_look_at_the_same_images(settings: Settings) -> None:
    checks = ("dead-zone", "mprt", "emprt", "random-logit")
    outcome = run_audit(replace(settings, checks=checks, wall="split", live_rows=4, sanity_seeds=2))
    results = outcome.results
    assert [entry.method for entry in results.summary] == list(METHODS)
    assert results.provenance.zone["verified"]
    assert results.sanity["settings"]["checks"] == ["mprt", "emprt", "random-logit"]
    assert [t == i["unwalled_top1"] for t, i in zip(
        results.sanity["targets"], results.provenance.images, strict=True
    )] == [True] * 6  # fmt: skip
    walls = outcomes(outcome, "dead-zone")
    assert walls["Uniform"] is ClaimOutcome.FAIL  # it draws the same map with the wall
    assert set(walls) == {"GradCAM", "EigenCAM", "Sobel", "Uniform"}
    valid(outcome)
    assert "and sanity checks of" in render(results, outcome.gallery, outcome.pictures)


def test_the_same_run_twice_differs_in_its_timings_alone(settings: Settings) -> None:
    plain = []
    for _ in range(2):
        outcome = run_audit(replace(settings, checks=("mprt", "smprt"), sanity_seeds=1))
        plain.append({k: v for k, v in outcome.results.to_dict().items() if k != "timing"})
    assert plain[0] == plain[1]


def test_the_model_is_as_before(settings: Settings) -> None:
    subject = load_subject(settings)
    digest = subject.description["state_sha256"]
    outcome = run_audit(replace(settings, sanity_seeds=1))
    assert outcome.results.provenance.subject["state_sha256"] == digest


def test_pictures_show_the_maps_along_the_cascade(settings: Settings) -> None:
    outcome = run_audit(replace(settings, sanity_seeds=1))
    assert len(outcome.pictures) == PICTURES
    layers = [step["layer"] for step in outcome.results.sanity["steps"]]
    for picture, image in zip(outcome.pictures, outcome.results.provenance.images, strict=False):
        assert picture.id == image["id"]
        assert picture.steps == ("trained", *layers)
        assert len(picture.steps) <= MOST_STEPS
        assert set(picture.maps) == set(METHODS)
        original, *random = picture.maps["sobel"]
        assert original is not None
        assert original.shape == (64, 64)
        assert all((after == original).all() for after in random if after is not None)


def test_steps_are_evenly_spaced_and_the_last_one_is_wholly_random(settings: Settings) -> None:
    whole = run_audit(replace(settings, sanity_seeds=1)).results.sanity
    few = run_audit(replace(settings, sanity_seeds=1, cascade_steps=2)).results.sanity
    assert [step["random"] for step in few["steps"]] == [1, len(whole["layers"])]
    for some, all_ in zip(few["curves"], whole["curves"], strict=True):
        assert some["values"][0] == [all_["values"][0][0], all_["values"][0][-1]]
    assert any("evenly spaced" in remark["reason"] for remark in few["remarks"])


def test_costly_methods_stay_out_unless_asked_for(settings: Settings) -> None:
    methods = ("hirescam", "scorecam")
    outcome = run_audit(replace(settings, methods=methods, sanity_seeds=1, num_images=2))
    assert outcome.results.sanity["settings"]["methods"] == ["hirescam"]
    assert any("scorecam took no part" in text for text in outcome.results.warnings)
    asked = replace(
        settings, methods=methods, sanity_seeds=1, num_images=2, costly_cascades=True,
        cascade_steps=2,
    )  # fmt: skip
    assert run_audit(asked).results.sanity["settings"]["methods"] == list(methods)
    with pytest.raises(UsageError, match="costly-cascades"):
        run_audit(replace(settings, methods=("scorecam",)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"checks": ("mprt", "nonsense")}, "expected checks among dead-zone, confidence"),
        ({"checks": ()}, "expected checks"),
        ({"checks": ("mprt", "mprt")}, "each once"),
        ({"checks": ("data-randomisation",)}, "--permuted belong together"),
        ({"permuted": "trained:x"}, "--permuted belong together"),
        ({"orders": ("sideways",), "checks": ("mprt",)}, "expected at least one order"),
        ({"orders": ("sideways",)}, "expected at least one order"),
        ({"scheme": "ours"}, "expected at least one scheme"),
        ({"checks": ("mprt",), "live_rows": 3}, "no wall is built: leave --live-rows out"),
        ({"checks": ("mprt",), "wall": "split"}, "leave --wall out"),
        ({"cascade_steps": 1, "checks": ("mprt",)}, "most_steps must be at least 2"),
        ({"sanity_seeds": 0}, "sanity_seeds must be at least 1"),
    ],
)
def test_options_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Settings(**options)


# -------------------------------------------------------------------------- data randomisation


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A network trained on true labels, and one on permuted ones."""
    home = tmp_path_factory.mktemp("runs")
    data = idx_folder(home / "digits", train=16, validation=8)
    folders = []
    for name, permute in (("true", False), ("permuted", True)):
        train(tiny(data, home / name, permute_labels=permute, changes={"epochs": 1}))
        folders.append(home / name)
    return folders[0], folders[1]


def test_two_trained_networks_are_compared(runs: tuple[Path, Path], photographs: Path) -> None:
    true, permuted = runs
    settings = Settings(
        model=f"trained:{true}", images=photographs, num_images=6, methods=METHODS,
        checks=("data-randomisation",), permuted=f"trained:{permuted}",
    )  # fmt: skip
    outcome = run_audit(settings)
    valid(outcome)
    assert outcome.results.provenance.subject["permuted"]["weights_sha256"]
    tables = {(t["method"], t["figure"]): t for t in outcome.results.sanity["tables"]}
    assert tables["sobel", "spearman"]["mean"]["mean"] == pytest.approx(1)
    assert (tables["gradcam", "spearman"]["mean"]["mean"] or 0) < 1
    assert outcomes(outcome, "data-randomisation")["Sobel"] is ClaimOutcome.FAIL
    assert outcome.pictures == []


def test_the_second_model_must_fit(runs: tuple[Path, Path], settings: Settings) -> None:
    true, permuted = runs
    options: dict[str, Any] = {"checks": ("data-randomisation",)}
    own = Settings(model=f"trained:{true}", permuted=str(true), **options)
    with pytest.raises(ModelError, match="trained on true labels"):
        load_second(own, build_subject(Settings(model=f"trained:{true}")))
    other = replace(settings, permuted=f"trained:{permuted}", **options)
    with pytest.raises(ModelError, match="other images or classes"):
        load_second(other, load_subject(other))
    file = replace(own, permuted=str(permuted / "masked" / "model.safetensors"))
    with pytest.raises(UsageError, match="expected --permuted trained:DIR"):
        load_second(file, load_subject(file))


def test_a_network_without_a_wall_can_be_checked(runs: tuple[Path, Path], tmp_path: Path) -> None:
    folder = shutil.copytree(runs[0], tmp_path / "run")
    description = folder / "masked" / "model.json"
    unmasked = json.loads(description.read_text())
    unmasked["network"]["masked"] = False
    description.write_text(json.dumps(unmasked))
    settings = Settings(model=f"trained:{folder}", checks=("mprt",))
    assert load_subject(settings).size == 28
    with pytest.raises(WallError, match="has no wall"):
        build_subject(replace(settings, checks=("dead-zone",)))


def test_a_weights_file_is_a_second_model(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "permuted.pt"
    given = replace(settings, checks=("data-randomisation",), permuted=str(path))
    subject = load_subject(given)
    state = {name: value + 1 for name, value in subject.model.state_dict().items()}
    torch.save(state, path)
    second = load_second(given, subject)
    name = execution_order(second.model, torch.zeros(1, 3, 64, 64)).layers[0].name
    assert torch.equal(second.model.state_dict()[f"{name}.weight"], state[f"{name}.weight"])
    assert second.layer == "0"
