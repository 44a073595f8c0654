"""Regions: pixel centres tried one by one, and annotations that are wrong in every way."""

import io
import json
import struct
import subprocess
import sys
import zlib
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from camaudit.data.annotations import Annotated, Labelled, Regions
from camaudit.data.folders import scan
from camaudit.data.masks import read_mask
from camaudit.data.regions import centres, read_regions, regions_of
from camaudit.data.stack_mix import Source, StackImage, plain_images
from camaudit.errors import UsageError

WHOLE = (0.0, 0.0, 1.0, 1.0)
FUZZ = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


def shown(name, crop=WHOLE, *, label=None, shape=(8, 8)):
    pixels = np.zeros((*shape, 3), np.uint8)
    return StackImage(f"i-{name}", pixels, None, label, (Source(name, "0" * 64, crop),), "single")


def stacked(name):
    source = Source(name, "0" * 64, WHOLE)
    pixels = np.zeros((8, 8, 3), np.uint8)
    return StackImage(f"i-{name}", pixels, None, None, (source, source), "two-images")


def coco(*boxes, name="a.jpg", size=(8, 8), **more):
    """A COCO document of one photograph."""
    return {
        "images": [{"id": 1, "file_name": name, "width": size[0], "height": size[1]}],
        "annotations": [
            {"id": k, "image_id": 1, "category_id": 1, "bbox": list(box), **more}
            for k, box in enumerate(boxes)
        ],
        "categories": [{"id": 1, "name": "cat"}],
    }


def named(*names):
    """A COCO document of several photographs, each with the same box."""
    made = coco()
    made["images"] = [
        {"id": k, "file_name": name, "width": 8, "height": 8} for k, name in enumerate(names)
    ]
    made["annotations"] = [
        {"image_id": k, "category_id": 1, "bbox": [k, 0, 1, 1]} for k in range(len(names))
    ]
    return made


def written(root, document):
    path = root / "boxes.json"
    path.write_text(document if isinstance(document, str) else json.dumps(document))
    return path


def voc(*boxes, filename="a.jpg", size=(8, 8), name="cat"):
    objects = "".join(
        f"<object><name>{name}</name><bndbox><xmin>{a}</xmin><ymin>{b}</ymin><xmax>{c}</xmax>"
        f"<ymax>{d}</ymax></bndbox></object>"
        for a, b, c, d in boxes
    )
    extent = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>"
    return f"<annotation><filename>{filename}</filename>{extent}{objects}</annotation>"


def put(root, **files):
    """Text or images, written as `a_xml="…"`; the last underscore is the dot."""
    for key, content in files.items():
        stem, suffix = key.rsplit("_", 1)
        path = root / f"{stem}.{suffix}"
        if isinstance(content, str):
            path.write_text(content)
        else:
            Image.fromarray(content).save(path)
    return root


def region(regions, image, *, size=8, **options):
    masks, notes = regions_of(regions, [image], size=size, **options)
    return masks[0], notes


# Geometry


def by_hand(box, size, crop, shape):
    """Every pixel's centre tried in exact arithmetic; None where one is at a border of the box."""
    left, top, right, bottom = map(Fraction, crop)
    x0, y0, x1, y1 = map(Fraction, box)
    mask = np.zeros(shape, bool)
    for i in range(shape[0]):
        for j in range(shape[1]):
            x = (left + (right - left) * Fraction(2 * j + 1, 2 * shape[1])) * size[0]
            y = (top + (bottom - top) * Fraction(2 * i + 1, 2 * shape[0])) * size[1]
            if min(abs(x - x0), abs(x - x1), abs(y - y0), abs(y - y1)) < Fraction(1, 10**6):
                return None
            mask[i, j] = x0 <= x < x1 and y0 <= y < y1
    return mask


def spans(high):
    ends = st.floats(0, high, allow_subnormal=False)
    return st.tuples(ends, ends).map(sorted).filter(lambda pair: pair[1] - pair[0] > 1e-3 * high)


@st.composite
def scenes(draw):
    size = draw(st.tuples(st.integers(1, 900), st.integers(1, 900)))
    (x0, x1), (y0, y1) = (draw(spans(side)) for side in size)
    (left, right), (top, bottom) = draw(spans(1)), draw(spans(1))
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    return (x0, y0, x1, y1), size, (left, top, right, bottom), shape


def of_one(*objects, size=(8, 8)):
    entry = Annotated("a.jpg", "here", size=size, objects=objects)
    return Regions("boxes.json", "coco", (entry,), named=True)


@given(scenes())
def test_a_box_holds_the_pixels_whose_centre_it_holds(scene):
    box, size, crop, shape = scene
    expected = by_hand(box, size, crop, shape)
    assume(expected is not None)
    mask, notes = region(of_one(Labelled(box), size=size), shown("a.jpg", crop), size=shape)
    np.testing.assert_array_equal(mask, expected)
    assert any("no region" in note for note in notes) == (not expected.any())


@given(scenes(), st.booleans())
def test_a_rectangle_as_an_outline_is_its_box(scene, backwards):
    (x0, y0, x1, y1), size, crop, shape = box, *_ = scene
    corners = np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])[:: -1 if backwards else 1]
    image = shown("a.jpg", crop)
    outlined = Labelled((0, 0, 1, 1), None, (corners,))
    mask, _ = region(of_one(outlined, size=size), image, size=shape)
    expected, _ = region(of_one(Labelled(box), size=size), image, size=shape)
    np.testing.assert_array_equal(mask, expected)


@given(st.lists(st.tuples(st.floats(0, 20), st.floats(0, 20)), min_size=3, max_size=7))
def test_an_outline_is_filled_by_the_even_odd_rule(points):
    item = Labelled((0, 0, 1, 1), None, (np.array(points),))
    mask, _ = region(of_one(item, size=(20, 20)), shown("a.jpg"), size=6)
    xs, ys = centres((6, 6), WHOLE, (20, 20))
    for i, j in np.ndindex(6, 6):
        x, y = xs[j], ys[i]
        crossings = [
            x0 + (y - y0) / (y1 - y0) * (x1 - x0)
            for (x0, y0), (x1, y1) in zip(points, points[1:] + points[:1], strict=True)
            if (y0 <= y) != (y1 <= y)
        ]
        if not any(abs(crossing - x) < 1e-9 for crossing in crossings):
            assert mask[i, j] == sum(crossing < x for crossing in crossings) % 2


def test_a_hole_and_two_polygons():
    outer, inner, apart = ([0, 0, 6, 0, 6, 6, 0, 6], [2, 2, 4, 2, 4, 4, 2, 4], [7, 7, 8, 7, 8, 8])
    as_array = [np.array(flat, float).reshape(-1, 2) for flat in (outer, inner, apart)]
    mask, _ = region(of_one(Labelled((0, 0, 8, 8), None, tuple(as_array))), shown("a.jpg"))
    assert mask.sum() == 37  # united; the last centre is on the left border of the triangle
    one = np.concatenate([as_array[0], as_array[0][:1], as_array[1], as_array[1][:1]])
    mask, _ = region(of_one(Labelled((0, 0, 8, 8), None, (one,))), shown("a.jpg"))
    assert mask.sum() == 32
    assert not mask[2:4, 2:4].any()


def test_an_outline_of_many_corners_is_crossed_in_parts():
    turn = np.linspace(0, 2 * np.pi, 10_001)[:-1]
    circle = 50 + 40 * np.stack([np.cos(turn), np.sin(turn)], axis=1)
    item = Labelled((0, 0, 1, 1), None, (circle,))
    mask, _ = region(of_one(item, size=(100, 100)), shown("a.jpg"), size=100)
    i, j = np.indices((100, 100)) + 0.5
    np.testing.assert_array_equal(mask, np.hypot(i - 50, j - 50) < 40)


@given(scenes(), st.randoms(use_true_random=False))
def test_a_mask_gives_each_centre_its_pixel(scene, random):
    _, _, crop, shape = scene
    height, width = random.randint(1, 12), random.randint(1, 12)
    marked = np.array([[random.random() < 0.5 for _ in range(width)] for _ in range(height)])
    stored = io.BytesIO()
    Image.fromarray(marked).save(stored, "PNG")
    regions = Regions("m", "masks", (Annotated("a", "m/a.png", True, mask=_Bytes(stored)),))
    mask, _ = region(regions, shown("a.jpg", crop), size=shape)
    xs, ys = centres(shape, crop, (width, height))
    for i, j in np.ndindex(*shape):
        assert mask[i, j] == marked[int(ys[i]), int(xs[j])]


class _Bytes:
    """A file in memory, as far as a mask needs one."""

    def __init__(self, stored):
        self.read_bytes = stored.getvalue
        self.is_file = lambda: True
        self.stat = lambda: SimpleNamespace(st_size=len(stored.getvalue()))


@pytest.mark.parametrize(("size", "keep"), [(20, 1.0), (20, 0.8), ((12, 24), 1.0), ((40, 60), 1.0)])
def test_the_region_is_where_the_object_is_seen(tmp_path, size, keep):
    """A white box in a real photograph, loaded as for a model, against the region of that box."""
    pixels = np.zeros((40, 60, 3), np.uint8)
    pixels[10:32, 17:41] = 255
    (tmp_path / "p").mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(pixels)).save(tmp_path / "p" / "a.png", exif=exif)  # upright: 40×60
    image = plain_images(scan(tmp_path / "p"), size=size, keep=keep).images[0]
    regions = read_regions(written(tmp_path, coco((17, 10, 24, 22), name="a.png", size=(60, 40))))
    mask, notes = region(regions, image, size=size)
    seen = image.pixels[..., 0]
    assert notes == ()
    assert (seen[mask] >= 100).all()
    assert (seen[~mask] <= 155).all()
    turned = read_regions(written(tmp_path, coco((10, 17, 20, 9), name="a.png", size=(40, 60))))
    (note,) = region(turned, image, size=size)[1]
    assert "of 1 photographs (a.png) has another aspect" in note
    assert "fractions of the declared size" in note


# The three kinds of file


def test_coco(tmp_path):
    document = coco((1, 2, 3, 4), (6.5, 0, 1.5, 1))
    regions = read_regions(str(written(tmp_path, document)))
    mask, notes = region(regions, shown("a.jpg"))
    assert notes == ()
    expected = np.zeros((8, 8), bool)
    expected[2:6, 1:4] = True
    expected[0, 6:8] = True  # the centre 6.5 is the first of a half-open box
    np.testing.assert_array_equal(mask, expected)
    document["annotations"][0]["segmentation"] = [[1, 2, 4, 2, 4, 3, 1, 3]]
    path = written(tmp_path, document)
    assert region(read_regions(path), shown("a.jpg"))[0].sum() == 3 + 2
    assert region(read_regions(path, boxes_only=True), shown("a.jpg"))[0].sum() == 12 + 2


def test_a_sum_of_decimals_may_round_over_the_edge(tmp_path):
    regions = read_regions(written(tmp_path, coco((7.3, 0.1, 0.7000000001, 0.2))))
    assert regions.entries[0].objects[0].box[2] == 8.0


def test_voc_counts_from_one_and_includes_the_last(tmp_path):
    put(tmp_path, a_xml=voc((2, 1, 8, 1)), b_xml=voc(filename="b"))
    regions = read_regions(tmp_path)
    assert (regions.kind, regions.named, regions.notes) == ("voc", True, ())
    mask, notes = region(regions, shown("a.jpg"))
    assert notes == ()
    assert np.argwhere(mask).tolist() == [[0, j] for j in range(1, 8)]
    _, (note,) = region(regions, shown("b.png"))
    assert "their annotation lists no object (b.png)" in note


def test_voc_that_counts_from_zero(tmp_path):
    put(tmp_path, a_xml=voc((0, 0, 8, 1)))
    with pytest.raises(UsageError, match=r"a\.xml: object 1: .*outside.*take origin=0"):
        read_regions(tmp_path)
    mask, _ = region(read_regions(tmp_path, origin=0), shown("a.jpg"))
    assert mask.sum() == 8
    with pytest.raises(UsageError, match="origin must be 0 or 1"):
        read_regions(tmp_path, origin=2)


def test_voc_is_taken_by_the_name_of_the_xml_file(tmp_path):
    put(tmp_path, a_xml=voc((1, 1, 2, 2), filename="%s"), n_txt="x")
    regions = read_regions(tmp_path)
    mask, notes = region(regions, shown("a.JPEG"))
    assert mask.sum() == 4
    assert notes[0] == "1 × no .xml file, not read (n.txt)"
    assert "1 XML files name another photograph" in notes[1]
    assert len(notes) == 2


def test_masks_mirror_the_photographs(tmp_path):
    (tmp_path / "k").mkdir()
    (tmp_path / ".hidden.png").write_bytes(b"")
    half = np.zeros((4, 8), np.uint8)
    half[:, :4] = 1
    put(tmp_path / "k", a_png=half, empty_png=half * 0)
    regions = read_regions(tmp_path)
    assert (regions.kind, regions.named) == ("masks", False)
    images = [shown("k/a.jpg", shape=(4, 8)), shown("k/empty.png", shape=(4, 8)), shown("k/b.jpg")]
    masks, notes = regions_of(regions, images, size=(4, 8), only_label=True)
    np.testing.assert_array_equal(masks[0], half != 0)
    assert not masks[1:].any()
    assert "1 of 3 images have no region: their mask marks no pixel (k/empty.png)" in notes
    assert any("does not annotate them (k/b.jpg)" in note for note in notes)
    assert f"{tmp_path} names no classes, so every object of an image counts" in notes


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "I;16"])
def test_masks_of_any_mode(tmp_path, mode):
    half = np.zeros((2, 2), np.uint8)
    half[0] = 255
    image = Image.fromarray(half)
    if mode == "P":
        image = Image.fromarray(half // 255)
        image.putpalette([0, 0, 0, 128, 0, 0])
    elif mode == "I;16":
        image = Image.fromarray(half.astype(np.uint16))
    else:
        image = image.convert(mode)
    image.save(tmp_path / "a.png")
    assert read_mask(tmp_path / "a.png").tolist() == [[True, True], [False, False]]


def test_masks_that_are_refused(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGBA", (2, 2)).save(path)
    with pytest.raises(UsageError, match=r"a\.png cannot be used: it is transparent"):
        read_mask(path)
    odd = Image.new("P", (2, 2), 1)
    odd.putpalette([255, 255, 255, 0, 0, 0])
    odd.save(path)
    with pytest.raises(UsageError, match="palette is black elsewhere"):
        read_mask(path)
    Image.new("L", (2, 2)).save(path, "JPEG")
    with pytest.raises(UsageError, match=r"a\.png cannot be used: not an image, .*readable: PNG"):
        read_mask(path)
    with pytest.raises(UsageError, match="no such file"):
        read_mask(tmp_path / "b.png")
    header = struct.pack(">IIBBBBB", 10**9, 10**9, 8, 0, 0, 0, 0)
    chunk = b"IHDR" + header
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    )
    with pytest.raises(UsageError, match=r"a\.png"):
        read_mask(path)
    regions = read_regions(tmp_path)  # lists names only
    with pytest.raises(UsageError, match=r"a\.png"):
        region(regions, shown("a.jpg"))


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "holds neither"),
        ({"a_xml": voc(), "b_png": np.zeros((2, 2), np.uint8)}, "both XML and PNG"),
        ({"a_txt": "x"}, "holds neither"),
    ],
)
def test_folders_of_no_kind(tmp_path, files, message):
    with pytest.raises(UsageError, match=message):
        read_regions(put(tmp_path, **files))


def test_a_path_that_is_nothing(tmp_path):
    for path in (tmp_path / "no", tmp_path / "a\0b", written(tmp_path, "")):
        with pytest.raises(UsageError, match="expected a COCO JSON file"):
            read_regions(path)


# Which annotation is of which photograph


def columns(regions, *images):
    """The column of each image's box in `named`, None without a region; and the notes."""
    masks, notes = regions_of(regions, images, size=8)
    return [int(np.argmax(mask[0])) if mask.any() else None for mask in masks], notes


@pytest.mark.parametrize(
    ("names", "photos", "expected", "by"),
    [
        (["k/a.jpg", "l/a.jpg"], ["l/a.jpg", "k/a.jpg"], [1, 0], ""),
        (["./a.jpg"], ["a.jpg"], [0], ""),
        (["val/a.jpg"], ["k/a.jpg"], [0], "file name"),
        (["/etc/a.jpg", "../b.jpg"], ["k/a.jpg", "b.jpg"], [0, 1], "file name"),
        (["a.jpg"], ["k/a.png"], [0], "stem"),
        (["a.jpg", "a.png"], ["a.png", "a.jpg"], [1, 0], ""),
        (["a.b.jpg"], ["a.jpg"], [None], ""),
        (["k/a.jpg"], ["k/a.jpg", "l/a.jpg"], [0, None], ""),
        (["k/a.jpg", "l/a.jpg"], ["k/a.jpg", "m/a.jpg"], [0, None], ""),
        (["k/a.jpg", "k/b.jpg"], ["k/a.jpg", "k/b.png"], [0, 1], "stem"),
        (["a\\b.jpg", "\ud800.jpg"], ["a\\\\b.jpg", "\\ud800.jpg"], [0, 1], ""),
    ],
)
def test_matching(tmp_path, names, photos, expected, by):
    regions = read_regions(written(tmp_path, named(*names)))
    found, notes = columns(regions, *map(shown, photos))
    assert found == expected
    told = [note for note in notes if "alone" in note]
    assert len(told) == bool(by)
    assert all(f"by their {by} alone" in note for note in told)


@pytest.mark.parametrize(
    ("names", "photos", "both"),
    [
        (["k/a.jpg", "l/a.jpg"], ["a.jpg"], ["k/a.jpg", "l/a.jpg"]),
        (["a.jpg", "a.jpeg"], ["a.png"], ["a.jpg", "a.jpeg"]),
        (["a.jpg"], ["k/a.jpg", "l/a.jpg"], ["k/a.jpg", "l/a.jpg"]),
        (["a.jpg"], ["a.png", "a.tif"], ["a.png", "a.tif"]),
    ],
)
def test_an_ambiguous_match_names_both(tmp_path, names, photos, both):
    regions = read_regions(written(tmp_path, named(*names)))
    with pytest.raises(UsageError, match="both") as caught:
        columns(regions, *map(shown, photos))
    assert all(name in str(caught.value) for name in both)


def test_two_annotations_of_one_photograph_are_refused(tmp_path):
    with pytest.raises(
        UsageError, match=r"images\[1\].*images\[0\].*both of the photograph a\.jpg"
    ):
        read_regions(written(tmp_path, named("a.jpg", "./a.jpg")))
    put(tmp_path, a_xml=voc(filename="a"))
    (tmp_path / "boxes.json").unlink()
    (tmp_path / "a.XML").write_text(voc(filename="a"))
    with pytest.raises(UsageError, match=r"a\.XML .*a\.xml|a\.xml .*a\.XML"):
        read_regions(tmp_path)


def test_names_in_annotations_are_never_opened(tmp_path, monkeypatch):
    path = written(tmp_path, named("/dev/zero", "../../secret.jpg", "a\0b.jpg"))
    opened = []
    monkeypatch.setattr(
        "camaudit.data.coco.read_file", lambda name: (opened.append(name), path.read_bytes())[1]
    )
    columns(read_regions(path), shown("k/secret.jpg"), shown("zero"))
    assert opened == [path]


# What has no region


def test_reasons_are_counted(tmp_path):
    document = named("gone.jpg", "tiny.jpg", "none.jpg", "hit.jpg")
    document["annotations"] = [
        {"image_id": 0, "category_id": 1, "bbox": [0, 0, 2, 2]},
        {"image_id": 1, "category_id": 1, "bbox": [4, 4, 0.1, 0.1]},
        {"image_id": 3, "category_id": 1, "bbox": [0, 0, 8, 8]},
    ]
    regions = read_regions(written(tmp_path, document))
    right = (0.5, 0.5, 1.0, 1.0)
    images = [
        shown("hit.jpg"), stacked("hit.jpg"), shown("gone.jpg", right), shown("tiny.jpg"),
        shown("none.jpg"), *(shown(f"{k}.jpg") for k in range(4)),
    ]  # fmt: skip
    masks, notes = regions_of(regions, images, size=8)
    assert masks.dtype == np.bool_
    assert masks.shape == (9, 8, 8)
    assert masks[0].all()
    assert not masks[1:].any()
    start = "of 9 images have no region: "
    source = tmp_path / "boxes.json"
    assert sorted(notes) == [
        f"1 {start}their annotation lists no object (none.jpg)",
        f"1 {start}their object holds no pixel's centre at 8×8 pixels (tiny.jpg)",
        f"1 {start}their object is cropped away (gone.jpg)",
        f"1 {start}two photographs are stacked in them, one of which the model cannot see "
        "(i-hit.jpg)",
        f"4 {start}{source} does not annotate them (0.jpg, 1.jpg, 2.jpg, …)",
    ]


def test_a_mask_may_be_cropped_away_too(tmp_path):
    corner = np.zeros((8, 8), np.uint8)
    corner[0, 0] = 9
    regions = read_regions(put(tmp_path, a_png=corner))
    assert "cropped away" in region(regions, shown("a.jpg", (0.5, 0.5, 1, 1)))[1][0]
    assert "no pixel's centre at 2×2" in region(regions, shown("a.jpg"), size=2)[1][0]


def test_only_objects_of_the_label(tmp_path):
    document = coco((0, 0, 1, 1), (2, 0, 1, 1))
    document["categories"].append({"id": 2, "name": "dog"})
    document["annotations"][1]["category_id"] = 2
    regions = read_regions(written(tmp_path, document))
    for label, expected in (("cat", [0]), ("dog", [2]), ("cow", []), (None, [])):
        mask, notes = region(regions, shown("a.jpg", label=label), only_label=True)
        assert np.flatnonzero(mask[0]).tolist() == expected
        assert len(notes) == (not expected)
        assert all("no object of their class is annotated" in note for note in notes)
    assert region(regions, shown("a.jpg", label="cat"))[0].sum() == 2
    del document["categories"], document["annotations"][0]["category_id"]
    unnamed = read_regions(written(tmp_path, document))
    mask, (note,) = region(unnamed, shown("a.jpg", label="cat"), only_label=True)
    assert mask.sum() == 2
    assert "names no classes" in note


def test_no_image_and_no_size(tmp_path):
    regions = read_regions(written(tmp_path, coco()))
    masks, notes = regions_of(regions, [], size=8)
    assert (masks.shape, notes) == ((0, 8, 8), ())
    for size in (0, (8, -1)):
        with pytest.raises(UsageError, match="size must be"):
            regions_of(regions, [], size=size)


def test_a_huge_declared_size_costs_nothing(tmp_path):
    square = [0, 0, 5e8, 0, 5e8, 5e8, 0, 5e8]
    document = coco((0, 0, 5e8, 1e9), size=(10**9, 10**9))
    regions = read_regions(written(tmp_path, document))
    assert region(regions, shown("a.jpg"))[0].sum() == 32
    document["annotations"][0]["segmentation"] = [square]
    assert region(read_regions(written(tmp_path, document)), shown("a.jpg"))[0].sum() == 16


# Malformed files


def changed(path, value):
    """The document with one field replaced, or removed where `value` is None."""
    document = coco((1, 1, 2, 2))
    *parents, key = path
    place = document
    for step in parents:
        place = place[step]
    if value is None:
        del place[key]
    else:
        place[key] = value
    return document


IMAGE, NOTE, CLASS = ("images", 0), ("annotations", 0), ("categories", 0)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("images",), None, "'images' is missing"),
        (("annotations",), None, "'annotations' is missing"),
        (("images",), {}, "images must be a list"),
        (("categories",), 3, "categories must be a list"),
        ((*IMAGE, "id"), None, "'id' is missing"),
        ((*IMAGE, "id"), "1", "id must be a whole number"),
        ((*IMAGE, "file_name"), 3, "file_name must be text"),
        ((*IMAGE, "width"), None, "'width' is missing"),
        ((*IMAGE, "width"), True, "width must be"),
        ((*IMAGE, "height"), 0, r"images\[0\] \(a.jpg\): width and height must be 1"),
        ((*IMAGE, "width"), 10**400, "width and height must be 1"),
        ((*NOTE, "image_id"), 2, "no image has the id 2"),
        ((*NOTE, "image_id"), None, "'image_id' is missing"),
        ((*NOTE, "bbox"), None, "'bbox' is missing"),
        ((*NOTE, "bbox"), [1, 1, 2], "list of 4 numbers"),
        ((*NOTE, "bbox"), [1, 1, 2, "2"], "list of 4 numbers"),
        ((*NOTE, "bbox"), [1, 1, 0, 2], r"annotations\[0\]: the box .* is empty"),
        ((*NOTE, "bbox"), [1, 1, 2, -2], "is empty"),
        ((*NOTE, "bbox"), [1, 1, 8, 2], r"from \(1, 1\) to \(9, 3\) reaches outside"),
        ((*NOTE, "bbox"), [-0.5, 1, 2, 2], "outside its photograph, declared as 8×8"),
        ((*NOTE, "bbox"), [1, 1, 10**400, 2], "bbox must be within"),
        ((*NOTE, "category_id"), 7, "no category has the id 7"),
        ((*NOTE, "category_id"), None, "'category_id' is missing"),
        ((*NOTE, "id"), "x", "id must be a whole number"),
        ((*NOTE, "segmentation"), {"counts": [1], "size": [8, 8]}, "run-length.*boxes_only=True"),
        ((*NOTE, "segmentation"), "x", "a list of polygons"),
        ((*NOTE, "segmentation"), [[1, 1, 2, 2]], r"segmentation\[0\]: polygon must be"),
        ((*NOTE, "segmentation"), [[1, 1, 2, 2, 3, 3, 4]], "three or more corners"),
        ((*NOTE, "segmentation"), [[1, 1, 2, 2, 3, 3]], "lie on a line"),
        ((*NOTE, "segmentation"), [[1, 1, 2, 1, 3, 1]], "is empty"),
        ((*NOTE, "segmentation"), [[1, 1, 9, 2, 3, 3]], "reaches outside"),
        ((*NOTE, "segmentation"), [[1, 1, "9", 2, 3, 3]], "list of 6 numbers"),
        ((*CLASS, "name"), "", "name must be text"),
        (("images",), coco()["images"] * 2, "have the same id 1"),
        (("annotations",), coco((1, 1, 1, 1))["annotations"] * 2, "have the same id 0"),
        (("categories",), coco()["categories"] * 2, "have the same id 1"),
    ],
)
def test_malformed_coco(tmp_path, path, value, message):
    with pytest.raises(UsageError, match=message) as caught:
        read_regions(written(tmp_path, changed(path, value)))
    assert "boxes.json" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(coco((1, 1, 2, 2)))[:-20],
        json.dumps(coco((1, 1, 2, 2))).replace("[1,", "[NaN,"),
        json.dumps(coco((1, 1, 2, 2))).replace("[1,", "[1e999,"),
        json.dumps(coco((1, 1, 2, 2))).replace("[1,", f"[{'9' * 5000},"),
        "[" * 100_000,
        "[]",
        "<annotation/>",
    ],
)
def test_files_that_are_no_coco(tmp_path, text):
    with pytest.raises(UsageError, match=r"boxes\.json"):
        read_regions(written(tmp_path, text))
    (tmp_path / "boxes.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"boxes\.json"):
        read_regions(tmp_path / "boxes.json")


GOOD = voc((1, 1, 2, 2))
BOMB = (
    '<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb">'
    + "".join(f'<!ENTITY b{k} "{"&b;" * 10}">' for k in range(9))
    + "]>"
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD[:-9], "no XML that is safe"),
        ("", "no XML that is safe"),
        (BOMB + GOOD.replace("cat", "&b8;"), "no XML that is safe to read: DTDForbidden"),
        ('<!DOCTYPE a SYSTEM "file:///etc/passwd">' + GOOD, "DTDForbidden"),
        ('<?xml version="1.0" encoding="nope"?>' + GOOD, "no XML that is safe"),
        (GOOD.replace("annotation>", "other>"), "expected <annotation>"),
        (GOOD.replace("size>", "sighs>"), "expected one <size> in <annotation>, got 0"),
        (GOOD.replace("<width>8<", "<width>0<"), "must be 1 …"),
        (GOOD.replace("<width>8<", "<width>8.5<"), "whole pixels"),
        (GOOD.replace("<width>8<", "<width>1e300<"), "must be 1 …"),
        (GOOD.replace("<name>cat</name>", ""), "expected one <name> in <object>, got 0"),
        (GOOD.replace(">cat<", "> <"), "<name> is empty"),
        (GOOD.replace("bndbox>", "box>"), "expected one <bndbox>"),
        (GOOD.replace("<xmin>1</xmin>", ""), "expected one <xmin>"),
        (GOOD.replace("<xmin>1<", "<xmin>1</xmin><xmin>1<"), "expected one <xmin>.* got 2"),
        (GOOD.replace("<xmin>1<", "<xmin>one<"), "<xmin> must be a finite number; got 'one'"),
        (GOOD.replace("<xmin>1<", "<xmin>nan<"), "finite"),
        (GOOD.replace("<xmin>1<", "<xmin>0_1<"), "finite"),
        (GOOD.replace("<xmax>2<", "<xmax>1e999<"), "finite"),
        (GOOD.replace("<xmax>2<", "<xmax>9<"), "object 1: .* reaches outside"),
        (GOOD.replace("<xmin>1<", "<xmin>-1<"), "reaches outside"),
        (GOOD.replace("<xmin>1<", "<xmin>3<"), "is empty"),
    ],
)
def test_malformed_voc(tmp_path, text, message):
    put(tmp_path, a_xml=text)
    with pytest.raises(UsageError, match=message) as caught:
        read_regions(tmp_path)
    assert "a.xml" in str(caught.value)


# Anything at all

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=8,
)
SLOTS = [
    (top, 0, key)
    for top in ("images", "annotations", "categories")
    for key in ("id", "file_name", "width", "image_id", "bbox", "segmentation", "name")
]


@FUZZ
@given(
    st.sampled_from([("images",), ("annotations",), ("categories",), *SLOTS]),
    values
    | st.lists(st.floats() | st.integers(-9, 9), min_size=4, max_size=4)
    | st.lists(st.lists(st.floats(-1, 9), min_size=5, max_size=8), max_size=3),
)
def test_any_coco_field_gives_regions_or_an_error(tmp_path, path, value):
    document = changed(path, 0 if value is None else value)
    try:
        regions = read_regions(written(tmp_path, document))
    except UsageError:
        return
    masks, _ = regions_of(regions, [shown("a.jpg")], size=5)
    assert masks.shape == (1, 5, 5)


@FUZZ
@given(st.data())
def test_any_bytes_give_regions_or_an_error(tmp_path, data):
    """Whole nonsense, and good files with a few bytes replaced."""
    stored = io.BytesIO()
    Image.fromarray(np.eye(4, dtype=np.uint8)).save(stored, "PNG")
    originals = {
        "a.xml": GOOD.encode(),
        "a.png": stored.getvalue(),
        "boxes.json": json.dumps(coco((1, 1, 2, 2))).encode(),
    }
    name = data.draw(st.sampled_from(sorted(originals)))
    content = bytearray(originals[name])
    for _ in range(data.draw(st.integers(0, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = data.draw(st.just(bytes(content)) | st.binary(max_size=40))
    for path in tmp_path.iterdir():
        path.unlink()
    (tmp_path / name).write_bytes(content)
    try:
        regions = read_regions(tmp_path / name if name == "boxes.json" else tmp_path)
        masks, _ = regions_of(regions, [shown("a.jpg")], size=5)
    except UsageError:
        return
    assert masks.shape == (1, 5, 5)


def test_reading_needs_no_torch():
    code = "import sys, camaudit.data.regions; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
