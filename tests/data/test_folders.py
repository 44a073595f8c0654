"""Scanning real folders, the orderly ones and the strange ones."""

import hashlib
import json
import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camaudit.data.folders import Collection, Photo, printable, scan, sha256_file
from camaudit.errors import ImageError


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def test_flat_folder(tmp_path):
    touch(
        tmp_path, "b.JPG", "a.png", "10.webp", "9.tiff", ".hidden.png", "notes.txt", "x.txt", "no"
    )
    found = scan(tmp_path)
    assert [photo.id for photo in found.photos] == ["10.webp", "9.tiff", "a.png", "b.JPG"]
    assert all(photo.label_name is None and photo.path.is_file() for photo in found.photos)
    assert found.classes == {}
    assert found.root == tmp_path
    assert found.skipped == (
        ("*", "1 × no image file by its extension"),
        ("*.txt", "2 × no image file by its extension"),
    )


def test_class_folders(tmp_path):
    touch(tmp_path, "dog/2.jpg", "dog/1.jpg", "cat/z.png", "cat/readme.md", ".git/x.jpg", "x.md")
    found = scan(str(tmp_path))
    assert list(found.classes) == ["cat", "dog"]
    assert [photo.id for photo in found.photos] == ["cat/z.png", "dog/1.jpg", "dog/2.jpg"]
    assert found.classes["dog"] == found.photos[1:]
    assert {photo.label_name for photo in found.classes["dog"]} == {"dog"}
    assert found.skipped == (("*.md", "2 × no image file by its extension"),)


def test_everything_that_is_left_out_is_told(tmp_path):
    touch(tmp_path, "cat/a.png", "cat/more/b.png", "cat/other/c.png", "empty/x.txt", "loose.png")
    skipped = dict(scan(tmp_path).skipped)
    assert skipped == {
        "loose.png": "lies beside the class folders, so it has no class",
        "*.txt": "1 × no image file by its extension",
        "cat/*/": "2 × nested folder, not followed",
        "empty/": "a folder without images",
    }


def test_flat_folder_with_empty_sub_folders(tmp_path):
    touch(tmp_path, "a.png", "docs/x.txt")
    found = scan(tmp_path)
    assert [photo.id for photo in found.photos] == ["a.png"]
    assert dict(found.skipped)["*/"] == "1 × nested folder, not followed"


def test_order_of_creation_makes_no_difference(tmp_path):
    names = ["k/1.png", "k/2.png", "a/3.png", "z/0.png"]
    touch(tmp_path / "one", *names)
    touch(tmp_path / "two", *reversed(names))
    first, second = scan(tmp_path / "one"), scan(tmp_path / "two")
    assert [photo.id for photo in first.photos] == [photo.id for photo in second.photos]
    assert list(first.classes) == list(second.classes)


def test_missing_file_and_empty(tmp_path):
    with pytest.raises(ImageError, match="does not exist: check the path"):
        scan(tmp_path / "missing")
    touch(tmp_path, "photo.png")
    with pytest.raises(ImageError, match="is a file: pass the folder"):
        scan(tmp_path / "photo.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ImageError, match=r"holds no image \(it is empty\): put files .*\.jpg"):
        scan(tmp_path / "empty")
    touch(tmp_path, "texts/a.txt")
    with pytest.raises(ImageError, match=r"\*\.txt: 1 × no image file"):
        scan(tmp_path / "texts")


def test_images_one_level_too_deep(tmp_path):
    touch(tmp_path, "train/cat/a.png")
    with pytest.raises(ImageError, match=r"nests them deeper: pass .*/train instead"):
        scan(tmp_path)


def test_links(tmp_path):
    touch(tmp_path, "photos/cat/a.png", "elsewhere/b.png")
    cat = tmp_path / "photos" / "cat"
    (cat / "loop.png").symlink_to(cat / "loop.png")
    (cat / "gone.png").symlink_to(cat / "nowhere.png")
    (cat / "linked.png").symlink_to(tmp_path / "elsewhere" / "b.png")
    (cat / "up").symlink_to(tmp_path / "photos")
    (tmp_path / "photos" / "self").symlink_to(tmp_path / "photos")
    found = scan(tmp_path / "photos")
    assert [photo.id for photo in found.photos] == ["cat/a.png", "cat/linked.png"]
    skipped = dict(found.skipped)
    assert skipped["cat/gone.png"] == "a link that leads nowhere"
    assert "cat/loop.png" in skipped
    assert skipped["cat/*/"] == "1 × nested folder, not followed"
    assert skipped["self/"] == "a folder without images"


def test_a_root_that_links_to_itself(tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(ImageError, match="expected a folder"):
        scan(loop)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_opened(tmp_path):
    touch(tmp_path, "a.png")
    os.mkfifo(tmp_path / "pipe.png")
    assert scan(tmp_path).skipped == (("pipe.png", "not a regular file"),)


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file system that takes any bytes")
def test_weird_names(tmp_path):
    names = [b"\xff\xfe.png", b"two\nlines.png", b"back\\slash.png", b"back\\xff.png", b" .png"]
    names += ["naïve 猫 🐈.png".encode(), b"-rf.png", b"%s.png", b"\x1b[31m.png"]
    (tmp_path / "cla\nss").mkdir()
    for name in names:
        (tmp_path / "cla\nss" / os.fsdecode(name)).write_bytes(b"x")
    found = scan(tmp_path)
    ids = [photo.id for photo in found.photos]
    assert len(set(ids)) == len(names)
    assert list(found.classes) == [r"cla\nss"]
    assert all(identity.isprintable() for identity in ids)
    json.dumps(ids).encode()
    "".join(ids).encode("utf-8")
    assert all(photo.path.read_bytes() == b"x" for photo in found.photos)


def test_a_folder_that_cannot_be_listed(tmp_path, monkeypatch):
    touch(tmp_path, "cat/a.png", "dog/b.png")
    iterdir = type(tmp_path).iterdir

    def refusing(self):
        if self.name == "dog":
            raise PermissionError(13, "Permission denied")
        return iterdir(self)

    monkeypatch.setattr(type(tmp_path), "iterdir", refusing)
    found = scan(tmp_path)
    assert list(found.classes) == ["cat"]
    assert ("dog/", "cannot be listed: Permission denied") in found.skipped


@given(st.text(), st.text())
def test_printable_keeps_names_apart(one, other):
    assert printable(one).isprintable()
    assert (printable(one) == printable(other)) == (one == other)


def test_printable_leaves_ordinary_names_alone():
    assert printable("naïve 猫 🐈-1_a.png") == "naïve 猫 🐈-1_a.png"
    assert printable("a\udcff\\") == r"a\udcff\\"


def test_collection_of_sorts_and_groups(tmp_path):
    photos = [Photo(name, tmp_path / name, name[0]) for name in ("b1", "a2", "a1")]
    made = Collection.of(tmp_path, photos)
    assert [photo.id for photo in made.photos] == ["a1", "a2", "b1"]
    assert {name: len(group) for name, group in made.classes.items()} == {"a": 2, "b": 1}


def test_sha256_file(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    assert sha256_file(tmp_path / "x") == hashlib.sha256(b"abc").hexdigest()
    with pytest.raises(ImageError):
        sha256_file(tmp_path / "y")
