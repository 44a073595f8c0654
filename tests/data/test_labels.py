"""Folder names and the ImageNet classes they stand for."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camaudit.data.labels import imagenet_index, imagenet_names, imagenet_wnids

CLASSES = Path(__file__).parents[2] / ".." / "shared" / "data" / "imagenet_classes.json"


def test_wnids_are_a_thousand_in_ascending_order():
    wnids = imagenet_wnids()
    assert len(wnids) == len(set(wnids)) == 1000
    assert list(wnids) == sorted(wnids)
    assert all(len(wnid) == 9 and wnid[0] == "n" and wnid[1:].isdigit() for wnid in wnids)


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("n01440764", 0),  # tench, the first
        ("N02123045", 281),  # tabby
        ("n15075141", 999),  # toilet tissue, the last
        ("n00000001", None),
        ("n0144076", None),
        ("0", 0),
        ("007", 7),
        ("999", 999),
        ("1000", None),
        ("-1", None),
        ("1.0", None),
        ("²", None),
        ("٣", None),
        ("tench", 0),
        ("Great_White  SHARK", 2),
        (" tabby ", 281),
        ("toilet tissue", 999),
        ("cardigan", None),  # 264 is the dog, 474 the garment
        ("Cardigan", None),
        ("cat", None),
        ("", None),
        ("9" * 5000, None),
    ],
)
def test_index(name, index):
    assert imagenet_index(name) == index


def test_every_wnid_and_every_unique_name_finds_its_index():
    names = imagenet_names()
    assert len(names) == 1000
    assert [imagenet_index(wnid) for wnid in imagenet_wnids()] == list(range(1000))
    found = [imagenet_index(name.upper().replace(" ", "_")) for name in names]
    wrong = {name for index, name in enumerate(names) if found[index] != index}
    repeated = {name for name in names if [n.lower() for n in names].count(name.lower()) > 1}
    assert wrong == repeated


@given(st.text())
def test_any_text_gives_an_index_or_none(name):
    index = imagenet_index(name)
    assert index is None or 0 <= index < 1000


def test_against_an_independent_list_of_the_classes():
    if not CLASSES.exists():
        pytest.skip("no independent list of the ImageNet classes beside the repository")
    listed = json.loads(CLASSES.read_text(encoding="utf-8"))
    assert [entry["wnid"] for entry in listed] == list(imagenet_wnids())
    names = imagenet_names()
    agree = sum(entry["name"].lower() == names[entry["index"]].lower() for entry in listed)
    assert agree > 950  # the two lists word a few names differently


def test_wnids_and_numbers_need_no_torch():
    code = (
        "import sys; from camaudit.data.labels import imagenet_index;"
        "assert imagenet_index('n01440764') == imagenet_index('0') == 0;"
        "assert 'torch' not in sys.modules"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


@pytest.mark.parametrize(
    "module",
    ["embedded", "folders", "images", "labels", "loading", "pairs", "preprocess", "stack_mix"],
)
def test_importing_the_data_layer_loads_no_torch(module):
    code = f"import sys, camaudit.data.{module}; assert 'torch' not in sys.modules"
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
