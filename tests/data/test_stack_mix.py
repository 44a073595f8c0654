"""STACK-MIX on real files: which pairs, which pixels, which records."""

import hashlib
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from camaudit.data import loading
from camaudit.data.folders import Collection, scan
from camaudit.data.images import decode, resize_center_crop
from camaudit.data.stack_mix import plain_images, stack, stack_mix
from camaudit.errors import ImageError, UsageError

SHARED = Path(__file__).parents[2] / ".." / "shared" / "data"
SIDE = 40


def lower(rows, side=SIDE):
    dead = np.zeros((side, side), bool)
    dead[side - rows :] = True
    return dead


def write(root, classes, *, side=SIDE):
    """`classes` maps a name to a number of photographs; each has its own flat colour."""
    colour = 0
    for name, count in classes.items():
        (root / name).mkdir(parents=True)
        for k in range(count):
            colour += 1
            shade = (colour * 37 % 256, colour // 256, colour * 11 % 256)
            Image.new("RGB", (side, side), shade).save(root / name / f"{k}.png")


def made_of(*counts):
    """A collection of classes c0, c1, ... in a folder that lives as long as the test."""
    folder = tempfile.TemporaryDirectory()
    write(Path(folder.name), {f"c{k}": count for k, count in enumerate(counts)})
    return folder, scan(folder.name)


def digest(result):
    state = hashlib.sha256()
    for image in result.images:
        state.update(repr((image.id, image.sources, image.pairing, image.label)).encode())
        state.update(image.pixels.tobytes())
    return state.hexdigest()


def pair_ids(image):
    return tuple(source.id for source in image.sources)


# --- stack

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=9)


@given(st.data(), SHAPES)
def test_stack_pixel_by_pixel(data, shape):
    images = hnp.arrays(np.uint8, (*shape, 3))
    x1, x2, dead = data.draw(images), data.draw(images), data.draw(hnp.arrays(np.bool_, shape))
    before = x1.copy(), x2.copy()
    mixed = stack(x1, x2, dead)
    for y, x in np.ndindex(shape):
        assert tuple(mixed[y, x]) == tuple(x2[y, x] if dead[y, x] else x1[y, x])
    assert mixed.dtype == np.uint8
    assert not np.shares_memory(mixed, x1)
    np.testing.assert_array_equal(before[0], x1)
    np.testing.assert_array_equal(before[1], x2)


@given(st.data(), SHAPES)
def test_stack_of_dead_rows_is_the_papers(data, shape):
    height = shape[0]
    d = data.draw(st.integers(0, height))
    images = hnp.arrays(np.uint8, (*shape, 3))
    x1, x2 = data.draw(images), data.draw(images)
    dead = np.zeros(shape, bool)
    dead[height - d :] = True
    paper = np.concatenate([x1[: height - d], x2[height - d :]])
    np.testing.assert_array_equal(stack(x1, x2, dead), paper)


def test_stack_refuses_what_does_not_fit():
    image, dead = np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5), bool)
    for other in (image[:3], image.astype(np.float32), image[..., 0]):
        with pytest.raises(UsageError, match="expected two images of one shape"):
            stack(image, other, dead)
    for mask in (dead[:3], dead.astype(int), dead[..., None]):
        with pytest.raises(UsageError, match="expected a boolean mask"):
            stack(image, image, mask)


# --- stack_mix: which pairs

COUNTS = st.lists(st.integers(1, 4), min_size=1, max_size=4)


@settings(max_examples=25, deadline=None)
@given(counts=COUNTS, count=st.none() | st.integers(1, 40), seed=st.integers(0, 99))
def test_pairs_are_unique_fair_and_as_many_as_there_are(counts, count, seed):
    folder, collection = made_of(*counts)
    with folder:
        result = stack_mix(collection, dead=lower(10), count=count, seed=seed)
    images = result.images
    singles, real = counts.count(1), sum(n * (n - 1) for n in counts)
    wanted = len(counts) if count is None else count
    assert len(images) == min(wanted, real + singles)
    assert len({image.id for image in images}) == len(images)
    assert len({pair_ids(image) for image in images}) == len(images)
    for image in images:
        single = counts[int(image.label_name[1:])] == 1
        assert image.pairing == ("two-crops" if single else "two-images")
        assert (len(set(pair_ids(image))) == 1) == single
        assert all(source.id.startswith(f"{image.label_name}/") for source in image.sources)
    if count is None:
        assert {image.label_name for image in images} == set(collection.classes)
    else:
        pairings = [image.pairing for image in images]
        assert pairings == sorted(pairings, key=["two-images", "two-crops"].index)
        assert pairings.count("two-images") == min(count, real)
    assert any("were to be used" in text for text in result.warnings) == (len(images) < wanted)


@settings(max_examples=10, deadline=None)
@given(counts=COUNTS, count=st.integers(1, 30), seed=st.integers(0, 99))
def test_same_seed_same_bytes_whatever_the_order_on_disk(counts, count, seed):
    folder, collection = made_of(*counts)
    backwards = Collection(
        collection.root,
        collection.photos[::-1],
        {name: photos[::-1] for name, photos in reversed(collection.classes.items())},
    )
    with folder:
        results = [
            stack_mix(which, dead=lower(7), count=count, seed=seed)
            for which in (collection, collection, backwards)
        ]
    assert len({digest(result) for result in results}) == 1


def test_rounds_go_over_the_classes_in_turn(tmp_path):
    write(tmp_path, {"a": 3, "b": 2, "c": 5, "d": 1})
    images = stack_mix(scan(tmp_path), dead=lower(10), count=29, seed=4).images
    labels = [image.label_name for image in images]
    order = labels[:3]
    assert sorted(order) == ["a", "b", "c"]
    assert labels[3:6] == order
    assert labels[6:10] == [name for name in order if name != "b"] * 2
    assert Counter(labels) == {"a": 6, "b": 2, "c": 20, "d": 1}
    assert labels[-1] == "d"


def test_seeds_differ(tmp_path):
    write(tmp_path, dict.fromkeys("abcdef", 6))
    collection = scan(tmp_path)
    digests = {digest(stack_mix(collection, dead=lower(9), seed=seed)) for seed in range(5)}
    assert len(digests) == 5


# --- stack_mix: which pixels and records


def test_pixels_and_record_of_a_pair(tmp_path):
    write(tmp_path, {"n02123045": 2})
    result = stack_mix(scan(tmp_path), dead=lower(12), seed=1)
    (image,) = result.images
    top, bottom = image.sources
    flat = [np.array(Image.open(tmp_path / source.id).getpixel((0, 0))) for source in (top, bottom)]
    assert image.pixels.shape == (SIDE, SIDE, 3)
    assert (image.pixels[: SIDE - 12] == flat[0]).all()
    assert (image.pixels[SIDE - 12 :] == flat[1]).all()
    assert (image.label, image.label_name, image.pairing) == (281, "n02123045", "two-images")
    assert top.crop == bottom.crop == (0.0, 0.0, 1.0, 1.0)
    for source in image.sources:
        assert source.sha256 == hashlib.sha256((tmp_path / source.id).read_bytes()).hexdigest()
    assert result.skipped == ()
    assert result.warnings == ()


def test_the_record_is_enough_to_rebuild_two_crops(tmp_path):
    noise = np.random.default_rng(0).integers(0, 256, (130, 170, 3), dtype=np.uint8)
    (tmp_path / "chelsea").mkdir()
    Image.fromarray(noise).save(tmp_path / "chelsea" / "cat.png")
    result = stack_mix(scan(tmp_path), dead=lower(16, 48), seed=3)
    (image,) = result.images
    assert image.pairing == "two-crops"
    assert image.label is None
    assert result.warnings == (
        "1 of 1 images show two crops of one photograph, "
        "because their class has a single usable one",
    )
    views = []
    for source in image.sources:
        left, right = (round(source.crop[k] * 170) for k in (0, 2))
        top, bottom = (round(source.crop[k] * 130) for k in (1, 3))
        assert right - left == bottom - top
        assert 65 <= right - left <= 104
        views.append(resize_center_crop(noise[top:bottom, left:right], 48))
    np.testing.assert_array_equal(image.pixels, np.concatenate([views[0][:32], views[1][32:]]))


def test_a_mask_of_any_shape(tmp_path):
    write(tmp_path, {"a": 2})
    dead = np.zeros((33, 50), bool)
    dead[4:9, 7:20] = True
    (image,) = stack_mix(scan(tmp_path), dead=dead).images
    assert image.pixels.shape == (33, 50, 3)
    assert len(np.unique(image.pixels[dead], axis=0)) == 1
    assert len(np.unique(image.pixels[~dead], axis=0)) == 1
    assert (image.pixels[5, 8] != image.pixels[0, 0]).any()


def test_ids_are_file_names_and_do_not_depend_on_the_zone(tmp_path):
    write(tmp_path, {"Great_White shark: 100%": 2, "猫": 2, "x" * 200: 2})
    collection = scan(tmp_path)
    one, other = (stack_mix(collection, dead=lower(rows)).images for rows in (5, 20))
    assert [image.id for image in one] == [image.id for image in other]
    for image in one:
        assert image.id == image.id.lower()
        assert image.id.isascii()
        assert len(image.id) <= 53
        (tmp_path / f"{image.id}.png").write_bytes(b"")
    starts = sorted(image.id.rsplit("-", 1)[0] for image in one)
    assert starts == ["great_white_shark_100", "image", "x" * 40]


def test_notes_name_the_photograph(tmp_path):
    (tmp_path / "k").mkdir()
    Image.new("CMYK", (40, 40)).save(tmp_path / "k" / "a.tif")
    Image.new("L", (40, 40)).save(tmp_path / "k" / "b.png")
    (image,) = stack_mix(scan(tmp_path), dead=lower(5)).images
    assert sorted(image.notes) == [
        "k/a.tif: converted from CMYK",
        "k/b.png: converted from greyscale",
    ]


# --- stack_mix: what cannot be used


def test_a_class_goes_on_without_its_unreadable_photographs(tmp_path):
    write(tmp_path, {"a": 3, "b": 2, "c": 1, "d": 2})
    (tmp_path / "a" / "1.png").write_bytes(b"broken")
    (tmp_path / "b" / "0.png").write_bytes(b"")
    (tmp_path / "c" / "0.png").write_bytes((tmp_path / "a" / "0.png").read_bytes()[:50])
    result = stack_mix(scan(tmp_path), dead=lower(8), count=50)
    assert Counter((image.label_name, image.pairing) for image in result.images) == {
        ("a", "two-images"): 2,
        ("d", "two-images"): 2,
        ("b", "two-crops"): 1,
    }
    assert [name for name, _ in result.skipped] == ["a/1.png", "b/0.png", "c/0.png"]
    assert all("\n" not in reason for _, reason in result.skipped)
    assert result.warnings[0] == "up to 50 images were to be used, these files give 5"
    assert result.warnings[-1] == "no usable photograph in 1 classes: c"
    assert len(stack_mix(scan(tmp_path), dead=lower(8)).images) == 3


def test_copies_are_no_second_image(tmp_path):
    write(tmp_path, {"a": 1})
    (tmp_path / "a" / "copy.png").write_bytes((tmp_path / "a" / "0.png").read_bytes())
    result = stack_mix(scan(tmp_path), dead=lower(8), count=2)
    assert [image.pairing for image in result.images] == ["two-crops"]
    assert result.skipped[0][1].startswith("shows the same pixels as a/")


def test_nothing_usable(tmp_path):
    write(tmp_path, {"a": 2, "b": 1})
    for path in tmp_path.rglob("*.png"):
        path.write_bytes(b"broken")
    collection = scan(tmp_path)
    with pytest.raises(ImageError, match=r"at least one readable photograph.*a/0\.png: not an im"):
        stack_mix(collection, dead=lower(8))
    with pytest.raises(ImageError, match="at least one readable photograph"):
        plain_images(collection, size=8)


def test_only_what_is_needed_is_decoded(tmp_path, monkeypatch):
    write(tmp_path, {"a": 30, "b": 30, "c": 1})
    calls = []
    monkeypatch.setattr(
        loading, "decode", lambda data, **o: (calls.append(1), decode(data, **o))[1]
    )
    collection = scan(tmp_path)
    assert len(stack_mix(collection, dead=lower(8), count=3).images) == 3
    assert len(calls) == 6
    calls.clear()
    assert len(stack_mix(collection, dead=lower(8), count=2000).images) == 2 * 30 * 29 + 1
    assert len(calls) == 61
    calls.clear()
    assert len(plain_images(collection, size=8, count=4).images) == 4
    assert len(calls) == 4


def test_misuse(tmp_path):
    write(tmp_path, {"a": 2})
    collection = scan(tmp_path)
    for dead in (np.zeros((8, 8)), np.zeros(8, bool), np.zeros((8, 8, 1), bool)):
        with pytest.raises(UsageError, match="expected a boolean mask"):
            stack_mix(collection, dead=dead)
    for dead, which in (
        (np.zeros((8, 8), bool), "dead"),
        (np.ones((8, 8), bool), "live"),
        (np.zeros((0, 8), bool), "dead"),
    ):
        with pytest.raises(UsageError, match=f"has no {which} pixel"):
            stack_mix(collection, dead=dead)
    for count in (0, -3):
        with pytest.raises(UsageError, match="count must be"):
            stack_mix(collection, dead=lower(8), count=count)
        with pytest.raises(UsageError, match="count must be"):
            plain_images(collection, size=8, count=count)
    with pytest.raises(UsageError, match="seed must be"):
        stack_mix(collection, dead=lower(8), seed=-1)
    with pytest.raises(UsageError, match="size must be"):
        plain_images(collection, size=0)
    with pytest.raises(ImageError, match="one sub-folder for each class, got a flat folder"):
        stack_mix(scan(tmp_path / "a"), dead=lower(8))


# --- plain_images


def test_plain_images(tmp_path):
    write(tmp_path, {"flat": 5}, side=60)
    (tmp_path / "flat" / "2.png").write_bytes(b"broken")
    collection = scan(tmp_path / "flat")
    result = plain_images(collection, size=32)
    assert [image.sources[0].id for image in result.images] == ["0.png", "1.png", "3.png", "4.png"]
    assert [name for name, _ in result.skipped] == ["2.png"]
    for image in result.images:
        expected = resize_center_crop(decode(tmp_path / "flat" / image.sources[0].id).pixels, 32)
        np.testing.assert_array_equal(image.pixels, expected)
        assert (image.pairing, image.label, image.label_name) == ("single", None, None)
    some = plain_images(collection, size=(20, 40), count=2, seed=5)
    assert [image.pixels.shape for image in some.images] == [(20, 40, 3)] * 2
    assert digest(some) == digest(plain_images(collection, size=(20, 40), count=2, seed=5))
    chosen = {
        pair_ids(image)
        for k in range(9)
        for image in plain_images(collection, size=9, count=1, seed=k).images
    }
    assert len(chosen) > 1
    short = plain_images(collection, size=8, count=5)
    assert short.warnings == ("up to 5 images were to be used, these files give 4",)


def test_plain_images_keep_their_class(tmp_path):
    write(tmp_path, {"281": 1})
    (image,) = plain_images(scan(tmp_path), size=8).images
    assert (image.label, image.label_name, image.pairing) == (281, "281", "single")


# --- photographs


def test_the_papers_dataset_from_real_photographs():
    if not (SHARED / "imagenet_animals").is_dir():
        pytest.skip("no ImageNet photographs beside the repository")
    collection = scan(SHARED / "imagenet_animals")
    dead = lower(54, 224)
    result = stack_mix(collection, dead=dead, count=12)
    assert len(result.images) == 12
    assert result.skipped == ()
    for image in result.images:
        assert image.pixels.shape == (224, 224, 3)
        assert image.label in range(398)
        assert image.pairing == "two-images"
        photos = {photo.id: photo.path for photo in collection.classes[image.label_name]}
        top, bottom = (
            resize_center_crop(decode(photos[source.id]).pixels, 224) for source in image.sources
        )
        np.testing.assert_array_equal(image.pixels, np.concatenate([top[:170], bottom[170:]]))
