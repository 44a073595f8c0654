"""Class folders and ImageNet's flat validation folder, with every form of ground truth."""

import json

import numpy as np
import pytest
from PIL import Image

from camaudit.data.building import build_stack_mix
from camaudit.data.labels import imagenet_wnids
from camaudit.data.sources import IMAGENET_LICENCE, UNKNOWN_LICENCE, open_source
from camaudit.errors import ImageError, UsageError
from tests.data.sets import build, options, photographs

WNIDS = imagenet_wnids()
LABELS = [65, 0, 65, 970]


@pytest.fixture
def flat(tmp_path):
    """Four images, as ImageNet names them."""
    root = tmp_path / "val"
    root.mkdir()
    for number in range(1, 5):
        shade = (number * 50, 20, 200 - number * 40)
        Image.new("RGB", (50, 40), shade).save(root / f"ILSVRC2012_val_{number:08d}.JPEG")
    return root


def devkit_order():
    """An order of the classes that is not the ascending one, as the devkit's is not."""
    return [WNIDS[(k * 7 + 3) % 1000] for k in range(1000)]


def labels_of(source):
    return [photo.label_name for photo in source.collection.photos]


EXPECTED = [WNIDS[label] for label in LABELS]
TRUTHS = {
    "wnids": "\n".join(EXPECTED) + "\n",
    "wnids of Windows": "\ufeff" + "\r\n".join(EXPECTED),
    "indices": "\n".join(map(str, LABELS)),
    "names and indices": "\n".join(
        f"ILSVRC2012_val_{5 - k:08d}.JPEG {LABELS[4 - k]}" for k in range(1, 5)
    ),
    "names and wnids": "\n".join(
        f"ILSVRC2012_val_{k:08d}.JPEG\t{EXPECTED[k - 1]}" for k in range(1, 5)
    ),
    "Kaggle": "ImageId,PredictionString\n"
    + "\n".join(
        f"ILSVRC2012_val_{k:08d},{EXPECTED[k - 1]} 1 2 3 4 {EXPECTED[k - 1]} 5 6 7 8"
        for k in (3, 1, 4, 2)
    ),
}


@pytest.mark.parametrize("form", list(TRUTHS))
def test_forms_of_ground_truth(flat, tmp_path, form):
    truth = tmp_path / "truth.txt"
    truth.write_bytes(TRUTHS[form].encode())
    source = open_source(flat, ground_truth=truth)
    assert labels_of(source) == EXPECTED
    assert source.licence == IMAGENET_LICENCE
    assert {name: len(group) for name, group in source.collection.classes.items()} == {
        WNIDS[0]: 1, WNIDS[65]: 2, WNIDS[970]: 1,
    }  # fmt: skip


def test_the_devkits_ids_need_their_synsets(flat, tmp_path):
    order = devkit_order()
    ids = [order.index(wnid) + 1 for wnid in EXPECTED]
    truth = tmp_path / "ILSVRC2012_validation_ground_truth.txt"
    truth.write_text("\n".join(map(str, [*ids, 1000])))
    with pytest.raises(UsageError, match=r"may be ILSVRC ids.*meta\.mat as --synsets"):
        open_source(flat, ground_truth=truth)
    synsets = tmp_path / "synsets.txt"
    synsets.write_text("\n".join(f"{wnid} some words" for wnid in order))
    source = open_source(flat, ground_truth=truth, synsets=synsets)
    assert labels_of(source) == EXPECTED


def test_the_devkits_meta_mat(flat, tmp_path):
    from scipy import io

    order = devkit_order()
    kinds = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O")]
    table = np.zeros((1860,), dtype=kinds)
    for k in range(1860):
        wnid = order[k] if k < 1000 else f"n9{k:07d}"
        table[k] = (k + 1, wnid, "words", 0 if k < 1000 else 2)
    io.savemat(tmp_path / "meta.mat", {"synsets": table.reshape(-1, 1)})
    truth = tmp_path / "truth.txt"
    truth.write_text("\n".join(str(order.index(wnid) + 1) for wnid in EXPECTED))
    source = open_source(flat, ground_truth=truth, synsets=tmp_path / "meta.mat")
    assert labels_of(source) == EXPECTED
    (tmp_path / "meta.mat").write_bytes(b"MATLAB 5.0 no more")
    with pytest.raises(UsageError, match=r"not the devkit's meta\.mat"):
        open_source(flat, ground_truth=truth, synsets=tmp_path / "meta.mat")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (list(WNIDS), "ascending order"),
        (list(WNIDS)[:-1], "got 999 entries"),
        ([*WNIDS[:-1], WNIDS[0]], "each class"),
        (["<html>"], "got 1 entries"),
    ],
)
def test_synsets_that_are_none(flat, tmp_path, lines, message):
    (tmp_path / "t.txt").write_text("1\n2\n3\n4")
    (tmp_path / "s.txt").write_text("\n".join(lines))
    with pytest.raises(UsageError, match=message):
        open_source(flat, ground_truth=tmp_path / "t.txt", synsets=tmp_path / "s.txt")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "is empty"),
        (b"\xff\xff\xff", "is no text"),
        (b"<!DOCTYPE html>\n<p>Sign in\n</p>", "cannot read"),
        (b"n01440764\nn01440764\n", "says nothing of ILSVRC2012_val_00000003.JPEG"),
        (b"n01440764\nn99999999\n", "n99999999 is no class"),
        (b"1\n2\n3\n4\n", "may be ILSVRC ids"),
        (b"0\n2\n1000\n4\n", "may be ILSVRC ids"),
        (b"0\n-2\n3\n4\n", "label 2: cannot read '-2'"),
        (b"0\ntench\n3\n4\n", "label 2: cannot read 'tench'"),
        (b"0\n1 2\n3\n4\n", "line 2: cannot read '1 2'"),
        (b"cat.jpg 0\n", "'cat.jpg' is no validation image"),
        (b"ILSVRC2012_val_00000001.JPEG 0\nILSVRC2012_val_00000001.JPEG 1", "twice"),
        (b"n01440764 n01443537\n", "is no validation image"),
    ],
)
def test_other_ground_truths_are_refused(flat, tmp_path, text, message):
    truth = tmp_path / "truth.txt"
    truth.write_bytes(text)
    with pytest.raises(UsageError, match=message):
        open_source(flat, ground_truth=truth)


def test_an_id_beyond_the_devkits(flat, tmp_path):
    (tmp_path / "t.txt").write_text("1\n2\n3\n1001")
    (tmp_path / "s.txt").write_text("\n".join(devkit_order()))
    with pytest.raises(UsageError, match="1001 is no ILSVRC id"):
        open_source(flat, ground_truth=tmp_path / "t.txt", synsets=tmp_path / "s.txt")


def test_names_that_carry_their_wnid(flat):
    for path, wnid in zip(sorted(flat.iterdir()), EXPECTED, strict=True):
        path.rename(path.with_stem(f"{path.stem}_{wnid}"))
    assert labels_of(open_source(flat)) == EXPECTED
    first = min(flat.iterdir())
    first.rename(first.with_stem(first.stem[:-9] + "n99999999"))
    with pytest.raises(UsageError, match="n99999999 in a file name is no class"):
        open_source(flat)


def test_what_is_missing_or_too_much(flat, tmp_path):
    with pytest.raises(UsageError, match="need --ground-truth FILE"):
        open_source(flat)
    with pytest.raises(UsageError, match="there is no such file"):
        open_source(flat, ground_truth=tmp_path / "missing.txt")
    with pytest.raises(UsageError, match="give that too"):
        open_source(flat, synsets=tmp_path / "s.txt")
    photos = photographs(tmp_path / "photos", {"a": 1})
    with pytest.raises(UsageError, match="leave --ground-truth out"):
        open_source(photos, ground_truth=tmp_path / "t.txt")
    with pytest.raises(ImageError, match="flat folder of other images"):
        open_source(photos / "a")


def test_class_folders(tmp_path):
    source = open_source(photographs(tmp_path / "photos", {"a": 1, "b": 2}))
    assert source.layout == "class folders"
    assert source.licence == UNKNOWN_LICENCE
    assert list(source.collection.classes) == ["a", "b"]


def test_stack_mix_from_the_flat_folder(flat, tmp_path):
    (flat / "other.png").write_bytes(b"x")
    truth = tmp_path / "truth.txt"
    truth.write_text("\n".join(EXPECTED))
    source = open_source(flat, ground_truth=truth)
    manifest = build_stack_mix(source, tmp_path / "set", options=options(classes="0-999"))
    assert {image.label for image in manifest.images} == {0, 65, 970}
    assert manifest.licence == IMAGENET_LICENCE
    assert "left out: other.png: no name of a validation image of ImageNet" in manifest.notes
    # the same photographs in class folders give the same pairs
    for photo in source.collection.photos:
        folder = tmp_path / "sorted" / photo.label_name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / photo.path.name).write_bytes(photo.path.read_bytes())
    other = build(tmp_path / "sorted", tmp_path / "set2", classes="0-999")
    assert [image.sha256 for image in other.images] == [image.sha256 for image in manifest.images]
    json.dumps(manifest.to_dict())
