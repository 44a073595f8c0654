"""Every option of the plugin, as a flag and in the configuration file."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import json
import re
from pathlib import Path
from typing import Any

import pytest

import camaudit.testing
from camaudit.testing.asked import asked
from camaudit.testing.fixture import Audited, Auditor
from camaudit.testing.marker import Marked
from camaudit.testing.options import OPTIONS
from tests.testing.repos import Repo, policy

LOW = {"name": "low", "require": "dead_zone.mu_l1 <= 0.2", "explainers": ["hirescam"]}
OPEN = {"name": "open", "require": "dead_zone.mu_l1 <= 0.0135", "explainers": ["gradcam"]}
STEADY = {"name": "steady", "require": "dead_zone.mu_l1 <= baseline", "explainers": ["hirescam"]}
POLICY = "--camaudit-policy=p.toml"
PAGE = Path(__file__).parents[2] / "docs" / "pytest.md"


def results(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def test_every_option_stands_in_the_page_and_no_other() -> None:
    text = PAGE.read_text()
    assert set(re.findall(r"^\| `(--camaudit[a-z-]*)", text, flags=re.MULTILINE)) == {
        option.flag for option in OPTIONS
    }
    for option in OPTIONS:
        assert f"`{option.key}`" in text


def test_the_python_of_the_page_calls_what_is_there() -> None:
    named = {*inspect.signature(Auditor.audit).parameters, *inspect.signature(asked).parameters}
    for name in camaudit.testing.__all__:
        named |= set(inspect.signature(getattr(camaudit.testing, name)).parameters)
    named |= {field.name for field in dataclasses.fields(Marked)}
    called: set[str] = set()
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Call):
                called.add(node.attr)
            if isinstance(node, ast.Call):
                assert {word.arg for word in node.keywords} <= named
    assert called >= {"assert_passes", "assert_blind"}
    methods = {name for name in called if name.startswith("assert_")}
    assert all(hasattr(Audited, name) for name in methods)
    for name in re.findall(r"^\| `\.([a-z_]+)", PAGE.read_text(), flags=re.MULTILINE):
        assert hasattr(Audited, name)


def test_the_report_holds_the_run_and_says_where_it_is(repo: Repo) -> None:
    repo.write("elsewhere/strict.toml", policy([LOW, OPEN]).replace('"photos"', '"../photos"')
               .replace("factory.py", "../factory.py"))  # fmt: skip
    result = repo.run(
        "--camaudit-policy",
        "elsewhere/strict.toml",
        "--camaudit-report",
        "out",
        "--camaudit-seed=7",
    )
    result.assert_outcomes(passed=2, failed=1)
    out = repo.path / "out"
    found = results(out / "results.json")
    assert found["settings"]["seed"] == 7
    assert found["gate"] == results(out / "gate.json")
    assert found["gate"]["policy"] == "elsewhere/strict.toml"
    assert results(out / "session.json")["policy"]["gate"] == found["gate"]
    assert "The gate does not pass" in (out / "report.html").read_text()
    assert "open" in (out / "gate.md").read_text()
    text = result.stdout.str()
    assert re.search(r"report +out/report.html", text)
    assert "wrote results.json, report.html, gate.json, gate.md, session.json in out" in text


def test_all_of_them_in_the_configuration_file(repo: Repo) -> None:
    repo.write("strict.toml", policy([LOW, OPEN], number=16))
    repo.ini(
        "camaudit = true", "camaudit_policy = strict.toml", "camaudit_report = out",
        "camaudit_seed = 3", "camaudit_quick = true",
    )  # fmt: skip
    result = repo.run("-rs")
    assert result.ret == 0
    result.assert_outcomes(passed=2, skipped=1)
    assert "inconclusive, as --camaudit-quick runs too little" in result.stdout.str()
    assert "not what the policy asks for" in result.stdout.str()
    found = results(repo.path / "out" / "results.json")
    assert found["settings"]["seed"] == 3
    assert len(found["images"]) == 8
    before = (repo.path / "out" / "session.json").read_text()
    repo.run("--collect-only")
    assert (repo.path / "out" / "session.json").read_text() == before
    off = repo.run("-o", "camaudit=false", "tests")
    assert off.ret == pytest.ExitCode.NO_TESTS_COLLECTED


def test_quick_skips_no_failure_and_no_pin_but_that_of_the_images(repo: Repo) -> None:
    high = {"name": "high", "require": "dead_zone.mu_l1 >= 0.3", "explainers": ["hirescam"]}
    text = policy([LOW, high]).replace("number = 12", f'number = 12\nsha256 = "{"0" * 64}"')
    repo.write("camaudit.toml", text)
    repo.run("--camaudit", "--camaudit-quick").assert_outcomes(passed=2, failed=1)
    repo.run("--camaudit").assert_outcomes(errors=3)


def test_the_baseline_is_made_and_then_held_against(repo: Repo) -> None:
    run = {"baseline": "kept/results.json"}
    repo.write("camaudit.toml", policy([LOW, STEADY], run=run))
    repo.run("--camaudit").assert_outcomes(errors=3)  # there is none yet
    kept = repo.path / "kept" / "results.json"
    assert not kept.exists()
    idle = repo.run("--camaudit", "--camaudit-update-baseline", "-k", "nothing")
    assert "the baseline is as it was, for none of the policy's tests was run" in idle.stdout.str()
    made = repo.run("--camaudit", "--camaudit-update-baseline")
    made.assert_outcomes(passed=3)
    assert "wrote results.json in kept" in made.stdout.str()
    assert "gate" not in results(kept)
    before = kept.read_text()
    assert str(repo.path) not in before
    repo.run("--camaudit").assert_outcomes(passed=3)
    repo.write("factory.py", "def build():\n    raise OSError\n")
    broken = repo.run("--camaudit", "--camaudit-update-baseline")
    broken.assert_outcomes(errors=3)
    assert "the baseline is as it was, for the run went wrong" in broken.stdout.str()
    assert kept.read_text() == before
    kept.write_text("{")
    repo.run("--camaudit").assert_outcomes(errors=3)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--camaudit",), "no policy in"),
        (("--camaudit-policy", "none.toml"), "none.toml is no file"),
        (("--camaudit-policy", ""), "empty"),
        (("--camaudit", "--camaudit-seed", "-1"), "whole number"),
        (("--camaudit-seed", "many"), "got 'many'"),
        (("--camaudit-update-baseline",), "give both"),
        (
            ("--camaudit-policy", "p.toml", "--camaudit-update-baseline", "--camaudit-quick"),
            "quick",
        ),
        (("--camaudit-policy", "p.toml", "--camaudit-update-baseline"), "baseline = "),
        (("--camaudit-policy", "p.toml", "--camaudit-report", "pytest.ini"), "stands in its place"),
    ],
)
def test_what_cannot_be_is_a_usage_error(repo: Repo, arguments: tuple[str, ...], said: str) -> None:
    repo.write("p.toml", policy([LOW]))
    result = repo.run(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert said in result.stderr.str()
    assert repo.built == 0


def test_a_report_that_cannot_be_written_is_no_success(repo: Repo) -> None:
    repo.write("camaudit.toml", policy([LOW]))
    repo.write("out/report.html/taken", "")
    result = repo.run("--camaudit", "--camaudit-report", "out")
    result.assert_outcomes(passed=2)
    assert result.ret == 1
    assert "report.html is a folder, but a file has to be written there" in result.stdout.str()
    assert not (repo.path / "out" / "results.json").exists()
