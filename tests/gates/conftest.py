"""A repository in which a gate has passed, made once and copied for each test."""

from __future__ import annotations

from pathlib import Path
from shutil import copytree

import pytest

from tests.gates.workspace import Workspace, prepare


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty folder for the repository that the others are copies of."""
    return tmp_path_factory.mktemp("gate")


@pytest.fixture
def workspace(
    template: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Workspace:  # fmt: skip
    """A copy of a repository with a policy, in which a gate has passed."""
    for name in ("GITHUB_STEP_SUMMARY", "GITHUB_ACTIONS", "GITHUB_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("COLUMNS", "4000")  # reasons stand on one line
    if not (template / "run").exists():
        prepare(template, capsys)
    copytree(template, tmp_path / "repository")
    return Workspace(tmp_path / "repository", capsys)
