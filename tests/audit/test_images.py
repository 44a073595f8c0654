"""Data sets as images of an audit: in turns, under names that are unique, unchanged on disk."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from camaudit.audit.images import AuditImages, audit_images, data_size, open_data
from camaudit.audit.settings import Settings
from camaudit.data.manifest import MANIFEST_NAME, load_images, read_manifest, write_manifest
from camaudit.errors import ImageError, UsageError
from camaudit.walls import DeadZone
from tests.audit.data_sets import DEAD_ROWS, SIDE, generated, mixed, plain


def zone(height: int = SIDE, width: int = SIDE, dead_rows: int = DEAD_ROWS) -> DeadZone:
    """A dead zone at the bottom of the image."""
    dead = torch.zeros(height, width, dtype=torch.bool)
    dead[height - dead_rows :] = True
    return DeadZone(torch.ones(1, 1, dtype=torch.bool), dead, dead, "receptive field", "as said")


def opened(*folders: Path, count: int | None = None) -> AuditImages:
    return audit_images(Settings(num_images=count), zone(), open_data(folders))


@pytest.fixture(scope="module")
def mix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mixed(tmp_path_factory.mktemp("a") / "mix", count=3)


@pytest.fixture(scope="module")
def gen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return generated(tmp_path_factory.mktemp("b") / "gen", count=2)


# ------------------------------------------------------------------------------ which images


def test_one_data_set_is_used_as_it_is(mix: Path) -> None:
    found = opened(mix)
    assert [image.id for image in found.images] == [
        image.id for image in read_manifest(mix).images
    ]  # fmt: skip
    for image, before in zip(found.images, load_images(mix), strict=True):
        assert np.array_equal(image.pixels, before.pixels)
        assert (image.label_name, image.sources) == (before.label_name, before.sources)
    assert found.origin == ("stack-mix",) * 3
    assert found.warnings == found.skipped == ()


def test_data_sets_take_turns_under_their_names(mix: Path, gen: Path, tmp_path: Path) -> None:
    photos = plain(tmp_path / "holiday", count=5)
    found = opened(mix, gen, photos)
    assert found.origin == (
        "stack-mix", "stack-gen", "holiday", "stack-mix", "stack-gen", "holiday",
        "stack-mix", "holiday", "holiday", "holiday",
    )  # fmt: skip
    for name, folder in (("stack-mix", mix), ("stack-gen", gen), ("holiday", photos)):
        alone = opened(folder).images
        together = [image for image in found.images if image.id.startswith(f"{name}/")]
        assert [image.id for image in together] == [f"{name}/{image.id}" for image in alone]
        for one, other in zip(together, alone, strict=True):
            assert np.array_equal(one.pixels, other.pixels)
    assert len({image.id for image in found.images}) == len(found.images)


def test_every_start_holds_as_much_of_every_set(mix: Path, gen: Path, tmp_path: Path) -> None:
    found = opened(mix, gen, plain(tmp_path / "holiday", count=5))
    sizes = Counter(found.origin)
    assert found.largest == 5
    for count in range(7):
        start = Counter(found.origin[: found.first(count)])
        assert start == Counter({name: min(count, size) for name, size in sizes.items()})
    assert AuditImages(found.images).first(4) == 4
    assert AuditImages(found.images).first(99) == AuditImages(found.images).largest == 10


def test_the_count_is_of_every_set(mix: Path, gen: Path, tmp_path: Path) -> None:
    found = opened(mix, gen, plain(tmp_path / "holiday", count=5), count=2)
    assert Counter(found.origin) == {"stack-mix": 2, "stack-gen": 2, "holiday": 2}
    assert [image.id for image in found.images if image.id.startswith("stack-mix/")] == [
        f"stack-mix/{image.id}" for image in read_manifest(mix).images[:2]
    ]  # fmt: skip
    assert found.warnings == ()
    few = opened(mix, plain(tmp_path / "weekend", count=1), count=2)
    assert "these files give 1" in few.warnings[0]


def test_a_plain_folder_is_resized_and_keeps_its_classes(tmp_path: Path) -> None:
    for name in ("7", "tench"):
        plain(tmp_path / "set" / name, count=2)
    (tmp_path / "set" / "7" / "broken.png").write_bytes(b"nothing")
    found = opened(tmp_path / "set")
    assert [(image.label_name, image.label, image.pairing) for image in found.images] == [
        ("7", 7, "single"), ("7", 7, "single"), ("tench", 0, "single"), ("tench", 0, "single"),
    ]  # fmt: skip
    assert {image.pixels.shape for image in found.images} == {(SIDE, SIDE, 3)}
    assert [name for name, _ in found.skipped] == ["7/broken.png"]
    assert found.data[0].to_dict() == {
        "name": "set", "folder": str(tmp_path / "set"), "kind": None, "sha256": None,
    }  # fmt: skip


# ------------------------------------------------------------------------------ names of sets


def test_a_data_set_is_described_by_its_manifest(mix: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    mix.rename(copy)
    try:
        (found,) = open_data([copy])
        digest = hashlib.sha256((copy / MANIFEST_NAME).read_bytes()).hexdigest()
    finally:
        copy.rename(mix)
    # what was opened is told, whatever becomes of the folder during the run
    assert found.to_dict() == {
        "name": "stack-mix", "folder": str(copy), "kind": "stack-mix", "sha256": digest,
    }  # fmt: skip


def test_sets_of_one_kind_are_named_by_their_folders(mix: Path, gen: Path, tmp_path: Path) -> None:
    other = mixed(tmp_path / "other", count=1)
    found = opened(mix, gen, other)
    assert found.origin == (str(mix), "stack-gen", str(other), str(mix), "stack-gen", str(mix))
    assert found.images[2].id.startswith(f"{other}/")


def test_names_stay_unique_where_a_folder_is_another_sets_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folders = [mixed(Path("a"), count=1), mixed(Path("b"), count=1), plain(Path("c/a"), count=1)]
    assert [one.name for one in open_data(folders)] == ["a", "b", "c/a"]
    plain(Path("stack-mix"), count=1)
    assert [one.name for one in open_data([Path("a"), Path("stack-mix")])] == ["a", "stack-mix"]
    found = opened(*folders)
    assert len(set(found.origin)) == len({image.id for image in found.images}) == 3


def test_short_names_stand_for_the_default_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    names = [Path("stack-mix"), Path("stack-gen")]
    with pytest.raises(
        UsageError, match=r"no folder 'stack-mix' nor below datasets: build it with"
    ):
        open_data(names)
    mixed(Path("datasets/stack-mix"), count=1)
    generated(Path("datasets/stack-gen"), count=1)
    assert [(one.name, one.folder) for one in open_data(names)] == [
        ("stack-mix", Path("datasets/stack-mix")), ("stack-gen", Path("datasets/stack-gen")),
    ]  # fmt: skip
    plain(Path("stack-mix"), count=1)
    assert open_data(names)[0].manifest is None, "a folder that is there comes first"
    with pytest.raises(UsageError, match=r"no folder 'datasets/stack-gem': expected the folder of"):
        open_data([Path("datasets/stack-gem")])
    with pytest.raises(UsageError, match="no folder 'stack-mix-photographs'"):
        open_data([Path("stack-mix-photographs")])


def test_a_folder_counts_once_under_any_name(
    mix: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / "link"
    link.symlink_to(mix)
    monkeypatch.chdir(mix.parent)
    for again in (mix, mix / ".." / mix.name, Path(mix.name), link):
        with pytest.raises(UsageError, match="is named twice: give every data set once"):
            open_data([mix, again])


# ------------------------------------------------------------------------------ what is refused


def test_images_of_another_size_are_refused(mix: Path, gen: Path, tmp_path: Path) -> None:
    small = generated(tmp_path / "small", count=1, side=32, dead_rows=16)
    assert data_size(open_data([mix, gen])) == SIDE
    assert data_size(open_data([plain(tmp_path / "plain", count=1)])) is None
    assert data_size(()) is None
    assert data_size(open_data([tmp_path / "plain", small])) == 32
    with pytest.raises(UsageError, match=r"stack-mix: 64×64; stack-gen: 32×32: audit each alone"):
        data_size(open_data([mix, small]))
    with pytest.raises(UsageError, match=r"images of 32×32 pixels, the network reads 64×64: build"):
        opened(small)


def test_images_that_are_not_square_are_refused(tmp_path: Path) -> None:
    folder = mixed(tmp_path / "mix", count=1)
    manifest = read_manifest(folder)
    (image,) = manifest.images
    path = folder / image.file
    Image.open(path).crop((0, 0, 48, SIDE)).save(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    cropped = replace(manifest, size=(SIDE, 48), images=(replace(image, sha256=digest),))
    write_manifest(cropped, folder)
    data = open_data([folder])
    with pytest.raises(UsageError, match="one square size; got stack-mix: 64×48"):
        data_size(data)
    with pytest.raises(UsageError, match="images of 64×48 pixels, the network reads 64×64"):
        opened(folder)
    (only,) = audit_images(Settings(), zone(width=48), data).images
    assert only.pixels.shape == (SIDE, 48, 3)


@pytest.mark.parametrize("count", [None, 1])
def test_every_file_is_the_one_that_was_built(tmp_path: Path, count: int | None) -> None:
    """Those that are not audited too: the data set is what is named in the results."""
    folder = mixed(tmp_path / "mix", count=2)
    last = folder / read_manifest(folder).images[-1].file
    pixels = np.asarray(Image.open(last)).copy()
    pixels[0, 0, 0] ^= 1
    Image.fromarray(pixels).save(last)
    with pytest.raises(UsageError, match=r"its bytes are not those .*camaudit data verify"):
        opened(folder, count=count)
    last.unlink()
    with pytest.raises(UsageError, match=f"{last.name}: .*restore or rebuild the data set"):
        opened(folder, count=count)


def test_sets_without_an_image_are_refused(tmp_path: Path) -> None:
    folder = mixed(tmp_path / "mix", count=1)
    write_manifest(replace(read_manifest(folder), images=()), folder)
    with pytest.raises(UsageError, match="has no image: build the data set again"):
        opened(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match="holds no image"):
        opened(tmp_path / "empty")
    (folder / MANIFEST_NAME).write_text("{}")
    with pytest.raises(UsageError, match="expected format"):
        open_data([folder])


# ------------------------------------------------------------------------------ the seam


def test_a_seam_at_another_wall_is_told(mix: Path, gen: Path) -> None:
    data = open_data([mix, gen])
    assert audit_images(Settings(), zone(), data).warnings == ()
    found = audit_images(Settings(), zone(dead_rows=16), data)
    assert found.warnings == tuple(
        f"the images of {name} were made for another wall (the last 32 of 64 rows): 50.0% of an "
        "image lies behind their seam, 25.0% is dead here"
        for name in ("stack-mix", "stack-gen")
    )
    assert len(found.images) == 5
