"""Folder names and the ImageNet classes they stand for."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camaudit.data.labels import (
    class_index,
    class_title,
    imagenet_index,
    imagenet_names,
    imagenet_wnids,
)

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


@pytest.mark.parametrize(
    ("classes", "name", "label", "place"),
    [
        (("T-shirt/top", "Ankle boot"), "t_shirt_top", None, 0),
        (("T-shirt/top", "Ankle boot"), "ANKLEBOOT", None, 1),
        (("T-shirt/top", "Ankle boot"), "boot", None, None),
        (("0", "1", "2"), "2", 2, 2),
        (("0", "1", "2"), "02", 2, None),  # the model's classes are digits, not ImageNet's numbers
        (("0", "1", "2"), "tench", 0, None),
        (("n01440764", "n01443537"), "goldfish", 1, 1),
        (("n01440764", "n01443537"), "0", 0, 0),
        (("tench", "gold fish"), "n01443537", 1, None),
        (("tench", "Goldfish"), "n01443537", 1, 1),
        (("tench", "n01440764"), "0", 0, None),  # two classes of that label
        (("tench", "n01440764"), "tench", 0, 0),  # but one of that name
        (("a-b", "ab"), "a-b", None, 0),
        (("a-b", "ab"), "a b", None, None),
        (("Cat", "cat"), "cat", None, 1),
        (("Cat", "cat"), "CAT", None, None),
        (("cat", "cat"), "cat", None, None),
        (("+", "a"), "-", None, None),  # no letter in common is no likeness
        (("+", "-"), "-", None, 1),
        (("猫", "犬"), "犬", None, 1),
        (("Straße", "x"), "STRASSE", None, 0),
        (("a", ""), "", None, None),
        (("a", "b"), None, None, None),
        (("a", "tench"), None, 0, 1),
        ((), "a", 0, None),
    ],
)
def test_place_among_a_networks_own_classes(classes, name, label, place):
    assert class_index(classes, name=name, label=label) == place


NAMES = st.lists(st.text(max_size=6), unique=True, max_size=6)


@given(NAMES, st.text(max_size=6), st.none() | st.integers(0, 999))
def test_a_place_is_one_of_the_classes_and_no_guess(classes, name, label):
    place = class_index(classes, name=name, label=label)
    assert place is None or 0 <= place < len(classes)
    for own, written in enumerate(classes):
        if written:
            assert class_index(classes, name=written, label=label) == own
    turned = class_index(classes[::-1], name=name, label=label)
    assert (place is None) == (turned is None)
    if place is not None:
        assert classes[place] == classes[::-1][turned]


@given(st.lists(st.from_regex("[a-z]{2,5}", fullmatch=True), unique=True, min_size=1, max_size=6))
def test_spelling_makes_no_difference(classes):
    for place, name in enumerate(classes):
        for spelt in (name.upper(), f" {name}_", "-".join(name), f"{name[:1]} / {name[1:]}"):
            assert class_index(classes, name=spelt, label=None) == place


@given(st.integers(0, 999))
def test_wordnet_ids_are_known_by_number_and_read_by_name(index):
    wnids, names = imagenet_wnids(), imagenet_names()
    assert class_index(wnids, name=wnids[index], label=None) == index
    assert class_index(wnids, name=None, label=index) == index
    assert class_title(wnids[index]) == class_title(wnids[index].upper()) == names[index]


@pytest.mark.parametrize("name", ["tench", "0", "n00000001", "n0144076", "", " n01440764", "猫"])
def test_other_titles_are_the_names_themselves(name):
    assert class_title(name) == name


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
