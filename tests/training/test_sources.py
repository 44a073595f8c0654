"""Data sources: known bytes, both layouts of folders and archives, and every kind of bad file."""

from __future__ import annotations

import gzip
import io
import os
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from camaudit.errors import ImageError, UsageError
from camaudit.training.images import Arrays, Encoded, ImageSet, in_memory
from camaudit.training.numbered import FASHION, read_idx
from camaudit.training.sources import open_source
from tests.training.drawn import CLASSES, idx_bytes, idx_folder, image_folders, pictures


def test_idx_reads_known_bytes(tmp_path: Path) -> None:
    path = tmp_path / "known"
    path.write_bytes(bytes([0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 250, 251, 255]))
    assert read_idx(path).tolist() == [[1, 2, 3], [250, 251, 255]]
    path.write_bytes(gzip.compress(path.read_bytes()))  # told by its bytes, not by its name
    assert read_idx(path).tolist() == [[1, 2, 3], [250, 251, 255]]


GOOD = idx_bytes(np.arange(12, dtype=np.uint8).reshape(3, 4))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "no idx file"),
        (b"<!DOCTYPE html><html>", "looks like an HTML page"),
        (GOOD[:-1], "3×4 values and is shorter"),
        (GOOD + b"x", "3×4 values and is longer"),
        (GOOD[:6], "no idx file"),
        (b"\0\0\x0d" + GOOD[3:], "type 0x0d; expected unsigned bytes"),
        (gzip.compress(GOOD, mtime=0)[:-6], "damaged or truncated gzip"),
        (gzip.compress(GOOD, mtime=0)[:20] + b"\xff" * 20, "damaged or truncated gzip"),
        (struct.pack(">BBBB3I", 0, 0, 8, 3, 2**31, 2**31, 9), "it is damaged"),
    ],
)
def test_damaged_idx_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "damaged"
    path.write_bytes(content)
    with pytest.raises(ImageError, match=message):
        read_idx(path)


def test_mnists_folder(tmp_path: Path) -> None:
    source = open_source(idx_folder(tmp_path / "mnist", train=20, validation=8))
    images, labels = pictures(20, seed=1)
    assert isinstance(source.train, Arrays)
    assert np.array_equal(source.train.images, np.repeat(images[..., None], 3, axis=3))
    assert source.train.labels.tolist() == labels
    assert len(source.validation) == 8
    assert source.classes == tuple("0123456789")
    assert source.directional
    fashion = open_source(idx_folder(tmp_path / "Fashion-MNIST"))
    assert (fashion.classes, fashion.directional) == (FASHION, False)
    (tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz").unlink()
    with pytest.raises(ImageError, match="is incomplete"):
        open_source(tmp_path / "mnist")


def test_cifar_binary_files(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    records = rng.integers(0, 256, (6, 3073), dtype=np.uint8)
    records[:, 0] = [0, 1, 2, 9, 1, 2]
    for number in range(6):
        name = "test_batch.bin" if number == 5 else f"data_batch_{number + 1}.bin"
        (tmp_path / name).write_bytes(records[number].tobytes())
    source = open_source(tmp_path)
    assert source.train.labels.tolist() == [0, 1, 2, 9, 1]
    # red plane first, row by row
    assert source.train.pixels(3)[2, 5].tolist() == [
        records[3, 1 + plane * 1024 + 2 * 32 + 5] for plane in range(3)
    ]
    (tmp_path / "batches.meta.txt").write_text("\n".join("abcdefghij") + "\n\n")
    assert open_source(tmp_path).classes == tuple("abcdefghij")
    (tmp_path / "data_batch_2.bin").write_bytes(b"\0" * 3072)
    with pytest.raises(ImageError, match="no whole records of 3073"):
        open_source(tmp_path)


def test_cifar_100_takes_the_fine_labels(tmp_path: Path) -> None:
    record = np.zeros((3, 3074), dtype=np.uint8)
    record[:, 1] = [99, 5, 7]
    (tmp_path / "train.bin").write_bytes(record.tobytes())
    (tmp_path / "test.bin").write_bytes(record.tobytes())
    assert open_source(tmp_path).train.labels.tolist() == [99, 5, 7]


def test_cifars_pickles_are_refused_unread(tmp_path: Path) -> None:
    (tmp_path / "data_batch_1").write_bytes(b"cos\nsystem\n(S'exit 1'\ntR.")
    with pytest.raises(ImageError, match=r"would run code.*binary version"):
        open_source(tmp_path)


def test_folders_with_and_without_a_validation_part(tmp_path: Path) -> None:
    image_folders(tmp_path / "both" / "train", per_class=3)
    image_folders(tmp_path / "both" / "val", per_class=2)
    source = open_source(tmp_path / "both")
    assert (len(source.train), len(source.validation)) == (12, 8)
    assert source.classes == tuple(f"class{number}" for number in range(CLASSES))
    split = open_source(tmp_path / "both" / "train", val_share=0.4)
    assert (len(split.train), len(split.validation)) == (8, 4)
    assert "held out" in split.notes[0]
    assert not ids(split.train) & ids(split.validation)


def ids(part: ImageSet) -> set[str]:
    assert isinstance(part, Encoded)
    return {item.id for item in part.items}


def archive(path: Path, folder: Path, prefix: str, mode: str = "w") -> Path:
    with tarfile.open(path, mode) as made:  # type: ignore[call-overload]
        made.add(folder, arcname=prefix)
    return path


@pytest.mark.parametrize(("mode", "prefix"), [("w", "."), ("w:gz", "some/where"), ("w", "set")])
def test_archives_hold_what_their_folders_hold(tmp_path: Path, mode: str, prefix: str) -> None:
    image_folders(tmp_path / "d" / "train", per_class=2)
    image_folders(tmp_path / "d" / "val", per_class=1)
    folder = open_source(tmp_path / "d")
    packed = open_source(archive(tmp_path / "d.tar", tmp_path / "d", prefix, mode))
    assert packed.classes == folder.classes
    for one, other in ((packed.train, folder.train), (packed.validation, folder.validation)):
        assert one.labels.tolist() == other.labels.tolist()
        assert np.array_equal(in_memory(one, 28).images, in_memory(other, 28).images)


def hostile(path: Path, info: tarfile.TarInfo, content: bytes = b"") -> Path:
    with tarfile.open(path, "w") as made:
        info.size = len(content)
        made.addfile(info, io.BytesIO(content))
    return path


@pytest.mark.parametrize("name", ["../up.png", "a/../../b.png", "/etc/x.png"])
def test_archive_members_outside_are_refused(tmp_path: Path, name: str) -> None:
    path = hostile(tmp_path / "x.tar", tarfile.TarInfo(name), b"x")
    with pytest.raises(ImageError, match="points outside the archive"):
        open_source(path)


def test_archive_links_bombs_and_cuts_are_refused(tmp_path: Path) -> None:
    link = tarfile.TarInfo("train/a/x.png")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with pytest.raises(ImageError, match="is a link"):
        open_source(hostile(tmp_path / "link.tar", link))
    whole = archive(tmp_path / "w.tar", image_folders(tmp_path / "c", per_class=2), "c")
    cut = tmp_path / "cut.tar"
    cut.write_bytes(whole.read_bytes()[:1500])
    with pytest.raises(ImageError, match=r"truncated"):
        open_source(cut)
    page = tmp_path / "page.tar"
    page.write_bytes(b"<html>not found</html>" * 50)
    with pytest.raises(ImageError, match="no readable tar archive"):
        open_source(page)
    bomb = tmp_path / "bomb.tar.gz"
    with tarfile.open(bomb, "w:gz") as made:
        info = tarfile.TarInfo("train/a/x.bin")
        info.size = 80 << 20
        made.addfile(info, io.BytesIO(bytes(info.size)))
    with pytest.raises(ImageError, match="decompression bomb"):
        open_source(bomb)


def test_unsuitable_folders(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="does not exist"):
        open_source(tmp_path / "absent")
    one = image_folders(tmp_path / "one", per_class=1)
    with pytest.raises(ImageError, match=r"only one: class0, class1, class2 and 1 more"):
        open_source(one)
    flat = tmp_path / "flat"
    flat.mkdir()
    Image.new("RGB", (40, 40)).save(flat / "a.png")
    with pytest.raises(ImageError, match="without class folders"):
        open_source(flat)
    image_folders(tmp_path / "odd" / "train", per_class=1)
    image_folders(tmp_path / "odd" / "val", per_class=1)
    os.rename(tmp_path / "odd" / "val" / "class1", tmp_path / "odd" / "val" / "other")  # noqa: PTH104
    with pytest.raises(ImageError, match="training part lacks: other"):
        open_source(tmp_path / "odd")
    with pytest.raises(UsageError, match="between 0 and 1"):
        open_source(tmp_path / "odd", val_share=1.5)


def test_a_damaged_image_is_named(tmp_path: Path) -> None:
    folder = image_folders(tmp_path / "d", per_class=3)
    (folder / "class1" / "001.png").write_bytes(b"no image")
    source = open_source(folder, val_share=0.01)
    part = next(p for p in (source.train, source.validation) if "class1/001.png" in ids(p))
    with pytest.raises(ImageError, match=r"class1/001\.png cannot be read"):
        in_memory(part, 28)


def test_the_fingerprint_tells_data_apart(tmp_path: Path) -> None:
    one = open_source(idx_folder(tmp_path / "a")).fingerprint
    assert one == open_source(idx_folder(tmp_path / "b")).fingerprint
    assert one != open_source(idx_folder(tmp_path / "c", train=47)).fingerprint
