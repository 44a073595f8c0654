"""A short run of every fuzzer; `python -m tests.fuzz` is the long one."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from camaudit.errors import UsageError
from tests.fuzz.mutation import Mutate, of_bytes, of_json, of_text
from tests.fuzz.run import Target, fuzz
from tests.fuzz.targets import TARGETS, made

_MOST = {"results": 6, "manifests": 20, "images": 60}


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_changed_files_are_read_or_refused(name: str, tmp_path: Path) -> None:
    findings = tmp_path / "findings"
    findings.mkdir()
    target = made(name, tmp_path)
    for ending, seeds in target.seeds.items():
        assert all(seeds), ending
    found = fuzz(name, target, seconds=20, seed=7, folder=findings, most=_MOST.get(name, 40))
    stories = [path.with_name(f"{path.name}.txt").read_text() for path in found.findings.values()]
    assert stories == []
    assert found.tried > 0
    assert list(findings.iterdir()) == []


def test_a_crash_a_mute_error_and_a_long_one_are_findings(tmp_path: Path) -> None:
    def read(path: Path) -> None:
        data = path.read_bytes()
        if data.startswith(b"0"):
            raise KeyError("crash")
        if data.startswith(b"1"):
            raise UsageError("")
        if data.startswith(b"2"):
            raise UsageError("x" * 30_000)
        if data.startswith(b"3"):
            raise UsageError("a reason")
        if data.startswith(b"5"):
            path.open("rb")  # and never closed

    seeds = {".a": [b"0", b"1", b"2", b"3", b"4", b"5"]}
    target = Target(seeds, lambda rng, known: rng.choice(known), read)
    found = fuzz("all", target, seconds=20, seed=0, folder=tmp_path, most=60)
    assert len(found.findings) == 4
    assert found.read > 0
    assert found.refused > 0
    for path in found.findings.values():
        assert path.read_bytes() in b"0125"
        assert re.search("Error|unclosed", path.with_name(f"{path.name}.txt").read_text())


@pytest.mark.parametrize(
    ("mutate", "seed"),
    [(of_bytes, b"abc" * 9), (of_json, b'{"a": [1, {"b": "c"}]}'), (of_text, b'a = 1\nb = "c"')],
)
def test_changes_follow_from_the_seed_and_are_many(mutate: Mutate, seed: bytes) -> None:
    drawn, again = (
        [mutate(random.Random(number), [seed]) for number in range(200)]  # noqa: S311 - no secret
        for _ in range(2)
    )
    assert drawn == again
    assert len(set(drawn)) > 60
