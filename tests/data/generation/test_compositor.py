"""Two photographs of one class, blended at the wall."""

import numpy as np
import pytest
from PIL import Image

from camaudit.data.generation.compositor import Compositor, blended
from camaudit.data.generation.objects import extent, score
from camaudit.data.generation.request import RefusedError, Request
from camaudit.data.images import decode
from camaudit.data.pairs import ordered_pairs
from camaudit.data.seam import lower_rows, wall_of_rows
from camaudit.data.sources import open_source
from camaudit.errors import ImageError, UsageError
from tests.data.sets import photographs

SIZE = (48, 48)


@pytest.fixture
def photos(tmp_path):
    return photographs(tmp_path / "photos", {"a_b": 3, "n01440764": 2, "c": 1}, side=60)


def compositor(photos):
    source = open_source(photos)
    return Compositor(source.collection, wall=lower_rows(12, SIZE[0]), layout=source.layout)


def request(name, seed, label=None):
    return Request(id="x", label=label, label_name=name, prompt="", seed=seed, size=SIZE)


def test_pairs_of_the_class_in_turn_and_the_same_bytes_again(photos):
    maker = compositor(photos)
    assert maker.folders == ("a_b", "n01440764")
    assert maker.notes == ("1 classes with a single photograph are left out",)
    made = [maker.generate(request("a_b", seed)) for seed in range(7)]
    pairs = [tuple(part.id for part in each.sources) for each in made]
    assert len(set(pairs)) == 6  # all ordered pairs of three
    assert pairs[6] == pairs[0]
    assert made[6].picture == made[0].picture
    assert made[0].picture == compositor(photos).generate(request("a_b", 0)).picture
    tench = maker.generate(request("tench", 0, label=0))
    assert {part.id.split("/")[0] for part in tench.sources} == {"n01440764"}
    assert tench.generation["boundary"] == 36 / 48
    assert decode(tench.picture).pixels.shape == (48, 48, 3)


def test_rows_outside_the_band_show_one_photograph_each():
    rng = np.random.default_rng(0)
    above, below = (rng.integers(0, 256, (rows, 40, 3), dtype=np.uint8) for rows in (34, 14))
    mixed = blended(above, below, 30)
    assert mixed.shape == (40, 40, 3)
    np.testing.assert_array_equal(mixed[:26], above[:26])
    np.testing.assert_array_equal(mixed[34:], below[8:])


def test_equal_photographs_stay_as_they_are():
    whole = np.random.default_rng(1).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    np.testing.assert_array_equal(blended(whole[:34], whole[26:], 30), whole)


def test_the_band_fades_from_one_to_the_other():
    above, below = np.full((68, 30, 3), 140, np.uint8), np.full((28, 30, 3), 100, np.uint8)
    column = blended(above, below, 60)[:, 0, 0].astype(int)
    assert (np.diff(column) <= 0).all()
    assert column[0] == 140
    assert column[-1] == 100
    assert np.abs(np.diff(column)).max() < 20  # the step of 40 is spread


def test_the_object_is_what_differs_from_the_rim():
    pixels = np.full((100, 150, 3), 90, dtype=np.uint8)
    pixels += np.random.default_rng(0).integers(0, 8, pixels.shape, dtype=np.uint8)
    pixels[40:80, 30:90] = np.random.default_rng(1).integers(0, 256, (40, 60, 3))
    plane = score(pixels)
    assert plane.sum() == pytest.approx(1)
    where = extent(plane)
    assert where.top == pytest.approx(0.4, abs=0.08)
    assert where.bottom == pytest.approx(0.8, abs=0.08)
    assert where.centre == pytest.approx(0.4, abs=0.08)


def test_the_upper_object_ends_at_the_wall(tmp_path):
    rng = np.random.default_rng(3)
    for k, name in enumerate(("one", "two")):
        pixels = np.full((120, 160, 3), 60 + 90 * k, dtype=np.uint8)
        pixels[50:100, 50:110] = rng.integers(0, 256, (50, 60, 3))
        (tmp_path / "p" / "a").mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "p" / "a" / f"{name}.png")
    made = compositor(tmp_path / "p").generate(request("a", 0))
    upper, lower = made.sources
    span = upper.crop[3] - upper.crop[1]
    wall = upper.crop[1] + span * 36 / (36 + 3)  # three rows of the window are the band's
    assert wall == pytest.approx(100 / 120, abs=0.04)
    middle = (lower.crop[1] + lower.crop[3]) / 2
    assert middle == pytest.approx(75 / 120, abs=0.1)  # where the object is


def test_bad_photographs_refuse_their_pair_alone(photos):
    (photos / "a_b" / "1.png").write_bytes(b"no image")
    maker = compositor(photos)
    bad = [seed for seed, pair in enumerate(ordered_pairs("012")) if "1" in pair]
    for seed in bad:
        with pytest.raises(RefusedError, match=r"a_b/1.png: not an image"):
            maker.generate(request("a_b", seed))
    for seed in set(range(6)) - set(bad):
        maker.generate(request("a_b", seed))
    (photos / "n01440764" / "1.png").write_bytes((photos / "n01440764" / "0.png").read_bytes())
    with pytest.raises(RefusedError, match="show the same pixels"):
        maker.generate(request("tench", 0, label=0))
    with pytest.raises(RefusedError, match="no two photographs"):
        maker.generate(request("c", 0))


def test_small_photographs_are_enlarged_with_a_note(tmp_path):
    made = compositor(photographs(tmp_path / "p", {"a": 2}, side=34)).generate(request("a", 0))
    assert any("columns, enlarged to 48" in note for note in made.notes)


def test_a_source_or_a_wall_that_cannot_do(tmp_path, photos):
    source = open_source(photographs(tmp_path / "single", {"a": 1, "b": 1}))
    with pytest.raises(ImageError, match=r"no class of .* has two photographs.*stack-mix"):
        Compositor(source.collection, wall=lower_rows(12, 48), layout="")
    source = open_source(photos)
    top = wall_of_rows("upper rows", range(12), 48)
    with pytest.raises(UsageError, match="dead rows at the bottom"):
        Compositor(source.collection, wall=top, layout="").generate(request("a_b", 0))
