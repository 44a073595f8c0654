"""Explainers of the user's own in the dead zone and the sanity checks."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import pytest
import torch

from camaudit.audit.run import run_audit
from camaudit.audit.settings import Settings
from camaudit.errors import UsageError
from camaudit.methods import METHODS
from camaudit.report.html import render
from camaudit.types import Record, Status

EXPLAINERS = dedent(
    '''
    """GradCAM by hooks, as one writes it, and what goes wrong with such things."""
    import numpy as np
    import torch


    def hooked(model, layer, images, targets):
        kept = {}
        module = model.get_submodule(layer)
        handle = module.register_forward_hook(lambda m, i, o: kept.update(A=o))
        try:
            logits = model(images.requires_grad_(True))
        finally:
            handle.remove()
        score = logits.gather(1, targets[:, None]).sum()
        (G,) = torch.autograd.grad(score, kept["A"])
        return (G.mean(dim=(2, 3), keepdim=True) * kept["A"]).sum(dim=1).relu().detach()


    def signed(model, layer, images, targets):
        return (hooked(model, layer, images, targets) - 0.01).numpy()


    def noisy(model, layer, images, targets):
        return torch.rand(len(images), 4, 4)


    def trains(model, layer, images, targets):
        with torch.no_grad():
            for weight in model.parameters():
                weight.mul_(1.1)
        return torch.ones(len(images), 4, 4)


    def leaves_hooks(model, layer, images, targets):
        model.get_submodule(layer).register_forward_hook(lambda m, i, o: o * 0)
        model.train()
        return torch.ones(len(images), 4, 4)


    def lost(model, layer, images, targets):
        return model.get_submodule("features.99")


    def gradcam(model, layer, images, targets):
        return torch.ones(len(images), 4, 4)
    '''
)


@pytest.fixture
def explainers(tmp_path: Path) -> Path:
    path = tmp_path / "explainers.py"
    path.write_text(EXPLAINERS)
    return path


@pytest.fixture
def settings(factory: Path, photographs: Path) -> Settings:
    return Settings(
        model=f"{factory}:build", images=photographs, image_size=32, preprocess="0.5/0.5",
        num_images=3, batch_size=2, layer="0", methods=("gradcam",), wall="split", live_rows=2,
    )  # fmt: skip


def figures(records: list[Record], method: str) -> list[float | None]:
    return [record.mu_l1 for record in records if record.method == method]


@pytest.mark.parametrize("wall", ["split", "insert"])
def test_it_is_scored_as_the_method_that_it_is(
    settings: Settings, explainers: Path, wall: str
) -> None:
    rows = 2 if wall == "split" else 1
    mine = replace(settings, explainers=(f"{explainers}:hooked",), wall=wall, live_rows=rows)
    found = run_audit(mine).results
    right = figures(found.records, "gradcam")
    assert None not in right
    assert max(value or 0.0 for value in right) > 0
    assert figures(found.records, "hooked") == pytest.approx(right, abs=1e-6)
    twins: dict[str, list[float | None]] = {"gradcam": [], "hooked": []}
    for record in found.records:
        twins[record.method].append(None if record.unmasked is None else record.unmasked.mu_l1)
    assert twins["hooked"] == pytest.approx(twins["gradcam"], abs=1e-6)
    (entry,) = [entry for entry in found.summary if entry.method == "hooked"]
    assert entry.family == "foreign"
    assert "hooked" in render(found)
    assert "hooked" not in METHODS


def test_signed_maps_and_arrays_are_taken_as_they_are(settings: Settings, explainers: Path) -> None:
    mine = replace(settings, explainers=(f"{explainers}:signed",))
    records = [r for r in run_audit(mine).results.records if r.method == "signed"]
    assert {record.status for record in records} == {Status.OK}


def test_its_randomness_is_the_runs_seed_and_nobody_elses(
    settings: Settings, explainers: Path
) -> None:
    mine = replace(settings, explainers=(f"{explainers}:noisy",))
    before = torch.get_rng_state()
    first, second = run_audit(mine).results, run_audit(mine).results
    assert torch.equal(before, torch.get_rng_state())
    assert json.dumps(first.to_dict()["records"]) == json.dumps(second.to_dict()["records"])
    other = run_audit(replace(mine, seed=1)).results
    assert figures(other.records, "noisy") != figures(first.records, "noisy")


def test_one_that_writes_into_the_model_is_an_error_and_spoils_nothing(
    settings: Settings, explainers: Path
) -> None:
    alone = run_audit(settings).results
    mine = replace(settings, explainers=(f"{explainers}:trains", f"{explainers}:leaves_hooks"))
    outcome = run_audit(mine)
    assert figures(outcome.results.records, "gradcam") == figures(alone.records, "gradcam")
    records = [r for r in outcome.results.records if r.method == "trains"]
    assert {record.status for record in records} == {Status.ERROR}
    assert "put back" in (records[0].message or "")
    assert outcome.failed


def test_one_that_raises_keeps_its_own_traceback(settings: Settings, explainers: Path) -> None:
    outcome = run_audit(replace(settings, explainers=(f"{explainers}:lost",)))
    record = next(r for r in outcome.results.records if r.method == "lost")
    assert record.status is Status.ERROR
    assert "features.99" in (record.message or "")
    assert "explainers.py" in (record.message or "")
    assert figures(outcome.results.records, "gradcam")


def test_the_name_of_a_method_is_taken(settings: Settings, explainers: Path) -> None:
    with pytest.raises(UsageError, match="has the name of a method"):
        run_audit(replace(settings, explainers=(f"{explainers}:gradcam",)))
    twice = (f"{explainers}:hooked", f"{explainers}:hooked=gradcam")
    with pytest.raises(UsageError, match="has the name of another one"):
        run_audit(replace(settings, explainers=twice))


def test_parameters_are_randomised_under_it(
    settings: Settings, explainers: Path, tmp_path: Path
) -> None:
    """MPRT of hooks and of the registered method, in float64: the same similarities."""
    precise = tmp_path / "precise.py"
    factory = settings.model.rpartition(":")[0]
    precise.write_text(
        f"{Path(factory).read_text()}\n\ndef double():\n    return build().double()\n"
    )
    mine = replace(
        settings, model=f"{precise}:double", wall="auto", live_rows=None, checks=("mprt",),
        sanity_seeds=2, explainers=(f"{explainers}:hooked",), methods=("gradcam",),
    )  # fmt: skip
    curves = run_audit(mine).results.sanity["curves"]
    # upsampling makes ties at the border that rounding breaks, and ranks see it: SSIM does not
    for similarity, allowed in (("ssim", 1e-9), ("spearman", 1e-4)):
        values = {c["method"]: c["values"] for c in curves if c["similarity"] == similarity}
        assert set(values) == {"gradcam", "hooked"}
        for one, other in zip(values["gradcam"], values["hooked"], strict=True):
            for right, found in zip(one, other, strict=True):
                assert found == pytest.approx(right, abs=allowed)
