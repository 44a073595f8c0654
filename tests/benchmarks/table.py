"""The table of a record: for the terminal, and for the README."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tests.benchmarks.cases import Case
from tests.benchmarks.machine import sentence

__all__ = ["BEGIN", "END", "markdown", "plain"]

BEGIN, END = "<!-- benchmarks:begin -->", "<!-- benchmarks:end -->"

_COLUMNS = ("case", "peer", "ours", "result", "target", "reached", "map difference")


def plain(record: dict[str, Any]) -> str:
    """Aligned columns, then the notes of every case and the machine."""
    rows = [_COLUMNS, *(_cells(entry) for entry in record["cases"])]
    widths = [max(len(row[place]) for row in rows) for place in range(len(_COLUMNS))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    notes = [f"{entry['name']}: {note}" for entry in record["cases"] for note in _notes(entry)]
    return "\n".join([*lines, "", *notes, "", _footer(record)])


def markdown(record: dict[str, Any], cases: Sequence[Case]) -> str:
    """The README's block between its markers: every one of `cases`, measured or not."""
    entries = {entry["name"]: entry for entry in record["cases"]}
    lines = [
        "| case | what | peer | ours | result | target | largest map difference |",
        "|---|---|---|---|---|---|---|",
    ]
    for case in cases:
        entry = entries.get(case.name)
        if entry is None:
            cells = ["", "", "not measured", _target(_expected(case)), ""]
        else:
            _, peer, ours, result, target, reached, difference = _cells(entry)
            missed = "" if reached in ("yes", "-") else " (missed)"
            cells = [peer, ours, f"**{result}**{missed}", target, difference]
        lines.append(f"| {' | '.join([f'`{case.name}`', case.what, *cells])} |")
    return "\n".join([BEGIN, *lines, "", _footer(record), END])


def _cells(entry: dict[str, Any]) -> tuple[str, ...]:
    shown = entry["shown"]
    result = shown.get("result", "") if entry["status"] == "measured" else "failed"
    return (
        entry["name"],
        shown.get("peer", ""),
        shown.get("ours", ""),
        result,
        _target(entry),
        _reached(entry),
        shown.get("difference", ""),
    )


def _target(entry: dict[str, Any]) -> str:
    """The targets that have a unit: those of equal maps are the same everywhere."""
    listed = ", ".join(target["text"] for target in entry["targets"] if target["unit"])
    unit = entry["targets"][0]["unit"] if entry["targets"] else ""
    return listed + (f" (aim {entry['aim']:g}{unit})" if entry["aim"] else "")


def _reached(entry: dict[str, Any]) -> str:
    """`yes`, `-` where there is no target, or what was missed."""
    verdicts = {f"{t['figure']} {t['text']}": t["reached"] for t in entry["targets"]}
    missed = [text for text, reached in verdicts.items() if reached is False]
    unknown = [text for text, reached in verdicts.items() if reached is None]
    if missed or unknown:
        return f"no: {', '.join([*missed, *(f'{text} not measured' for text in unknown)])}"
    return "yes" if verdicts else "-"


def _notes(entry: dict[str, Any]) -> list[str]:
    return [*entry["notes"], *([entry["message"]] if entry["message"] else [])]


def _expected(case: Case) -> dict[str, Any]:
    targets = [{"text": target.text, "unit": target.unit} for target in case.targets]
    return {"targets": targets, "aim": case.aim}


def _footer(record: dict[str, Any]) -> str:
    settings, date = record["settings"], record["date"].partition("T")[0]
    return f"{date}, medians of {settings['rounds']}; {sentence(record['machine'])}."
