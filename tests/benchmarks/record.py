"""What was measured, as JSON: every single time, what follows from them, and the machine."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks.cases import Case
from tests.benchmarks.machine import describe
from tests.benchmarks.timing import Outcome, Setting

__all__ = ["FORMAT", "failed", "kept_cases", "measured", "new_record", "read", "save"]

FORMAT = "camaudit-benchmarks-1"


def new_record(setting: Setting, *, memory_kept: bool) -> dict[str, Any]:
    """A record without cases. `memory_kept` says whether freed memory stays with the process."""
    return {
        "format": FORMAT,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": describe(setting.device),
        "settings": {
            "device": str(setting.device),
            "rounds": setting.rounds,
            "threads": torch.get_num_threads(),
            "warm_up_rounds": 1,
            "keep_freed_memory": memory_kept,
        },
        "cases": [],
    }


def kept_cases(
    old: dict[str, Any], new: dict[str, Any], *, again: Collection[str]
) -> list[dict[str, Any]]:
    """The measured cases of `old` but for those named in `again`.

    Raises :class:`ValueError` where `old` is of another machine, other versions or settings than
    `new`: their times do not belong into one table.
    """
    for part in ("machine", "settings"):
        for name in sorted({*old[part], *new[part]} - {"load_average"}):
            was, now = old[part].get(name), new[part].get(name)
            if was != now:
                raise ValueError(
                    f"the record is of another {part.rstrip('s')} ({name}: {was} there, {now} "
                    "here): choose another --out"
                )
    return [
        entry
        for entry in old["cases"]
        if entry["status"] == "measured" and entry["name"] not in again
    ]


def measured(case: Case, outcome: Outcome, *, held: bool = True) -> dict[str, Any]:
    """A case's entry: its times and figures, and its targets where it is `held` to them."""
    targets = []
    for target in case.targets if held else ():
        value = outcome.figures.get(target.figure)
        entry = {**vars(target), "text": target.text, "value": value}
        targets.append({**entry, "reached": target.reached(value)})
    return {
        **_head(case, held=held),
        "status": "measured",
        "message": None,
        "extrapolated": outcome.extrapolated,
        "targets": _plain(targets),
        "times_s": _plain(outcome.times),
        "figures": _plain(outcome.figures),
        "details": _plain(outcome.details),
        "shown": dict(outcome.shown),
        "notes": list(outcome.notes),
    }


def failed(case: Case, message: str) -> dict[str, Any]:
    """The entry of a case that could not be measured."""
    entry = measured(case, Outcome({}, {}, {}))
    return {**entry, "status": "failed", "message": message}


def save(record: dict[str, Any], path: Path) -> None:
    """Write the record whole or not at all."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(record, indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    beside.replace(path)


def read(path: Path) -> dict[str, Any]:
    """A record that :func:`save` wrote; raises :class:`ValueError` for anything else."""
    record = json.loads(path.read_text())
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ValueError(f"{path} is no record of these benchmarks ({FORMAT})")
    return record


def _head(case: Case, *, held: bool) -> dict[str, Any]:
    return {"name": case.name, "what": case.what, "aim": case.aim if held else None}


def _plain(value: Any) -> Any:
    """Plain JSON values; what is not finite is null."""
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return None if isinstance(value, float) and not isfinite(value) else value
