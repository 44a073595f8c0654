"""`stack-mix` and `verify` as a user calls them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from camaudit.commands.stack_mix import stack_mix, verify
from camaudit.data.manifest import read_manifest
from camaudit.errors import OutputError, UsageError
from camaudit.training.loop import train
from camaudit.training.trained import load_trained
from tests.data.sets import contents, photographs
from tests.training.drawn import idx_folder, tiny


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return photographs(tmp_path / "photos", {"a": 3, "b": 2, "c": 1})


def call(command: Any, *words: object, text: str | None = None) -> tuple[Any, str]:
    """Exit code and output; errors of ours come through, as in `camaudit.cli`."""
    done = CliRunner().invoke(
        command, [str(word) for word in words], input=text, standalone_mode=False,
        catch_exceptions=False,
    )  # fmt: skip
    if done.exception is not None:
        raise done.exception
    return done.return_value, done.output


SMALL = ("--image-size", 36, "--dead-rows", 9, "--out", "set")


def test_build_and_verify(photos: Path, tmp_path: Path) -> None:
    code, out = call(stack_mix, "--images", photos, *SMALL, "--licence", "mine; CC0")
    assert code == 0
    assert "note: 1 of 3 images show two crops" in out
    assert "3 images, 0 rejected; look at set/contact_sheet.png" in out
    manifest = read_manifest(tmp_path / "set")
    assert (manifest.licence, manifest.wall.dead_rows, manifest.size) == ("mine; CC0", 9, (36, 36))
    assert call(verify, "set") == (0, "3 images are as the manifest says; no problem\n")
    (tmp_path / "set" / manifest.images[0].file).write_bytes(b"x")
    code, out = call(verify, "set")
    assert code == 1
    assert "it was changed" in out
    assert "2 images are as the manifest says; 1 problems" in out


def test_options_decide(photos: Path, tmp_path: Path) -> None:
    call(
        stack_mix, "--images", photos, *SMALL, "--classes", "a,b", "--count", 3, "--per-class", 2,
        "--seed", 7, "--pairs-only",
    )  # fmt: skip
    manifest = read_manifest(tmp_path / "set")
    assert manifest.seed == 7
    assert manifest.settings["classes"] == ["a", "b"]
    assert len(manifest.images) == 3


def test_review_by_a_file(photos: Path, tmp_path: Path) -> None:
    call(stack_mix, "--images", photos, *SMALL)
    first = read_manifest(tmp_path / "set")
    wrong = first.images[0]
    (tmp_path / "wrong.txt").write_text(f"{wrong.id} cut off\n")
    code, out = call(
        stack_mix, "--images", photos, *SMALL, "--review", "--reject", tmp_path / "wrong.txt"
    )
    assert code == 0
    assert all(image.id in out for image in first.images)
    second = read_manifest(tmp_path / "set")
    assert second.images[1:] == first.images[1:]
    assert second.images[0].label_name == wrong.label_name
    assert second.rejected[0].reason == "cut off"
    assert "1 rejected" in out


def test_review_at_the_prompt(photos: Path, tmp_path: Path) -> None:
    call(stack_mix, "--images", photos, *SMALL)
    first, before = read_manifest(tmp_path / "set"), contents(tmp_path / "set")
    words = ("--images", photos, *SMALL, "--review")
    code, out = call(stack_mix, *words, text="\n")
    assert code == 0
    assert "Look at set/contact_sheet.png, then name the ids" in out
    assert contents(tmp_path / "set") == before
    call(stack_mix, *words, text=f"{first.images[1].id} too dark\n\n{first.images[0].id}\n")
    assert [entry.reason for entry in read_manifest(tmp_path / "set").rejected] == ["too dark"]


def test_seam_and_size_of_a_trained_wall(photos: Path, tmp_path: Path) -> None:
    data = idx_folder(tmp_path / "digits", train=16, validation=8)
    train(tiny(data, tmp_path / "net", changes={"epochs": 1}))
    wall, out = ("--wall", f"trained:{tmp_path / 'net'}"), ("--out", "set")
    assert call(stack_mix, "--images", photos, *wall, *out)[0] == 0
    manifest = read_manifest(tmp_path / "set")
    rows = load_trained(tmp_path / "net").description["wall"]["zone"]["pixel_dead_rows"]
    assert manifest.size == (28, 28)
    assert manifest.wall.pixel_dead_rows == ((rows[0], rows[-1]),)
    assert manifest.wall.dead_rows == len(rows)
    same = call(stack_mix, "--images", photos, *wall, "--image-size", 28, *out, "--force")
    assert same[0] == 0
    assert read_manifest(tmp_path / "set") == manifest
    for words, message in (
        (("--image-size", 36), "got --image-size 36: leave it out"),
        (("--layer", "features.3"), "leave --layer out"),
        (("--live-rows", 4), "leave --live-rows out"),
        (("--dead-rows", 4), "give one of them"),
    ):
        with pytest.raises(UsageError, match=message):
            call(stack_mix, "--images", photos, *wall, *words, "--out", "other")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--image-size", 36), "say it with --dead-rows or --wall"),
        (("--image-size", 36, "--dead-rows", 36), "1 to 35"),
        (("--dead-rows", 5, "--wall", "vgg16"), "give one of them"),
        (("--layer", "29"), "give --wall too"),
        (("--live-rows", 3), "give --wall too"),
        (("--synsets", "x"), "give that too"),
        (("--classes", "7"), "no class 7"),
        (("--reject", "missing.txt"), "no such file"),
        (("--review",), "no such file; expected the folder of a data set"),
    ],
)
def test_misuse_is_named(photos: Path, words: tuple[object, ...], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call(stack_mix, "--images", photos, *words)
    assert not Path("datasets").exists()


def test_an_existing_data_set_needs_force(photos: Path) -> None:
    call(stack_mix, "--images", photos, *SMALL)
    with pytest.raises(UsageError, match="--force"):
        call(stack_mix, "--images", photos, *SMALL)
    assert call(stack_mix, "--images", photos, *SMALL, "--force", "--seed", 3)[0] == 0
    with pytest.raises(OutputError, match="neither empty nor a data set"):
        call(stack_mix, "--images", photos, *SMALL[:-1], photos, "--force")


def test_help_needs_no_torch() -> None:
    code = (
        "import sys; from camaudit.commands.stack_mix import stack_mix, verify; "
        "sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    done = CliRunner().invoke(stack_mix, ["--help"])
    assert done.exit_code == 0
    assert all(len(line) <= 100 for line in done.output.splitlines())
