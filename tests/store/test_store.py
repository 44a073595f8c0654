"""The store under what befalls it: kills, damage, a full disk, a removed folder, company."""

from __future__ import annotations

import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from camaudit.errors import OutputError
from camaudit.store import STORE_NAME, Cell, Store, cell_key, open_store

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)  # fmt: skip


def cell(number: int, *, size: int = 40) -> Cell:
    value = {"mu_l1": number / 7, "message": "x" * size}
    key = cell_key({"number": number})
    return Cell(key, "dead-zone", f"m{number % 3}", f"image-{number}", value, number, "ok")


def filled(folder: Path, count: int = 200) -> list[Cell]:
    """A store of `count` cells in one run, closed."""
    cells = [cell(number) for number in range(count)]
    with open_store(folder) as store:
        run = store.begin({"state": "running"})
        for start in range(0, count, 10):
            store.put(cells[start : start + 10], run=run)
    return cells


def kept(folder: Path, cells: list[Cell]) -> tuple[int, Store]:
    """How many of the cells are found, each as it was written."""
    store = open_store(folder)
    found = store.get([one.key for one in cells])
    known = {one.key: one for one in cells}
    assert all(one == known[key] for key, one in found.items())
    return len(found), store


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=JSON, blob=st.none() | st.binary(), image=st.text())
def test_what_is_put_is_found(tmp_path: Path, value: object, blob: bytes, image: str) -> None:
    key = cell_key({"value": value, "image": image})
    with open_store(tmp_path) as store:
        store.put([Cell(key, "dead-zone", "m", image, value, None, "ok", blob)])
        found = store.get([key, "0" * 64])
    assert list(found) == [key]
    assert (found[key].value, found[key].blob) == (value, blob)


def test_those_of_a_run_alone_are_found(tmp_path: Path) -> None:
    cells = filled(tmp_path, 30)
    keys = [one.key for one in cells]
    with open_store(tmp_path) as store:
        again = store.begin({})
        store.use(again, keys[:3])
        store.put([cell(40), cells[5]], run=again)
        assert set(store.get(keys, run=again)) == {*keys[:3], keys[5]}
        assert len(store.get(keys, run=1)) == len(store.get(keys)) == 30
        assert store.get(keys, run=7) == {}


def test_a_key_is_what_the_parts_are_not_how_they_are_ordered() -> None:
    assert cell_key({"a": 1, "b": [2.0, None]}) == cell_key({"b": [2.0, None], "a": 1})
    assert cell_key({"a": 1}) != cell_key({"a": 2})
    with pytest.raises(ValueError, match="JSON"):
        cell_key({"a": float("nan")})


def test_a_failed_transaction_leaves_nothing(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        store.put([cell(0)])
        with pytest.raises(TypeError):
            store.put([cell(1), Cell("k", "c", "m", "i", object())])
        assert list(store.get([cell(0).key, cell(1).key])) == [cell(0).key]


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, {root!r})
from camaudit.store import open_store
from tests.store.test_store import cell
with open_store(Path(sys.argv[1])) as store:
    run = store.begin({{"state": "running"}})
    for number in range(int(sys.argv[2]), 10**6):
        store.put([cell(number)], run=run)
        print(number, flush=True)
"""


def writer(folder: Path, first: int) -> subprocess.Popen[str]:
    code = WRITER.format(root=str(Path(__file__).parents[2]))
    command = [sys.executable, "-c", code, str(folder), str(first)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def ended(process: subprocess.Popen[str]) -> list[int]:
    """Kill a writer, and the numbers that it still had told."""
    process.send_signal(signal.SIGKILL)
    told, _ = process.communicate()
    return [int(line) for line in told.splitlines(keepends=True) if line.endswith("\n")]


def test_what_a_killed_process_had_written_is_there(tmp_path: Path) -> None:
    draw, first = np.random.default_rng(0), 0
    for _ in range(6):
        process = writer(tmp_path, first)
        assert process.stdout is not None
        for _ in range(draw.integers(1, 40)):
            last = int(process.stdout.readline())
        last = max([last, *ended(process)])
        count, store = kept(tmp_path, [cell(number) for number in range(last + 2)])
        with store:
            assert count >= last + 1
            assert not store.notes
        first = last + 1


def test_a_flipped_byte_is_never_read_as_a_value(tmp_path: Path) -> None:
    cells = filled(tmp_path / "good")
    draw, found_all, salvaged = np.random.default_rng(1), 0, 0
    good = (tmp_path / "good" / STORE_NAME).read_bytes()
    for trial in range(60):
        folder = tmp_path / f"trial-{trial}"
        folder.mkdir()
        damaged = bytearray(good)
        place = draw.integers(100 if trial < 20 else len(good))
        damaged[place] ^= 1 << int(draw.integers(8))
        (folder / STORE_NAME).write_bytes(damaged)
        count, store = kept(folder, cells)
        with store:
            found_all += count == len(cells)
            salvaged += bool(store.notes)
            store.put(cells)  # it can be used again, and holds everything then
            assert len(store.get([one.key for one in cells])) == len(cells)
        shutil.rmtree(folder)
    assert salvaged  # some of the damage was of the kind that SQLite sees
    assert found_all > 20  # and much of it touched no cell


def test_of_a_truncated_store_the_good_part_is_kept(tmp_path: Path) -> None:
    cells = filled(tmp_path / "good")
    good = (tmp_path / "good" / STORE_NAME).read_bytes()
    for share, least in ((0.9, 60), (0.5, 20), (0.0, 0)):
        folder = tmp_path / f"{share}"
        folder.mkdir()
        (folder / STORE_NAME).write_bytes(good[: int(len(good) * share)])
        count, store = kept(folder, cells)
        with store:
            assert least <= count < len(cells)
            if share:
                assert "damaged" in store.notes[0]
                assert str(count) in store.notes[0]


def test_a_header_that_was_written_over_is_mended(tmp_path: Path) -> None:
    cells = filled(tmp_path)
    path = tmp_path / STORE_NAME
    path.write_bytes(b"\0" * 20 + path.read_bytes()[20:])
    count, store = kept(tmp_path, cells)
    with store:
        assert count == len(cells)
        assert [run.about["state"] for run in store.runs()] == ["running"]
        assert len(list(store.members(1))) == len(cells)


def test_a_full_disk_is_said_and_costs_nothing_written(tmp_path: Path) -> None:
    cells = filled(tmp_path, 20)
    store = open_store(tmp_path)
    pages = store._file.base.execute("PRAGMA page_count").fetchone()[0]
    store._file.base.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(OutputError, match=r"full.*free some space"):
        store.put([cell(1000, size=100_000)])
    assert len(store.get([one.key for one in cells])) == len(cells)
    store.close()


def test_a_folder_that_is_removed_is_noticed(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    filled(folder, 20)
    store = open_store(folder)
    store.put([cell(100)])
    shutil.rmtree(folder)
    with pytest.raises(OutputError, match=r"removed|cannot be used"):
        store.put([cell(101)])


def test_a_store_of_another_format_is_left_alone(tmp_path: Path) -> None:
    filled(tmp_path, 2)
    base = sqlite3.connect(tmp_path / STORE_NAME)
    base.execute("PRAGMA user_version = 99")
    base.execute(f"PRAGMA application_id = {0xCA_0000 + 99}")
    base.close()
    with pytest.raises(OutputError, match="format 99, expected 1"):
        open_store(tmp_path)


def test_a_claim_ends_with_its_process(tmp_path: Path) -> None:
    with open_store(tmp_path) as one, open_store(tmp_path) as other:
        assert one.claim("unit")
        assert one.claim("unit")
        assert not other.claim("unit")
        one.put([cell(1)], unit="unit")
        assert other.claim("unit")
        other.release("unit")
        assert one.claim("unit")
    code = (
        f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
        "from pathlib import Path; from camaudit.store import open_store\n"
        "s = open_store(Path(sys.argv[1])); assert s.claim('theirs'); print('x', flush=True)\n"
        "sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()
    with open_store(tmp_path) as store:
        assert not store.claim("theirs")
        process.kill()
        process.communicate()
        assert store.claim("theirs")


def test_two_processes_write_one_store(tmp_path: Path) -> None:
    writers = [writer(tmp_path, 0), writer(tmp_path, 10_000)]
    for process in writers:
        assert process.stdout is not None
        for _ in range(60):
            process.stdout.readline()
        ended(process)
    expected = [cell(number) for first in (0, 10_000) for number in range(first, first + 60)]
    count, store = kept(tmp_path, expected)
    with store:
        assert count == len(expected)
        assert len({run.number for run in store.runs()}) == 2


def test_runs_are_counted_and_collected(tmp_path: Path) -> None:
    with open_store(tmp_path) as store:
        first, second = store.begin({"state": "running"}), store.begin({"state": "running"})
        store.put([cell(0), cell(1)], run=first)
        store.put([cell(2)], run=second)
        store.use(second, [cell(1).key])
        store.note(second, state="done")
        assert [run.about for run in store.runs()] == [{"state": "running"}, {"state": "done"}]
        assert store.counts(second) == [("dead-zone", "m1", "ok", 1), ("dead-zone", "m2", "ok", 1)]
        assert {one.image for one in store.members(second)} == {"image-1", "image-2"}
        assert store.collect([second]) == (1, 1)
        assert store.counts() == store.counts(second)
        assert list(store.get([cell(0).key])) == []
