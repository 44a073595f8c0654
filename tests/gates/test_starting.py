"""`camaudit init` and `camaudit schema`: what they write for whom, and that nothing is lost."""

from __future__ import annotations

import ast
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from camaudit.cli import cli
from camaudit.errors import OutputError, UsageError
from camaudit.gates.binding import bound
from camaudit.gates.reading import read_policy
from camaudit.gates.starting import start
from camaudit.schema import policy_schema, results_schema
from tests.gates.policies import TODAY

WRITTEN = [Path("tests/test_explanations.py"), Path("camaudit.toml")]
JOB = Path(".github/workflows/camaudit.yml")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A package whose import would fail the test, weights and pictures."""
    package = tmp_path / "src" / "nice_net"
    (package / "parts").mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "Nice-Net"\n[project.optional-dependencies]\ndev = ["pytest"]\n'
    )
    bomb = 'raise SystemExit("imported")\n'
    (package / "__init__.py").write_text(bomb)
    (package / "parts" / "zoo.py").write_text(bomb + "def build_model(a, b=1): ...\n")
    (package / "broken.py").write_text("def build(:\n")
    (package / "not-a-module.py").write_text("def build(): ...\n")
    (package / "models.py").write_text(
        bomb + "def build_network(*, size): ...\ndef _model(): ...\ndef small_net(size=8): ...\n"
    )
    (tmp_path / "weights.safetensors").write_bytes(b"weights")
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / "other.safetensors").write_bytes(b"others")
    (tmp_path / "photos" / "cats").mkdir(parents=True)
    for number in range(7):
        (tmp_path / "photos" / "cats" / f"{number}.JPG").touch()
    (tmp_path / ".github").mkdir()
    return tmp_path


def test_a_repository_gets_what_is_about_it(repository: Path) -> None:
    done = start(repository, today=TODAY)
    assert list(done.written) == [*WRITTEN, JOB]
    assert (done.kept, done.job) == ((), None)
    policy = read_policy(repository / "camaudit.toml", today=TODAY)
    assert policy.settings == {
        "model": "nice_net.models:small_net", "weights": "weights.safetensors",
        "images": "photos", "num_images": 7, "methods": ("gradcam", "random"), "seed": 0,
        "checks": ("dead-zone", "invariance"),
    }  # fmt: skip
    assert policy.pins == {"weights_sha256": hashlib.sha256(b"weights").hexdigest()}
    assert [bound(policy, one) for one in policy.conditions] == [("gradcam",)] * 2
    test = (repository / WRITTEN[0]).read_text()
    ast.parse(test)
    assert "from nice_net.models import small_net  # found by its name, not tried" in test
    assert 'images=ROOT / "photos",' in test
    assert 'pip install -e ".[dev]"' in (repository / JOB).read_text()
    assert [note[:33] for note in done.notes] == ["nice_net.models:small_net sounds "]
    assert "nice_net" not in sys.modules


def test_the_parts_that_are_commented_out_are_sound_too(repository: Path) -> None:
    start(repository, today=TODAY)
    path = repository / "camaudit.toml"
    lines = path.read_text().split("\n")
    whole = [
        line.removeprefix("# ") if line.startswith(("# [[", "# baseline =")) or entry else line
        for line, entry in zip(lines, _within_entries(lines), strict=True)
    ]
    path.write_text("\n".join(whole))
    policy = read_policy(path, today=TODAY)
    assert [one.name for one in policy.conditions] == [
        "dead-zone", "invariance", "parameters", "no-worse",
    ]  # fmt: skip
    assert policy.baseline == Path("baseline/results.json")
    assert [one.explainer for one in policy.waivers] == ["gradcam"]


def _within_entries(lines: list[str]) -> list[bool]:
    """Whether a line is a commented key of a commented table."""
    within, found = False, []
    for line in lines:
        within = line.startswith("# [[") or (within and line.startswith("# "))
        found.append(within)
    return found


def test_an_empty_folder_gets_a_policy_to_be_filled_in(tmp_path: Path) -> None:
    done = start(tmp_path, today=TODAY)
    assert list(done.written) == WRITTEN
    assert done.job is not None
    assert "pip install -r requirements.txt" in done.job
    assert "pytest --camaudit" in done.job
    policy = read_policy(tmp_path / "camaudit.toml", today=TODAY)
    assert policy.settings["model"] == "mypackage.models:build"
    assert "images" not in policy.settings
    assert "images=None," in (tmp_path / WRITTEN[0]).read_text()
    assert [note.split(":")[0][:33] for note in done.notes] == [
        "no function was found that sounds", "no folder of at least six picture",
    ]  # fmt: skip


def test_nothing_is_overwritten(repository: Path) -> None:
    (repository / "tests").mkdir()
    for name in (*WRITTEN, JOB):
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).write_text(f"mine: {name}")
    done = start(repository)
    assert done.written == ()
    assert set(done.kept) == {*WRITTEN, JOB}
    assert done.notes == ()
    for name in (*WRITTEN, JOB):
        assert (repository / name).read_text() == f"mine: {name}"


def test_a_link_to_nowhere_is_kept_too(tmp_path: Path) -> None:
    (tmp_path / "camaudit.toml").symlink_to(tmp_path / "elsewhere")
    done = start(tmp_path)
    assert done.kept == (Path("camaudit.toml"),)
    assert not (tmp_path / "elsewhere").exists()


def test_a_policy_in_pyproject_is_the_one_that_counts(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[tool.camaudit]\nversion = 1\n")
    done = start(tmp_path)
    assert done.kept == (Path("pyproject.toml"),)
    assert not (tmp_path / "camaudit.toml").exists()
    assert 'ROOT / "pyproject.toml"' in (tmp_path / WRITTEN[0]).read_text()


@pytest.mark.parametrize(
    "project", ["[project]\nname = 3\n", "project = 3\n", "[tool]\npoetry = 1\n", ""]
)
def test_an_odd_pyproject_is_no_obstacle(project: str, tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(project)
    assert list(start(tmp_path).written) == WRITTEN


def test_a_broken_pyproject_is_told_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\nname = \n")
    with pytest.raises(UsageError, match=r"pyproject\.toml:2: broken TOML"):
        start(tmp_path)
    assert os.listdir(tmp_path) == ["pyproject.toml"]  # noqa: PTH208 - names alone


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "tests").touch()
    with pytest.raises(OutputError, match="a file stands in its place"):
        start(tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_leaves_no_half_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Path.open

    def full(path: Path, mode: str = "r", **options: Any) -> Any:
        if mode != "x":
            return opened(path, mode, **options)
        path.touch(exist_ok=False)
        return opened(Path("/dev/full"), "w", **options)

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OutputError, match="No space left on device"):
        start(tmp_path)
    assert not (tmp_path / WRITTEN[0]).exists()


def test_the_command_says_what_it_wrote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first = CliRunner().invoke(cli, ["init"])
    assert first.exit_code == 0
    assert "wrote camaudit.toml" in first.output
    assert "note: no function was found" in first.output
    assert "name: camaudit" in first.output
    again = CliRunner().invoke(cli, ["init"])
    assert again.exit_code == 0
    assert "wrote" not in again.output
    assert "kept camaudit.toml, which was there already" in again.output


@pytest.mark.parametrize(
    ("words", "schema"),
    [([], policy_schema()), (["policy"], policy_schema()), (["results"], results_schema())],
)
def test_schemas_are_printed(words: list[str], schema: dict[str, object]) -> None:
    done = CliRunner().invoke(cli, ["schema", *words])
    assert done.exit_code == 0
    assert json.loads(done.output) == schema
