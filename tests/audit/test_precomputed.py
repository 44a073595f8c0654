"""Audits of maps that another process wrote, and of what is missing among them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest
import torch
from jsonschema import Draft202012Validator
from PIL import Image

from camaudit.audit.run import run_audit
from camaudit.audit.settings import Settings
from camaudit.errors import UsageError
from camaudit.models.loading import load_model
from camaudit.report.html import render
from camaudit.schema import results_schema
from camaudit.types import Status
from camaudit.walls import split_trunk

COUNT = 200
WRITER = dedent(
    """
    import sys
    import numpy as np

    folder, count, power = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    rows = (np.arange(32) + 1.0)[:, None]
    for number in range(count):
        values = rows ** (power * number / count) * np.ones((1, 32))
        np.save(f"{folder}/img_{number:03d}.npy", values)
    assert "torch" not in sys.modules and "camaudit" not in sys.modules
    """
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for number in range(COUNT):
        pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"img_{number:03d}.png")
    return folder


def written(folder: Path, count: int = COUNT, power: float = 2.0) -> Path:
    """Maps that a program writes which has numpy alone."""
    folder.mkdir()
    subprocess.run([sys.executable, "-c", WRITER, str(folder), str(count), str(power)], check=True)
    return folder


@pytest.fixture
def settings(factory: Path, pictures: Path) -> Settings:
    return Settings(
        model=f"{factory}:build", images=pictures, image_size=32, preprocess="0.5/0.5",
        num_images=COUNT, batch_size=64, layer="0", methods=("uniform",), wall="split",
        live_rows=2,
    )  # fmt: skip


def expected(settings: Settings, power: float) -> list[float]:
    """μ of every map by numpy, from the zone of the same wall."""
    model = load_model(settings.model, seed=0).model
    zone = split_trunk(model, "0", torch.zeros(1, 3, 32, 32), live_rows=2).zone
    rows = np.arange(32) + 1.0
    maps = [rows[:, None] ** (power * number / COUNT) * np.ones(32) for number in range(COUNT)]
    return [float(one[zone.scored.numpy()].sum() / one.sum()) for one in maps]


def test_an_audit_of_200_images_whose_maps_another_process_wrote(
    settings: Settings, tmp_path: Path
) -> None:
    maps = written(tmp_path / "theirs")
    plain = written(tmp_path / "plain", power=0.0)
    asked = replace(settings, explainers=(f"maps:{maps}(name=theirs, unwalled={plain})",))
    results = run_audit(asked).results
    records = [one for one in results.records if one.method == "theirs"]
    assert [one.mu_l1 for one in records] == pytest.approx(expected(settings, 2.0), abs=1e-6)
    uniform = results.summary[0].uniform
    assert {round(one.unmasked.mu_l1 or 0, 6) for one in records if one.unmasked} == {
        round(uniform, 6)
    }
    plain_json = results.to_dict()
    Draft202012Validator(results_schema()).validate(plain_json)
    (entry,) = plain_json["settings"]["foreign"]
    assert (entry["maps"]["found"], entry["maps"]["missing"]) == (COUNT, [])
    assert entry["maps"]["extra"] == 0
    assert entry["maps"]["unwalled"]["found"] == COUNT
    assert not any("theirs" in text for text in results.warnings)
    page = render(results)
    assert "made by another tool, as it wrote them" in page
    assert "200 of 200 images have a map" in page


def test_missing_and_broken_maps_are_told_and_never_zero(
    settings: Settings, tmp_path: Path
) -> None:
    maps = written(tmp_path / "theirs", 20)
    (maps / "img_003.npy").unlink()
    np.save(maps / "img_004.npy", np.full((32, 32), np.nan))
    np.save(maps / "img_005.npy", np.zeros((32, 32)))
    np.save(maps / "img_006.npy", np.ones((3, 32, 32)))
    (maps / "img_007.npy").write_bytes(b"")
    np.save(maps / "stray.npy", np.ones((32, 32)))
    few = replace(
        settings, explainers=(f"maps:{maps}",), num_images=20, images=small(settings, tmp_path)
    )
    outcome = run_audit(few)
    results = outcome.results
    records = [one for one in results.records if one.method == "maps:theirs"]
    found = dict(enumerate(records))
    assert found[3].status is Status.NOT_APPLICABLE
    assert found[3].mu_l1 is None
    assert [found[number].status for number in (4, 6, 7)] == [Status.ERROR] * 3
    assert found[5].status is Status.DEGENERATE
    reasons = {
        4: "img_004.npy holds NaN",
        6: "img_006.npy has the shape (3, 32, 32)",
        7: "img_007.npy cannot be read as a map: the file is empty",
    }
    for number, words in reasons.items():
        assert words in (found[number].message or "")
    assert sum(one.status is Status.OK for one in records) == 15
    assert all(one.unmasked and one.unmasked.status is Status.NOT_APPLICABLE for one in records)
    missing = records[3].image
    told = [text for text in results.warnings if text.startswith("maps:theirs")]
    assert told == [
        "maps:theirs has no map of 1 of 20 images, which count as not applicable: " + missing,
        f"maps:theirs: 1 file in {maps} belongs to no image of the run",
    ]
    assert outcome.failed
    Draft202012Validator(results_schema()).validate(results.to_dict())


def small(settings: Settings, tmp_path: Path) -> Path:
    """The first 20 of the pictures."""
    folder = tmp_path / "few"
    folder.mkdir()
    assert settings.images is not None
    for number in range(20):
        name = f"img_{number:03d}.png"
        (folder / name).write_bytes((settings.images / name).read_bytes())
    return folder


def test_metrics_are_of_the_model_that_the_maps_are_of(settings: Settings, tmp_path: Path) -> None:
    """Without a wall the folder is the model's own; ADCC, which asks for other maps, is not."""
    maps = written(tmp_path / "theirs", 20)
    base = replace(
        settings, images=small(settings, tmp_path), num_images=4, explainers=(f"maps:{maps}",),
        methods=("gradcam",),
    )  # fmt: skip
    alone = replace(base, wall="auto", live_rows=None, checks=("confidence", "adcc"))
    found = run_audit(alone).results
    rows = {(row["metric"], row["method"]): row for row in found.metrics["rows"]}
    assert rows["average-drop", "maps:theirs"]["mean"]["n"] == 4
    adcc = [row for (metric, method), row in rows.items() if metric == "adcc" and "maps" in method]
    assert [row["mean"]["n"] for row in adcc] == [0]
    assert adcc[0]["missing"] == {"not applicable": 4}
    both = replace(base, checks=("dead-zone", "sparsity"))
    rows = {(r["metric"], r["method"]): r for r in run_audit(both).results.metrics["rows"]}
    assert rows["sparseness", "maps:theirs"]["missing"] == {"not applicable": 4}
    walled = run_audit(replace(both, metrics_on="walled")).results
    rows = {(r["metric"], r["method"]): r for r in walled.metrics["rows"]}
    assert rows["sparseness", "maps:theirs"]["mean"]["n"] == 4


def test_sanity_and_invariance_are_not_applicable_and_say_so(
    settings: Settings, tmp_path: Path
) -> None:
    maps = written(tmp_path / "theirs", 20)
    base = replace(
        settings, images=small(settings, tmp_path), num_images=2, explainers=(f"maps:{maps}",),
        methods=("gradcam",), wall="auto", live_rows=None,
    )  # fmt: skip
    found = run_audit(replace(base, checks=("random-logit",))).results
    assert "maps:theirs" not in str(found.sanity)
    assert any("sanity checks are not applicable to maps:theirs" in t for t in found.warnings)
    found = run_audit(
        replace(base, checks=("invariance",), properties=("determinism",), examples=1)
    ).results
    assert "maps:theirs" not in str(found.invariance)
    assert any("invariance is not applicable to maps:theirs" in t for t in found.warnings)


def test_a_folder_has_one_name_and_a_name_one_folder(settings: Settings, tmp_path: Path) -> None:
    maps = written(tmp_path / "theirs", 1)
    with pytest.raises(UsageError, match="has the name of a method"):
        run_audit(replace(settings, explainers=(f"maps:{maps}(name=gradcam)",)))
    with pytest.raises(UsageError, match="has the name of another one"):
        run_audit(replace(settings, explainers=(f"maps:{maps}", f"maps:{maps}")))
