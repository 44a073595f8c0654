"""The invariance check within an audit: own explainers, counterexamples, claims and the command."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib import resources
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from click.testing import CliRunner
from jsonschema import Draft202012Validator

from camaudit.audit.run import Outcome, run_audit
from camaudit.audit.settings import Settings
from camaudit.cli import cli
from camaudit.errors import UsageError
from camaudit.report.html import render
from camaudit.types import ClaimOutcome

#: A few of all kinds; every method is put to all of them in tests/invariance.
PROPERTIES = (
    "determinism",
    "logit-scale",
    "batch-order",
    "dead-pixels-live-part",
    "dead-mass-zero",
)

EXPLAINERS = dedent(
    '''
    """Explainers that a user might bring, good and bad."""
    import torch
    from camaudit.invariance import registered


    def right(model, layer, images, targets):
        return registered("gradcam")(model, layer, images, targets)


    def neighbours(model, layer, images, targets):
        """Explains the next class."""
        with torch.no_grad():
            classes = model(images).shape[1]
        return right(model, layer, images, (targets + 1) % classes)


    def broken(model, layer, images, targets):
        raise KeyError("no such layer")


    def noisy(model, layer, images, targets):
        return torch.rand(len(images), 2, 2)
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
        num_images=2, batch_size=4, layer="0", methods=("gradcam", "gradcam++"),
        checks=("invariance",), examples=3, properties=PROPERTIES,
    )  # fmt: skip


def claims(outcome: Outcome) -> dict[str, ClaimOutcome]:
    """By explainer and what is claimed of it: it "keeps" properties, "gives" a method's maps."""
    words = [(claim.statement.split()[:2], claim.outcome) for claim in outcome.results.claims]
    return {" ".join(first): found for first, found in words}


def findings(outcome: Outcome, explainer: str, on: str = "drawn") -> dict[str, dict[str, Any]]:
    return {
        found["property"]: found
        for found in outcome.results.invariance["findings"]
        if (found["explainer"], found["on"]) == (explainer, on)
    }


def valid(outcome: Outcome) -> None:
    text = json.dumps(outcome.results.to_dict(), allow_nan=False)
    source = resources.files("camaudit.schema").joinpath("results-1.json").read_text()
    Draft202012Validator(json.loads(source)).validate(json.loads(text))


def test_registered_methods_have_no_bugs_and_their_known_violations(settings: Settings) -> None:
    outcome = run_audit(settings)
    passed = ClaimOutcome.PASS
    assert claims(outcome) == {"gradcam keeps": passed, "gradcam++ keeps": passed}
    assert findings(outcome, "gradcam")["logit-scale"]["outcome"] == "holds"
    shown = findings(outcome, "gradcam++")["logit-scale"]
    assert shown["outcome"] == "violated by definition"
    assert "model = nn.Sequential" in shown["counterexample"]["code"]
    assert findings(outcome, "gradcam", "own")["logit-scale"]["outcome"] == "holds"
    assert not outcome.failed
    assert not outcome.empty
    assert set(outcome.results.timing["invariance"]) == {"gradcam", "gradcam++"}
    valid(outcome)
    assert "Invariance" in render(outcome.results)


def test_with_a_wall_the_walled_model_is_tested(settings: Settings) -> None:
    checks = ("dead-zone", "invariance")
    walled = replace(settings, methods=("gradcam",), checks=checks, wall="split", live_rows=2)
    outcome = run_audit(walled)
    own = findings(outcome, "gradcam", "own")
    assert own["dead-pixels-live-part"]["outcome"] == "holds"
    assert own["dead-mass-zero"]["outcome"] == "violated by definition"
    assert outcome.results.summary
    valid(outcome)


def test_own_explainers_are_told_apart(
    settings: Settings, explainers: Path, tmp_path: Path
) -> None:
    specs = [f"{explainers}:{name}=gradcam" for name in ("right", "neighbours", "noisy")]
    mine = replace(settings, methods=("gradcam",), explainers=(*specs, f"{explainers}:broken"))
    kept = tmp_path / "kept"
    outcome = run_audit(mine, counterexamples=kept)
    assert claims(outcome) == {
        "gradcam keeps": ClaimOutcome.PASS, "broken keeps": ClaimOutcome.FAIL,
        "right keeps": ClaimOutcome.PASS, "right gives": ClaimOutcome.PASS,
        "neighbours keeps": ClaimOutcome.PASS, "neighbours gives": ClaimOutcome.FAIL,
        "noisy keeps": ClaimOutcome.FAIL, "noisy gives": ClaimOutcome.FAIL,
    }  # fmt: skip
    compared = {
        (entry["explainer"], entry["on"]): entry["outcome"]
        for entry in outcome.results.invariance["conformance"]
    }
    assert compared["right", "drawn"] == "equal"
    assert compared["right", "own"] == "equal"
    assert compared["neighbours", "drawn"] == "different"
    broken = findings(outcome, "broken")["logit-scale"]
    assert (broken["outcome"], broken["fault"]) == ("fault", "raised")
    assert "in broken" in broken["counterexample"]["trace"]
    noisy = findings(outcome, "noisy")
    assert noisy["determinism"]["outcome"] == "bug"
    assert noisy["logit-scale"]["fault"] == "nondeterministic"
    assert outcome.failed  # broken never gave maps
    assert list(kept.glob("neighbours--*.py"))
    valid(outcome)
    assert "no such layer" in render(outcome.results)


def test_what_was_found_is_tried_first_the_next_time(
    settings: Settings, explainers: Path, tmp_path: Path
) -> None:
    spec = f"{explainers}:neighbours=gradcam"
    mine = replace(
        settings, methods=("uniform",), explainers=(spec,), properties=("class-permutation",),
        examples=10,
    )  # fmt: skip
    kept = tmp_path / "kept"
    first = run_audit(mine, counterexamples=kept)
    bugs = [name for name, found in findings(first, "neighbours").items()
            if found["outcome"] == "bug"]  # fmt: skip
    assert bugs
    again = findings(run_audit(mine, counterexamples=kept), "neighbours")
    for name in bugs:
        assert again[name]["outcome"] == "bug"
        assert again[name]["examples"] == 1, name


def test_the_same_run_twice_finds_the_same(settings: Settings) -> None:
    few = replace(
        settings,
        methods=("gradcam++",),
        properties=("determinism", "logit-scale", "dead-mass-zero"),
    )
    one, other = (run_audit(few).results.invariance for _ in range(2))
    assert one == other


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"explainers": ("nothing.py:f",)}, "nothing"),
        ({"checks": ("mprt",), "explainers": ("a.py:f",)}, "--properties: of the check"),
        ({"properties": ("logit-scales",)}, "logit-scale"),
        ({"examples": 0}, "at least one example"),
        ({"explainer_budget": 0.0}, "budget above 0"),
    ],
)
def test_what_cannot_be_run_is_refused(
    settings: Settings, change: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        run_audit(replace(settings, **change))


def test_the_command(settings: Settings, explainers: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    arguments = [
        "run", "--model", settings.model, "--images", str(settings.images), "--image-size", "32",
        "--preprocess", "0.5/0.5", "--num-images", "2", "--layer", "0", "--methods", "gradcam",
        "--checks", "invariance", "--examples", "3",
        "--properties", "determinism,class-permutation",
        "--explainer", f"{explainers}:neighbours=gradcam", "--out", str(out),
    ]  # fmt: skip
    done = CliRunner().invoke(cli, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    assert "neighbours" in done.stdout
    results = json.loads((out / "results.json").read_text())
    assert results["settings"]["checks"] == ["invariance"]
    assert "neighbours" in (out / "report.html").read_text()
    assert list((out / "counterexamples").glob("*.json"))
