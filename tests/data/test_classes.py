"""Which classes are asked for, and in which order they are drawn."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from camaudit.data.classes import choose_classes, class_key, drawn, parse_classes
from camaudit.errors import UsageError

INDICES = st.lists(st.integers(0, 999), min_size=1, max_size=9, unique=True)


@given(st.integers(0, 999), st.integers(0, 999))
def test_ranges_hold_both_ends(one, other):
    first, last = sorted((one, other))
    assert parse_classes(f"{first}-{last}") == tuple(range(first, last + 1))
    if first < last:
        with pytest.raises(UsageError, match="no range of ImageNet"):
            parse_classes(f"{last}-{first}")


@given(INDICES)
def test_lists_are_sorted_and_unique(indices):
    text = " , ".join(map(str, [*indices, indices[0]]))
    assert parse_classes(text) == tuple(sorted(indices))


def test_every_spelling():
    assert parse_classes("n01440764,17, jay, 3-5 ,great_white_shark") == (0, 2, 3, 4, 5, 17)
    assert parse_classes("zebra fish,7") == (7, "zebra fish")
    assert class_key("jay") == 17
    assert class_key("1234") == "1234"


def test_files(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_text("# animals\n\nn01440764  # tench\n10-12\njay\n")
    assert parse_classes(str(path)) == (0, 10, 11, 12, 17)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="is no text file"):
        parse_classes(str(path))
    path.write_text("# nothing\n")
    with pytest.raises(UsageError, match="no class in"):
        parse_classes(str(path))


@pytest.mark.parametrize("text", ["", " , ,", "0-1000", "5-4"])
def test_what_names_no_class(text):
    with pytest.raises(UsageError, match="expected"):
        parse_classes(text)


@given(INDICES, st.integers(0, 9), st.randoms())
def test_the_order_is_a_permutation_that_depends_on_the_seed_alone(indices, seed, random):
    shuffled = random.sample(indices, len(indices))
    assert sorted(drawn(indices, seed)) == sorted(indices)
    assert drawn(shuffled, seed) == drawn(indices, seed)


def test_seeds_draw_different_orders():
    animals = parse_classes("0-397")
    orders = {drawn(animals, seed)[:100] for seed in range(5)}
    assert len(orders) == 5
    with pytest.raises(UsageError, match="seed must be 0"):
        drawn(animals, -1)


def test_a_source_with_fewer_classes_keeps_the_order():
    full = choose_classes([str(k) for k in range(398)], wanted=None, seed=3)
    some = choose_classes([str(k) for k in range(0, 398, 2)], wanted=None, seed=3)
    assert [int(name) for name in full.names] == list(drawn(range(398), 3))
    assert some.names == tuple(name for name in full.names if int(name) % 2 == 0)
    assert full.notes == ()
    assert some.notes == ("199 of the 398 classes asked for are not in the source",)
    assert full.wanted == some.wanted == "0-397"


def test_defaults():
    mixed = choose_classes(["17", "bicycle or so"], wanted=None, seed=0)
    assert (set(mixed.names), mixed.wanted) == ({"17", "bicycle or so"}, "all")
    animals = choose_classes(["n01440764", "999"], wanted=None, seed=0)
    assert animals.names == ("n01440764",)
    both = choose_classes(["n01440764", "999"], wanted=" all ", seed=0)
    assert set(both.names) == {"n01440764", "999"}
    assert both.notes == ()


def test_named_classes_must_be_there():
    names = ["n01440764", "17", "wombats"]
    found = choose_classes(names, wanted="tench, wombats", seed=0)
    assert set(found.names) == {"n01440764", "wombats"}
    assert found.wanted == [0, "wombats"]
    with pytest.raises(UsageError, match=r"no class wombits \(near names: wombats\)"):
        choose_classes(names, wanted="wombits,17", seed=0)
    with pytest.raises(UsageError, match="no class 18"):
        choose_classes(names, wanted="0-5,18", seed=0)
    with pytest.raises(UsageError, match="none of the 3 classes"):
        choose_classes(names, wanted="300-310", seed=0)


def test_two_folders_of_one_class():
    with pytest.raises(UsageError, match="'17' and 'jay' both stand for class 17"):
        choose_classes(["jay", "17"], wanted=None, seed=0)
