"""The journal survives whatever ends the process, and refuses to guess."""

from __future__ import annotations

import json
import os
from decimal import Decimal
from pathlib import Path

import pytest

from camaudit.data.generation.budget import Spending
from camaudit.data.generation.journal import JOURNAL_NAME, Job, Journal
from camaudit.errors import OutputError, UsageError


def job(name: str = "jay", price: str = "0.04", what: str = "picture") -> Job:
    digest = f"{sum(map(ord, name)) + len(what):064x}"
    return Job(id=name, what=what, digest=digest, price=Decimal(price))  # type: ignore[arg-type]


def test_what_was_settled_is_known_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert journal.last(job()) is None
    assert journal.spending == Spending()
    journal.settle(journal.intend(job(), "k1"), "picture", "yes", sha256="00")
    journal.settle(journal.intend(job("owl"), "k2"), "failed", "no", reason="busy")
    journal.settle(journal.intend(job("emu"), "k3"), "unusable", "yes")
    journal.settle(journal.intend(job("jay", "0.01", "prompt"), "k4"), "text", "yes", text="A jay")
    again = Journal(tmp_path)
    for known in (journal, again):
        last = known.last(job())
        assert last is not None
        assert (last.result, last.paid, last.facts) == ("picture", "yes", {"sha256": "00"})
        assert known.spending == Spending(2, 0, Decimal("0.09"))
        assert known.wasted == 1
    assert len((tmp_path / JOURNAL_NAME).read_bytes().splitlines()) == 9


def test_an_intent_alone_may_have_been_paid_and_keeps_its_key(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    first = journal.key(job())
    journal.intend(job(), first)
    again = Journal(tmp_path)
    assert again.key(job()) == first
    assert again.key(job("owl")) != first
    assert again.spending == Spending(0, 1, Decimal("0.04"))


def test_a_key_is_used_again_until_there_is_a_definite_answer(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.settle(journal.intend(job(), "k1"), "failed", "no")
    assert journal.key(job()) != "k1"
    journal.settle(journal.intend(job(), "k2"), "failed", "maybe")
    journal.settle(journal.intend(job(), "k2"), "failed", "no")
    assert journal.key(job()) == "k2"  # the first of the two may still have been paid
    journal.settle(journal.intend(job(), "k2"), "unusable", "yes")
    assert journal.key(job()) not in {"k1", "k2"}


def test_every_torn_end_is_dropped_and_written_over(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.settle(journal.intend(job(), "k1"), "picture", "yes", sha256="00")
    path = tmp_path / JOURNAL_NAME
    whole = path.read_bytes()
    start = whole.rindex(b"\n", 0, -1) + 1
    for end in range(start, len(whole)):
        path.write_bytes(whole[:end])
        torn = Journal(tmp_path)
        last = torn.last(job())
        assert last is not None
        assert last.result is None
        torn.settle(last, "picture", "yes", sha256="00")
        assert Journal(tmp_path).spending == Spending(1, 0, Decimal("0.04"))
    first = whole.index(b"\n") + 1
    path.write_bytes(whole[: first - 3])  # torn in its very first line
    assert Journal(tmp_path).last(job()) is None
    assert path.read_bytes() == b""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({1: "{"}, "line 1 is no JSON"),
        ({1: '{"format": "x"}'}, "line 1: format must be 'camaudit-generation-1'"),
        ({2: "[]"}, "line 2: expected an object"),
        ({2: '{"event": "dance"}'}, "line 2: event must be intent or outcome"),
        ({2: '{"event": "outcome", "send": 1}'}, "line 2: send must be the number of an intent"),
        ({3: '{"event": "outcome", "send": 1, "result": "won"}'}, "result must be one of answered"),
        ({3: '{"event": "intent", "send": 7}'}, "line 3: send must be 2"),
    ],
)
def test_a_damaged_line_is_named(tmp_path: Path, changes: dict[int, str], message: str) -> None:
    journal = Journal(tmp_path)
    journal.settle(journal.intend(job(), "k1"), "picture", "yes")
    path = tmp_path / JOURNAL_NAME
    lines = path.read_text().splitlines()
    for number, text in changes.items():
        lines[number - 1] = text
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(UsageError, match=message) as caught:
        Journal(tmp_path)
    assert "put an unchanged copy back" in str(caught.value)


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path)
    journal.intend(job(), "k1")
    before = (tmp_path / JOURNAL_NAME).read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        journal.intend(job("owl"), "k2")
    assert (tmp_path / JOURNAL_NAME).read_bytes() == before
    assert journal.last(job("owl")) is None


def test_names_are_file_names(tmp_path: Path) -> None:
    assert job("a/../b c\n").name.startswith("a-b-c-0000")
    assert job("..").name.startswith("image-")
    Journal(tmp_path).intend(job("\ud800 é"), "k")
    assert json.loads((tmp_path / JOURNAL_NAME).read_text().splitlines()[1])["id"] == "\ud800 é"
