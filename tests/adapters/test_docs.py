"""docs/explainers.md: every command and every program in it runs, in order."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner

from camaudit.cli import cli
from tests.subjects import FACTORY, write_photographs

PAGE = Path(__file__).parents[2] / "docs" / "explainers.md"
TEXT = PAGE.read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(sh|python)\n(.*?)```", TEXT, flags=re.DOTALL)


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package with a model, photographs and maps of some of them."""
    package = tmp_path / "mypackage"
    package.mkdir()
    (package / "__init__.py").write_text("")
    models = FACTORY.replace(
        "return nn.Sequential(trunk, head).eval()",
        "from collections import OrderedDict as O\n"
        '    return nn.Sequential(O({"0": trunk, "head": head})).eval()',
    )
    (package / "models.py").write_text(models)
    write_photographs(tmp_path / "photos")
    (tmp_path / "maps" / "mine").mkdir(parents=True)
    for name in ("0", "1"):
        np.save(tmp_path / "maps" / "mine" / f"{name}.npy", np.arange(49.0).reshape(7, 7))
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for name in ("mypackage", "mypackage.models"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def run(line: str) -> None:
    words = shlex.split(line)[1:]
    if words[0] == "run" and "--data" not in words:  # small pictures do
        words += ["--image-size", "64", "--num-images", "2", "--preprocess", "0.5/0.5"]
        words += ["--perturbation-images", "1"] if "--checks" not in words else []
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0, (line, result.output, result.exception)


def test_the_page_runs_from_top_to_bottom(repository: Path) -> None:
    program = next(text for kind, text in BLOCKS if text.startswith("# mypackage/explain.py"))
    (repository / "mypackage" / "explain.py").write_text(program)
    commands = 0
    for kind, text in BLOCKS:
        if kind == "sh":
            for line in text.strip().splitlines():
                run(line)
                commands += 1
        elif text != program:
            exec(text, ModuleType("page").__dict__)  # noqa: S102 - what a reader would run
    assert commands == 8
    written = repository / "reports" / "mypackage.models-build" / "results.json"
    results = json.loads(written.read_text())
    (entry,) = results["settings"]["foreign"]
    assert entry["maps"]["found"] == entry["maps"]["unwalled"]["found"] == 3
    mine = [one for one in results["records"] if one["method"] == "mine"]
    assert all(one["status"] == "ok" and one["mu_l1"] == 0 for one in mine)  # plain gradients are 0
    assert all(one["unmasked"]["mu_l1"] > 0 for one in mine)
