"""The maps that a run keeps: what comes back, and that nothing bent is ever shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from camaudit.errors import AuditError, OutputError
from camaudit.report.keeping import keeping
from camaudit.report.kept import KeptMap, packed, photograph, quantised, unpacked, upsampled
from camaudit.report.kept_maps import KeptMaps, read_maps
from camaudit.report.sanity_pictures import SanityPicture

RESULTS = b'{"schema": 1}'


def photo(side: int = 32) -> np.ndarray[Any, np.dtype[np.uint8]]:
    rows, columns = np.mgrid[0:side, 0:side]
    return np.stack([rows * 7, columns * 7, rows + columns], axis=2).astype(np.uint8)


def written(folder: Path, count: int = 3, *, place: bool = True) -> None:
    dead = np.zeros((32, 32), dtype=bool)
    dead[20:] = True
    with keeping(folder, count) as writer:
        writer.wall(dead=dead, scored=dead)
        for number in range(count):
            one = np.arange(12.0).reshape(3, 4) + number
            maps = {"one": one, "none": None, "zero": np.zeros((3, 4)), "control": one}
            twins = {"one": one[::-1], "none": one, "zero": None, "control": 2 * one}
            writer.add(id=f"i{number}", title=f"t{number}", caption="c", pixels=photo(), maps=maps,
                       unmasked=twins)  # fmt: skip
        steps = tuple(map(str, range(20)))
        chain = tuple(np.full((32, 32), 1.0) * np.arange(32) for _ in steps)
        writer.picture(SanityPicture("p", "t", photo(), "mprt", "top-down", 0, steps,
                                     {"one": chain, "none": (None,) * 20}))  # fmt: skip
        if place:
            writer.place(folder, RESULTS)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    written(tmp_path)
    return tmp_path


def maps_of(run: Path) -> KeptMaps:
    found = read_maps(run, RESULTS)
    assert found is not None
    return found


@pytest.mark.parametrize("size", [(32, 32), (224, 224), (9, 13)])
@pytest.mark.parametrize("shape", [(7, 7), (1, 1), (3, 5), (1, 4)])
def test_upsampling_is_the_audits(shape: tuple[int, int], size: tuple[int, int]) -> None:
    levels = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)
    kept = KeptMap(levels, -0.25, 1.5)
    reference = F.interpolate(
        torch.from_numpy(kept.values)[None, None], size=size, mode="bilinear", align_corners=False
    )[0, 0].numpy()
    np.testing.assert_allclose(upsampled(kept, size), reference, atol=1e-12)


def test_a_map_comes_back_to_half_a_level() -> None:
    values = np.random.default_rng(1).normal(size=(7, 7))
    kept = quantised(values)
    assert kept is not None
    assert np.abs(kept.values - values).max() <= (values.max() - values.min()) / 255 / 2 + 1e-12
    large = quantised(np.kron(values, np.ones((16, 16))))  # 112 cells become 56
    assert large is not None
    assert large.levels.shape == (56, 56)
    np.testing.assert_array_equal(large.levels[::8, ::8], kept.levels)


@pytest.mark.parametrize(
    "values", [np.zeros((3, 3)), np.full((3, 3), np.nan), np.array([[1.0, np.inf]]),
               np.zeros((0, 3)), np.ones(3)],
)  # fmt: skip
def test_what_cannot_be_drawn_is_not_kept(values: np.ndarray[Any, np.dtype[Any]]) -> None:
    assert quantised(values) is None


def test_maps_near_the_float_limit_keep_their_order() -> None:
    kept = quantised(np.array([[-1.7e308, 0.0, 1.7e308]]))
    assert kept is not None
    assert kept.levels.tolist() == [[0, 128, 255]]
    constant = quantised(np.full((2, 2), 3.0))
    assert constant is not None
    np.testing.assert_array_equal(constant.values, 3.0)


def test_masks_come_back() -> None:
    mask = np.random.default_rng(2).random((5, 7)) > 0.5
    np.testing.assert_array_equal(unpacked(json.loads(json.dumps(packed(mask)))), mask)
    with pytest.raises(ValueError, match="3 bytes"):
        unpacked({"shape": [5, 7], "bits": "AAAA"})


def test_a_run_reads_what_it_has_written(run: Path) -> None:
    maps = maps_of(run)
    assert [image.id for image in maps] == ["i0", "i1", "i2"]
    one = maps[1].maps["one"]
    assert one is not None
    np.testing.assert_allclose(one.values, np.arange(12.0).reshape(3, 4) + 1, atol=0.03)
    assert maps[1].maps["none"] is None
    assert maps[1].maps["zero"] is None
    assert maps.wall is not None
    assert maps.wall[0].sum() == 12 * 32
    first, second = maps.gallery(2)
    assert first.pixels.shape == (32, 32, 3)
    assert np.abs(first.pixels.astype(int) - photo()).mean() < 6
    drawn = second.maps["one"]
    assert drawn is not None
    assert drawn.shape == (32, 32)
    (picture,) = maps.pictures()
    assert picture.steps == ("0", "3", "5", "8", "11", "14", "16", "19")
    assert picture.maps["none"] == (None,) * 8
    assert sorted(path.name for path in run.iterdir()) == ["maps"]


def test_maps_without_the_wall_come_back_beside_the_others(run: Path) -> None:
    twins = maps_of(run)[1].unmasked
    expected = np.arange(12.0).reshape(3, 4) + 1
    assert list(twins) == ["one", "none", "zero", "control"]
    assert twins["zero"] is None
    for name, values in (("one", expected[::-1]), ("none", expected), ("control", 2 * expected)):
        found = twins[name]
        assert found is not None
        np.testing.assert_allclose(found.values, values, atol=0.05)


def test_maps_that_look_the_same_are_stored_once(run: Path) -> None:
    for image in json.loads((run / "maps" / "index.json").read_text())["images"]:
        assert image["unmasked"]["control"]["at"] == image["maps"]["control"]["at"]
        assert image["unmasked"]["control"]["high"] == 2 * image["maps"]["control"]["high"]
        assert image["unmasked"]["one"]["at"] != image["maps"]["one"]["at"]


def test_an_index_of_before_has_no_maps_without_the_wall(run: Path) -> None:
    path = run / "maps" / "index.json"
    index = json.loads(path.read_text())
    for image in index["images"]:
        del image["unmasked"]
    path.write_text(json.dumps(index))
    maps = maps_of(run)
    assert [dict(image.unmasked) for image in maps] == [{}] * 3
    assert maps[0].maps["one"] is not None
    assert len(maps.gallery(3)) == 3


@pytest.mark.parametrize("unmasked", [None, {}, {"one": None}, {"one": np.zeros((2, 2))}])
def test_where_there_is_no_such_map_the_index_is_that_of_before(
    tmp_path: Path, unmasked: Any
) -> None:
    with keeping(tmp_path, 1) as writer:
        writer.add(id="i", title="t", caption="c", pixels=photo(), maps={"one": np.eye(2)},
                   unmasked=unmasked)  # fmt: skip
        writer.place(tmp_path, RESULTS)
    (image,) = json.loads((tmp_path / "maps" / "index.json").read_text())["images"]
    assert "unmasked" not in image


def test_parts_stay_small_and_are_read_one_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("camaudit.report.keeping._PART_BYTES", 1000)
    written(tmp_path, 6)
    parts = sorted((tmp_path / "maps").glob("*.bin"))
    assert len(parts) > 2
    assert max(part.stat().st_size for part in parts[:-1]) < 3000
    parts[-1].write_bytes(b"bent")
    maps = maps_of(tmp_path)
    assert maps[0].id == "i0"  # the bent part is another one


def test_later_maps_take_the_place_of_earlier_ones(run: Path) -> None:
    written(run, 1)
    assert len(maps_of(run)) == 1
    with keeping(run, 0) as writer:
        writer.place(run, RESULTS)
    assert read_maps(run, RESULTS) is None
    assert list(run.iterdir()) == []


def test_a_run_that_ends_early_leaves_the_earlier_maps(run: Path) -> None:
    written(run, 2, place=False)
    assert len(maps_of(run)) == 3
    with pytest.raises(RuntimeError), keeping(run, 1):
        raise RuntimeError
    assert [path.name for path in run.iterdir()] == ["maps"]


def test_folders_that_are_no_runs_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps" / "cat.npy").write_bytes(b"mine")
    with pytest.raises(OutputError, match="holds no maps of an earlier run"), keeping(tmp_path, 1):
        pass
    assert (tmp_path / "maps" / "cat.npy").read_bytes() == b"mine"


def test_maps_of_other_results_are_refused(run: Path) -> None:
    with pytest.raises(AuditError, match=r"belongs to another results\.json"):
        read_maps(run, b"{}")


def bent(index: dict[str, Any], how: str) -> None:
    image = index["images"][0]
    match how:
        case "offset":
            image["photo"][1] = 10**9
        case "negative":
            image["photo"][1] = -5
        case "part":
            image["photo"][0] = 7
        case "name":
            index["parts"][0]["name"] = "../results.json"
        case "hash":
            index["parts"][0]["sha256"] = "0" * 64
        case "shape":
            image["maps"]["one"]["shape"] = [4, 4]
        case "cells":
            image["maps"]["one"] |= {"shape": [1, 65], "at": [0, 0, 65]}
        case "no cells":
            image["maps"]["one"] |= {"shape": [0, 4], "at": [0, 0, 0]}
        case "minus":
            image["maps"]["one"]["shape"] = [-1, 4]
        case "falsy":
            image["maps"]["one"] = 0
        case "list":
            image["maps"] = []
        case "picture":
            index["pictures"][0]["maps"] = []
        case "twin list":
            image["unmasked"] = []
        case "twin null":
            image["unmasked"] = None
        case "twin falsy":
            image["unmasked"]["one"] = ""
        case "twin text":
            image["unmasked"]["one"] = "same"
        case "twin shape":
            image["unmasked"]["one"]["shape"] = [12, 12]
        case "twin offset":
            image["unmasked"]["one"]["at"][1] = -1
        case "twin part":
            image["unmasked"]["one"]["at"][0] = -1
        case "twin low":
            image["unmasked"]["one"]["low"] = None
        case "photograph":
            image["photo"] = image["maps"]["one"]["at"]
        case "text":
            image["photo"] = "here"


@pytest.mark.parametrize(
    "how",
    ["offset", "negative", "part", "name", "hash", "shape", "cells", "no cells", "minus", "falsy",
     "list", "picture", "twin list", "twin null", "twin falsy", "twin text", "twin shape",
     "twin offset", "twin part", "twin low", "photograph", "text"],
)  # fmt: skip
def test_an_index_that_lies_is_refused_in_words(run: Path, how: str) -> None:
    path = run / "maps" / "index.json"
    index = json.loads(path.read_text())
    bent(index, how)
    path.write_text(json.dumps(index))
    with pytest.raises(AuditError, match="run camaudit run again"):
        maps_of(run).gallery(1), maps_of(run).pictures()


@pytest.mark.parametrize("text", ["", "[]", '{"schema": 1}', "{", "[" * 100_000])
def test_an_index_that_is_none_is_refused(run: Path, text: str) -> None:
    (run / "maps" / "index.json").write_text(text)
    with pytest.raises(AuditError, match="cannot be read"):
        read_maps(run, RESULTS)


def test_only_jpegs_of_the_right_size_are_opened() -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        photograph(b"\x89PNG\r\n\x1a\n", (8, 8))
