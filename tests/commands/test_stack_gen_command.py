"""`stack-gen` as a user calls it, with the back ends that need no network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from camaudit.commands.stack_gen import stack_gen
from camaudit.commands.stack_mix import verify
from camaudit.data.manifest import read_manifest
from camaudit.errors import ImageError, UsageError
from tests.data.sets import contents, photographs

SMALL = ("--image-size", 36, "--dead-rows", 9, "--out", "set")
COMPOSITE = ("--backend", "composite", "--images", "photos", *SMALL)


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    photographs(tmp_path / "photos", {"a": 3, "b": 2, "c": 1})


def call(*words: object, command: Any = stack_gen, text: str | None = None) -> tuple[Any, str]:
    """Exit code and output; errors of ours come through, as in `camaudit.cli`."""
    done = CliRunner().invoke(
        command, [str(word) for word in words], input=text, standalone_mode=False,
        catch_exceptions=False,
    )  # fmt: skip
    if done.exception is not None:
        raise done.exception
    return done.return_value, done.output


@pytest.mark.usefixtures("photos")
def test_a_set_is_built_verified_and_reviewed(tmp_path: Path) -> None:
    code, out = call(*COMPOSITE, "--licence", "mine; CC0", "--per-class", 2, "--count", 4)
    assert code == 0
    assert "note: 1 classes with a single photograph are left out" in out
    assert "4 images, 0 rejected; look at set/contact_sheet.png" in out
    first = read_manifest(tmp_path / "set")
    assert (first.kind, first.licence) == ("stack-gen", "mine; CC0")
    assert call("set", command=verify)[0] == 0
    by_hand, gone = (image.id for image in first.images if image.label_name == "a")
    same = (*COMPOSITE, "--licence", "mine; CC0", "--per-class", 2, "--count", 4, "--review")
    code, out = call(*same, text=f"{gone} dull\n{by_hand} boundary 0.7\n\n")
    assert code == 0
    assert f"{gone}  " in out
    second = read_manifest(tmp_path / "set")
    assert [entry.id for entry in second.rejected] == [gone]
    squares = {image.id: (image.generation or {})["square"]["found"] for image in second.images}
    assert squares.pop(by_hand) == "by hand"
    assert set(squares.values()) == {"by the back end"}
    before = contents(tmp_path / "set")
    assert call(*same, text="\n")[0] == 0
    assert contents(tmp_path / "set") == before


@pytest.mark.usefixtures("photos")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--backend", "composite"), "--backend composite needs --images"),
        (("--backend", "api"), "--backend api needs --model"),
        (("--backend", "diffusers"), "--backend diffusers needs --pipeline"),
        ((*COMPOSITE, "--price", "0.04"), "--price is of the back end api, not of composite"),
        ((*COMPOSITE, "--size", "9x9"), "--size is of the back end api and diffusers, not of"),
        (("--backend", "diffusers", "--pipeline", ".", "--size", "9"), "must be WIDTHxHEIGHT"),
        ((*COMPOSITE, "--classes", "z"), "the source has no class z"),
        ((*COMPOSITE, "--layer", "x"), "give --wall too"),
        ((*COMPOSITE, "--review", "--reject", "none.txt"), "none.txt is no list"),
        ((*COMPOSITE, "--review"), "expected the folder of a data set"),
    ],
)
def test_mistakes_are_told_before_anything_is_made(
    tmp_path: Path, words: tuple[object, ...], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        call(*words)
    assert [path.name for path in tmp_path.iterdir()] == ["photos"]


@pytest.mark.usefixtures("photos")
def test_a_boundary_that_is_none(tmp_path: Path) -> None:
    call(*COMPOSITE)
    (tmp_path / "no.txt").write_text("a-00 boundary 1.5\n")
    with pytest.raises(UsageError, match=r"a-00: the boundary must lie between 0 and 1, got 1.5"):
        call(*COMPOSITE, "--review", "--reject", "no.txt")


def test_classes_with_one_photograph_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    photographs(tmp_path / "photos", {"a": 1, "b": 1})
    with pytest.raises(ImageError, match="no class of photos has two photographs"):
        call(*COMPOSITE)
