"""Folders of maps: each kind of file, each way in which one can be wrong, and whose it is."""

from __future__ import annotations

import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import save_file
from torch import nn

from camaudit.adapters import Precomputed, digest, load_adapter
from camaudit.adapters.reading import read_map
from camaudit.errors import MethodError, NotApplicableError, UsageError
from camaudit.spelling import spelled
from tests.networks import images

VALUES = np.arange(12, dtype=np.float32).reshape(3, 4)


def maps_of(spec: str) -> Precomputed:
    made = load_adapter(spelled(spec))
    assert isinstance(made, Precomputed)
    return made


def bound(folder: Path, names: list[str], size: tuple[int, int] = (16, 16)) -> Precomputed:
    made = maps_of(f"maps:{folder}")
    batch = images(len(names), size)
    made.bind({digest(one): (name,) for one, name in zip(batch, names, strict=True)}, walled=False)
    return made


def write(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".png":
        Image.fromarray(values).save(path)
    else:
        save_file({"map": values, "other": values}, path)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("a.npy", VALUES),
        ("a.npy", np.asfortranarray(VALUES)),
        ("a.npy", VALUES.astype(np.float16)),
        ("a.npy", VALUES.astype(">i4")),
        ("a.PNG", VALUES.astype(np.uint8)),
        ("a.png", (VALUES * 5000).astype(np.uint16)),
        ("a.safetensors", VALUES),
        ("a.npy", VALUES - 6),
    ],
)
def test_values_are_read_as_they_were_written(
    tmp_path: Path, name: str, values: np.ndarray
) -> None:
    path = tmp_path / name
    (Image.fromarray(values).save(path, "PNG") if name == "a.PNG" else write(path, values))
    found = read_map(path)
    assert found.dtype == np.float64
    assert np.array_equal(found, values)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(side: int) -> bytes:
    """A PNG of side × side pixels, in a few bytes."""
    head = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def promising(count: int) -> bytes:
    """An array file whose header promises far more than it holds."""
    text = f"{{'descr': '<f8', 'fortran_order': False, 'shape': ({count}, {count}), }}"
    text += " " * (63 - (10 + len(text)) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text.encode()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.npy", b"", "a.npy cannot be read as a map: the file is empty"),
        ("a.npy", b"not an array", "a.npy cannot be read as a map"),
        ("a.npy", b"PK\x03\x04 of several", "a.npy cannot be read as a map: it holds several arr"),
        ("a.npy", pickle.dumps(np.ones((2, 2))), "a.npy cannot be read .* no .npy file"),
        ("a.npy", promising(10**6), "a.npy cannot be read as a map"),
        ("a.npy", np.array([{"x": 1}]), "a.npy cannot be read as a map: .*[Oo]bject"),
        ("a.npy", np.full((2, 2), np.nan), "a.npy holds NaN or infinity in 4 of 4 values"),
        ("a.npy", np.array([[1.0, np.inf]]), "a.npy holds NaN or infinity in 1 of 2 values"),
        # a signalling NaN, of which NumPy warns when it is cast
        ("a.npy", np.array([[0x7F800001]], np.uint32).view(np.float32), "a.npy holds NaN or inf"),
        ("a.npy", np.zeros((0, 4)), r"a.npy is an empty array, \(0, 4\)"),
        ("a.npy", np.ones((2, 2), complex), "a.npy holds complex128; expected real numbers"),
        ("a.npy", np.array([["x"]]), "a.npy holds <U1; expected real numbers"),
        ("a.png", b"\x89PNG\r\n\x1a\nbroken", "a.png cannot be read as a map"),
        ("a.png", bomb(100_000), "a.png cannot be read as a map"),
        ("a.png", bomb(9_000), "9000×9000 values are more than a map has"),
        ("a.png", np.zeros((2, 2, 3), np.uint8), "it is a picture of mode RGB; expected grey"),
        ("a.safetensors", b"\xff" * 8, "a.safetensors cannot be read as a map"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_map_is_named(
    tmp_path: Path, name: str, content: bytes | np.ndarray, message: str
) -> None:
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content.dtype == object:
        np.save(path, content, allow_pickle=True)
    else:
        write(path, content)
    with pytest.raises(MethodError, match=message):
        read_map(path)


def test_a_file_of_several_tensors_needs_one_called_map(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_file({"x": VALUES, "y": VALUES}, path)
    with pytest.raises(MethodError, match="it holds 2 tensors; expected one, or one called 'map'"):
        read_map(path)


def test_maps_are_found_by_id_path_or_name(tmp_path: Path) -> None:
    for number, name in enumerate(["one.npy", "deep/two.png", "set/three.safetensors"]):
        write(tmp_path / name, np.full((2, 2), number, np.uint8))
    write(tmp_path / "nobody.npy", VALUES)
    (tmp_path / "notes.txt").write_text("not a map")
    (tmp_path / ".hidden").mkdir()
    write(tmp_path / ".hidden" / "one.npy", VALUES)
    made = bound(tmp_path, ["one", "two", "set/three", "four"])
    batch = images(4)
    for number in range(3):
        (found,) = made(nn.Identity(), "", batch[number : number + 1], torch.zeros(1))
        assert torch.equal(found, torch.full((2, 2), float(number), dtype=torch.float64))
    with pytest.raises(NotApplicableError, match="has no map of four"):
        made.of(batch[3:])
    counted = {"images": 4, "found": 3, "missing": ["four"], "extra": 1}
    assert made.inventory() == {"folder": str(tmp_path), **counted}


def test_maps_of_several_sizes_are_brought_to_the_images(tmp_path: Path) -> None:
    write(tmp_path / "one.npy", np.ones((2, 2)))
    write(tmp_path / "two.npy", np.ones((4, 4)))
    assert bound(tmp_path, ["one", "two"]).of(images(2)).shape == (2, 16, 16)


def test_an_image_that_is_not_the_runs_has_no_map(tmp_path: Path) -> None:
    write(tmp_path / "one.npy", VALUES)
    made = bound(tmp_path, ["one"])
    with pytest.raises(NotApplicableError, match=r"another one \(masked, noisy or drawn\)"):
        made.of(images(1) + 1)
    with pytest.raises(NotApplicableError, match="unwalled=FOLDER names those"):
        made.of(images(1), unwalled=True)


def test_two_files_of_one_image_are_told(tmp_path: Path) -> None:
    write(tmp_path / "one.npy", VALUES)
    write(tmp_path / "one.png", VALUES.astype(np.uint8))
    with pytest.raises(MethodError, match=r"one has 2 maps, one\.npy, one\.png: keep one"):
        bound(tmp_path, ["one"]).of(images(1))


def test_channels_need_a_reduction_and_a_transposed_map_is_told(tmp_path: Path) -> None:
    write(tmp_path / "one.npy", np.stack([VALUES, -VALUES]))
    with pytest.raises(MethodError, match=r"shape \(2, 3, 4\); .*: reduce=abs-sum, sum or positiv"):
        bound(tmp_path, ["one"]).of(images(1))
    for how, factor in (("abs-sum", 2), ("sum", 0), ("positive-sum", 1)):
        made = maps_of(f"maps:{tmp_path}(reduce={how})")
        made.bind({digest(images(1)[0]): ("one",)}, walled=False)
        assert np.array_equal(made.of(images(1))[0].numpy(), factor * VALUES)
        assert len(made.processing) == 2
    write(tmp_path / "one.npy", np.ones(5))
    with pytest.raises(MethodError, match=r"shape \(5,\); expected one map h×w$"):
        bound(tmp_path, ["one"]).of(images(1))
    write(tmp_path / "one.npy", np.ones((24, 16)))
    with pytest.raises(MethodError, match=r"transposed: expected 16×24 .* got 24×16"):
        bound(tmp_path, ["one"], (16, 24)).of(images(1, (16, 24)))


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("maps:{folder}/nowhere", "no folder .*maps.py:FUNCTION"),
        ("maps:{folder}/empty", "holds no map: expected .npy, .png, .safetensors files"),
        ("maps:{folder}(nmae=x)", "has no option 'nmae': did you mean name"),
        ("maps:{folder}(reduce=max)", "reduce must be one of abs-sum, sum, positive-sum"),
        ("maps:{folder}(unwalled={folder}/nowhere)", "no folder"),
        ("maps:{folder}(name=a b)", "expected a name without spaces"),
        ("maps:", "names no folder"),
    ],
)
def test_what_is_no_folder_of_maps_is_refused(tmp_path: Path, spec: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    write(tmp_path / "one.npy", VALUES)
    with pytest.raises(UsageError, match=message):
        maps_of(spec.replace("{folder}", str(tmp_path)))
