"""`camaudit runs` on a store as a run leaves it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from camaudit.cli import main
from camaudit.store import Cell, cell_key, open_store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two runs: the first of two images, the second of one of them and another."""
    with open_store(tmp_path / "reports" / "lite0") as store:
        for images, state in ((("a", "b"), "interrupted"), (("b", "=c"), "done")):
            run = store.begin({"state": state, "began": "now", "settings": {"model": "lite0"}})
            store.put([_cell(image) for image in images], run=run)
            store.put([Cell(cell_key({"d": run}), "decision", "", "a", {"top1": 1})], run=run)
    return tmp_path / "reports" / "lite0"


def _cell(image: str) -> Cell:
    figures = {"mu_l1": 0.25, "mu_l2": 0.5, "mu_l1_minmax": None, "status": "ok"}
    value = {"figures": figures, "unmasked": None, "message": None, "left": []}
    return Cell(cell_key({"image": image}), "dead-zone", "gradcam", image, value, 3, "ok", b"map")


def run(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as ended:
        main(["runs", *arguments])
    told = capsys.readouterr()
    return int(ended.value.code or 0), told.out, told.err


def test_runs_are_listed_below_a_folder(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(["list", str(folder.parent)], capsys)
    assert code == 0
    lines = out.splitlines()
    assert lines[1] == str(folder)
    assert lines[2].split()[:4] == ["1", "interrupted", "now", "3"]
    assert lines[3].split()[:4] == ["2", "done", "now", "3"]


def test_a_run_is_shown(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(["show", str(folder)], capsys)
    assert code == 0
    assert "run 2: began now, state done" in out
    assert "2  dead-zone    ok              gradcam" in out
    assert '"model": "lite0"' in out
    code, _, err = run(["show", str(folder), "--run", "7"], capsys)
    assert code == 2
    assert "no run 7" in err
    assert "it has 1, 2" in err


def test_earlier_runs_are_collected(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "removed 1 runs and 2 cells; 1 runs stay" in run(["gc", str(folder)], capsys)[1]
    with open_store(folder) as store:
        assert {cell.image for cell in store.members(2)} == {"a", "b", "=c"}


def test_a_run_is_exported(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("t.csv", "t.jsonl", "t.parquet"):
        code, out, _ = run(["export", str(folder), "--out", str(tmp_path / name)], capsys)
        assert code == 0
        assert "wrote 2 rows of run 2" in out
    with (tmp_path / "t.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["image"] for row in table] == ["b", "'=c"]
    assert (table[0]["mu_l1"], table[0]["mu_l1_minmax"], table[0]["target"]) == ("0.25", "", "3")
    lines = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    assert [line["image"] for line in lines] == ["b", "=c"]
    from pyarrow import parquet

    found = parquet.read_table(tmp_path / "t.parquet").to_pylist()
    assert found == lines


def test_cells_of_metrics_are_shown_and_exported(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = {"metrics": [["road", 0.5], ["adcc", "undefined"]], "missing": [], "passes": {}}
    gone = {"metrics": [], "missing": [[[], "not applicable", "no such layer"]], "passes": {}}
    maps = {"metrics": [], "missing": [], "passes": {"maps": 3}}
    with open_store(folder) as store:
        cells = [
            Cell(cell_key({"m": n}), "metrics", "cam", "a", {"found": one, "left": []}, 2, "ok")
            for n, one in enumerate((found, gone, maps, [1.0]))
        ]
        store.put(cells, run=2)
    assert "4  metrics      ok              cam" in run(["show", str(folder)], capsys)[1]
    run(["export", str(folder), "--out", str(tmp_path / "t.jsonl")], capsys)
    lines = [json.loads(line) for line in (tmp_path / "t.jsonl").read_text().splitlines()]
    ours = [line for line in lines if line["check"] == "metrics"]
    told = [[line[name] for name in ("metric", "value", "status", "message")] for line in ours]
    assert told == [
        ["road", 0.5, "ok", None], ["adcc", None, "undefined", None],
        [None, None, "not applicable", "no such layer"],
    ]  # fmt: skip
    assert {(line["method"], line["image"], line["target"]) for line in ours} == {("cam", "a", 2)}
    assert [line["mu_l1"] for line in lines] == [0.25, 0.25, None, None, None]
    assert list(lines[0]) == list(ours[0])


def test_what_is_not_there_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["list", str(tmp_path)], ["show", str(tmp_path)], ["gc", str(tmp_path)]):
        code, _, err = run(arguments, capsys)
        assert code == 2
        assert "records.sqlite" in err
    with open_store(tmp_path) as store:
        store.begin({"state": "done"})
    code, _, err = run(["export", str(tmp_path), "--out", str(tmp_path / "t.xlsx")], capsys)
    assert code == 2
    assert "expected a file named .csv, .jsonl or .parquet" in err
