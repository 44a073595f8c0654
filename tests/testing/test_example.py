"""The example repository passes, and its broken commits are stopped for what is wrong with them."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.testing.repos import EXAMPLE, PLUGIN
from tests.testing.test_items import outcomes


@pytest.fixture
def example(pytester: pytest.Pytester) -> Path:
    """A copy to break."""
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    shutil.copytree(EXAMPLE, pytester.path, dirs_exist_ok=True, ignore=ignored)
    return pytester.path


def broken(example: Path, name: str) -> None:
    """Lay a broken commit's files over the repository's."""
    shutil.copytree(EXAMPLE / "broken" / name, example, dirs_exist_ok=True)


def gated(pytester: pytest.Pytester) -> Any:
    return pytester.runpytest_inprocess(*PLUGIN, "--camaudit", "--junitxml=junit.xml")


def test_it_passes(pytester: pytest.Pytester, example: Path) -> None:
    result = gated(pytester)
    result.assert_outcomes(passed=10)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["The gate passes: all 6 rulings that bind pass."])
    assert outcomes(example / "junit.xml")["dead-zone[ours]"] == "passed"


def test_an_explainer_on_the_wrong_layer_is_stopped(
    pytester: pytest.Pytester, example: Path
) -> None:
    broken(example, "wrong_layer")
    result = gated(pytester)
    assert result.ret == 1
    found = outcomes(example / "junit.xml")
    assert found["is-gradcam[ours]"] == "failure"
    assert found["test_explanations"] == "failure"
    assert found["dead-zone[hirescam]"] == found["policy"] == "passed"
    text = result.stdout.str()
    assert re.search(r"is-gradcam\[ours\]: fail: invariance.different = 0, came 1", text)
    assert "its maps are not those of gradcam, on drawn networks" in text
    assert "its maps are not those of gradcam, on the model itself" in text


def test_other_weights_are_stopped_by_their_hash(pytester: pytest.Pytester, example: Path) -> None:
    broken(example, "retrained")
    result = gated(pytester)
    assert result.ret == 1
    found = outcomes(example / "junit.xml")
    assert {found[name] for name in found if "[" in name or name == "policy"} == {"error"}
    assert "weights_sha256 of the run is" in result.stdout.str()


def test_a_model_that_looks_at_the_ground_is_stopped(
    pytester: pytest.Pytester, example: Path
) -> None:
    broken(example, "retrained")
    policy = example / "camaudit.toml"
    digest = hashlib.sha256((example / "weights.safetensors").read_bytes()).hexdigest()
    pinned = re.sub('weights_sha256 = ".*"', f'weights_sha256 = "{digest}"', policy.read_text())
    policy.write_text(pinned)
    result = gated(pytester)
    assert result.ret == 1
    found = outcomes(example / "junit.xml")
    failed = {name for name, outcome in found.items() if outcome != "passed"}
    assert failed == {"dead-zone[ours]", "no-worse[ours]", "test_explanations"}
    text = result.stdout.str()
    assert re.search(r"dead-zone\[ours\]: fail: dead_zone.mu_l1 ≤ 0.05, came 0.2\d+ \[0", text)
    assert re.search(r"no-worse\[ours\]: fail: dead_zone.mu_l1 ≤ baseline \+ 0.02", text)
    assert re.search(r"Worst images: \d\d_[a-z]+_png-[0-9a-f]+ \(0.6", text)


def test_the_gate_command_says_the_same(example: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "camaudit", "gate", "--out", "out"],
        cwd=example, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "The gate passes" in done.stdout


@pytest.mark.long
def test_its_pictures_are_those_that_its_script_draws(example: Path) -> None:
    """The weights follow from seeds too, but only with the same version of torch."""
    code = (
        "import make; make.trained = lambda *a, **k: make.Shapes().eval(); make.main()"
    )  # fmt: skip
    shutil.rmtree(example / "photos")
    subprocess.run([sys.executable, "-c", code], cwd=example, check=True, capture_output=True)
    for path in sorted((EXAMPLE / "photos").iterdir()):
        drawn = Image.open(example / "photos" / path.name)
        assert drawn.tobytes() == Image.open(path).tobytes()
