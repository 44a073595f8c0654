"""What a journal knows of a run of the sanity checks, batch by batch, and what it is told.

What one method gave on one batch is kept by itself: on the trained model, in each cascade (an
order and a seed), between wholly random models, and in a check without cascades. The images of a
batch are named in order in every key, for what is computed together rounds together. So are,
where a head pass is shared by several steps, whether it was; and with methods that take from one
another what they have computed of an image (those that run the model many times) all of these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from camaudit.journal import Finding, Journal, Kept
from camaudit.methods import MethodCall
from camaudit.sanity.cascade import OrderName
from camaudit.sanity.explain import Explainer
from camaudit.sanity.options import Options
from camaudit.sanity.outcomes import Outcome
from camaudit.sanity.packing import (
    Cells,
    cells_of_json,
    json_of_cells,
    json_of_rows,
    maps_of,
    packed,
)
from camaudit.sanity.plan import Plan
from camaudit.sanity.rows import Row

__all__ = ["BatchRecall", "Cascaded", "Notes", "Original", "Recall", "Tabled", "compared"]

Key = Mapping[str, Any]


@dataclass(eq=False)
class Notes:
    """What a reader must know of random layers ([layer, reason]) and of stray passes."""

    layers: dict[tuple[str, str], None] = field(default_factory=dict)
    strays: set[str] = field(default_factory=set)

    def add(self, other: Notes) -> None:
        """Take over what is new."""
        self.layers.update(other.layers)
        self.strays |= other.strays

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, read back by :meth:`from_dict`."""
        return {"layers": [list(one) for one in self.layers], "strays": sorted(self.strays)}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> Notes:
        """The notes that :meth:`to_dict` wrote."""
        layers = dict.fromkeys((name, reason) for name, reason in values["layers"])
        return Notes(layers, set(values["strays"]))


@dataclass(frozen=True, eq=False)
class Original:
    """A method on the trained model: a row an image, and the explained classes.

    tensors: whether its maps follow from the capture's tensors and its head alone.
    """

    rows: list[Row]
    tensors: bool
    targets: list[int]
    notes: Notes


@dataclass(frozen=True, eq=False)
class Cascaded:
    """A method in one cascade: cells a state, the rows of the last one, maps by (step, row)."""

    cells: Cells
    last: list[Row]
    shown: dict[tuple[int, int], Tensor]
    notes: Notes


@dataclass(frozen=True, eq=False)
class Tabled:
    """A method in a check without cascades, and the explained classes."""

    cells: Cells
    targets: list[int]
    notes: Notes


class Recall:
    """What is known of a run, and where it is kept; nothing without a `journal`.

    asked: the explained classes, where they are given. permuted: what stands for the model trained
    on permuted labels in a key; without, nothing of data randomisation is kept.
    """

    def __init__(
        self,
        journal: Journal | None,
        methods: Sequence[Explainer],
        options: Options,
        *,
        asked: Sequence[int] | None,
        permuted: str | None,
        device: torch.device,
    ) -> None:
        self.journal, self.methods, self.options = journal, list(methods), options
        self.asked, self.permuted, self.device = asked, permuted, device
        labels = [method.label for method in methods]
        self.names = [None if journal is None else journal.explainer(one) for one in labels]
        self.shared = [place for place, one in enumerate(methods) if _shares(one)]
        beside = [self.names[place] for place in self.shared]
        for place in self.shared if None in beside else ():
            self.names[place] = None
        self._beside = beside

    def of(self, journal: Journal) -> Recall:
        """The same with another journal."""
        return Recall(
            journal, self.methods, self.options,
            asked=self.asked, permuted=self.permuted, device=self.device,
        )  # fmt: skip

    def plan(self, make: Callable[[], Plan]) -> Plan:
        """The plan of the run on its first image, made where none is known."""
        if self.journal is None:
            return make()
        key = {
            "part": "plan", "example": self.journal.images[0],
            "most_steps": self.options.most_steps,
            "randomised": self.options.randomises, "exact": self.options.exact,
            "permuted": self.permuted,
        }  # fmt: skip
        (found,) = self.journal.find([key])
        if found is not None:
            return Plan.from_dict(found.value)
        made = make()
        self.journal.keep(key, made.to_dict())
        return made

    def missing(self, found: Sequence[object | None]) -> list[int]:
        """The places of the methods that are to be computed, one entry of `found` for each.

        Methods that share what they compute are computed together or not at all.
        """
        wanted = {place for place, one in enumerate(found) if one is None}
        if wanted & set(self.shared):
            wanted |= set(self.shared)
        return sorted(wanted)

    def key(self, place: int, part: str, **known: Any) -> Key | None:
        """What a finding of the method at `place` depends on; None where it is not kept."""
        name, method = self.names[place], self.methods[place]
        if self.journal is None or name is None:
            return None
        draws = not isinstance(method, MethodCall) or method.info.seeded
        return {
            "part": part, "method": name, "seed": self.options.seed if draws else None,
            "beside": self._beside if place in self.shared else None, **known,
        }  # fmt: skip

    def find(self, keys: Sequence[Key | None]) -> list[Kept | None]:
        """What is known by each key."""
        asked = [key for key in keys if key is not None]
        found = iter(self.journal.find(asked) if self.journal is not None and asked else ())
        return [None if key is None else next(found) for key in keys]

    def keep(
        self, place: int, key: Key | None, value: Any, blob: bytes | None = None, *,
        passing: bool = False,
    ) -> None:  # fmt: skip
        """Keep a finding of the method at `place`; an error is passing."""
        if self.journal is not None and key is not None:
            method = self.methods[place].label
            self.journal.keep_all([Finding(key, value, blob, method, passing=passing)])


class BatchRecall:
    """What is known of the images `first` … `stop` − 1 of a run in one family of checks.

    `family` is "plain" (MPRT and eMPRT), "smprt", "random-logit" or "data-randomisation".
    """

    def __init__(self, recall: Recall, family: str, first: int, stop: int) -> None:
        self._recall, options = recall, recall.options
        self._family, self._first, self._count = family, first, stop - first
        self._views = None
        if family == "smprt":
            seed, samples, noise = options.seed, options.samples, options.noise
            self._views = {"seed": seed, "samples": samples, "noise": noise}
        self._known: dict[tuple[Any, ...], list[Kept | None]] = {}
        self._wanted: dict[tuple[Any, ...], list[Key | None]] = {}
        if recall.journal is not None:
            asked = None if recall.asked is None else list(recall.asked[first:stop])
            self._images = {"images": list(recall.journal.images[first:stop]), "asked": asked}

    @property
    def missing(self) -> Callable[[Sequence[object | None]], list[int]]:
        """See :meth:`Recall.missing`."""
        return self._recall.missing

    # the trained model

    def originals(self) -> list[Original | None]:
        """What each method gave on the trained model."""
        return [self._original(kept) for kept in self._recall.find(self._keys("original"))]

    def keep_original(self, place: int, found: Original) -> None:
        """Keep it; errors are passing."""
        value = {
            "rows": json_of_rows(found.rows), "tensors": found.tensors,
            "targets": found.targets, "notes": found.notes.to_dict(),
        }  # fmt: skip
        maps = {str(row): one.native for row, one in enumerate(found.rows)}
        key, failed = self._key(place, "original"), _failed(found.rows)
        self._recall.keep(place, key, value, packed(maps), passing=failed)

    def _original(self, kept: Kept | None) -> Original | None:
        if kept is None:
            return None
        value, maps = kept.value, maps_of(kept.blob, self._recall.device)
        rows = _rows(value["rows"], [maps.get(str(row)) for row in range(self._count)])
        return Original(rows, value["tensors"], value["targets"], Notes.from_dict(value["notes"]))

    # random models

    def look_up(self, wanted: Mapping[tuple[Any, ...], Mapping[str, Any]]) -> None:
        """Find everything of random models at once: by name, what its key holds beside."""
        methods = range(len(self._recall.methods))
        self._wanted = {
            name: [self._key(place, str(name[0]), **known) for place in methods]
            for name, known in wanted.items()
        }
        found = self._recall.find([key for some in self._wanted.values() for key in some])
        for number, name in enumerate(self._wanted):
            self._known[name] = found[number * len(methods) : (number + 1) * len(methods)]

    def cascade(self, order: OrderName, seed: int) -> list[Cascaded | None]:
        """What each method gave in a cascade that was looked up as ("cascade", order, seed)."""
        return [self._cascaded(kept) for kept in self._known["cascade", order, seed]]

    def keep_cascade(self, place: int, order: OrderName, seed: int, found: Cascaded) -> None:
        """Keep it; errors are passing."""
        failed = _failed(found.last) or _erroneous(found.cells)
        value = {
            "cells": json_of_cells(found.cells), "last": json_of_rows(found.last),
            "notes": found.notes.to_dict(),
        }  # fmt: skip
        maps: dict[str, Tensor | None] = {
            f"{step}/{row}": one for (step, row), one in found.shown.items()
        }
        if order != "independent":  # the only one whose last state nothing is compared with
            maps.update((f"last/{row}", one.native) for row, one in enumerate(found.last))
        key = self._wanted["cascade", order, seed][place]
        self._recall.keep(place, key, value, packed(maps) if maps else None, passing=failed)

    def _cascaded(self, kept: Kept | None) -> Cascaded | None:
        if kept is None:
            return None
        value, maps = kept.value, maps_of(kept.blob, self._recall.device)
        last = [maps.pop(f"last/{row}", None) for row in range(self._count)]
        shown = {
            (int(step), int(row)): one
            for (step, row), one in ((name.split("/"), one) for name, one in maps.items())
        }
        return Cascaded(
            cells_of_json(value["cells"]), _rows(value["last"], last), shown,
            Notes.from_dict(value["notes"]),
        )  # fmt: skip

    def between(self, name: tuple[Any, ...]) -> list[Cells | None]:
        """What was found of every method's maps of wholly random models, looked up as `name`."""
        return [
            None if kept is None else cells_of_json(kept.value["cells"])
            for kept in self._known[name]
        ]

    def keep_between(self, place: int, name: tuple[Any, ...], found: Cells) -> None:
        """Keep it; errors are passing."""
        key, value = self._wanted[name][place], {"cells": json_of_cells(found)}
        self._recall.keep(place, key, value, passing=_erroneous(found))

    # checks without cascades

    def tables(self) -> list[Tabled | None]:
        """What each method gave in the check that is the family."""
        found = self._recall.find(self._keys(self._family, **self._tabled()))
        return [
            None if one is None else Tabled(
                cells_of_json(one.value["cells"]), one.value["targets"],
                Notes.from_dict(one.value["notes"]),
            )
            for one in found
        ]  # fmt: skip

    def keep_table(self, place: int, found: Tabled) -> None:
        """Keep it; errors are passing."""
        value = {
            "cells": json_of_cells(found.cells), "targets": found.targets,
            "notes": found.notes.to_dict(),
        }  # fmt: skip
        key = self._key(place, self._family, **self._tabled())
        self._recall.keep(place, key, value, passing=_erroneous(found.cells))

    def _tabled(self) -> dict[str, Any]:
        options = self._recall.options
        known: dict[str, Any] = {}
        if self._family == "random-logit":
            drawn = {"first": self._first, "draws": options.draws, "seed": options.seed}
            known = {"drawn": drawn}
        elif self._family == "data-randomisation":
            known = {"permuted": self._recall.permuted}
        return {**known, **compared(options)}

    def _keys(self, part: str, **known: Any) -> list[Key | None]:
        return [self._key(place, part, **known) for place in range(len(self._recall.methods))]

    def _key(self, place: int, part: str, **known: Any) -> Key | None:
        if self._recall.journal is None or known.get("permuted", "") is None:
            return None
        return self._recall.key(place, part, views=self._views, **self._images, **known)


def compared(options: Options) -> dict[str, Any]:
    """What similarities depend on, beside the maps."""
    return {"similarities": list(options.similarities), "resolution": options.resolution}


def _shares(method: Explainer) -> bool:
    """Whether a method may take from a capture what another one has computed."""
    return not isinstance(method, MethodCall) or method.info.many_passes


def _rows(values: Sequence[Sequence[Any]], maps: Sequence[Tensor | None]) -> list[Row]:
    return [
        Row(native, None, Outcome(outcome), reason, excused)
        for (outcome, reason, excused), native in zip(values, maps, strict=True)
    ]


def _failed(rows: Sequence[Row]) -> bool:
    return any(row.outcome is Outcome.ERROR for row in rows)


def _erroneous(cells: Cells) -> bool:
    return any(cell[1] is Outcome.ERROR for step in cells for row in step for cell in row)
