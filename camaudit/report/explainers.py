"""Explainers that are no registered methods: where they come from, what was done to their maps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from camaudit.types import Results

__all__ = ["ExplainerLine", "explainer_lines", "processing_of"]

_UNKNOWN = "not recorded: a function of the user's own, whose maps are taken as they are"


@dataclass(frozen=True)
class ExplainerLine:
    """An explainer: its name, its library with the version, and what was done to its raw maps.

    `maps` counts the files of a folder of maps; empty for other explainers.
    """

    name: str
    origin: str
    processing: str
    maps: str

    @property
    def note(self) -> str:
        """Library and processing in one line, for a place beside the name."""
        return f"{self.origin}: {self.processing}"


def explainer_lines(results: Results) -> tuple[ExplainerLine, ...]:
    """One line for each explainer of another library, of a folder or of the user's own."""
    return tuple(map(_line, results.provenance.settings.get("foreign") or ()))


def processing_of(results: Results) -> dict[str, str]:
    """What was done to the maps of an explainer, by its name, where that is recorded."""
    entries = results.provenance.settings.get("foreign") or ()
    return {str(entry["explainer"]): _line(entry).note for entry in entries if entry["processing"]}


def _line(entry: Mapping[str, Any]) -> ExplainerLine:
    steps = entry.get("processing")
    counts = entry.get("maps")
    library = entry.get("library")
    own = "a folder of maps" if counts else "the user's own"
    return ExplainerLine(
        name=str(entry["explainer"]),
        origin=f"{library} {entry.get('version')}" if library else own,
        processing=" → ".join(map(str, steps)) if steps else _UNKNOWN,
        maps=_counted(counts) if counts else "",
    )


def _counted(counts: Mapping[str, Any]) -> str:
    """The maps of a folder, and of that of the model without its wall, counted."""
    text = f"{counts['found']} of {counts['images']} images have a map"
    text += f", {counts['extra']} files belong to none" if counts["extra"] else ""
    other = counts.get("unwalled")
    return f"{text}; without the wall: {_counted(other)}" if other else text
