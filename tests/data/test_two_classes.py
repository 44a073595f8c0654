"""Stacks of two classes: which class lies above which, on disk and without, and what is refused."""

import json
from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from camaudit.commands.stack_mix import stack_mix as command
from camaudit.data.folders import scan
from camaudit.data.images import decode
from camaudit.data.loading import Loader
from camaudit.data.manifest import load_images, read_manifest, verify, write_manifest
from camaudit.data.pairs import crossed_pairs
from camaudit.data.stack_mix import stack_mix
from camaudit.data.two_classes import two_class_pairs
from camaudit.errors import ImageError, UsageError
from tests.commands.test_stack_mix_commands import call
from tests.data.sets import SIDE, build, contents, photographs

CLASSES = {"a": 3, "b": 2, "c": 1, "tench": 2}


@pytest.fixture
def photos(tmp_path):
    return photographs(tmp_path / "photos", CLASSES)


def folder_of(source):
    return source.id.split("/")[0]


@given(st.integers(0, 7), st.integers(0, 7), st.integers(0, 20))
def test_every_crossed_pair_exactly_once(n, m, start):
    pairs = list(crossed_pairs(range(n), range(m), start=start))
    assert len(pairs) == n * m
    assert set(pairs) == set(product(range(n), range(m)))
    assert len({first for first, _ in pairs[:n]}) == min(n, len(pairs)), "a round takes each once"


def test_every_class_is_seen_once_and_lies_behind_the_wall_once(photos, tmp_path):
    manifest = build(photos, tmp_path / "set", pairs="different")
    assert manifest.settings["pairs"] == "different"
    assert sorted(image.label_name for image in manifest.images) == sorted(CLASSES)
    assert Counter(image.unseen_label_name for image in manifest.images) == Counter([*CLASSES])
    assert verify(tmp_path / "set").passed
    assert read_manifest(tmp_path / "set") == manifest
    for entry, image in zip(manifest.images, load_images(tmp_path / "set"), strict=True):
        seen, unseen = map(folder_of, entry.sources)
        assert (seen, unseen) == (entry.label_name, entry.unseen_label_name)
        assert seen != unseen
        assert (entry.label, entry.unseen_label) == tuple(
            0 if name == "tench" else None for name in (seen, unseen)
        )
        assert image.pairing == "two-classes"
        assert (image.unseen_label, image.unseen_label_name) == (entry.unseen_label, unseen)
        assert entry.id.startswith(f"{seen}_over_{unseen}-")
        whole = [decode(photos / part.id).pixels for part in entry.sources]
        assert not np.array_equal(*whole)


def test_the_same_options_give_the_same_bytes_and_a_review_keeps_the_others(photos, tmp_path):
    first = build(photos, tmp_path / "one", pairs="different")
    build(photos, tmp_path / "two", pairs="different")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert build(photos, tmp_path / "three", pairs="different", seed=1) != first
    wrong = first.images[1]
    again = build(
        photos, tmp_path / "one", pairs="different", reject={wrong.id: "dull"}, review=True
    )
    assert [image for image in again.images if image != again.images[1]] == [
        image for image in first.images if image != wrong
    ]
    assert again.images[1].label_name == wrong.label_name
    assert again.images[1].id != wrong.id
    with pytest.raises(UsageError, match="pairs was 'different', is 'same'"):
        build(photos, tmp_path / "one", reject={again.images[0].id: "x"}, review=True)


def test_a_manifest_without_the_setting_has_pairs_of_one_class(photos, tmp_path):
    manifest = build(photos, tmp_path / "set", count=2)
    path = tmp_path / "set" / "manifest.json"
    plain = json.loads(path.read_text())
    assert not any("unseen_label" in image for image in plain["images"])
    del plain["settings"]["pairs"]
    path.write_text(json.dumps(plain))
    reject = {manifest.images[0].id: "x"}
    with pytest.raises(UsageError, match="pairs was 'same', is 'different'"):
        build(photos, tmp_path / "set", count=2, pairs="different", reject=reject, review=True)
    build(photos, tmp_path / "set", count=2, reject=reject, review=True)


def test_several_images_of_a_class_are_above_different_ones(photos, tmp_path):
    manifest = build(photos, tmp_path / "set", pairs="different", per_class=3, count=12)
    above = Counter((image.label_name, image.unseen_label_name) for image in manifest.images)
    assert above == Counter((a, b) for a, b in product(CLASSES, CLASSES) if a != b)


def test_all_pairs_of_photographs_come_once_and_then_no_more(photos):
    collection = scan(photos)
    classes = [(name, collection.classes[name]) for name in CLASSES]
    found = [
        tuple(view.source.id for view in pair)
        for _, pair in two_class_pairs(classes, 1, Loader((SIDE, SIDE)))
    ]
    others = [photo.id for photo in collection.photos if photo.label_name != "b"]
    assert len(found) == len(set(found)) == 2 * len(others)
    assert set(found) == {(f"b/{number}.png", other) for number in range(2) for other in others}


def test_what_cannot_be_used_or_shows_the_same_is_passed_over(photos, tmp_path):
    (photos / "c" / "0.png").write_bytes(b"broken")
    (photos / "tench" / "1.png").unlink()
    Image.open(photos / "a" / "0.png").save(photos / "tench" / "0.png")
    manifest = build(photos, tmp_path / "set", pairs="different", per_class=9, count=99)
    ids = [tuple(part.id for part in image.sources) for image in manifest.images]
    assert {folder for pair in ids for folder in (i.split("/")[0] for i in pair)} == {
        "a", "b", "tench",
    }  # fmt: skip
    assert ("a/0.png", "tench/0.png") not in ids
    assert len(set(ids)) == len(ids) == 8 + 9 - 1 + 4  # a above two, b above four, tench above five
    assert any("not used: c/0.png" in note for note in manifest.notes)


def test_without_a_data_set_the_same_is_stacked(photos):
    dead = np.zeros((SIDE, SIDE), bool)
    dead[-9:] = True
    images = stack_mix(scan(photos), dead=dead, seed=3, pairs="different").images
    assert Counter(image.label_name for image in images) == Counter([*CLASSES])
    assert Counter(image.unseen_label_name for image in images) == Counter([*CLASSES])
    for image in images:
        assert image.label_name != image.unseen_label_name
        assert [folder_of(source) for source in image.sources] == [
            image.label_name, image.unseen_label_name,
        ]  # fmt: skip
    assert len(stack_mix(scan(photos), dead=dead, count=9, pairs="different").images) == 9


def test_one_class_is_too_few(tmp_path):
    photos = photographs(tmp_path / "photos", {"a": 3})
    with pytest.raises(ImageError, match="at least two class folders; got 1"):
        build(photos, tmp_path / "set", pairs="different")
    with pytest.raises(ImageError, match="at least two class folders; got 1"):
        stack_mix(scan(photos), dead=np.tri(SIDE, dtype=bool), pairs="different")
    with pytest.raises(UsageError, match="pairs must be same or different; got 'two'"):
        build(photos, tmp_path / "set", pairs="two")
    with pytest.raises(UsageError, match="--pairs-only is of classes that would give two crops"):
        build(photos, tmp_path / "set", pairs="different", pairs_only=True)


def test_a_manifest_with_half_an_unseen_class_is_refused(photos, tmp_path):
    build(photos, tmp_path / "set", pairs="different")
    path = tmp_path / "set" / "manifest.json"
    plain = json.loads(path.read_text())
    del plain["images"][0]["unseen_label_name"]
    path.write_text(json.dumps(plain))
    with pytest.raises(UsageError, match="unseen_label_name"):
        read_manifest(tmp_path / "set")
    plain["images"][0]["unseen_label_name"] = None
    path.write_text(json.dumps(plain))
    with pytest.raises(UsageError, match="unseen_label_name must be text"):
        read_manifest(tmp_path / "set")


def test_the_command(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out = call(
        command, "--images", photos, "--image-size", 36, "--dead-rows", 9, "--pairs", "different",
        "--out", "set",
    )  # fmt: skip
    assert code == 0
    assert "note: two classes are stacked in each image" in out
    manifest = read_manifest(tmp_path / "set")
    assert all(image.unseen_label_name for image in manifest.images)
    write_manifest(manifest, tmp_path / "set")
    assert read_manifest(tmp_path / "set") == manifest
