"""Tiny data sets for audits: STACK-MIX as it is built, STACK-GEN in the same form, a plain one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from camaudit.data.manifest import read_manifest, write_manifest
from camaudit.data.seam import lower_rows
from tests.data.sets import build, photographs
from tests.subjects import photograph

SIDE, DEAD_ROWS = 64, 32  #: what the network of tests/subjects.py reads, half of it dead


def mixed(out: Path, *, count: int, side: int = SIDE, dead_rows: int = DEAD_ROWS) -> Path:
    """A STACK-MIX data set of `count` images, a class for each."""
    photos = out.with_name(f"{out.name}-photographs")
    photographs(photos, {f"class{number}": 2 for number in range(count)}, side=side + 4)
    build(photos, out, wall=lower_rows(dead_rows, side), size=(side, side), count=count)
    return out


def generated(out: Path, *, count: int, **options: int) -> Path:
    """The same, called STACK-GEN."""
    manifest = read_manifest(mixed(out, count=count, **options))
    write_manifest(replace(manifest, kind="stack-gen"), out)
    return out


def plain(out: Path, *, count: int) -> Path:
    """A flat folder of photographs."""
    out.mkdir(parents=True)
    for number in range(count):
        photograph(number + 50).save(out / f"{number}.png")
    return out
