"""Metrics within an audit: with a wall and without, on labelled photographs, and as a protocol."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from camaudit.audit.loop import Loop
from camaudit.audit.run import Outcome, run_audit
from camaudit.audit.settings import Settings, settings_with_protocol
from camaudit.errors import UsageError
from tests.audit.test_sanity import valid

METHODS = ("gradcam", "hirescam", "sobel", "uniform")


@pytest.fixture
def settings(factory: Path, photographs: Path) -> Settings:
    return Settings(
        model=f"{factory}:build", images=photographs, image_size=64, preprocess="0.5/0.5",
        num_images=6, batch_size=4, layer="0", methods=METHODS, checks=("confidence", "adcc"),
    )  # fmt: skip


def rows(outcome: Outcome) -> dict[tuple[str, str], dict[str, Any]]:
    found = outcome.results.metrics["rows"]
    return {(row["metric"], row["method"]): row for row in found}


def test_without_the_dead_zone_no_wall_is_built(settings: Settings) -> None:
    outcome = run_audit(settings)
    results = outcome.results
    assert [results.summary, results.records] == [[], []]
    assert not outcome.failed
    assert not outcome.empty
    assert {image["pairing"] for image in results.provenance.images} == {"single"}
    found = rows(outcome)
    assert found["average-drop", "gradcam"]["mean"]["n"] == 6
    assert found["average-drop", "uniform"]["missing"] == {"constant map": 6}
    assert results.metrics["on"] == "model"
    assert results.metrics["infos"]["drop-in-logit"]["low"] is None
    assert results.metrics["comparison"]["agreement"]["methods"] == ["gradcam", "hirescam", "sobel"]
    assert results.timing["metrics"]["confidence"] > 0
    valid(outcome)


def test_a_run_twice_is_the_same_but_for_timings(settings: Settings) -> None:
    texts = []
    for _ in range(2):
        plain = run_audit(settings).results.to_dict()
        del plain["timing"]
        texts.append(json.dumps(plain, allow_nan=False, sort_keys=True))
    assert texts[0] == texts[1]


def test_with_a_wall_metrics_are_of_the_model_or_of_the_walled_one(settings: Settings) -> None:
    walled = replace(
        settings, checks=("dead-zone", "confidence", "insertion-deletion"), wall="split",
        live_rows=4,
    )  # fmt: skip
    own, behind = (run_audit(replace(walled, metrics_on=on)) for on in ("model", "walled"))
    assert own.results.records == behind.results.records
    assert [one.results.metrics["on"] for one in (own, behind)] == ["model", "walled"]
    first, second = (one.results.metrics["probabilities"] for one in (own, behind))
    assert first != second
    seen = {record.image: record.target for record in behind.results.records}
    assert behind.results.metrics["targets"] == list(seen.values())
    for outcome in (own, behind):
        valid(outcome)


def test_methods_that_cost_much_take_as_many_images_as_in_the_dead_zone(
    settings: Settings,
) -> None:
    costly = replace(settings, methods=("gradcam", "scorecam"), perturbation_images=2)
    outcome = run_audit(costly)
    assert rows(outcome)["average-drop", "scorecam"]["missing"] == {"not run": 4}
    (note,) = (text for text in outcome.results.warnings if "metrics taken on 2 of 6" in text)
    assert note.startswith("scorecam had")


def boxes(folder: Path, photographs: Path) -> Path:
    """A COCO file with a box in every photograph but the first."""
    listed, marked = [], []
    for number, path in enumerate(sorted(photographs.rglob("*.png"))):
        with Image.open(path) as image:
            width, height = image.size
        name = path.relative_to(photographs).as_posix()
        listed.append({"id": number, "file_name": name, "width": width, "height": height})
        if number:
            box = [width // 4, height // 4, width // 2, height // 2]
            marked.append({"id": number, "image_id": number, "category_id": 1, "bbox": box})
    found = {
        "images": listed, "annotations": marked, "categories": [{"id": 1, "name": "thing"}]
    }  # fmt: skip
    (folder / "boxes.json").write_text(json.dumps(found))
    return folder / "boxes.json"


def test_localisation_on_labelled_photographs(
    settings: Settings, photographs: Path, tmp_path: Path
) -> None:
    regions = boxes(tmp_path, photographs)
    outcome = run_audit(replace(settings, checks=("localisation",), regions=regions))
    found = rows(outcome)["energy-pointing-game", "gradcam"]
    assert found["missing"] == {"no labelled region": 1}
    assert 0 < found["mean"]["mean"] < 1
    valid(outcome)


def test_black_masks_and_mean_colour_masks_differ(settings: Settings) -> None:
    one, other = (
        rows(run_audit(replace(settings, mask_baseline=baseline)))["average-drop", "gradcam"]
        for baseline in ("mean", "black")
    )
    assert one["values"] != other["values"]


def with_protocol(settings: Settings, name: str, **changes: Any) -> Settings:
    kept = {key: value for key, value in vars(settings).items() if key not in ("checks", "methods")}
    return settings_with_protocol(
        **{**kept, "protocol": name, "checks": None, "methods": None, **changes}
    )


def test_a_protocol_brings_its_methods_and_checks(settings: Settings) -> None:
    asked = with_protocol(settings, "scorecam++:main,logit", perturbation_images=6)
    assert asked.checks == ("confidence",)
    assert len(asked.methods or ()) == 7
    outcome = run_audit(asked)
    main, logit = outcome.results.protocol["tables"]
    wins = [row["mean"]["mean"] for row in main["measured"] if row["metric"] == "win"]
    assert len(wins) == 7
    assert sum(wins) == pytest.approx(100)
    assert {row["metric"] for row in logit["measured"]} == {"drop-in-logit"}
    assert len(main["published"]) == 4
    verdicts = {"holds", "reversed", "inconclusive", "no difference", "not applicable"}
    assert {claim["verdict"] for claim in main["claims"]} <= verdicts
    assert all(claim["n"] == 6 for claim in main["claims"])
    valid(outcome)


def test_each_table_has_its_own_rivals(settings: Settings) -> None:
    asked = with_protocol(settings, "scorecam++:main,cases", perturbation_images=6)
    outcome = run_audit(asked)
    for table in outcome.results.protocol["tables"]:
        wins = [row["mean"]["mean"] for row in table["measured"] if row["metric"] == "win"]
        assert sum(wins) == pytest.approx(100), table["key"]


def test_the_protocol_of_the_walls_reads_the_dead_zone(settings: Settings) -> None:
    asked = with_protocol(settings, "walls", wall="split", live_rows=4, perturbation_images=6)
    assert asked.checks == ("dead-zone",)
    outcome = run_audit(asked)
    (table,) = outcome.results.protocol["tables"]
    measured = {(row["metric"], row["method"]): row["mean"] for row in table["measured"]}
    summary = {entry.method: entry for entry in outcome.results.summary}
    assert measured["mu_l2", "gradcam"]["mean"] == summary["gradcam"].mu_l2.mean
    assert measured["mu_l1", "hirescam"]["mean"] == 0
    assert outcome.results.metrics == {}
    valid(outcome)


def test_a_protocol_compares_costly_methods_on_the_images_they_were_run_on(
    settings: Settings,
) -> None:
    asked = with_protocol(settings, "walls", wall="split", live_rows=4, perturbation_images=2)
    outcome = run_audit(asked)
    (table,) = outcome.results.protocol["tables"]
    counts = {row["method"]: row["mean"]["n"] for row in table["measured"]}
    assert (counts["scorecam"], counts["gradcam"]) == (2, 6)
    claims = {claim["worse"]: claim for claim in table["claims"]}
    assert (claims["scorecam"]["n"], claims["gradcam"]["n"]) == (2, 6)
    valid(outcome)


def test_regions_that_cannot_be_read_are_refused_before_anything_is_scored(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "boxes.json").write_text("{}")
    asked = replace(
        settings, checks=("dead-zone", "localisation"), regions=tmp_path / "boxes.json",
        wall="split", live_rows=4,
    )  # fmt: skip
    monkeypatch.setattr(Loop, "run", lambda _: pytest.fail("the scoring began"))
    with pytest.raises(UsageError, match=r"boxes\.json"):
        run_audit(asked)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"metrics_on": "walled", "checks": ("dead-zone",)}, "--metrics-on walled: no check"),
        ({"mask_baseline": "black", "checks": ("sparsity",)}, "--mask-baseline black: no check"),
        ({"pixels_per_step": 9, "checks": ("sparsity",)}, "--pixels-per-step 9: no check"),
        ({"region_origin": 0, "region_boxes": True}, "--region-origin 0, --region-boxes: no"),
        ({"metrics_on": "walled"}, "add dead-zone"),
        ({"metrics_on": "both"}, "model, walled"),
        ({"checks": ("localisation",)}, "--regions belong together"),
        ({"regions": Path("boxes.json")}, "--regions belong together"),
        ({"protocol": "scorecam++"}, "needs gradcam\\+\\+"),
        ({"protocol": "scorecam+++"}, "unknown protocol"),
        ({"mask_baseline": "grey"}, "mean, black"),
        ({"pixels_per_step": 0}, "at least 1"),
    ],
)
def test_settings_that_cannot_be(settings: Settings, change: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        replace(settings, **change)


VIT = """
import torch
from torch import nn
from torchvision.models.vision_transformer import VisionTransformer


def build():
    torch.manual_seed(0)
    model = VisionTransformer(
        image_size=64, patch_size=16, num_layers=3, num_heads=2, hidden_dim=16, mlp_dim=32,
        num_classes=7,
    )
    nn.init.normal_(model.heads.head.weight)  # torchvision starts it at 0
    return model.eval()
"""


def test_a_vision_transformer_runs_the_table_that_applies_to_it(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "vit.py").write_text(VIT)
    asked = with_protocol(
        settings, "scorecam++:vit", model=f"{tmp_path / 'vit.py'}:build", layer=None,
        perturbation_images=6,
    )  # fmt: skip
    outcome = run_audit(asked)
    assert not outcome.failed
    assert outcome.results.provenance.subject["layer"] == "encoder.layers.encoder_layer_0"
    (table,) = outcome.results.protocol["tables"]
    drops = {row["method"]: row["mean"]["n"] for row in table["measured"]
             if row["metric"] == "average-drop"}  # fmt: skip
    assert len(drops) == 6
    assert drops["scorecam++"] == 6
    valid(outcome)
