"""Manifests: what is written is read back, what was changed is found, nothing escapes."""

import copy
import dataclasses
import json
import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from camaudit.data.folders import sha256_bytes
from camaudit.data.images import decode
from camaudit.data.manifest import (
    Manifest,
    ManifestImage,
    ManifestSource,
    ManifestWall,
    Rejection,
    load_images,
    read_manifest,
    verify,
    write_manifest,
)
from camaudit.errors import OutputError, UsageError
from tests.data.sets import SIDE, build, photographs

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
DIGEST = st.binary(max_size=3).map(sha256_bytes)
FRACTION = st.floats(0, 1, allow_subnormal=False)
JSON = st.dictionaries(TEXT, st.none() | st.integers() | TEXT | st.lists(st.booleans()), max_size=3)


@st.composite
def crops(draw):
    left, right = sorted(draw(st.lists(FRACTION, min_size=2, max_size=2, unique=True)))
    top, bottom = sorted(draw(st.lists(FRACTION, min_size=2, max_size=2, unique=True)))
    return (left, top, right, bottom)


@st.composite
def manifests(draw):
    height = draw(st.integers(2, 300))
    dead = draw(st.integers(1, height - 1))
    walls = [
        ManifestWall("a wall", dead, ((height - dead, height - 1),)),
        ManifestWall("a wall", dead, None),
        ManifestWall("a wall", None, ((0, dead - 1),)),
        ManifestWall("none", None, None),
    ]
    sources = st.builds(ManifestSource, TEXT, DIGEST, crops(), st.none() | TEXT)
    names = draw(st.lists(st.from_regex("[a-z0-9_]{1,9}", fullmatch=True), unique=True, max_size=4))
    images = tuple(
        ManifestImage(
            id=name,
            file=f"images/{name}.png",
            sha256=draw(DIGEST),
            label=draw(st.none() | st.integers(0, 999)),
            label_name=draw(st.none() | TEXT),
            notes=tuple(draw(st.lists(TEXT, max_size=2))),
            sources=tuple(draw(st.lists(sources, max_size=2))),
            generation=draw(st.none() | JSON),
        )
        for name in names
    )
    return Manifest(
        kind=draw(st.sampled_from(["stack-mix", "stack-gen"])),
        seed=draw(st.integers(0, 2**70)),
        settings=draw(JSON),
        size=(height, draw(st.integers(1, 300))),
        wall=draw(st.sampled_from(walls)),
        licence=draw(TEXT),
        images=images,
        rejected=tuple(draw(st.lists(st.builds(Rejection, TEXT, TEXT), max_size=2))),
        notes=tuple(draw(st.lists(TEXT, max_size=2))),
    )


@given(manifests())
def test_what_is_written_is_read_back(tmp_path_factory, manifest):
    folder = tmp_path_factory.mktemp("set")
    path = write_manifest(manifest, folder)
    assert read_manifest(folder) == manifest
    assert [entry.name for entry in folder.iterdir()] == ["manifest.json"]
    plain = json.loads(path.read_text(encoding="utf-8"))
    assert list(plain)[:3] == ["format", "kind", "camaudit"]
    assert plain["format"] == "camaudit-dataset-1"


@pytest.fixture
def dataset(tmp_path):
    photos = photographs(tmp_path / "photos", {"a": 3, "b": 2, "c": 1})
    build(photos, tmp_path / "set")
    return tmp_path / "set"


def test_a_data_set_verifies_and_loads(dataset):
    outcome = verify(dataset)
    assert (outcome.ok, outcome.problems, outcome.passed) == (3, (), True)
    manifest, images = read_manifest(dataset), load_images(str(dataset))
    assert [image.id for image in images] == [entry.id for entry in manifest.images]
    assert sorted(image.pairing for image in images) == ["two-crops", "two-images", "two-images"]
    for image, entry in zip(images, manifest.images, strict=True):
        assert image.pixels.shape == (SIDE, SIDE, 3)
        np.testing.assert_array_equal(image.pixels, decode(dataset / entry.file).pixels)
        assert image.label_name == entry.label_name
        assert len(image.sources) == 2


def test_tampered_missing_and_foreign_files_are_found(dataset):
    first, second, third = (entry.file for entry in read_manifest(dataset).images)
    Image.new("RGB", (SIDE, SIDE)).save(dataset / first)
    (dataset / second).unlink()
    (dataset / third).unlink()
    (dataset / third).mkdir()
    (dataset / "images" / "extra.png").write_bytes(b"x")
    (dataset / "notes.txt").write_bytes(b"x")
    (dataset / ".hidden").write_bytes(b"x")
    (dataset / "contact_sheet.png").unlink()
    outcome = verify(dataset)
    assert outcome.ok == 0
    assert not outcome.passed
    found = "\n".join(outcome.problems)
    assert f"{first}: expected sha256" in found
    assert f"{second}: there is no such file" in found
    assert f"{third}: not a regular file" in found
    assert "images/extra.png: the manifest does not list it" in found
    assert "notes.txt: the manifest does not list it" in found
    assert len(outcome.problems) == 5
    with pytest.raises(UsageError, match="its bytes are not those that the manifest lists"):
        load_images(dataset)


def test_one_changed_bit_is_found(dataset):
    entry = read_manifest(dataset).images[1]
    data = bytearray((dataset / entry.file).read_bytes())
    data[-20] ^= 1
    (dataset / entry.file).write_bytes(bytes(data))
    assert verify(dataset).ok == 2
    with pytest.raises(UsageError, match="see camaudit data verify"):
        load_images(dataset)


def test_an_image_of_another_size_is_refused_though_its_hash_fits(dataset):
    entry = read_manifest(dataset).images[0]
    Image.new("RGB", (SIDE, SIDE + 1)).save(dataset / entry.file)
    edit(dataset, lambda plain: plain["images"][0].update(sha256=digest(dataset / entry.file)))
    with pytest.raises(UsageError, match=f"{SIDE + 1}×{SIDE} pixels, the manifest says"):
        load_images(dataset)


def digest(path):
    return sha256_bytes(path.read_bytes())


def edit(folder, change):
    path = folder / "manifest.json"
    plain = json.loads(path.read_text())
    change(plain)
    path.write_text(json.dumps(plain))


@pytest.mark.parametrize(
    "file",
    [
        "../outside.png", "images/../../outside.png", "/etc/passwd", "C:\\x.png", "..\\x.png",
        "C:/x.png", "images//x.png", "./x.png", "images/.", "", "manifest.json",
        "contact_sheet.png", "a\0b", "a" * 5000 + "/..",
    ],
)  # fmt: skip
def test_a_file_outside_the_folder_is_refused(dataset, file):
    edit(dataset, lambda plain: plain["images"][0].update(file=file))
    for use in (read_manifest, verify, load_images):
        with pytest.raises(UsageError, match="file must be"):
            use(dataset)


@given(st.text(max_size=20) | st.from_regex(r"(\.{0,2}[a-c/\\:]{0,3}){1,5}", fullmatch=True))
def test_no_path_leads_out_of_the_folder(tmp_path_factory, file):
    folder = tmp_path_factory.getbasetemp() / "escapes"
    folder.mkdir(exist_ok=True)
    image = ManifestImage("x", file, "0" * 64, None, None)
    manifest = Manifest(
        kind="stack-mix", seed=0, settings={}, size=(4, 4), wall=ManifestWall("w", 1, None),
        licence="none", images=(image,),
    )  # fmt: skip
    try:
        write_manifest(manifest, folder)
    except UsageError:
        return
    inside = os.path.normpath(folder / file)
    assert inside.startswith(str(folder) + os.sep)


def test_links_that_lead_out_are_refused(dataset, tmp_path):
    entry = read_manifest(dataset).images[0]
    (tmp_path / "outside.png").write_bytes((dataset / entry.file).read_bytes())
    (dataset / entry.file).unlink()
    (dataset / entry.file).symlink_to(tmp_path / "outside.png")
    with pytest.raises(UsageError, match="inside the folder"):
        verify(dataset)


def test_a_folder_of_links_is_foreign(dataset, tmp_path):
    (dataset / "more").symlink_to(tmp_path)
    assert verify(dataset).problems == ("more: the manifest does not list it",)


WRONG = {
    "format": ["camaudit-dataset-2", None, 1],
    "kind": ["stack", None, 3],
    "seed": [-1, 0.5, True, "0"],
    "settings": [None, []],
    "size": [[224], [0, 4], [4.0, 4], ["a", "b"], 224],
    "licence": ["", None],
    "images": [None, {}, [3], ["x"]],
    "rejected": [[{"id": "x"}], [{"id": "x", "reason": 3}]],
    "notes": ["text", [3]],
    "wall": [
        {},
        {"description": "w", "dead_rows": 0, "pixel_dead_rows": None},
        {"description": "w", "dead_rows": SIDE, "pixel_dead_rows": None},
        {"description": "w", "dead_rows": None, "pixel_dead_rows": [[3, 2]]},
        {"description": "w", "dead_rows": None, "pixel_dead_rows": [[0, 5], [5, 6]]},
        {"description": "w", "dead_rows": None, "pixel_dead_rows": [[0, SIDE]]},
        {"description": "w", "dead_rows": None, "pixel_dead_rows": [[0, True]]},
        {"description": "w", "dead_rows": 9, "pixel_dead_rows": [[0, 8]]},
    ],
}
BESIDE = {"id": "x", "sha256": "0" * 64, "crop": [0, 0, 2, 1], "credit": None}
WRONG_IMAGE = {
    "id": [None, "", 3],
    "sha256": ["0" * 63, "0" * 63 + "g", "A" * 64, None],
    "label": [-1, "17", 0.5, False],
    "label_name": ["", 4],
    "notes": [None, "x"],
    "sources": [
        None,
        [{}],
        [{"id": "x", "sha256": "0" * 64, "crop": [0, 0, 2, 1], "credit": None}],
    ],
    "generation": ["text", []],
}


@pytest.mark.parametrize(("key", "value"), [(k, v) for k, vs in WRONG.items() for v in vs])
def test_a_wrong_field_is_named(dataset, key, value):
    edit(dataset, lambda plain: plain.update({key: value}))
    with pytest.raises(UsageError, match=key):
        read_manifest(dataset)


@pytest.mark.parametrize(("key", "value"), [(k, v) for k, vs in WRONG_IMAGE.items() for v in vs])
def test_a_wrong_field_of_an_image_is_named(dataset, key, value):
    edit(dataset, lambda plain: plain["images"][1].update({key: value}))
    with pytest.raises(UsageError, match=rf"images\[1\].*{key}|images\[1\]: sources\[0\]"):
        read_manifest(dataset)


@pytest.mark.parametrize("key", ["kind", "seed", "size", "wall", "images", "rejected", "camaudit"])
def test_a_missing_field_is_named(dataset, key):
    edit(dataset, lambda plain: plain.pop(key))
    with pytest.raises(UsageError, match=f"'{key}' is missing"):
        read_manifest(dataset)


def test_manifests_without_notes_are_read(dataset):
    edit(dataset, lambda plain: plain.pop("notes"))
    assert read_manifest(dataset).notes == ()


@pytest.mark.parametrize("what", ["id", "file"])
def test_ids_and_files_do_not_repeat(dataset, what):
    edit(dataset, lambda plain: plain["images"][0].update({what: plain["images"][1][what]}))
    with pytest.raises(UsageError, match=f"two images have the {what}"):
        read_manifest(dataset)


@pytest.mark.parametrize(
    "text", [b"", b"\xff\xfe", b"<html>", b"[1, 2", b"[" * 20_000, b'{"seed": NaN}', b"3", b"null"]
)
def test_what_is_no_manifest_is_refused(tmp_path, text):
    (tmp_path / "manifest.json").write_bytes(text)
    with pytest.raises(UsageError, match=r"manifest\.json.*(no JSON|expected an object)"):
        read_manifest(tmp_path)


def test_no_manifest(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(UsageError, match="no such file; expected the folder of a data set"):
            verify(folder)


def test_nothing_that_could_not_be_read_is_written(dataset):
    manifest, before = read_manifest(dataset), (dataset / "manifest.json").read_bytes()
    bad = [
        dataclasses.replace(manifest, settings={"x": float("nan")}),
        dataclasses.replace(manifest, settings={"x": object()}),
        dataclasses.replace(manifest, licence=""),
        dataclasses.replace(manifest, images=(manifest.images[0], manifest.images[0])),
    ]
    for wrong in bad:
        with pytest.raises(UsageError):
            write_manifest(wrong, dataset)
    assert (dataset / "manifest.json").read_bytes() == before


def test_a_full_disk_keeps_the_earlier_manifest(dataset, monkeypatch):
    manifest, before = read_manifest(dataset), (dataset / "manifest.json").read_bytes()

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        write_manifest(dataclasses.replace(manifest, seed=9), dataset)
    assert (dataset / "manifest.json").read_bytes() == before
    assert verify(dataset).passed


def test_generated_images_load_as_single_ones(dataset):
    def generated(plain):
        entry = plain["images"][0]
        entry.update(sources=[], label=17, label_name="jay", generation={"prompt": "two jays"})
        plain["kind"] = "stack-gen"

    edit(dataset, generated)
    image = load_images(dataset)[0]
    assert (image.pairing, image.label, image.label_name, image.sources) == (
        "single", 17, "jay", (),
    )  # fmt: skip


def test_credits_are_among_the_notes(dataset):
    def credited(plain):
        plain["images"][0]["sources"][0]["credit"] = "by Ann; CC0"
        plain["images"][0]["notes"] = ["a note"]

    edit(dataset, credited)
    assert load_images(dataset)[0].notes == ("a note", "by Ann; CC0")


def test_the_plain_form_is_a_copy(dataset):
    manifest = read_manifest(dataset)
    before = copy.deepcopy(manifest)
    manifest.to_dict()["settings"]["count"] = -1
    assert manifest == before
