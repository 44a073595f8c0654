"""Exports: class folders that hold what training reads, bit for bit, and that audits can name."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from camaudit.cli import cli
from camaudit.data.folders import scan
from camaudit.data.labels import class_index
from camaudit.errors import ImageError, OutputError
from camaudit.training.export import _folder_names, export_images
from camaudit.training.images import Arrays, Encoded, Item
from camaudit.training.sources import Source, open_source
from tests.training.drawn import idx_folder, image_folders


class Counting:
    """A progress that keeps what it is told."""

    work = done = 0

    def start(self, work: int) -> None:
        self.work = work

    def advance(self, work: int) -> None:
        self.done += work


def export(
    source: Source, folder: Path, *, part: str = "train", per_class: int | None = None
) -> dict[str, int]:
    progress = Counting()
    counts = export_images(
        source, folder, part="train" if part == "train" else "validation", per_class=per_class,
        progress=progress,
    )  # fmt: skip
    assert progress.work == progress.done == sum(counts.values())
    return counts


def arrays(classes: Sequence[str], labels: Sequence[int]) -> Source:
    """A source of random arrays."""
    pixels = np.random.default_rng(0).integers(0, 256, (len(labels), 5, 7, 3), dtype=np.uint8)
    images = Arrays(pixels, np.array(labels, dtype=np.int64))
    return Source("drawn", "arrays", images, images, tuple(classes))


def encoded(*names: str, data: bytes) -> Source:
    """A source of one class whose files are all `data`."""
    items = tuple(Item(name, len(data), lambda: data) for name in names)
    images = Encoded(items, np.zeros(len(names), dtype=np.int64))
    return Source("given", "image folders", images, images, ("only",))


def files_of(folder: Path) -> dict[str, Path]:
    return {
        path.relative_to(folder).as_posix(): path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


# ------------------------------------------------------------------------------ what is written


@pytest.mark.parametrize(("part", "count"), [("train", 12), ("validation", 8)])
def test_arrays_become_images_of_the_same_pixels(tmp_path: Path, part: str, count: int) -> None:
    source = open_source(idx_folder(tmp_path / "digits", train=12, validation=8))
    assert export(source, tmp_path / "out", part=part) == dict.fromkeys("0123", count // 4)
    images = source.train if part == "train" else source.validation
    found = files_of(tmp_path / "out")
    assert set(found) == {
        f"{label}/{number:06}.png" for number, label in enumerate(images.labels.tolist())
    }
    for name, path in found.items():
        with Image.open(path) as image:
            assert image.mode == "RGB"
            assert np.array_equal(np.asarray(image), images.pixels(int(Path(name).stem)))


def test_files_are_copied_byte_for_byte(tmp_path: Path) -> None:
    folder = image_folders(tmp_path / "photos", per_class=3)
    with Image.open(folder / "class1" / "001.png") as image:
        image.save(folder / "class1" / "photo.JPG", quality=40)
    source = open_source(folder, val_share=0.34)
    assert isinstance(source.train, Encoded)
    counts = export(source, tmp_path / "out")
    assert counts == {"class0": 2, "class1": 3, "class2": 2, "class3": 2}
    wanted = {
        f"{source.classes[label]}/{number:06}{Path(item.id).suffix.lower()}": item.read()
        for number, (item, label) in enumerate(
            zip(source.train.items, source.train.labels.tolist(), strict=True)
        )
    }
    assert {name: path.read_bytes() for name, path in files_of(tmp_path / "out").items()} == wanted
    assert any(name.endswith(".jpg") for name in wanted)


def test_the_first_of_every_class_are_taken(tmp_path: Path) -> None:
    source = arrays(("a", "b", "c"), [1, 0, 1, 1, 2, 0, 1])
    assert export(source, tmp_path / "out", per_class=2) == {"a": 2, "b": 2, "c": 1}
    assert list(files_of(tmp_path / "out")) == [
        "a/000001.png", "a/000005.png", "b/000000.png", "b/000002.png", "c/000004.png",
    ]  # fmt: skip
    assert export(arrays(("a", "b", "c"), [2, 2]), tmp_path / "some") == {"c": 2}
    assert [path.name for path in (tmp_path / "some").iterdir()] == ["c"]


def test_an_export_is_a_source_and_a_folder_of_images(tmp_path: Path) -> None:
    source = open_source(idx_folder(tmp_path / "Fashion-MNIST", train=16, validation=8))
    export(source, tmp_path / "out" / "train")
    export(source, tmp_path / "out" / "val", part="validation")
    again = open_source(tmp_path / "out")
    assert again.classes == ("Dress", "Pullover", "T-shirt_top", "Trouser")
    places = [class_index(source.classes, name=name, label=None) for name in again.classes]
    assert places == [3, 2, 0, 1]
    assert len(again.train) == 16
    assert len(scan(tmp_path / "out" / "val").classes) == 4


# ------------------------------------------------------------------------------ names of classes


def test_names_become_folders_that_the_network_still_knows(tmp_path: Path) -> None:
    classes = ("T-shirt/top", "../../up", "a b", "Ankle boot", ".hidden", "...", "猫", "con:ein\0")
    export(arrays(classes, list(range(len(classes)))), tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == sorted(
        ["T-shirt_top", "_.._up", "a_b", "Ankle_boot", "hidden", "_", "猫", "con_ein_"]
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    found = {class_index(classes, name=name, label=None) for name in names if name != "_"}
    assert found == set(range(len(classes))) - {5}


@pytest.mark.parametrize(
    "classes",
    [("a/b", "a b", "c"), ("Cat", "cat"), ("a/b", "a b", "a_b-0"), ("", "?", "_", "_-1", "_-0-0")],
)
def test_clashing_names_share_no_folder(classes: tuple[str, ...], tmp_path: Path) -> None:
    labels = [number for number in range(len(classes)) for _ in range(number + 1)]
    counts = export(arrays(classes, labels), tmp_path / "out")
    assert counts == {name: number + 1 for number, name in enumerate(classes)}
    sizes = sorted(len(list(folder.iterdir())) for folder in (tmp_path / "out").iterdir())
    assert sizes == list(range(1, len(classes) + 1))


NAMES = st.lists(st.text(st.sampled_from("aAß_-./ 01猫"), max_size=5), unique=True, max_size=8)


@settings(max_examples=60)
@given(NAMES | st.lists(st.text(max_size=8), unique=True, max_size=5))
def test_any_names_give_folders_of_their_own(classes: list[str]) -> None:
    names = _folder_names(tuple(classes))
    assert len({name.casefold() for name in names}) == len(classes)
    for name in names:
        assert name
        assert not name.startswith(".")
        assert not set(name) & set('/\\:*?"<>|\0\n ')


@settings(max_examples=30)
@given(st.lists(st.from_regex(r"[a-z][a-z0-9_.-]{0,5}[a-z]", fullmatch=True), unique=True))
def test_plain_names_stay_as_they_are(classes: list[str]) -> None:
    assert _folder_names(tuple(classes)) == classes


# ------------------------------------------------------------------------------ what is refused


def test_a_folder_with_anything_in_it_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".hidden").write_text("mine")
    with pytest.raises(OutputError, match="is not empty: choose another folder"):
        export(arrays(("a", "b"), [0, 1]), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [".hidden"]
    with pytest.raises(OutputError, match="a file stands in its place"):
        export(arrays(("a", "b"), [0, 1]), tmp_path / ".hidden")


def test_an_unreadable_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"only/7\.png cannot be read"):
        export(encoded("only/7.png", data=b"no image"), tmp_path / "out")
    assert files_of(tmp_path / "out") == {}


def test_files_without_an_extension_keep_their_bytes(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.new("L", (4, 4), 7).save(stream, "PNG")
    export(encoded("x/one", "x/two.PNG", data=stream.getvalue()), tmp_path / "out")
    found = files_of(tmp_path / "out")
    assert set(found) == {"only/000000.img", "only/000001.png"}
    assert {path.read_bytes() for path in found.values()} == {stream.getvalue()}


# ------------------------------------------------------------------------------ command line


def test_the_command_writes_what_stack_mix_reads(tmp_path: Path) -> None:
    data, out = idx_folder(tmp_path / "digits", train=12, validation=8), tmp_path / "out"
    words = ["data", "export", str(data), "--out", str(out)]
    done = CliRunner().invoke(cli, words, standalone_mode=False, catch_exceptions=False)
    assert done.return_value == 0
    assert "8 images of 4 classes in" in done.stderr
    again = CliRunner().invoke(cli, words, standalone_mode=False)
    assert isinstance(again.exception, OutputError)
    few = [*words[:-1], str(tmp_path / "few"), "--part", "train", "--per-class", "1"]
    done = CliRunner().invoke(cli, few, standalone_mode=False, catch_exceptions=False)
    assert "4 images of 4 classes in" in done.stderr
    mixed = ["data", "stack-mix", "--images", str(out), "--out", str(tmp_path / "mix"),
             "--image-size", "28", "--dead-rows", "8", "--count", "4"]  # fmt: skip
    done = CliRunner().invoke(cli, mixed, standalone_mode=False, catch_exceptions=False)
    assert done.return_value == 0
    assert "4 images, 0 rejected" in done.stderr
