"""The fixture camaudit, its marker and `camaudit_explainer`, in pytest inside pytest."""

from __future__ import annotations

import json

import pytest

from camaudit.gates.starting import start
from tests.testing.repos import Repo, policy

LOW = {"name": "low", "require": "dead_zone.mu_l1 <= 0.2"}

HEAD = """
import pytest
import torch
from pathlib import Path
from shapes.explainers import ours
from shapes.models import build

ROOT = Path(__file__).parents[1]
X = torch.rand(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
WALL = {"wall": "split", "live_rows": 5, "layer": "features.5"}
"""


def test_what_can_be_audited_and_asked(repo: Repo) -> None:
    repo.write(
        "tests/test_audits.py",
        HEAD
        + """
def test_a_method(camaudit):
    model = build()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = camaudit.audit(model, images=X, explainer="hirescam", **WALL)
    found.assert_blind(0.01)
    assert found.results["settings"]["methods"] == ["hirescam"]
    assert found.results["settings"]["checks"] == ["dead-zone"]
    assert found.results["subject"]["layer"] == "features.5"
    assert len(found.results["images"]) == 8
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())

def test_a_callable_on_a_folder(camaudit):
    found = camaudit.audit(build(), images="photos", explainer=ours, image_size=32,
                           preprocess="0.5/0.25", **WALL)
    found.assert_blind(0.2)
    assert {one["method"] for one in found.results["records"]} == {"ours", "uniform"}

def test_several(camaudit):
    found = camaudit.audit(build(), images=X, explainer=["hirescam", ours], methods="random",
                           **WALL)
    assert {one["method"] for one in found.results["records"]} == {"hirescam", "ours", "random"}

def test_names_and_claims(camaudit):
    found = camaudit.audit(build(), images=X, explainer={"mine": ours}, claims={"mine": "gradcam"},
                           checks=["invariance"], properties=("determinism",), examples=2,
                           layer="features.5")
    (_, own) = found.results["invariance"]["conformance"]
    assert (own["explainer"], own["claims"], own["outcome"]) == ("mine", "gradcam", "equal")

@pytest.mark.camaudit(checks=["random-logit"])
def test_checks_of_the_marker(camaudit):
    found = camaudit.audit(build(), images=X, explainer="explainers.py:ours=gradcam")
    assert found.results["settings"]["checks"] == ["random-logit"]

def test_scores_of_maps(camaudit):
    trunk = build().features
    found = camaudit.audit(trunk, images=X, explainer="hirescam", layer="5", wall="split",
                           live_rows=5, objective=lambda maps: maps.mean(dim=(2, 3)))
    found.assert_blind(0.01)
    assert found.results["subject"]["reading"]["output"] == "objective"

def test_fails_random(camaudit):
    camaudit.audit(build(), images=X, explainer="random", **WALL).assert_blind(0.1)

def test_fails_broken(camaudit):
    def broken(*_):
        raise KeyError("conv5")
    camaudit.audit(build(), images=X, explainer=broken, **WALL).assert_blind(0.1)

def test_fails_few(camaudit):
    camaudit.audit(build(), images=X[:5], explainer=ours, **WALL).assert_blind(0.9)

def test_fails_setting(camaudit):
    camaudit.audit(build(), images=X, liverows=5)

def test_fails_images(camaudit):
    camaudit.audit(build(), images=[1, 2])

def test_fails_model(camaudit):
    camaudit.audit("resnet18", images=X)

def test_fails_policy(camaudit):
    camaudit.audit(build(), images=X).assert_passes()

@pytest.mark.camaudit("dead-zone", check="x")
def test_errs(camaudit):
    pass
""",
    )
    result = repo.run()
    result.assert_outcomes(passed=6, failed=7, errors=1)
    result.stdout.fnmatch_lines_random(
        [
            "*The gate fails: 1 of 1 ruling fails.*",
            "*blind?random?: fail: dead_zone.mu_l1 ? 0.1, came 0.3*",
            "*KeyError: 'conv5'*",
            "*5 images: fewer than 6 decide nothing*",
            "*an audit has no setting liverows*",
            "*expected a torch.nn.Module; got str*",
            "*or a folder; got list*",
            "*no policy in *",
            "*the marker camaudit takes checks=*got 'dead-zone', check*",
        ]
    )


def test_policies_say_how_and_what(repo: Repo) -> None:
    subject = {"weights": "weights.safetensors", "weights_sha256": "0" * 64}  # of its own subject
    repo.write("camaudit.toml", policy([LOW], explainers=["hirescam"], subject=subject))
    strict = {"name": "strict", "require": "random_logit.similarity <= -0.9"}
    repo.write("strict.toml", policy([strict], subject={"wall": "auto"}).replace(
        'wall = "auto"\nlive_rows = 5\n', ""))  # fmt: skip
    pinned = policy([LOW], explainers=["hirescam"], subject={"state_sha256": "0" * 64})
    repo.write("pinned.toml", pinned)
    repo.write(
        "tests/test_policies.py",
        HEAD
        + """
from camaudit.gates.reading import read_policy

def test_by_the_rootdir(camaudit):
    found = camaudit.audit(build(), layer="features.5", explainer="hirescam")
    found.assert_passes()
    found.assert_passes(ROOT / "camaudit.toml")
    found.assert_passes(read_policy(ROOT / "camaudit.toml"))
    assert found.verdict().decision == "pass"
    assert found.results["settings"]["live_rows"] == 5
    assert len(found.results["images"]) == 12  # the policy's
    assert len(found._made) == 1

@pytest.mark.camaudit(policy="strict.toml")
def test_fails_by_the_marker(camaudit):
    camaudit.audit(build(), layer="features.5").assert_passes()

def test_fails_by_the_hash(camaudit):
    found = camaudit.audit(build(), images=X, explainer="hirescam", layer="features.5")
    found.assert_passes("pinned.toml")

@pytest.mark.camaudit(checks="random-logit")
def test_fails_without_the_check(camaudit):
    camaudit.audit(build(), images=X, explainer="hirescam", layer="features.5").assert_passes()
""",
    )
    result = repo.run("--camaudit-report", "out")
    result.assert_outcomes(passed=1, failed=3)
    text = result.stdout.str()
    assert "strict[gradcam]: fail: random_logit.similarity ≤ −0.9" in text
    assert "state_sha256 of the run is" in text
    assert "the run did not make the check dead-zone" in text or "dead-zone" in text
    session = json.loads((repo.path / "out" / "session.json").read_text())
    assert session["policy"] is None
    folders = {one["test"].split("::")[1]: one["folder"] for one in session["tests"]}
    assert len(folders) == 4
    for one in session["tests"]:
        folder = repo.path / "out" / one["folder"]
        assert json.loads((folder / "gate.json").read_text()) == one["gate"]
        assert (folder / "report.html").is_file()


def test_quick_and_seed_hold_for_the_fixture_too(repo: Repo) -> None:
    repo.write(
        "tests/test_quick.py",
        HEAD
        + """
def test_open(camaudit):
    found = camaudit.audit(build(), images=torch.cat([X, X]), explainer=ours, **WALL)
    assert found.results["settings"]["seed"] == 5
    assert len(found.results["images"]) == 8
    mean = [one["mu_l1"] for one in found.results["records"] if one["method"] == "ours"]
    found.assert_blind(sum(mean) / len(mean))
""",
    )
    result = repo.run("--camaudit-quick", "--camaudit-seed=5", "-rs")
    result.assert_outcomes(skipped=1)
    assert "inconclusive, as --camaudit-quick runs too little" in result.stdout.str()


def test_explainers_of_marker_policy_and_parametrisation(repo: Repo) -> None:
    names = ["hirescam", "explainers.py:ours=gradcam", "random"]
    repo.write("camaudit.toml", policy([LOW], explainers=names))
    repo.write(
        "tests/test_explainers.py",
        HEAD
        + """
@pytest.mark.camaudit(explainers=["gradcam", ours])
def test_marked(camaudit_explainer):
    assert camaudit_explainer in ("gradcam", ours)

def test_of_the_policy(camaudit, camaudit_explainer):
    camaudit.audit(build(), explainer=camaudit_explainer, layer="features.5").assert_passes()

@pytest.mark.parametrize("camaudit_explainer", ["gradcam"], indirect=True)
def test_own(camaudit_explainer):
    assert camaudit_explainer == "gradcam"
""",
    )
    result = repo.run("-v", "--strict-markers")
    result.assert_outcomes(passed=5)
    names = [line.split()[0].split("::")[1] for line in result.outlines if "PASSED" in line]
    assert names == [
        "test_marked[gradcam]", "test_marked[ours]", "test_of_the_policy[hirescam]",
        "test_of_the_policy[ours]", "test_own[gradcam]",
    ]  # fmt: skip
    (repo.path / "camaudit.toml").unlink()
    lost = repo.run()
    assert lost.ret == pytest.ExitCode.INTERRUPTED
    assert "no explainers for camaudit_explainer: no policy in" in lost.stdout.str()


def test_the_test_that_camaudit_init_writes(repo: Repo) -> None:
    repo.write("camaudit.toml", policy([LOW]))
    repo.write("models.py", "from shapes.models import build\n")
    started = start(repo.path)
    assert "test_explanations.py" in {path.name for path in started.written}
    text = repo.path.joinpath("tests", "test_explanations.py").read_text()
    assert 'ROOT / "photos"' in text
    result = repo.run("tests")
    result.assert_outcomes(passed=1)
