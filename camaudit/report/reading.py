"""A run read again from its folder: its results, and the maps that were kept of it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from camaudit.errors import AuditError, UsageError
from camaudit.report.kept_maps import KeptMaps, read_maps
from camaudit.report.writing import RESULTS_NAME
from camaudit.types import (
    SCHEMA_VERSION,
    Claim,
    ClaimOutcome,
    DataSummary,
    DeadZoneFigures,
    Interval,
    Provenance,
    Record,
    Results,
    Status,
    Summary,
    TargetCounts,
)

__all__ = ["Run", "read_run", "results_of"]

_INTERVALS = ("mu_l1", "mu_l2", "mu_l1_minmax", "unmasked", "unmasked_l2", "difference")
_PARTS = ("theory", "metrics", "protocol", "sanity", "invariance", "gate")


@dataclass(frozen=True, eq=False)
class Run:
    """A run in its folder; `maps` is None where none were kept, `note` says what is amiss."""

    folder: Path
    results: Results
    maps: KeptMaps | None
    note: str = ""


def read_run(folder: Path) -> Run:
    """The run in `folder`, or in that of the results.json named.

    Maps that cannot be relied on are left out, and `note` says why. Raises :class:`UsageError`
    where there is no results.json, :class:`AuditError` where it cannot be relied on.
    """
    path = folder / RESULTS_NAME if folder.is_dir() else folder
    if path.name != RESULTS_NAME or not path.is_file():
        raise UsageError(
            f"{folder} holds no {RESULTS_NAME}: name the output folder of a camaudit run"
        )
    try:
        data = path.read_bytes()
        plain = json.loads(data)
    except (OSError, ValueError, RecursionError) as error:
        raise AuditError(f"{path} cannot be read ({error}): run camaudit run again") from error
    results = results_of(plain, str(path))
    try:
        maps, note = read_maps(path.parent, data), ""
    except AuditError as error:
        maps, note = None, str(error)
    return Run(path.parent, results, maps, note)


def results_of(plain: Any, name: str = RESULTS_NAME) -> Results:
    """The value whose :meth:`Results.to_dict` is `plain`.

    Raises :class:`AuditError` where it is none, or of another version.
    """
    version = plain.get("schema") if isinstance(plain, dict) else None
    if version != SCHEMA_VERSION or isinstance(version, bool):
        raise AuditError(
            f"{name} has schema {version!r}, expected {SCHEMA_VERSION}: run the audit with this "
            "version of camaudit"
        )
    try:
        return _results(plain)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise AuditError(
            f"{name} is not as its schema describes it ({type(error).__name__}: {error}); camaudit "
            "schema results prints the schema: run camaudit run again"
        ) from error


def _results(plain: Mapping[str, Any]) -> Results:
    origin = {one.name: plain[one.name] for one in fields(Provenance)}
    extra: dict[str, Any] = {name: dict(plain[name]) for name in _PARTS if name in plain}
    return Results(
        camaudit=plain["camaudit"],
        provenance=Provenance(**origin),
        records=[_record(one) for one in plain["records"]],
        summary=[_summary(one) for one in plain["summary"]],
        warnings=[str(one) for one in plain["warnings"]],
        timing=dict(plain["timing"]),
        claims=[
            Claim(**{**one, "outcome": ClaimOutcome(one["outcome"])})
            for one in plain.get("claims", ())
        ],
        data=[
            DataSummary(**{**one, "summary": [_summary(entry) for entry in one["summary"]]})
            for one in plain.get("data", ())
        ],
        **extra,
    )


def _record(plain: Mapping[str, Any]) -> Record:
    twin = plain["unmasked"]
    return Record(
        **{
            **plain,
            "status": Status(plain["status"]),
            "unmasked": None
            if twin is None
            else DeadZoneFigures(**{**twin, "status": Status(twin["status"])}),
        }
    )


def _summary(plain: Mapping[str, Any]) -> Summary:
    intervals = {
        name: None if plain[name] is None else Interval(**plain[name]) for name in _INTERVALS
    }
    counts = plain.get("targets")
    targets = None if counts is None else TargetCounts(**counts)
    return Summary(**{**plain, **intervals, "targets": targets})
