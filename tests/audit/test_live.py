"""Audits of a model, explainers and images that a program holds."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from camaudit.audit.live import Live
from camaudit.audit.run import run_audit
from camaudit.audit.settings import Settings
from camaudit.errors import ModelError, UsageError
from camaudit.invariance import registered
from camaudit.report.html import render
from camaudit.types import Status


def network() -> nn.Module:
    torch.manual_seed(11)
    trunk = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2, padding=1)
    )
    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))
    return nn.Sequential(trunk, head).eval()


def images(count: int = 4, size: int = 32) -> Tensor:
    return torch.rand(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def mine(model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
    return registered("gradcam")(model, layer, images, targets)


SETTINGS = Settings(methods=("gradcam", "hirescam", "uniform"), wall="split", layer="0")


def test_an_audit_of_objects_reads_the_tensors_as_they_are() -> None:
    model, given = network(), images()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    outcome = run_audit(SETTINGS, live=Live(model=model, images=given, explainers={"mine": mine}))
    results = outcome.results
    assert not outcome.failed
    figures = {
        name: [r.mu_l1 for r in results.records if r.method == name]
        for name in ("gradcam", "mine", "hirescam")
    }
    assert figures["mine"] == pytest.approx(figures["gradcam"], abs=1e-6)
    assert {value for value in figures["hirescam"] if value is not None} == {0.0}
    with torch.no_grad():
        top = model(given).argmax(dim=1).tolist()
    assert [entry["unwalled_top1"] for entry in results.provenance.images] == top
    assert results.provenance.subject["preprocess"]["name"] == "as given"
    assert results.provenance.subject["image_source"] == "tensors that the program holds"
    assert not any("weights" in text or "preprocess" in text for text in results.warnings)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert "mine" in render(results, outcome.gallery, outcome.pictures)


def test_the_same_images_have_the_same_names_and_hash() -> None:
    live = Live(model=network(), images=images())
    one, other = (run_audit(SETTINGS, live=live).results.to_dict() for _ in range(2))
    one.pop("timing"), other.pop("timing")
    assert one == other
    assert len({entry["id"] for entry in one["images"]}) == 4


def test_every_check_takes_them() -> None:
    settings = replace(
        SETTINGS, checks=("dead-zone", "mprt", "random-logit", "invariance"), sanity_seeds=1,
        examples=1, properties=("determinism", "batch-order"), methods=("gradcam",),
    )  # fmt: skip
    live = Live(
        model=network(), images=images(2), explainers={"mine": mine}, claims={"mine": "gradcam"}
    )
    results = run_audit(settings, live=live).results
    assert {r.method for r in results.records} == {"gradcam", "mine"}
    assert {c["method"] for c in results.sanity["curves"]} == {"gradcam", "mine"}
    (compared,) = {c["outcome"] for c in results.invariance["conformance"]}
    assert compared == "equal"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model": "resnet"}, "torch.nn.Module; got str"),
        ({"images": [1, 2]}, "got list"),
        ({"images": images().to(torch.uint8)}, "uint8"),
        ({"images": torch.rand(2, 3, 8, 9)}, "crop or pad"),
        ({"images": torch.rand(2, 0, 8, 8)}, "N×C×H×H"),
        ({"images": torch.rand(0, 3, 8, 8)}, "N×C×H×H"),
        ({"images": torch.full((1, 3, 8, 8), float("nan"))}, "NaN"),
        ({"explainers": {"mine": 3}}, "'mine' is a int"),
        ({"claims": {"mine": "gradcam"}}, "not given: mine"),
    ],
)
def test_what_cannot_be_audited_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Live(**{"model": network(), "images": images(), **change})


def test_a_model_in_training_mode_is_refused() -> None:
    with pytest.raises(ModelError, match="training mode"):
        run_audit(SETTINGS, live=Live(model=network().train(), images=images()))


def test_an_explainer_that_fails_has_records_that_say_so() -> None:
    def broken(*_: Any) -> Tensor:
        raise KeyError("conv5")

    outcome = run_audit(SETTINGS, live=Live(model=network(), images=images(2),
                                            explainers={"broken": broken}))  # fmt: skip
    records = [r for r in outcome.results.records if r.method == "broken"]
    assert {record.status for record in records} == {Status.ERROR}
    assert "conv5" in (records[0].message or "")
