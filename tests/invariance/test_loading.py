"""Explainers by spec, with clear errors for whatever is no explainer."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from camaudit.errors import UnknownNameError, UsageError
from camaudit.invariance import Drawn, ExplainerSpec, Plan, load_explainer

SOURCE = """
import torch
from torch import nn

def explain(model, layer, images, targets):
    import beside
    return beside.maps(images)

def keywords(model, layer, images, targets, *, smooth=False):
    return images[:, 0]

def of_three(model, images, targets):
    return images[:, 0]

class Explainer:
    def __call__(self, model, layer, images, targets):
        return images[:, 0]

instance = Explainer()
number = 3
smallest = min
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A file with explainers, good and bad, and a module beside it."""
    (tmp_path / "beside.py").write_text("def maps(images):\n    return images[:, 0]\n")
    path = tmp_path / "mine.py"
    path.write_text(SOURCE)
    return path


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules that a test imports are forgotten after it."""
    for name in ("beside", "mine"):
        monkeypatch.delitem(sys.modules, name, raising=False)


def asked() -> tuple[object, ...]:
    situation = Drawn(plan=Plan(height=2, width=3), targets=(0,)).situation()
    return situation.model, situation.layer, situation.images, situation.targets


@pytest.mark.parametrize("name", ["explain", "keywords", "instance"])
def test_a_function_or_an_object_of_a_file_is_an_explainer(source: Path, name: str) -> None:
    explain = load_explainer(f"{source}:{name}")
    question = asked()
    path = list(sys.path)
    maps = explain(*question)  # type: ignore[arg-type]
    assert torch.equal(maps, question[2][:, 0])  # type: ignore[index]
    assert sys.path == path
    assert explain.__name__ == name  # type: ignore[attr-defined]


def test_a_module_is_looked_for_in_the_working_folder(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(source.parent)
    explain = load_explainer("mine:explain")
    monkeypatch.chdir("/")
    assert explain(*asked()).shape == (1, 2, 3)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("gradcam", r"cannot read the explainer 'gradcam': expected package\.module:function"),
        ("{file}", "cannot read the explainer"),
        ("{file}:", "cannot read the explainer"),
        (":explain", "cannot read the explainer"),
        ("{file}:explian", r"no callable 'explian' \(near names: explain, Explainer\)"),
        ("nowhere.py:explain", r"no file 'nowhere\.py' to take the explainer from"),
        ("nowhere.at.all:explain", r"cannot import 'nowhere\.at\.all' for the explainer: Mod"),
        ("{file}:number", r"'number' in .* is a int; expected a function of \(model, layer"),
        ("{file}:Explainer", "is a class, not an explainer"),
        ("{file}:of_three", r"cannot be called with \(model, layer, images, targets\): too many"),
        ("{file}:explain=gradcam", "comes with a claim, =gradcam"),
    ],
)
def test_what_is_no_explainer_is_refused(source: Path, spec: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_explainer(spec.replace("{file}", str(source)))


@pytest.mark.parametrize("text", ["1 / 0", "raise SystemExit(3)", "def broken(:"])
def test_a_file_that_fails_while_being_imported_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.py"
    path.write_text(text)
    with pytest.raises(UsageError, match=r"failed while being imported: (Zero|System|Syntax)"):
        load_explainer(f"{path}:explain")
    assert "camaudit_subject_broken" not in sys.modules


def test_a_builtin_that_tells_no_signature_is_left_to_its_first_call(source: Path) -> None:
    assert load_explainer(f"{source}:smallest").__name__ == "smallest"  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("claim", "label"),
    [
        ("=gradcam", "gradcam"),
        ("= scorecam( score=probability )", "scorecam(score=probability)"),
        ("=gradcam++(epsilon=1e-6)", "gradcam++(epsilon=1e-06)"),
        ("", None),
    ],
)
def test_a_claim_follows_the_explainer(source: Path, claim: str, label: str | None) -> None:
    spec = ExplainerSpec.parse(f"{source}:explain{claim}")
    assert (spec.name, spec.claims) == ("explain", label)
    assert spec.explain(*asked()).shape == (1, 2, 3)  # type: ignore[arg-type]


def test_a_claim_must_be_a_method(source: Path) -> None:
    with pytest.raises(UnknownNameError, match="did you mean gradcam"):
        ExplainerSpec.parse(f"{source}:explain=gradcan")
    with pytest.raises(UsageError, match="names no method after the ="):
        ExplainerSpec.parse(f"{source}:explain=")
