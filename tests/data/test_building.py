"""STACK-MIX on disk: the same bytes for the same seed, reviewed by eye, never half written."""

import errno
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from camaudit.data import building, staging
from camaudit.data.building import build_stack_mix
from camaudit.data.classes import choose_classes, drawn
from camaudit.data.images import decode, resize_center_crop
from camaudit.data.manifest import read_manifest, verify
from camaudit.data.seam import dead_mask, lower_rows, wall_of_rows
from camaudit.data.sources import open_source
from camaudit.errors import ImageError, OutputError, UsageError
from tests.data.sets import SIDE, build, contents, options, photographs

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared" / "data"
CLASSES = {"a": 4, "b": 3, "c": 2, "d": 1, "e": 1}


@pytest.fixture
def photos(tmp_path):
    return photographs(tmp_path / "photos", CLASSES)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def classes(manifest):
    return [image.label_name for image in manifest.images]


# --- what is built


def test_pixels_are_those_of_the_two_sources(photos, tmp_path):
    manifest = build(photos, tmp_path / "set", licence="my own; CC0")
    assert manifest == read_manifest(tmp_path / "set")
    assert verify(tmp_path / "set").passed
    assert sorted(classes(manifest)) == ["a", "b", "c", "d", "e"]
    assert manifest.licence == "my own; CC0"
    assert manifest.wall == lower_rows(9, SIDE)
    for entry in manifest.images:
        image = Image.open(tmp_path / "set" / entry.file)
        assert (image.format, image.mode, image.size) == ("PNG", "RGB", (SIDE, SIDE))
        views = []
        for part in entry.sources:
            pixels = decode(photos / part.id).pixels
            box = [round(f * pixels.shape[1 - k % 2]) for k, f in enumerate(part.crop)]
            views.append(resize_center_crop(pixels[box[1] : box[3], box[0] : box[2]], SIDE))
        if len({part.id for part in entry.sources}) == 2:
            assert entry.notes == ()
        else:
            assert entry.notes[0].startswith("two crops of one photograph")
            assert any("pixels, enlarged to cover 36×36" in note for note in entry.notes)
        expected = np.concatenate([views[0][: SIDE - 9], views[1][SIDE - 9 :]])
        assert np.abs(np.asarray(image).astype(int) - expected).mean() < 4  # rounded crop boxes


def test_same_seed_same_bytes_other_seed_others(photos, tmp_path):
    build(photos, tmp_path / "one")
    build(photos, tmp_path / "two")
    build(photos, tmp_path / "three", seed=1)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert contents(tmp_path / "one") != contents(tmp_path / "three")


def test_classes_come_in_the_drawn_order(tmp_path):
    photos = photographs(tmp_path / "photos", {str(k): 2 for k in range(12)})
    manifest = build(photos, tmp_path / "set", count=7, seed=4)
    order = [key for key in drawn(range(398), 4) if key < 12]
    assert [image.label for image in manifest.images] == order[:7]
    assert manifest.settings["classes"] == "0-397"
    assert manifest.images[0].label_name != manifest.images[0].label
    more = build(photos, tmp_path / "more", count=9, seed=4)
    assert more.images[:7] == manifest.images


def test_counts(photos, tmp_path):
    manifest = build(photos, tmp_path / "set", per_class=3, count=8)
    assert Counter(classes(manifest)) == {"a": 3, "b": 3, "c": 2}
    assert len({image.sha256 for image in manifest.images}) == 8
    manifest = build(photos, tmp_path / "more", per_class=3)
    assert Counter(classes(manifest)) == {"a": 3, "b": 3, "c": 2, "d": 1, "e": 1}
    assert manifest.notes[0].startswith("100 images were asked for, 10 could be made from 5")
    assert manifest.notes[1].startswith("2 of 10 images show two crops of one photograph")
    assert sorted(manifest.notes[2].split(": ")[1].split(", ")) == ["c (2)", "d (1)", "e (1)"]


def test_pairs_only(photos, tmp_path):
    manifest = build(photos, tmp_path / "set", pairs_only=True)
    assert sorted(classes(manifest)) == ["a", "b", "c"]
    assert not any("two crops" in note for note in manifest.notes)
    (tmp_path / "one").mkdir()
    single = photographs(tmp_path / "one" / "photos", {"d": 1})
    with pytest.raises(ImageError, match="or leave --pairs-only out"):
        build(single, tmp_path / "other", pairs_only=True)
    assert not (tmp_path / "other").exists()


def test_bad_files_are_left_out_and_told(photos, tmp_path):
    whole = (photos / "a" / "0.png").read_bytes()
    (photos / "a" / "0.png").write_bytes(whole[: len(whole) // 2])
    (photos / "a" / "1.png").write_bytes(b"<html>Sign in</html>")
    (photos / "b" / "1.png").write_bytes((photos / "b" / "0.png").read_bytes())
    (photos / "c" / "0.png").write_bytes(b"")
    (photos / "e" / "0.png").write_bytes(b"")
    Image.new("RGB", (20, 50)).save(photos / "d" / "0.png")
    (photos / "d" / "readme.md").write_bytes(b"x")
    manifest = build(photos, tmp_path / "set", per_class=9)
    assert Counter(classes(manifest)) == {"a": 2, "b": 2, "c": 1}
    text = "\n".join(manifest.notes)
    assert "not used: a/0.png: damaged or truncated" in text
    assert "not used: a/1.png: not an image" in text
    assert "not used: b/" in text
    assert "shows the same pixels as b/" in text
    assert "not used: c/0.png: the file is empty" in text
    assert "not used: d/0.png: 20×50 is too small" in text
    assert "e (0)" in text
    assert "left out: *.md: 1 × no image file by its extension" in text


def test_photographs_smaller_than_the_crop_are_enlarged_and_told(tmp_path):
    photos = photographs(tmp_path / "photos", {"a": 2}, side=33)
    (image,) = build(photos, tmp_path / "set").images
    assert sorted(image.notes) == [
        f"a/{k}.png: 33×43 pixels, enlarged to cover 36×36" for k in (0, 1)
    ]


def test_small_pictures_make_small_data_sets(tmp_path):
    photos = photographs(tmp_path / "photos", {"a": 2, "b": 1}, side=28)
    manifest = build(photos, tmp_path / "set", wall=lower_rows(7, 28), size=(28, 28))
    assert sorted(classes(manifest)) == ["a", "b"]
    assert manifest.size == (28, 28)


def test_other_seams(photos, tmp_path):
    wall = wall_of_rows("two bands", [0, 1, 2, 20, 21], SIDE)
    manifest = build(photos, tmp_path / "set", wall=wall)
    assert manifest.wall.dead_rows is None
    assert manifest.wall.pixel_dead_rows == ((0, 2), (20, 21))
    assert dead_mask(manifest.wall, manifest.size).any(axis=1).nonzero()[0].tolist() == [
        0, 1, 2, 20, 21,
    ]  # fmt: skip
    assert verify(tmp_path / "set").passed


@given(st.integers(2, 40), st.data())
def test_walls_of_rows_name_exactly_these_rows(height, data):
    rows = sorted(data.draw(st.sets(st.integers(0, height - 1), min_size=1)))
    wall = wall_of_rows("w", rows, height)
    assert dead_mask(wall, (height, 3)).all(axis=1).nonzero()[0].tolist() == rows
    bottom = rows == list(range(height - len(rows), height))
    assert wall.dead_rows == (len(rows) if bottom else None)


def test_seams_that_are_none():
    assert lower_rows(None, 224).pixel_dead_rows == ((170, 223),)
    with pytest.raises(UsageError, match="say it with --dead-rows or --wall"):
        lower_rows(None, 64)
    for count in (0, 64):
        with pytest.raises(UsageError, match="1 to 63 of 64"):
            lower_rows(count, 64)


@pytest.mark.parametrize(
    "wrong", [{"count": 0}, {"per_class": 0}, {"seed": -1}, {"wall": wall_of_rows("w", [], SIDE)}]
)
def test_misuse(wrong):
    with pytest.raises(UsageError):
        options(**wrong)


# --- review


def test_a_rejected_pair_is_redrawn_and_the_others_stay(photos, tmp_path):
    out = tmp_path / "set"
    first = build(photos, out)
    before = contents(out)
    gone = [image.id for image in first.images if image.label_name in ("a", "d")]
    second = build(photos, out, review=True, reject={gone[0]: "cut off", gone[1]: "blurred"})
    assert classes(second) == classes(first)
    after = contents(out)
    for old, new in zip(first.images, second.images, strict=True):
        if old.id in gone:
            assert new.id != old.id
            assert old.file not in after
        else:
            assert new == old
            assert after[new.file] == before[old.file]
    assert {entry.id: entry.reason for entry in second.rejected} == {
        gone[0]: "cut off", gone[1]: "blurred",
    }  # fmt: skip
    assert verify(out).passed
    # the same from the start
    build(photos, tmp_path / "fresh", reject={gone[0]: "cut off", gone[1]: "blurred"})
    assert contents(tmp_path / "fresh") == after


def test_reviews_add_up(photos, tmp_path):
    out = tmp_path / "set"
    first = build(photos, out, classes="a,b", licence="mine; CC0")
    one = next(image.id for image in first.images if image.label_name == "a")
    second = build(photos, out, classes="a,b", review=True, reject={one: "x"})
    two = next(image.id for image in second.images if image.label_name == "a")
    third = build(photos, out, classes="a,b", review=True, reject={two: "y"})
    assert [entry.id for entry in third.rejected] == [one, two]
    assert third.licence == "mine; CC0"
    before = contents(out)
    assert build(photos, out, classes="a,b", review=True, reject={one: "again"}) == third
    assert build(photos, out, classes="a,b", review=True) == third
    assert contents(out) == before


def test_the_next_class_takes_the_place_of_one_without_pairs(photos, tmp_path):
    out, names = tmp_path / "set", ["a", "b", "c"]
    seed = next(k for k in range(99) if choose_classes(names, wanted=None, seed=k).names[0] == "c")
    chosen = {"classes": "a,b,c", "count": 2, "seed": seed}
    first = build(photos, out, **chosen)
    second = build(photos, out, **chosen, review=True, reject={first.images[0].id: "x"})
    assert classes(second) == classes(first)
    third = build(photos, out, **chosen, review=True, reject={second.images[0].id: "x"})
    assert third.images[0] == first.images[1]
    assert {*classes(third), "c"} == set(names)
    assert "1 classes gave fewer than 1 images: c (0)" in third.notes
    assert verify(out).passed


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_rejecting_any_leaves_all_others_byte_for_byte(data):
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        photos = photographs(root / "photos", {"a": 3, "b": 2, "c": 1, "d": 1})
        count = data.draw(st.integers(1, 5))
        first = build(photos, root / "set", per_class=2, count=count)
        ids = [image.id for image in first.images]
        gone = data.draw(st.lists(st.sampled_from(ids), min_size=1, unique=True))
        second = build(
            photos,
            root / "set",
            per_class=2,
            count=count,
            review=True,
            reject=dict.fromkeys(gone, "x"),
        )
        after = {image.id: image for image in second.images}
        assert not set(gone) & set(after)
        assert all(after[image.id] == image for image in first.images if image.id not in gone)
        assert verify(root / "set").passed


def test_other_encoders_leave_kept_files_alone(photos, tmp_path, monkeypatch):
    out = tmp_path / "set"
    first = build(photos, out)
    before = contents(out)
    monkeypatch.setattr(building, "png", lambda image: _encoded(image))
    second = build(photos, out, review=True, reject={first.images[0].id: "x"})
    after = contents(out)
    assert all(after[new.file] == before[new.file] for new in second.images[1:])
    (out / second.images[1].file).write_bytes(b"changed")
    with pytest.raises(UsageError, match="was changed since it was built"):
        build(photos, out, review=True, reject={second.images[0].id: "x"})
    assert read_manifest(out) == second


def _encoded(image):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.png"
        image.save(path, compress_level=0)
        return path.read_bytes()


def test_reviews_that_cannot_be(photos, tmp_path):
    out = tmp_path / "set"
    with pytest.raises(UsageError, match=r"no data set in .* to review"):
        build(photos, out, review=True)
    first = build(photos, out)
    wrong = first.images[0].id
    before = contents(out)
    with pytest.raises(UsageError, match=rf"'{wrong[:-1]}' is no image.*near ids: .*{wrong}"):
        build(photos, out, review=True, reject={wrong[:-1]: "x"})
    with pytest.raises(UsageError, match=r"seed was 0, is 1; give|seed was 0, is 1\)"):
        build(photos, out, review=True, reject={wrong: "x"}, seed=1)
    with pytest.raises(UsageError, match="seam was"):
        build(photos, out, review=True, reject={wrong: "x"}, wall=lower_rows(10, SIDE))
    for label in ("a", "b", "c"):
        Image.new("RGB", (40, 40)).save(photos / label / "new.png")
    with pytest.raises(UsageError, match="they are not those of the data set"):
        build(photos, out, review=True, reject={wrong: "x"})
    assert contents(out) == before


def test_a_rejection_that_never_comes_up(photos, tmp_path):
    with pytest.raises(UsageError, match="'a-0123' was to be rejected and never came up"):
        build(photos, tmp_path / "set", reject={"a-0123": "x"})
    assert names(tmp_path) == ["photos"]


# --- nothing is lost and nothing half written


def test_a_data_set_is_not_overwritten_unasked(photos, tmp_path):
    out = tmp_path / "set"
    build(photos, out)
    before = contents(out)
    with pytest.raises(UsageError, match=r"--review redraws.*--force replaces"):
        build(photos, out, seed=1)
    assert contents(out) == before
    assert build(photos, out, seed=1, force=True).seed == 1
    assert verify(out).passed
    assert names(tmp_path) == ["photos", "set"]


@pytest.mark.parametrize("force", [False, True])
def test_other_files_are_never_destroyed(photos, tmp_path, force):
    out = tmp_path / "set"
    out.mkdir()
    (out / "thesis.tex").write_text("x")
    with pytest.raises(OutputError, match="neither empty nor a data set"):
        build(photos, out, force=force)
    (out / "thesis.tex").rename(tmp_path / "thesis.tex")
    build(photos, out)
    for name in (".git/config", "images/mine.png"):
        (out / name).parent.mkdir(exist_ok=True)
        (out / name).write_text("x")
        with pytest.raises(OutputError, match="no part of its data set"):
            build(photos, out, force=True)
        (out / name).unlink()
    (out / "manifest.json").write_text("{}")
    with pytest.raises(OutputError, match="or choose another output folder"):
        build(photos, out, force=True)
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError, match="is a file"):
        build(photos, tmp_path / "file", force=force)
    with pytest.raises(OutputError):
        build(photos, tmp_path / "file" / "set", force=force)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(errno.ENOSPC, "No space left")])
@pytest.mark.parametrize("step", [3, 12, 40])
def test_an_interruption_leaves_what_was_there(photos, tmp_path, monkeypatch, error, step):
    out = tmp_path / "set"
    build(photos, out)
    before, sync, calls = contents(out), os.fsync, []

    def stopping(descriptor):
        calls.append(descriptor)
        if len(calls) >= step:
            raise error
        sync(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", stopping)
        try:
            build(photos, out, seed=1, force=True)
        except (KeyboardInterrupt, OutputError):
            assert contents(out) == before
        else:
            assert verify(out).passed
    assert names(tmp_path) == ["photos", "set"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_killed_build_starts_clean(photos, tmp_path):
    code = """
import os, signal, sys
from pathlib import Path
from camaudit.data import building
written = building._written
def killing(*words):
    entry = written(*words)
    if entry.label_name == "c":
        os.kill(os.getpid(), signal.SIGKILL)
    return entry
building._written = killing
from tests.data.sets import build
build(Path(sys.argv[1]), Path(sys.argv[2]))
"""
    out = tmp_path / "set"
    command = [sys.executable, "-c", code, str(photos), str(out)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not out.exists()
    assert (tmp_path / ".set.building").is_dir()
    build(photos, out)
    build(photos, tmp_path / "fresh")
    assert contents(out) == contents(tmp_path / "fresh")
    assert names(tmp_path) == ["fresh", "photos", "set"]


def test_a_data_set_that_lost_its_name_is_put_back(photos, tmp_path):
    out = tmp_path / "set"
    build(photos, out)
    before = contents(out)
    out.rename(tmp_path / ".set.replaced")
    with pytest.raises(UsageError, match="holds a data set already"):
        build(photos, out)
    assert contents(out) == before


def test_a_failing_rename_puts_the_earlier_set_back(photos, tmp_path, monkeypatch):
    out = tmp_path / "set"
    build(photos, out)
    before, rename = contents(out), Path.rename

    def failing(self, target):
        if self.name.endswith(".building"):
            raise OSError(errno.EBUSY, "Device or resource busy")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OutputError, match="busy"):
        build(photos, out, seed=1, force=True)
    assert contents(out) == before


def test_a_second_build_in_the_same_place_is_noticed(photos, tmp_path, monkeypatch):
    write = staging.verify

    def disturbed(work):
        (work / "images" / "stranger.png").write_bytes(b"x")
        return write(work)

    monkeypatch.setattr(staging, "verify", disturbed)
    with pytest.raises(OutputError, match="does not verify"):
        build(photos, tmp_path / "set")
    assert names(tmp_path) == ["photos"]


def test_progress_is_told(photos, tmp_path):
    told = []

    class Telling:
        def start(self, work):
            told.append(work)

        def stage(self, text):
            told.append(text)

        def advance(self, work):
            told.append(work)

    build_stack_mix(
        open_source(photos), tmp_path / "set", options=options(count=3), progress=Telling()
    )
    assert told == [3, "stacking photographs", 1, 1, 1]


# --- photographs


def test_the_papers_data_set_from_real_photographs(tmp_path):
    if not (SHARED / "imagenet_animals").is_dir():
        pytest.skip("no ImageNet photographs beside the repository")
    source = open_source(SHARED / "imagenet_animals")
    chosen = {"wall": lower_rows(None, 224), "size": (224, 224), "count": 5, "seed": 2}
    first = build_stack_mix(source, tmp_path / "set", options=options(**chosen))
    names = json.loads((SHARED / "imagenet_classes.json").read_text())
    assert len({image.label for image in first.images}) == 5
    for image in first.images:
        assert names[image.label]["wnid"] in image.sources[0].id
        assert len({part.id for part in image.sources}) == 2
        assert image.notes == ()
        top, bottom = (
            resize_center_crop(decode(source.collection.root / part.id).pixels, 224)
            for part in image.sources
        )
        expected = np.concatenate([top[:170], bottom[170:]])
        np.testing.assert_array_equal(decode(tmp_path / "set" / image.file).pixels, expected)
    assert verify(tmp_path / "set").passed
