"""Files are written whole or not at all, and every failure says what to do."""

from __future__ import annotations

import dataclasses
import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest

from camaudit.errors import AuditError, OutputError
from camaudit.report.writing import check_writable, write_report, write_results
from camaudit.types import Results


def test_results_round_trip(results: Results, tmp_path: Path) -> None:
    path = write_results(results, tmp_path / "deep" / "folder")
    assert path.name == "results.json"
    assert json.loads(path.read_text(encoding="utf-8")) == json.loads(json.dumps(results.to_dict()))
    assert [entry.name for entry in path.parent.iterdir()] == ["results.json"]


def test_text_is_readable_and_lone_surrogates_survive(results: Results, tmp_path: Path) -> None:
    hostile = dataclasses.replace(results, warnings=["μ ≥ 0 \udcff"])
    text = write_results(hostile, tmp_path).read_bytes().decode("utf-8")
    assert "μ ≥ 0" in text
    assert json.loads(text)["warnings"] == ["μ ≥ 0 \udcff"]
    assert "\\udcff" in write_report("<p>\udcff", tmp_path).read_text(encoding="utf-8")


def _fail(number: int) -> Any:
    def failing(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return failing


@pytest.mark.parametrize("step", ["fsync", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_failure_midway_keeps_the_earlier_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, number: int
) -> None:
    write_report("<p>old", tmp_path)
    monkeypatch.setattr(os, step, _fail(number))
    with pytest.raises(OutputError, match=r"cannot be written: .*choose another") as caught:
        write_report("<p>new" * 1000, tmp_path)
    assert os.strerror(number) in str(caught.value)
    assert (tmp_path / "report.html").read_text() == "<p>old"
    assert len(list(tmp_path.iterdir())) == 1


def test_interrupt_leaves_no_temporary_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_report("<p>old", tmp_path)

    def interrupt(_: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_report("<p>new", tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]
    assert (tmp_path / "report.html").read_text() == "<p>old"


@pytest.mark.parametrize("figure", [float("nan"), float("inf"), {1, 2}])
def test_what_json_cannot_hold_is_named(results: Results, tmp_path: Path, figure: Any) -> None:
    write_results(results, tmp_path)
    before = (tmp_path / "results.json").read_bytes()
    bad = dataclasses.replace(results, timing={"per_method": [1.0, figure]})
    with pytest.raises(AuditError, match=r"timing\.per_method\[1\]"):
        write_results(bad, tmp_path)
    assert (tmp_path / "results.json").read_bytes() == before


@pytest.mark.parametrize("inside", [False, True])
def test_file_in_the_folders_place(tmp_path: Path, inside: bool) -> None:
    occupied = tmp_path / "out"
    occupied.write_text("mine")
    folder = occupied / "deeper" if inside else occupied
    for attempt in (check_writable, lambda path: write_report("<p>", path)):
        with pytest.raises(OutputError, match="a file stands in its place"):
            attempt(folder)
    assert occupied.read_text() == "mine"


def test_folder_in_the_files_place(tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(OutputError, match=r"report\.html is a folder"):
        check_writable(tmp_path)
    with pytest.raises(OutputError, match="cannot be written"):
        write_report("<p>", tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_check_writable_creates_the_folder_and_leaves_it_empty(tmp_path: Path) -> None:
    check_writable(tmp_path / "a" / "b")
    assert list((tmp_path / "a" / "b").iterdir()) == []


def test_check_writable_reports_a_full_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", _fail(errno.ENOSPC))
    with pytest.raises(OutputError, match="free some space"):
        check_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(OutputError, match="cannot be written"):
            check_writable(tmp_path)
    finally:
        tmp_path.chmod(0o700)
