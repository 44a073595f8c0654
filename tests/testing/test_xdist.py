"""Workers share one audit and one report; other plugins are there, or are not."""

from __future__ import annotations

import importlib.util
import json

import pytest

from tests.testing.repos import PLUGIN, Repo, policy
from tests.testing.test_items import outcomes

LOW = {"name": "low", "require": "dead_zone.mu_l1 <= 0.2"}
HIGH = {"name": "high", "require": "dead_zone.mu_l1 >= 0.25", "explainers": ["gradcam"]}
OWN = """
import pytest
from shapes.models import build

@pytest.mark.parametrize("explainer", ["hirescam", "gradcam"])
def test_own(camaudit, explainer):
    camaudit.audit(build(), layer="features.5", explainer=explainer).assert_blind(0.2)
"""
KILLED = """
import os, signal
from pathlib import Path
from shapes.models import build as shapes

def build():
    mark = Path("killed.txt")
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return shapes()
"""


@pytest.mark.long
def test_workers_share_one_audit_and_one_report(repo: Repo) -> None:
    run = {"baseline": "kept.json"}
    repo.write("camaudit.toml", policy([LOW, HIGH], run=run))
    repo.write("tests/test_own.py", OWN)
    result = repo.run(
        "-n2", "--camaudit", "--camaudit-report=out", "--camaudit-update-baseline",
        "--junitxml=junit.xml", apart=True,
    )  # fmt: skip
    result.assert_outcomes(passed=5, failed=1)
    assert repo.built == 1
    out = repo.path / "out"
    session = json.loads((out / "session.json").read_text())
    assert [one["test"] for one in session["tests"]] == [
        "tests/test_own.py::test_own[gradcam]", "tests/test_own.py::test_own[hirescam]",
    ]  # fmt: skip
    gate = json.loads((out / "gate.json").read_text())
    assert session["policy"]["gate"] == gate
    assert (out / "report.html").is_file()
    assert (repo.path / "kept.json").is_file()
    assert outcomes(repo.path / "junit.xml")["high[gradcam]"] == "failure"
    text = result.stdout.str()
    assert text.count("= camaudit =") == 1
    assert "The gate fails" in text
    alone = repo.run("--camaudit", "--camaudit-report=alone")
    alone.assert_outcomes(passed=5, failed=1)
    without = [{**json.loads((repo.path / name / "results.json").read_text()), "timing": 0}
               for name in ("out", "alone")]  # fmt: skip
    for one in without:  # the one ran as its own baseline, and nothing refers to it
        one.pop("gate")
        one.pop("environment", None)
    assert without[0]["records"] == without[1]["records"]


@pytest.mark.long
def test_a_killed_worker_is_a_failure_and_the_next_makes_the_audit(repo: Repo) -> None:
    repo.write("camaudit.toml", policy([LOW]))
    repo.write("factory.py", KILLED)
    result = repo.run("-n2", "--camaudit", apart=True)
    found = result.parseoutcomes()
    assert result.ret == 1
    assert found["failed"] == 1
    assert found["passed"] == 2
    assert "crashed" in result.stdout.str()


@pytest.mark.long
def test_beside_pytest_html_and_pytest_randomly(repo: Repo) -> None:
    for name in ("pytest_html", "pytest_randomly"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed")
    repo.write("camaudit.toml", policy([LOW, HIGH]))
    repo.write("tests/test_own.py", OWN)
    arguments = PLUGIN[2:]  # without -p no:randomly
    result = repo.pytester.runpytest_subprocess(
        *arguments, "--camaudit", "--html=page.html", "--self-contained-html"
    )
    result.assert_outcomes(passed=5, failed=1)
    assert "Using --randomly-seed" in result.stdout.str()
    page = (repo.path / "page.html").read_text()
    assert "camaudit.toml::high[gradcam]" in page
    assert "dead_zone.mu_l1" in page
