"""Counterexamples on disk and as programs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from camaudit.errors import OutputError, UsageError
from camaudit.invariance import Drawn, Example, Plan, Search, examine
from camaudit.invariance.snippet import EXPLAIN, program
from camaudit.invariance.store import Store

PLUS = EXPLAIN.format(spec="gradcam++", seed=0)


def example(seed: int = 0) -> Example:
    return Example(drawn=Drawn(plan=Plan(seed=seed), targets=(0,)), parameters={"factor": 2.0})


def test_what_is_kept_is_known_the_next_time(tmp_path: Path) -> None:
    store = Store(tmp_path / "kept")
    assert store.known("gradcam", "logit-scale") == []
    path = store.keep("gradcam", "logit-scale", example(), "print('code')\n")
    assert path.read_text() == "print('code')\n"
    assert Store(tmp_path / "kept").known("gradcam", "logit-scale") == [example()]
    assert store.known("gradcam++", "logit-scale") == []


def test_the_newest_comes_first_and_few_are_kept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    for seed in [*range(8), 3]:
        store.keep("mine", "logit-scale", example(seed), "")
    seeds = [one.drawn.plan.seed for one in store.known("mine", "logit-scale")]
    assert seeds == [3, 7, 6, 5, 4]


def test_names_cannot_leave_the_folder(tmp_path: Path) -> None:
    store = Store(tmp_path / "kept")
    store.keep("../../evil/name: x", "logit-scale", example(), "")
    assert sorted(tmp_path.iterdir()) == [tmp_path / "kept"]
    assert store.known("../../evil/name: x", "logit-scale") == [example()]


@pytest.mark.parametrize("text", ["{", "[]", '{"format": 9}', '{"format": 1, "examples": [{}]}'])
def test_a_file_of_another_kind_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "mine--logit-scale.json").write_text(text)
    with pytest.raises(UsageError, match="no file of counterexamples"):
        Store(tmp_path).known("mine", "logit-scale")


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file"):
        Store(tmp_path / "file").keep("mine", "logit-scale", example(), "")


def test_the_file_is_plain_json(tmp_path: Path) -> None:
    Store(tmp_path).keep("mine", "logit-scale", example(), "")
    stored = json.loads((tmp_path / "mine--logit-scale.json").read_text())
    assert stored["examples"][0]["parameters"] == {"factor": 2.0}


def run(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    script = folder / "counterexample.py"
    script.write_text(code)
    return subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, check=False
    )


def test_the_program_fails_as_the_explainer_did(tmp_path: Path) -> None:
    from camaudit.invariance import registered

    found = examine("logit-scale", registered("gradcam++"), search=Search(examples=8))
    code = program("logit-scale", found.counterexample, PLUS, title='a "title" with \\ """')
    done = run(code, tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "AssertionError" in done.stderr
    assert f"difference={found.counterexample.difference}" in done.stdout
    fixed = run(code.replace("gradcam++", "gradcam"), tmp_path)
    assert fixed.returncode == 0, fixed.stderr
    assert "camaudit" not in code.split("images = ")[0].split('"""')[2]  # torch alone so far


def test_the_program_of_a_model_of_ones_own_is_refused() -> None:
    from camaudit.invariance import Counterexample

    with pytest.raises(UsageError, match="model of one's own"):
        program("logit-scale", Counterexample(None, {}, 1.0, ""), PLUS, title="mine")
