"""What a run has found before: its cells in the store, by everything that they depend on."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from camaudit.audit.foreign import Foreign
from camaudit.audit.identity import identity, image_keys
from camaudit.audit.settings import Settings
from camaudit.audit.subject import WalledSubject
from camaudit.audit.targets import Target
from camaudit.audit.units import Batch, Chosen, Decided, Entry, Map
from camaudit.data.stack_mix import StackImage
from camaudit.methods import METHODS, method_call
from camaudit.redaction import cleaner
from camaudit.store import Cell, Store, cell_key
from camaudit.types import DeadZoneFigures, Status, plain

__all__ = ["CHECK", "DECISION", "Ledger"]

CHECK = "dead-zone"
DECISION = "decision"  #: of the model on an image, on which its cells depend
_MOST = 64 * 64  # cells of a map that is always kept


class Ledger:
    """The cells of one run: found by their keys, and kept as they come.

    The key of a cell is the hash of :func:`camaudit.audit.identity.identity` (the model and how it
    is run), the method with its options (of a foreign explainer its code or its library's version),
    the pixels of the image, the explained class, and the seed where the method draws. Ids, names,
    batch sizes and folders are not part of it. What ended in an error is computed again (there may
    be more memory, or smaller batches, by then), an explainer without code that can be found every
    time, and with `fresh` everything is.

    Maps are kept with the figures, but for those of more than 64×64 cells where the image is not
    among the first `shown`, which the report shows. Where such a map is wanted later, its cell is
    computed again.
    """

    def __init__(
        self,
        store: Store,
        run: int,
        settings: Settings,
        subject: WalledSubject,
        images: Sequence[StackImage],
        foreign: Foreign,
        *,
        shown: int,
        fresh: bool = False,
    ) -> None:
        self.store = store
        self.shown = shown
        self.run = run
        self.fresh = fresh
        self.found = 0
        self.computed = 0
        self._settings = settings
        self._images = images
        self._hashes = image_keys(images)
        self._clean = cleaner(names={*METHODS, *(image.id for image in images)})
        self._code = {spec.name: foreign.code(spec) for spec in foreign.specs}
        self._base = identity(settings, subject)

    def decided(self, batch: Batch) -> list[Decided] | None:
        """The decisions on all images of a batch, None where one is not known."""
        keys = self._decision_keys(batch)
        found = {} if self.fresh else self.store.get(keys)
        if len(found) < len(set(keys)):
            return None
        self.store.use(self.run, keys)
        return [_decided(found[key].value) for key in keys]

    def keep_decided(self, batch: Batch, decided: Sequence[Decided]) -> None:
        """Keep the decisions on a batch."""
        cells = [
            Cell(key, DECISION, "", image.id, plain(asdict(one)), one.top1, _status(one))
            for key, image, one in zip(
                self._decision_keys(batch), batch.images, decided, strict=True
            )
        ]
        self.store.put(cells, run=self.run)

    def entries(
        self, method: str, places: Sequence[int], decided: Mapping[int, Decided]
    ) -> dict[int, list[Entry]]:
        """What is known of a method, by image; images of which a target is missing are left out."""
        if self.fresh or not self._keeps(method):
            return {}
        keys = {place: self._keys(method, place, decided[place]) for place in places}
        cells = self._sound(keys)
        known = {
            place: [_entry(cells[place, key]) for key in some]
            for place, some in keys.items()
            if all((place, key) in cells for key in some)
        }
        self.store.use(self.run, [key for place in known for key in keys[place]])
        self.found += sum(map(len, known.values()))
        return known

    def keep(
        self, method: str, start: int, found: Sequence[Sequence[Entry]],
        decided: Mapping[int, Decided],
    ) -> None:  # fmt: skip
        """Keep a method's entries on the images from `start` on, in one transaction.

        A claim on them ends with it.
        """
        self.computed += sum(map(len, found))
        if not self._keeps(method):
            return
        cells = []
        for place, entries in enumerate(found, start):
            chosen = decided[place].chosen
            keys = self._keys(method, place, decided[place])
            for key, one, entry in zip(keys, chosen, entries, strict=True):
                told = replace(entry, message=self._clean(entry.message))
                cells.append(
                    _cell(
                        key, method, self._images[place].id, one.target.index, told,
                        maps=place < self.shown or not _large(entry),
                    )
                )  # fmt: skip
        places = range(start, start + len(found))
        self.store.put(cells, run=self.run, unit=self._unit(method, places, decided))

    def claim(self, method: str, places: Sequence[int], decided: Mapping[int, Decided]) -> bool:
        """Whether this process is to compute a method's cells of these images.

        Not where another living one is at it, or came to its end just now.
        """
        if self.fresh or not self._keeps(method):
            return True
        unit = self._unit(method, places, decided)
        if not self.store.claim(unit):
            return False
        keys = {place: self._keys(method, place, decided[place]) for place in places}
        if len(self._sound(keys)) == sum(map(len, map(set, keys.values()))):
            self.store.release(unit)
            return False
        return True

    def _sound(self, keys: Mapping[int, Sequence[str]]) -> dict[tuple[int, str], Cell]:
        """The cells that are there, by place and key: no errors, and with maps where they show."""
        found = self.store.get([key for some in keys.values() for key in some])
        return {
            (place, key): found[key]
            for place, some in keys.items()
            for key in some
            if key in found
            and found[key].status != Status.ERROR
            and (place >= self.shown or found[key].value["maps"] is not None)
        }

    def _keeps(self, method: str) -> bool:
        """Whether it is known what a method's maps depend on, and they take work."""
        return not method_call(method).info.fixed and self._code.get(method, "") is not None

    def _unit(self, method: str, places: Sequence[int], decided: Mapping[int, Decided]) -> str:
        return cell_key({"unit": [self._keys(method, place, decided[place]) for place in places]})

    def _decision_keys(self, batch: Batch) -> list[str]:
        asked = plain(asdict(self._settings.asked_targets))
        return [
            cell_key({
                **self._base, "check": DECISION, "asked": asked,
                "image": self._hashes[place],
                "named": None if batch.named is None else [plain(asdict(t)) for t in named],
            })
            for place, named in enumerate(batch.named or [()] * len(batch.images), batch.start)
        ]  # fmt: skip

    def _keys(self, method: str, place: int, decided: Decided) -> list[str]:
        info = method_call(method).info
        parts = {
            **self._base, "check": CHECK, "method": method, "explainer": self._code.get(method),
            "image": self._hashes[place],
            "seed": self._settings.seed if info.seeded else None,
        }  # fmt: skip
        return [cell_key({**parts, "target": one.target.index}) for one in decided.chosen]


def _status(one: Decided) -> str:
    return (Status.OK if one.message is None else Status.ERROR).value


def _decided(value: Mapping[str, Any]) -> Decided:
    chosen = [Chosen(Target(**one["target"]), one["rank"]) for one in value["chosen"]]
    return Decided(value["top1"], value["twin"], tuple(chosen), value["message"])


def _large(entry: Entry) -> bool:
    """Whether an entry's maps take more than a report would keep of them."""
    return any(one is not None and one.size > _MOST for one in (entry.map, entry.unmasked_map))


def _cell(key: str, method: str, image: str, target: int, entry: Entry, *, maps: bool) -> Cell:
    """The entry as a cell; without `maps` they are left out."""
    places, blob = _packed((entry.map, entry.unmasked_map)) if maps else (None, None)
    value = {
        "figures": plain(asdict(entry.figures)),
        "unmasked": None if entry.unmasked is None else plain(asdict(entry.unmasked)),
        "message": entry.message,
        "left": list(entry.left),
        "maps": places,
    }
    return Cell(key, CHECK, method, image, value, target, entry.figures.status.value, blob)


def _entry(cell: Cell) -> Entry:
    value = cell.value
    other = value["unmasked"]
    own, twin = (None, None) if value["maps"] is None else _unpacked(cell.blob, value["maps"])
    return Entry(
        _figures(value["figures"]),
        None if other is None else _figures(other),
        value["message"],
        own,
        tuple(value["left"]),
        twin,
    )


def _figures(value: Mapping[str, Any]) -> DeadZoneFigures:
    return DeadZoneFigures(**{**value, "status": Status(value["status"])})


def _packed(maps: Sequence[Map | None]) -> tuple[list[int | None], bytes | None]:
    """The place of each map in a blob, and the blob; an array that comes twice is in it once."""
    held: dict[int, tuple[int, Map]] = {}
    for one in maps:
        if one is not None:
            held.setdefault(id(one), (len(held), one))
    stream = io.BytesIO()
    for _, one in held.values():
        np.save(stream, one, allow_pickle=False)
    places = [None if one is None else held[id(one)][0] for one in maps]
    return places, stream.getvalue() if held else None


def _unpacked(data: bytes | None, places: Sequence[int | None]) -> list[Map | None]:
    stream, held = io.BytesIO(data or b""), len({place for place in places if place is not None})
    found: list[Map] = [np.load(stream, allow_pickle=False) for _ in range(held)]
    return [None if place is None else found[place] for place in places]
