"""A policy's conditions as tests: every outcome, its words, and what is not collected."""

from __future__ import annotations

import datetime
import re
import tomllib
from pathlib import Path

import pytest
from junitparser import Error, Failure, JUnitXml, Skipped

from tests.testing.repos import Repo, policy

LATER = datetime.date.today() + datetime.timedelta(days=30)
LOW = {"name": "low", "require": "dead_zone.mu_l1 <= 0.2", "explainers": ["hirescam", "gradcam"]}
HIGH = {"name": "high", "require": "dead_zone.mu_l1 >= 0.25", "explainers": ["gradcam"]}


def outcomes(junit: Path) -> dict[str, str]:
    """What junitparser reads of each test."""
    names = {Failure: "failure", Error: "error", Skipped: "skipped"}
    found = {}
    for suite in JUnitXml.fromfile(str(junit)):
        for case in suite:
            kinds = [names[type(one)] for one in case.result]
            found[case.name] = ", ".join(kinds) or "passed"
    return found


def test_every_decision_has_its_outcome(repo: Repo) -> None:
    repo.write(
        "camaudit.toml",
        policy(
            [
                LOW,
                HIGH,
                {"name": "open", "require": "dead_zone.mu_l1 <= 0.0135", "explainers": ["gradcam"]},
                {"name": "sound", "require": "dead_zone.mu_l1 <= 0.9", "explainers": ["fails"]},
                {"name": "seen", "require": "dead_zone.mu_l1 <= 0.9", "explainers": ["empty"]},
                {"name": "wish", "require": "dead_zone.mu_l1 >= 0.3", "explainers": ["gradcam"],
                 "severity": "warn"},
                {"name": "late", "require": "dead_zone.mu_l1 >= 0.4",
                 "explainers": ["gradcam", "hirescam"]},
                {"name": "same", "require": "invariance.different == 0", "explainers": ["empty"]},
            ],
            explainers=["hirescam", "gradcam", "explainers.py:fails", "explainers.py:empty"],
            waivers=[{"condition": "late", "explainer": "gradcam", "reason": "Replaced soon",
                      "expires": LATER}],
            run={"properties": ["determinism"], "examples": 2},
        ),
    )  # fmt: skip
    result = repo.run("--camaudit", "--junitxml=junit.xml", "-rA")
    assert result.ret == 1
    assert outcomes(repo.path / "junit.xml") == {
        "policy": "passed",
        "low[hirescam]": "passed",
        "low[gradcam]": "passed",
        "high[gradcam]": "failure",
        "open[gradcam]": "failure",
        "sound[fails]": "error",
        "seen[empty]": "failure",
        "wish[gradcam]": "passed",
        "late[gradcam]": "skipped",
        "late[hirescam]": "failure",
        "same[empty]": "failure",
    }
    text = result.stdout.str()
    for said in (
        r"camaudit.toml:\d+: high\[gradcam\]: fail: dead_zone.mu_l1 ≥ 0.25, came 0.0\d+ \[0.0",
        r"share of the map \(L1\) in the dead zone",
        r"Worst images: \d\d_[a-z]+_png-[0-9a-f]+ \(0",
        r"open\[gradcam\]: inconclusive",
        r"more images? would decide",
        r"seen\[empty\]: degenerate",
        r"sound\[fails\]: error",
        r"KeyError: 'conv5'",
        r"same\[empty\]: not applicable",
        r"it claims to be no method",
        r"XFAIL camaudit.toml::late\[gradcam\] - fail, waived: Waived until .*: Replaced soon",
        r"warning: wish\[gradcam\]: fail: dead_zone.mu_l1 ≥ 0.3",
        r"The gate fails",
        r"report    none: --camaudit-report DIR writes one",
    ):
        assert re.search(said, text), said
    assert "items.py" not in text  # none of our own source in what a user reads
    assert repo.built == 1
    lines = repo.path.joinpath("camaudit.toml").read_text().splitlines()
    line = int(re.search(r"camaudit.toml:(\d+): high", text)[1])  # type: ignore[index]
    assert lines[line - 1] == 'require = "dead_zone.mu_l1 >= 0.25"'


def test_a_run_that_is_another_is_an_error_in_every_test(repo: Repo) -> None:
    pins = {"weights": "weights.safetensors", "weights_sha256": "0" * 64}
    repo.write("camaudit.toml", policy([LOW], subject=pins))
    result = repo.run("--camaudit")
    result.assert_outcomes(errors=3)
    assert "weights_sha256 of the run is" in result.stdout.str()
    assert repo.run("--camaudit", "-k", "low and hirescam").ret == 1


def test_a_policy_of_which_all_is_waived_does_not_pass(repo: Repo) -> None:
    waiver = {"condition": "high", "reason": "Later", "expires": LATER}
    repo.write("camaudit.toml", policy([HIGH], waivers=[waiver]))
    result = repo.run("--camaudit")
    result.assert_outcomes(failed=1, xfailed=1)
    result.stdout.fnmatch_lines(["*policy: The gate does not pass: no ruling binds*"])
    repo.run("--camaudit", "--runxfail").assert_outcomes(failed=2)


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("raise OSError('no such disk')", "OSError: no such disk"),
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("return 3", "int"),
    ],
)
def test_an_audit_that_breaks_is_an_error_of_all(repo: Repo, broken: str, said: str) -> None:
    repo.write("camaudit.toml", policy([LOW]))
    repo.write("factory.py", f"def build():\n    {broken}\n")
    result = repo.run("--camaudit", "-p", "no:cacheprovider")
    result.assert_outcomes(errors=3)
    assert result.ret == 1
    assert said in result.stdout.str()
    assert "the audit went wrong" in result.stdout.str()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("version = 1\n[subject\n", "camaudit.toml:2: broken TOML"),
        (policy([]), "condition"),
        (policy([{"require": "dead_zone.mu <= 0.1"}]), "unknown figure"),
        (policy([LOW], waivers=[{"condition": "low", "reason": "x",
                                 "expires": datetime.date(2001, 1, 1)}]), "expired"),
    ],
)  # fmt: skip
def test_a_broken_policy_is_an_error_of_the_collection(repo: Repo, text: str, said: str) -> None:
    repo.write("camaudit.toml", text)
    repo.write("tests/test_fine.py", "def test_fine():\n    pass\n")
    result = repo.run("--camaudit")
    assert result.ret == pytest.ExitCode.INTERRUPTED
    assert re.search(r"camaudit\.toml:\d+: ", result.stdout.str())
    assert said in result.stdout.str()
    assert repo.built == 0


def test_the_policy_of_pyproject(repo: Repo) -> None:
    text = policy([LOW], prefix="tool.camaudit.")
    repo.write("pyproject.toml", f"[tool.camaudit]\nversion = 1\n{text}")
    assert tomllib.loads(repo.path.joinpath("pyproject.toml").read_text())["tool"]["camaudit"]
    result = repo.run("--camaudit", "-v", "pyproject.toml::low[gradcam]")
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines(["pyproject.toml::low?gradcam? PASSED*"])


def test_names_keywords_and_last_failures_choose_among_them(repo: Repo) -> None:
    repo.write("camaudit.toml", policy([LOW, HIGH]))
    repo.write("tests/test_fine.py", "def test_fine():\n    pass\n")
    listed = repo.run("--camaudit", "--collect-only", "-q")
    names = [line for line in listed.outlines if "::" in line]
    assert sorted(names) == [
        "camaudit.toml::high[gradcam]", "camaudit.toml::low[gradcam]",
        "camaudit.toml::low[hirescam]", "camaudit.toml::policy", "tests/test_fine.py::test_fine",
    ]  # fmt: skip
    assert repo.built == 0
    repo.run("--camaudit").assert_outcomes(passed=4, failed=1)
    repo.run("--camaudit", "--lf").assert_outcomes(failed=1)
    repo.run("--camaudit", "-k", "low").assert_outcomes(passed=2, deselected=3)
    repo.run("--camaudit", "tests/test_fine.py").assert_outcomes(passed=4, failed=1)
    repo.run("--camaudit", ".").assert_outcomes(passed=4, failed=1)
    repo.run("--camaudit", "camaudit.toml::low[hirescam]").assert_outcomes(passed=1)
    stopped = repo.run("--camaudit", "-x", "camaudit.toml")
    assert stopped.parseoutcomes()["failed"] == 1
    repo.run().assert_outcomes(passed=1)
    assert repo.run("camaudit.toml").ret != 0  # nothing is collected that was not asked for
