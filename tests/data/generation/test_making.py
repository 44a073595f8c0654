"""STACK-GEN on disk: deterministic, reviewed, and refused pictures told apart from failures."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from camaudit.data.generation.compositor import Compositor
from camaudit.data.generation.making import build_stack_gen
from camaudit.data.generation.subjects import choose_subjects
from camaudit.data.images import decode
from camaudit.data.manifest import load_images, read_manifest, verify
from camaudit.data.seam import lower_rows, wall_of_rows
from camaudit.data.sources import open_source
from camaudit.errors import GenerationError, ImageError, OutputError, UsageError
from tests.data.generation.doubles import SIZE, Painter, encoded, make, options, picture
from tests.data.sets import contents

SHARED = Path(__file__).parents[3].parent / "shared" / "data" / "imagenet_animals"


def test_a_data_set_with_the_origin_of_every_image(tmp_path):
    backend = Painter()
    manifest = make(backend, tmp_path / "set", classes="0-4", count=4)
    assert manifest == read_manifest(tmp_path / "set")
    assert verify(tmp_path / "set").passed
    assert (manifest.kind, manifest.size) == ("stack-gen", (SIZE, SIZE))
    assert manifest.licence == "painted; CC0"
    assert manifest.settings["model"] == "p1"
    assert manifest.settings["prompt"] == "A photo of {name} stacked on top of {name}."
    assert "painted" in manifest.notes
    assert len(load_images(tmp_path / "set")) == 4
    for image, request in zip(manifest.images, backend.asked, strict=True):
        assert image.id == request.id
        assert image.generation["prompt"].startswith("A photo of ")
        assert image.generation["seed"] == request.seed
        assert image.generation["square"]["found"] == "measured"
        assert image.generation["square"]["boundary"] == pytest.approx(0.5, abs=0.02)
        red = decode(tmp_path / "set" / image.file).pixels[..., 0].mean(axis=1)
        assert red[: SIZE - 11].min() > 120 > 90 > red[SIZE - 7 :].max()
    sheet = Image.open(io.BytesIO((tmp_path / "set" / "contact_sheet.png").read_bytes()))
    assert sheet.width > 4 * 144


def test_the_same_bytes_again_and_others_for_another_seed_or_model(tmp_path):
    make(Painter(), tmp_path / "one")
    make(Painter(), tmp_path / "two")
    make(Painter(), tmp_path / "three", seed=1)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")
    assert contents(tmp_path / "one") != contents(tmp_path / "three")
    other = make(Painter(settings={"backend": "painter", "model": "p2"}), tmp_path / "four")
    first = read_manifest(tmp_path / "one")
    assert not {image.id for image in other.images} & {image.id for image in first.images}


def test_requests_do_not_depend_on_count_or_other_classes(tmp_path):
    few, many = Painter(), Painter()
    make(few, tmp_path / "few", classes="b", count=1)
    make(many, tmp_path / "many", per_class=2, count=6)
    assert few.asked[0] in many.asked
    seeds = [request.seed for request in many.asked if request.label_name == "b"]
    assert seeds[1] == seeds[0] + 1


def test_a_refusal_is_recorded_and_the_next_class_takes_the_place(tmp_path):
    backend = Painter(refuse=["b"])
    manifest = make(backend, tmp_path / "set", count=3)
    assert {image.label_name for image in manifest.images} == {"a", "c"}
    assert [entry.reason for entry in manifest.rejected] == ["content policy"] * 4
    assert sum(request.label_name == "b" for request in backend.asked) == 4
    assert any("3 images were asked for, 2 could be made" in note for note in manifest.notes)
    assert any("b (0)" in note for note in manifest.notes)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"<html>no picture</html>", "not an image"),
        (encoded(picture(1))[:900], "damaged or truncated"),
        (encoded(np.full((99, 99, 3), 9, np.uint8)), "single colour"),
        (encoded(picture(1, height=16, width=16)), "pixels a side, too few for 36×36"),
    ],
)
def test_an_unusable_picture_is_rejected_with_its_reason(tmp_path, data, reason):
    manifest = make(Painter(answers={"a": data}), tmp_path / "set")
    assert {image.label_name for image in manifest.images} == {"b", "c"}
    assert all(reason in entry.reason for entry in manifest.rejected)
    with pytest.raises(ImageError, match=f"no image could be made .*{reason}"):
        make(Painter(answers={"a": data}), tmp_path / "none", classes="a")
    assert not (tmp_path / "none").exists()


def test_the_same_picture_twice_is_one_image(tmp_path):
    manifest = make(
        Painter(answers={"a": encoded(picture(1), "JPEG")}), tmp_path / "set", classes="a",
        per_class=2, count=2,
    )  # fmt: skip
    assert len(manifest.images) == 1
    assert "shows the same pixels as a-" in manifest.rejected[0].reason


def test_transparency_and_other_formats_are_decoded_and_noted(tmp_path):
    clear = np.dstack([picture(2), np.full((96, 120), 200, np.uint8)])
    manifest = make(Painter(answers={"a": encoded(clear, "WEBP")}), tmp_path / "set", classes="a")
    assert any("transparency" in note for note in manifest.images[0].notes)


# --- boundaries


def test_boundaries_given_for_all_said_by_nobody_or_unclear(tmp_path):
    given = make(Painter(), tmp_path / "one", boundary=0.4)
    assert {image.generation["square"]["found"] for image in given.images} == {"given for all"}
    slope = np.repeat(np.linspace(0, 255, 120)[:, None, None], 120, 1).repeat(3, 2)
    answers = {name: encoded((slope / 2 + k).astype(np.uint8)) for k, name in enumerate("abc")}
    unclear = make(Painter(answers=answers), tmp_path / "two")
    assert unclear.images[0].generation["square"]["boundary"] == 0.5
    assert "no boundary of two subjects was found" in unclear.images[0].notes[-1]
    assert any("in 3 pictures" in note and "in 3 of them" in note for note in unclear.notes)


def test_a_boundary_by_hand_cuts_one_image_again_and_stays(tmp_path):
    first = make(Painter(), tmp_path / "set")
    id_ = first.images[1].id
    backend = Painter()
    again = make(backend, tmp_path / "set", boundaries={id_: 0.45}, review=True)
    assert [request.id for request in backend.asked] == [id_]
    assert [image.id for image in again.images] == [image.id for image in first.images]
    assert again.images[1].generation["square"]["found"] == "by hand"
    assert again.images[1].sha256 != first.images[1].sha256
    assert (again.images[0], again.images[2]) == (first.images[0], first.images[2])
    backend = Painter()
    third = make(backend, tmp_path / "set", reject={first.images[0].id: "dull"}, review=True)
    assert third.images[1] == again.images[1]
    assert len(backend.asked) == 1
    with pytest.raises(UsageError, match="'a-00' was named and never came up; its ids"):
        make(Painter(), tmp_path / "set", boundaries={"a-00": 0.5}, review=True)
    assert read_manifest(tmp_path / "set") == third


# --- reviews


def test_a_review_asks_for_the_rejected_image_alone(tmp_path):
    first = make(Painter(), tmp_path / "set")
    before = contents(tmp_path / "set")
    backend, gone = Painter(), first.images[2].id
    second = make(backend, tmp_path / "set", reject={gone: "three of them"}, review=True)
    assert len(backend.asked) == 1
    assert backend.asked[0].seed == first.images[2].generation["seed"] + 1
    assert second.images[:2] == first.images[:2]
    assert [(entry.id, entry.reason) for entry in second.rejected] == [(gone, "three of them")]
    after = contents(tmp_path / "set")
    assert all(after[image.file] == before[image.file] for image in first.images[:2])
    assert make(Painter(), tmp_path / "set", review=True) == second
    fresh = make(Painter(), tmp_path / "fresh", reject={gone: "three of them"})
    assert fresh.images == second.images


def test_reviews_and_rebuilds_that_are_refused(tmp_path):
    with pytest.raises(UsageError, match=r"no data set in .* to review"):
        make(Painter(), tmp_path / "set", review=True)
    first = make(Painter(), tmp_path / "set")
    with pytest.raises(UsageError, match="holds a data set already"):
        make(Painter(), tmp_path / "set")
    id_ = first.images[0].id
    with pytest.raises(UsageError, match=r"near ids: .*" + id_):
        make(Painter(), tmp_path / "set", reject={id_[:-1]: "x"}, review=True)
    with pytest.raises(UsageError, match="count was 100, is 2"):
        make(Painter(), tmp_path / "set", reject={id_: "x"}, review=True, count=2)
    (tmp_path / "set" / first.images[1].file).write_bytes(encoded(picture(5)))
    with pytest.raises(UsageError, match="was changed since it was built"):
        make(Painter(), tmp_path / "set", reject={id_: "x"}, review=True)
    assert make(Painter(), tmp_path / "set", force=True) == first
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="neither empty nor a data set"):
        make(Painter(), tmp_path / "other", force=True)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), GenerationError("the network is gone")])
def test_a_build_that_stops_leaves_what_was_there(tmp_path, error):
    make(Painter(), tmp_path / "set")
    before = contents(tmp_path / "set")
    backend = Painter(settings={"backend": "painter", "model": "p2"})
    paint = backend.generate

    def stopping(request):
        if len(backend.asked) == 2:
            raise error
        return paint(request)

    backend.generate = stopping
    with pytest.raises(type(error)):
        make(backend, tmp_path / "set", force=True)
    assert contents(tmp_path / "set") == before
    assert [path.name for path in tmp_path.iterdir()] == ["set"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"count": 0}, "count must be 1 or more"),
        ({"per_class": 0}, "per_class must be 1 or more"),
        ({"boundary": 1.0}, "boundary must lie between 0 and 1"),
        ({"wall": wall_of_rows("upper rows", range(5), SIZE)}, "do not lie at the bottom"),
    ],
)
def test_bad_options(changes, message):
    with pytest.raises(UsageError, match=message):
        options(**changes)


def test_progress_is_told(tmp_path):
    told = []

    class Told:
        start = staticmethod(lambda work: told.append(work))
        stage = staticmethod(lambda text: told.append(text))
        advance = staticmethod(lambda work: told.append(work))

    build_stack_gen(
        Painter(), tmp_path / "set", options=options(count=2), licence="x", progress=Told()
    )
    assert told == [2, "making images (painter)", 1, 1]


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared photographs of animals are not here")
def test_composites_of_real_photographs(tmp_path):
    source = open_source(SHARED)
    wall = lower_rows(None, 224)
    compositor = Compositor(source.collection, wall=wall, layout=source.layout)
    manifest = make(
        compositor, tmp_path / "set", count=4, size=(224, 224), wall=wall,
        subjects=choose_subjects(None, seed=0, folders=compositor.folders),
    )  # fmt: skip
    assert verify(tmp_path / "set").ok == 4
    for image in manifest.images:
        assert image.generation["square"]["found"] == "by the back end"
        assert image.generation["square"]["side"] == 224
        assert len({part.id for part in image.sources}) == 2
