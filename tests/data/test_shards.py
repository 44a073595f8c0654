"""Tar shards as WebDataset lays them out, written here with tarfile."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from camaudit.data.collecting import collect
from camaudit.data.folders import scan
from camaudit.data.shards import ShardPhoto, named_shards
from camaudit.data.sources import open_source
from camaudit.data.stack_mix import plain_images
from camaudit.errors import ImageError


def png(seed: int) -> bytes:
    drawn = np.random.default_rng(seed).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(drawn).save(buffer, "PNG")
    return buffer.getvalue()


def shard(path: Path, members: dict[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Two shards of two samples each; every sample has an image, a class and something else."""
    for number in range(2):
        members = {}
        for sample in range(2):
            key = f"{number}{sample}"
            members[f"{key}.cls"] = f" {sample}\n".encode()
            members[f"{key}.png"] = png(2 * number + sample)
            members[f"{key}.json"] = b"{}"
        shard(tmp_path / "shards" / f"val-{number:03d}.tar", members)
    return tmp_path / "shards"


def test_photographs_are_read_where_they_lie(shards: Path) -> None:
    found = collect(shards)
    assert [photo.id for photo in found.photos] == [
        "val-000/00.png", "val-000/01.png", "val-001/10.png", "val-001/11.png",
    ]  # fmt: skip
    assert [photo.read() for photo in found.photos] == [png(seed) for seed in range(4)]
    assert {name: len(photos) for name, photos in found.classes.items()} == {"0": 2, "1": 2}
    assert found.skipped == (
        ("val-000.tar", "2 × no image (.json)"), ("val-001.tar", "2 × no image (.json)"),
    )  # fmt: skip


def test_images_are_those_of_a_folder(shards: Path, tmp_path: Path) -> None:
    for photo in collect(shards).photos:
        path = tmp_path / "folder" / str(photo.label_name) / photo.path.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(photo.read())
    ours = plain_images(collect(shards), size=32).images
    theirs = plain_images(scan(tmp_path / "folder"), size=32).images
    assert {i.sha256: i.label_name for i in ours} == {i.sha256: i.label_name for i in theirs}


@pytest.mark.parametrize(
    ("given", "count"),
    [
        ("val-001.tar", 2), ("val-{000..001}.tar", 4), ("val-00{0..0}.tar", 2),
        ("val-{0..1}{00..01}.tar", 0),
    ],
)  # fmt: skip
def test_shards_are_named_by_file_and_range(shards: Path, given: str, count: int) -> None:
    if count:
        assert len(collect(shards / given).photos) == count
    else:
        assert [path.name for path in named_shards(shards / given)] == [
            "val-000.tar", "val-001.tar", "val-100.tar", "val-101.tar",
        ]  # fmt: skip


def test_a_range_must_ascend_and_have_an_end(tmp_path: Path) -> None:
    for given in ("a-{5..4}.tar", "a-{0..999999999999}.tar"):
        with pytest.raises(ImageError, match=r"a range of shards from its first number"):
            collect(tmp_path / given)


def test_a_folder_with_images_is_no_folder_of_shards(shards: Path) -> None:
    (shards / "a.png").write_bytes(png(9))
    assert [photo.id for photo in collect(shards).photos] == ["a.png"]


def test_the_data_sets_of_camaudit_are_built_from_shards_too(shards: Path) -> None:
    assert set(open_source(shards).collection.classes) == {"0", "1"}


def test_a_sample_has_one_image_and_its_class_may_be_a_name(tmp_path: Path) -> None:
    path = shard(tmp_path / "a.tar", {
        "train/x/1.JPG": png(0), "train/x/1.png": png(1), "train/x/1.cls": b"great white shark",
        "train/y/1.png": png(2), "train/y/1.cls": b"\xff\n",
    })  # fmt: skip
    found = collect(path)
    assert [(p.id, p.label_name, p.read()) for p in found.photos] == [
        ("a/train/x/1.JPG", "great white shark", png(0)),
        ("a/train/y/1.png", "\\\\xff", png(2)),
    ]
    assert found.skipped == (("a.tar", "1 × a second image of its sample"),)


def test_samples_without_a_class_are_left_out_where_others_have_one(tmp_path: Path) -> None:
    path = shard(tmp_path / "a.tar", {"1.png": png(0), "2.png": png(1), "2.cls": b"7"})
    found = collect(path)
    assert [photo.id for photo in found.photos] == ["a/2.png"]
    assert ("*", "1 × no class (KEY.cls), where other samples have one") in found.skipped
    bare = collect(shard(tmp_path / "b.tar", {"1.png": png(0)}))
    assert bare.classes == {}


def test_a_shard_that_is_cut_off_gives_what_it_has(shards: Path) -> None:
    path = shards / "val-001.tar"
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"11.png") + 600])
    found = collect(shards)
    assert [photo.id for photo in found.photos][:3] == [
        "val-000/00.png", "val-000/01.png", "val-001/10.png",
    ]  # fmt: skip
    assert any("not read to its end" in why for _, why in found.skipped)


@pytest.mark.parametrize(
    ("end", "why"), [(b"", "the mark of its end is missing"), (b"x" * 2048, "a header is damaged")]
)
def test_an_end_that_is_none_is_told_of(tmp_path: Path, end: bytes, why: str) -> None:
    path = shard(tmp_path / "a.tar", {"1.png": png(0)})
    whole = path.read_bytes()
    path.write_bytes(whole[: 512 + -(-len(png(0)) // 512) * 512] + end)
    found = collect(path)
    assert [photo.id for photo in found.photos] == ["a/1.png"]
    assert found.skipped == (("a.tar", f"not read to its end, 1 samples until there: {why}"),)


def test_a_shard_that_shrinks_later_is_told_of(shards: Path) -> None:
    last = collect(shards).photos[-1]
    path = shards / "val-001.tar"
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"11.png") + 600])
    with pytest.raises(ImageError, match="its shard ends before it does"):
        last.read()
    path.unlink()
    with pytest.raises(ImageError, match="its shard cannot be read: No such file"):
        last.read()


def test_compressed_shards_are_refused(tmp_path: Path) -> None:
    path = shard(tmp_path / "a.tar", {"1.png": png(0)})
    path.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(ImageError, match=r"expected tar shards .* gunzip"):
        collect(path)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "a.tar: not read: "),
        (b"x" * 2000, "a.tar: not read: "),
        (b"\0" * 10240, "they are em"),
    ],
)
def test_what_is_no_shard_is_refused(tmp_path: Path, content: bytes, why: str) -> None:
    (tmp_path / "a.tar").write_bytes(content)
    with pytest.raises(ImageError, match=r"expected tar shards with images .*found none \(" + why):
        collect(tmp_path)


def test_links_are_never_followed(tmp_path: Path) -> None:
    path = shard(tmp_path / "a.tar", {"1.png": png(0)})
    with tarfile.open(path, "a") as archive:
        link = tarfile.TarInfo("2.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    found = collect(path)
    assert [photo.id for photo in found.photos] == ["a/1.png"]
    assert found.skipped == (("a.tar", "1 × a link or no plain file"),)


def test_a_name_that_claims_gigabytes_is_not_read(tmp_path: Path) -> None:
    bomb = tarfile.TarInfo("././@LongLink")
    bomb.type, bomb.size = tarfile.GNUTYPE_LONGNAME, 8 << 30
    path = shard(tmp_path / "a.tar", {"1.png": png(0)})
    end = 512 + -(-len(png(0)) // 512) * 512
    path.write_bytes(path.read_bytes()[:end] + bomb.tobuf(tarfile.GNU_FORMAT) + b"x" * 5000)
    found = collect(path)
    assert [photo.id for photo in found.photos] == ["a/1.png"]
    assert any("a header claims 8589934592 bytes" in why for _, why in found.skipped)


def test_a_photograph_beyond_the_limit_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(b"")
    with pytest.raises(ImageError, match="more than 1024 MiB"):
        ShardPhoto("a/1.png", path / "1.png", shard=path, length=(1 << 30) + 1).read()
