"""Outputs while there is no verdict: none of them may be an earlier one's that passed."""

from __future__ import annotations

import datetime
import json
from collections.abc import Collection
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path

from camaudit.errors import CamauditError
from camaudit.files import parsed_json
from camaudit.gates.verdict import Verdict
from camaudit.gates.written import Outputs, write_outputs
from camaudit.redaction import cleaner

__all__ = ["UNFINISHED", "unsummarised", "void"]

#: What outputs say from the start of a gate until it has decided, and for ever if it is killed.
UNFINISHED = "the gate was started and did not come to a verdict: run it again"


def void(
    outputs: Outputs,
    why: str,
    *,
    policy: str,
    date: datetime.datetime,
    inputs: Collection[Path] = (),
) -> None:
    """Make every output say that the gate went wrong, and why.

    An earlier results.json among `outputs.others` loses its verdict and keeps its figures; other
    files there are removed. Nothing is written over `inputs` (resolved paths), nor where there is
    no folder. Raises :class:`camaudit.errors.CamauditError` where the disk refuses; earlier outputs
    are then removed, and results.json, which may be all that is left of a run, is renamed.
    """
    mine = {
        field.name: path
        for field in fields(outputs)
        if isinstance(path := getattr(outputs, field.name), Path)
        and path.parent.is_dir() and not path.is_dir() and path.resolve() not in inputs
    }  # fmt: skip
    others = [path for path in outputs.others if path.is_file() and path.resolve() not in inputs]
    stripped = {path: text for path in others if (text := _without_verdict(path)) is not None}
    clean = cleaner()
    verdict = Verdict(policy=clean(policy), rulings=(), problems=(clean(why),))
    try:
        write_outputs(verdict, {}, Outputs(**mine, others=stripped), date=date)
    except CamauditError:
        _remove([path for name, path in mine.items() if name != "summary"])
        for path in stripped:
            with suppress(OSError):
                path.replace(path.with_name(f"earlier-{path.name}"))
        raise
    finally:
        _remove([path for path in others if path.suffix != ".json"])


def unsummarised(outputs: Outputs) -> Outputs:
    """The outputs but the job's summary, to which every writing adds."""
    return replace(outputs, summary=None)


def _without_verdict(path: Path) -> str | None:
    """The text of a results.json without its verdict; None where it has none."""
    if path.suffix != ".json":
        return None
    try:
        results = parsed_json(path.read_text(encoding="utf-8"), finite=False)
    except (OSError, ValueError):
        return None  # no reader takes a verdict from it either
    if not isinstance(results, dict) or not results.pop("gate", None):
        return None
    return json.dumps(results, indent=2) + "\n"


def _remove(paths: list[Path]) -> None:
    for path in paths:
        with suppress(OSError):
            path.unlink()
