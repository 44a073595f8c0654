"""What the plugin costs where nothing is asked of it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.testing.repos import PLUGIN, Repo, policy

ROOT = Path(__file__).parents[2]
#: All that an idle plugin adds to what pytest has imported: some 10 ms.
IDLE = {
    "camaudit", "camaudit.pytest_plugin", "camaudit.testing", "camaudit.testing.options",
}  # fmt: skip

CONFTEST = """
import sys

HEAVY = ("torch", "torchvision", "numpy", "camaudit.audit")

def pytest_unconfigure():
    print("heavy:", [name for name in HEAVY if name in sys.modules])
"""


def test_the_package_declares_it() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["entry-points"]["pytest11"] == {"camaudit": "camaudit.pytest_plugin"}
    assert not any(text.startswith("pytest") for text in project["dependencies"])


@pytest.mark.parametrize("arguments", [(), ("--camaudit",)])
def test_collecting_loads_no_torch(repo: Repo, arguments: tuple[str, ...]) -> None:
    low = {"name": "low", "require": "dead_zone.mu_l1 <= 0.2"}
    repo.write("camaudit.toml", policy([low]))
    repo.write("conftest.py", CONFTEST)
    result = repo.run("--collect-only", *arguments, apart=True)
    # deciding takes NumPy: the figures' own module does
    assert any(line in result.outlines for line in ("heavy: []", "heavy: ['numpy']"))
    assert result.ret == (0 if arguments else pytest.ExitCode.NO_TESTS_COLLECTED)
    if not arguments:
        assert "heavy: []" in result.outlines


def test_idle_it_imports_nothing_but_its_options() -> None:
    code = (
        "import pytest, sys; before = set(sys.modules); import camaudit.pytest_plugin; "
        "import camaudit.testing.options; print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) <= IDLE, done.stdout


def test_pytest_without_it_is_as_before(repo: Repo) -> None:
    repo.write("tests/test_fine.py", "def test_fine():\n    pass\n")
    off = ["-p", "no:camaudit", "-p", "no:camaudit.pytest_plugin"]
    arguments = [one for one in PLUGIN if one not in ("-p", "camaudit.pytest_plugin")]
    assert arguments == ["no:randomly"]
    repo.pytester.runpytest_inprocess(*off).assert_outcomes(passed=1)
    repo.run("--strict-markers", "--strict-config").assert_outcomes(passed=1)
