"""Explainers of other libraries in an audit: figures, origin, and a model left as it was."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from jsonschema import Draft202012Validator
from rich.console import Console
from torch import nn

from camaudit.audit.live import Live
from camaudit.audit.run import run_audit
from camaudit.audit.settings import Settings, settings_with_protocol
from camaudit.cli import cli
from camaudit.console import print_table
from camaudit.report.explainers_table import explainers_table
from camaudit.report.html import render
from camaudit.schema import results_schema
from camaudit.types import Record, Status
from tests.networks import chain, images, settle

LIBRARIES = (
    "pytorch_grad_cam:GradCAM",
    "torchcam:GradCAM",
    "captum:LayerGradCam(relu_attributions=true)",
    "captum:Saliency",
)


@pytest.fixture
def settings(factory: Path, photographs: Path) -> Settings:
    return Settings(
        model=f"{factory}:build", images=photographs, image_size=32, preprocess="0.5/0.5",
        num_images=3, batch_size=2, layer="0", methods=("gradcam",), wall="split", live_rows=2,
    )  # fmt: skip


def mu(records: list[Record], method: str, *, column: str = "mu_l1") -> list[float | None]:
    return [getattr(record, column) for record in records if record.method == method]


def test_raw_maps_score_as_the_method_and_others_say_what_was_done(settings: Settings) -> None:
    outcome = run_audit(replace(settings, explainers=LIBRARIES))
    results = outcome.results
    right = mu(results.records, "gradcam")
    for name in LIBRARIES[1:3]:
        assert mu(results.records, name) == pytest.approx(right, abs=1e-6)
    scaled = mu(results.records, "gradcam", column="mu_l1_minmax")
    # min-max at the layer's resolution and after the resize is not min-max after it alone
    assert mu(results.records, LIBRARIES[0]) == pytest.approx(scaled, abs=0.1)
    assert mu(results.records, LIBRARIES[0]) != pytest.approx(right, abs=1e-3)
    assert mu(results.records, "captum:Saliency") == [0.0] * 3  # the crop is all that it sees
    plain = results.to_dict()
    Draft202012Validator(results_schema()).validate(plain)
    entries = {entry["explainer"]: entry for entry in plain["settings"]["foreign"]}
    assert tuple(plain["settings"]["explainers"]) == LIBRARIES
    assert tuple(entries) == LIBRARIES
    assert entries[LIBRARIES[0]]["processing"][0] == "ReLU"
    assert entries[LIBRARIES[0]]["version"] >= "1.5.7"
    assert all(entry["claims"] is None for entry in entries.values())
    page = render(results)
    assert page.count("min-max of every image again") >= 2  # in the figures, and in its own table
    (table,) = explainers_table(results)
    shown = Console(file=io.StringIO(), width=200)
    shown.print(table)
    text = shown.file.getvalue()  # type: ignore[attr-defined]
    assert "grad-cam 1." in text
    assert "sum over channels of absolute values" in text


class Shared(nn.Module):
    """One activation behind both convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 5, 3, padding=1)
        self.act, self.head = nn.ReLU(), nn.Linear(5, 4)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        maps = self.act(self.second(self.act(self.first(images))))
        return self.head(maps.mean(dim=(2, 3)))  # type: ignore[no-any-return]


def test_a_layer_that_runs_twice_has_its_own_run_explained() -> None:
    torch.manual_seed(0)
    live = Live(model=Shared().eval(), images=torch.randn(2, 3, 12, 12))
    asked = Settings(
        layer="act#2", wall="split", methods=("gradcam",), explainers=LIBRARIES[1:3]
    )  # fmt: skip
    outcome = run_audit(asked, live=live)
    assert not outcome.failed
    records = outcome.results.records
    plain = [r.unmasked.mu_l1 for r in records if r.unmasked and r.method == "gradcam"]
    assert len(set(plain)) == 2
    for name in LIBRARIES[1:3]:
        assert mu(records, name) == pytest.approx(mu(records, "gradcam"), abs=1e-6)
        found = [r.unmasked.mu_l1 for r in records if r.unmasked and r.method == name]
        assert found == pytest.approx(plain, abs=1e-6)


def test_a_run_without_foreign_explainers_says_nothing_of_them(
    settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    results = run_audit(settings).results
    assert "foreign" not in results.to_dict()["settings"]
    assert explainers_table(results) == []
    assert 'id="explainers"' not in render(results)
    print_table(results)
    assert "Explainers beside" not in capsys.readouterr().out


def test_the_users_model_is_as_it_was() -> None:
    """Frozen parameters, gradients and hooks of a model that a program holds."""
    model = settle(chain())
    first, *others = model.parameters()
    for weight in others:
        weight.requires_grad_(False)
    first.grad = torch.ones_like(first)
    live = Live(model=model, images=images(2), explainers={"careless": careless})
    asked = Settings(layer="5", wall="split", methods=("gradcam",), explainers=LIBRARIES)
    results = run_audit(asked, live=live).results
    assert {record.status for record in results.records} == {Status.OK}
    assert first.requires_grad
    assert not any(weight.requires_grad for weight in others)
    assert bool((first.grad == 1).all())
    assert not model.training
    assert not model[5]._forward_hooks
    told = [text for text in results.warnings if text.startswith("careless left on the model")]
    assert len(told) == 1
    assert "hooks of trunk" in told[0]
    assert "mode of the model" in told[0]
    assert "requires_grad of" in told[0]
    assert ".grad of" in told[0]
    assert told[0].endswith("it was put back after every call")
    assert not any(name in text for text in results.warnings for name in LIBRARIES)


def careless(
    model: nn.Module, layer: str, images: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    module = model.get_submodule(layer)
    module.register_forward_hook(lambda *_: None)
    model.train()
    for weight in model.parameters():
        weight.requires_grad_(True)
    model.eval()
    model.training = True
    model(images).gather(1, targets[:, None]).sum().backward()
    return torch.ones(len(images), 4, 4)


def sly(model: nn.Module, _layer: str, images: torch.Tensor, _classes: torch.Tensor) -> object:
    """Writes past autograd's counters."""
    next(model.parameters()).data.mul_(2.0)
    return torch.ones(len(images), 4, 4)


def test_weights_that_were_written_to_are_named() -> None:
    model = settle(chain())
    kept = next(model.parameters()).detach().clone()
    live = Live(model=model, images=images(2), explainers={"sly": sly})
    asked = Settings(layer="5", wall="split", methods=("gradcam",))
    records = [one for one in run_audit(asked, live=live).results.records if one.method == "sly"]
    assert {record.status for record in records} == {Status.ERROR}
    assert "weights or buffers (trunk.trunk.model.0.weight" in (records[0].message or "")
    assert torch.equal(next(model.parameters()), kept)


def layered(_model: nn.Module, _layer: str, images: torch.Tensor, _classes: object) -> object:
    return torch.ones(len(images), 3, 8, 8)


def test_maps_with_channels_say_which_reductions_there_are() -> None:
    live = Live(model=settle(chain()), images=images(2), explainers={"layered": layered})
    asked = Settings(layer="5", wall="split", methods=("gradcam",))
    records = [r for r in run_audit(asked, live=live).results.records if r.method == "layered"]
    assert "got the shape (2, 3, 8, 8): reduce N×C×h×w" in (records[0].message or "")


@pytest.mark.parametrize(
    ("methods", "given", "expected"),
    [
        (None, ("captum:Saliency",), None),
        (None, ("gradcam", "captum:Saliency"), ("gradcam",)),
        (("uniform",), ("gradcam", "standard"), ("uniform", "gradcam", "standard")),
    ],
)
def test_a_plain_name_is_a_method(
    methods: tuple[str, ...] | None, given: tuple[str, ...], expected: tuple[str, ...] | None
) -> None:
    found = settings_with_protocol(checks=None, methods=methods, explainers=given)
    assert found.methods == expected
    assert found.explainers == tuple(one for one in given if ":" in one)


def test_a_list_on_the_command_line(factory: Path, photographs: Path, tmp_path: Path) -> None:
    explain = "gradcam(at=0),torchcam:LayerCAM,captum:Occlusion(sliding_window_shapes=3+16+16)"
    result = CliRunner().invoke(
        cli,
        ["run", "--model", f"{factory}:build", "--images", str(photographs), "--image-size", "32",
         "--preprocess", "0.5/0.5", "--num-images", "1", "--layer", "0", "--wall", "split",
         "--live-rows", "2", "--out", str(tmp_path / "out"), "--explainers", explain,
         "--explainer", "captum:LayerGradCam=gradcam"],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "Explainers beside the methods" in result.output
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [entry["method"] for entry in results["summary"]] == [
        "gradcam(at=0, fuse=mean)",
        "torchcam:LayerCAM",
        "captum:Occlusion(sliding_window_shapes=3+16+16)",
        "captum:LayerGradCam",
    ]
    claims = [entry["claims"] for entry in results["settings"]["foreign"]]
    assert claims == [None, None, "gradcam"]
