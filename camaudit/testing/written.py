"""What a run of pytest leaves behind: the policy's report, one an audit, and a list of all."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from camaudit.errors import OutputError
from camaudit.files import check_folder, made_folder, write_paths

__all__ = ["REPORT", "SESSION", "check_report", "write_baseline", "write_report"]

REPORT = "report.html"
SESSION = "session.json"  #: the list of all audits of a run
_TESTS = "tests"


def check_report(folder: Path) -> None:
    """See that reports can be put into `folder`; raises :class:`OutputError`."""
    check_folder(made_folder(folder))


def write_report(
    folder: Path, run: Mapping[str, Any] | None, records: Sequence[Mapping[str, Any]]
) -> list[Path]:
    """Write what the policy's run and the tests' own audits gave, all or none.

    run: with "files" (texts by name), "gate" and "error". records: of the tests, each with "test"
    (its node id), "gate" and "files". Raises :class:`OutputError`.
    """
    texts = dict(_placed(folder, {} if run is None else run["files"]))
    listed = []
    taken: dict[str, int] = {}
    for record in sorted(records, key=lambda one: (one["test"], one["number"])):
        name = _slug(record["test"])
        taken[name] = taken.get(name, 0) + 1
        own = Path(_TESTS, name if taken[name] == 1 else f"{name}-{taken[name]}")
        texts |= _placed(folder / own, record["files"])
        listed.append({"test": record["test"], "folder": own.as_posix(), "gate": record["gate"]})
    content = {
        "schema": 1,
        "policy": None if run is None else {"gate": run["gate"], "error": run["error"]},
        "tests": listed,
    }
    texts[folder / SESSION] = json.dumps(content, allow_nan=False, indent=2, ensure_ascii=False)
    for parent in {path.parent for path in texts}:
        made_folder(parent)
    return _written(texts)


def write_baseline(path: Path, run: Mapping[str, Any]) -> list[Path]:
    """Make a run the baseline, unless it went wrong; raises :class:`OutputError`."""
    if run["baseline"] is None:
        return []
    made_folder(path.parent)
    return _written({path: run["baseline"]})


def _placed(folder: Path, texts: Mapping[str, str]) -> dict[Path, str]:
    return {folder / name: text for name, text in texts.items()}


def _written(texts: Mapping[Path, str]) -> list[Path]:
    taken = [path for path in texts if path.is_dir()]
    if taken:
        raise OutputError(f"{taken[0]} is a folder, but a file has to be written there: remove it")
    return write_paths(
        {path: text.encode("utf-8", "backslashreplace") for path, text in texts.items()}
    )


def _slug(test: str) -> str:
    """A folder name for a node id."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", test).strip("-.")[-120:] or "test"
