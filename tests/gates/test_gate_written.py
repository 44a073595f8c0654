"""Writing the outputs: all or nothing, and no pass from a disk that refuses."""

from __future__ import annotations

import datetime
import errno
import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from junitparser import JUnitXml

from camaudit import files
from camaudit.errors import AuditError, UsageError
from camaudit.gates.written import Outputs, write_outputs
from tests.gates.verdicts import HOSTILE, RESULTS, VERDICTS, hostile, passed, verdict

DATE = datetime.datetime(2026, 11, 21, 8, 30, tzinfo=datetime.UTC)
FOUND = VERDICTS["everything"][0]


def asked(folder: Path) -> Outputs:
    """All outputs, in several folders."""
    return Outputs(
        record=folder / "gate.json",
        junit=folder / "ci" / "junit.xml",
        markdown=folder / "ci" / "comment.md",
        summary=folder / "runner" / "summary",
        badge=folder / "badge.svg",
        card=folder / "card.md",
        others={folder / "report.html": "<!doctype html>"},
    )


def tree(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def filled(folder: Path) -> dict[str, bytes]:
    """Earlier files in the place of most outputs."""
    for path in (folder / "ci", folder / "runner"):
        path.mkdir(parents=True)
    for name in ("gate.json", "ci/junit.xml", "runner/summary", "badge.svg", "report.html"):
        (folder / name).write_text(f"earlier {name}")
    return tree(folder)


def write(folder: Path) -> list[Path]:
    return write_outputs(FOUND, RESULTS, asked(folder), date=DATE, seconds=2.0, report="r.html")


def test_everything_that_was_asked_for_is_written(tmp_path: Path) -> None:
    paths = write(tmp_path)
    assert {str(path.relative_to(tmp_path)) for path in paths} == set(tree(tmp_path)) == {
        "gate.json", "ci/junit.xml", "ci/comment.md", "runner/summary", "badge.svg", "card.md",
        "report.html",
    }  # fmt: skip
    assert json.loads((tmp_path / "gate.json").read_text()) == FOUND.to_dict()
    (suite,) = JUnitXml.fromfile(str(tmp_path / "ci" / "junit.xml"))
    assert suite.time == 2.0
    assert (tmp_path / "ci" / "comment.md").read_text().startswith("<!-- camaudit gate -->")
    assert (tmp_path / "card.md").read_text().startswith("## Explanations")
    assert (tmp_path / "badge.svg").read_text().startswith("<svg")


def test_nothing_asked_for_writes_nothing(tmp_path: Path) -> None:
    assert write_outputs(FOUND, RESULTS, Outputs(), date=DATE) == []
    assert tree(tmp_path) == {}


def test_a_card_of_that_name_is_json(tmp_path: Path) -> None:
    write_outputs(FOUND, RESULTS, Outputs(card=tmp_path / "card.JSON"), date=DATE)
    section = json.loads((tmp_path / "card.JSON").read_text())
    assert section["date"] == "2026-11-21"


def test_the_summary_is_added_to_what_stands_there(tmp_path: Path) -> None:
    path = tmp_path / "summary"
    path.write_bytes(b"# Other step\n| a |\n")
    for _ in range(2):
        write_outputs(FOUND, RESULTS, Outputs(summary=path), date=DATE)
    text = path.read_text()
    assert text.startswith("# Other step\n| a |\n\n<!-- camaudit gate -->\n")
    assert text.count("## The gate does not pass") == 2


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_text_can_be_written(text: str, tmp_path: Path) -> None:
    write_outputs(hostile(text), RESULTS, asked(tmp_path), date=DATE)
    assert len(tree(tmp_path)) == 7
    (_,) = JUnitXml.fromfile(str(tmp_path / "ci" / "junit.xml"))
    assert json.loads((tmp_path / "gate.json").read_bytes())["exit_code"] == 3


def refusing(method: str, after: int, code: int) -> Callable[[pytest.MonkeyPatch], None]:
    """The disk refuses the call of that number (from 1)."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        calls = 0
        owner = files if method == "_write_synced" else Path
        original = getattr(owner, method)

        def refuse(*args: object) -> object:
            nonlocal calls
            calls += 1
            if calls == after:
                raise OSError(code, os.strerror(code))
            return original(*args)

        monkeypatch.setattr(owner, method, refuse)

    return patch


@pytest.mark.parametrize("after", [1, 3, 4, 7, 10])
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO])
def test_a_disk_that_refuses_a_write_leaves_everything_as_it_was(
    after: int, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = filled(tmp_path)
    refusing("_write_synced", after, code)(monkeypatch)
    with pytest.raises(AuditError, match=os.strerror(code)) as caught:
        write(tmp_path)
    assert caught.value.exit_code == 3
    assert not isinstance(caught.value, UsageError)
    assert tree(tmp_path) == before


@pytest.mark.parametrize("after", range(1, 8))
def test_a_disk_that_refuses_a_rename_gives_the_earlier_files_back(
    after: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = filled(tmp_path)
    refusing("replace", after, errno.EROFS)(monkeypatch)
    with pytest.raises(AuditError, match="Read-only"):
        write(tmp_path)
    assert tree(tmp_path) == before


def test_it_does_so_without_hard_links_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "no links here")

    before = filled(tmp_path)
    monkeypatch.setattr(os, "link", refuse)
    refusing("replace", 6, errno.ENOSPC)(monkeypatch)
    with pytest.raises(AuditError):
        write(tmp_path)
    assert tree(tmp_path) == before
    monkeypatch.undo()
    monkeypatch.setattr(os, "link", refuse)
    assert len(write(tmp_path)) == len(tree(tmp_path)) == 7


def test_a_file_in_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "ci").write_text("a file")
    with pytest.raises(AuditError, match="a file stands in its place"):
        write(tmp_path)
    assert set(tree(tmp_path)) <= {"ci"}


def test_a_folder_in_the_place_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "badge.svg").mkdir()
    with pytest.raises(UsageError, match=r"badge\.svg, where badge has to be written, is a folder"):
        write(tmp_path)
    assert tree(tmp_path) == {}


def test_a_device_is_never_replaced() -> None:
    outputs = Outputs(junit=Path(os.devnull))
    with pytest.raises(UsageError, match="is no file: name one"):
        write_outputs(FOUND, RESULTS, outputs, date=DATE)
    assert not Path(os.devnull).is_file()


def test_where_even_the_way_back_is_refused_the_earlier_files_are_kept_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(tmp_path)
    original, calls = Path.replace, 0

    def refuse(path: Path, target: Path) -> Path:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return original(path, target)

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(AuditError, match="could not be put back") as caught:
        write(tmp_path)
    (kept,) = [path for path in tmp_path.iterdir() if path.name.startswith(".gate.json")]
    assert kept.read_text() == "earlier gate.json"
    assert str(kept) in str(caught.value)
    assert "unchanged" not in str(caught.value)


def test_two_outputs_to_one_file(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path)
    outputs = Outputs(junit=tmp_path / "x", markdown=tmp_path / "link" / "x")
    with pytest.raises(UsageError, match="markdown and junit are to be written to the same file"):
        write_outputs(FOUND, RESULTS, outputs, date=DATE)


def test_a_link_is_followed_and_stays_one(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("earlier")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_outputs(FOUND, RESULTS, Outputs(badge=tmp_path / "link"), date=DATE)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text().startswith("<svg")


@pytest.mark.parametrize("field", ["record", "junit", "markdown", "summary", "badge", "card"])
def test_a_verdict_on_nan_is_not_written(field: str, tmp_path: Path) -> None:
    outputs = Outputs(**{field: tmp_path / "out"})
    with pytest.raises(AuditError, match="finite"):
        write_outputs(verdict(passed(high=math.nan)), RESULTS, outputs, date=DATE)
    assert tree(tmp_path) == {}


def test_nan_in_the_results_does_not_reach_the_card(tmp_path: Path) -> None:
    results = RESULTS | {"subject": {"parameters": math.nan}}
    with pytest.raises(AuditError, match="no JSON form"):
        write_outputs(FOUND, results, Outputs(card=tmp_path / "card.json"), date=DATE)
    assert tree(tmp_path) == {}


def test_writing_loads_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys, datetime, pathlib\n"
        "from tests.gates.test_gate_written import asked, write\n"
        "from camaudit.report.gate_table import print_gate\n"
        "from tests.gates.verdicts import VERDICTS\n"
        f"write(pathlib.Path({str(tmp_path)!r}))\n"
        "print_gate(VERDICTS['everything'][0].to_dict())\n"
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(tree(tmp_path)) == 7
