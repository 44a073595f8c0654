"""What an evaluation knows from before, and what it keeps for the next time.

A finding is what one group of metrics says of one method on one image. Its key holds what it
depends on beside the model: the method with its options, the image, the explained class, the seed
where anything is drawn, and those options that the group reads. Batch sizes, the other images and
methods, and how many images costly methods take, change figures by rounding at most and are no
part of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from camaudit.evaluation.explained import Explainer
from camaudit.evaluation.options import Options
from camaudit.evaluation.records import Record
from camaudit.journal import Finding, Journal

__all__ = ["MAPS", "Decided", "Known", "groups_of"]

MAPS = "maps"  #: the maps themselves: whether there are any, and what they took
_IMAGE = "image"

#: Groups of metrics in the order in which they are measured, and the options that each reads.
_GROUPS: dict[str, tuple[str, ...]] = {
    "masked": ("baseline",),
    "insertion-deletion": ("pixels_per_step", "seed"),
    "localisation": ("tolerance", "threshold"),
    "sparsity": (),
    "road": ("seed",),
    "infidelity": ("samples", "noise", "seed"),
    "sensitivity": ("samples", "radius", "seed"),
}
_MASKED = ("confidence", "adcc")  # checks whose images run once for both, in one way or the other


def groups_of(options: Options) -> tuple[str, ...]:
    """The groups that the checks need. Each is a check, but for confidence and ADCC.

    These share their masked images, which run with a gradient if ADCC is asked for and by the
    engine otherwise: adding one of them computes both anew.
    """
    wanted = {"masked" if name in _MASKED else name for name in options.checks}
    return tuple(name for name in _GROUPS if name in wanted)


@dataclass(frozen=True)
class Decided:
    """The explained class of an image, and the model's probability of it where it has one."""

    target: int
    probability: float | None


class Known:
    """Findings of a journal; without one nothing is known, and nothing kept.

    targets: the classes that were asked for (N); black: the value of a black pixel, where the
    options read it; regions: those of the images (N×H×W). What is kept reaches the journal with
    :meth:`flush`, so that a part of a batch is kept as a whole or not at all.
    """

    def __init__(
        self,
        journal: Journal | None,
        options: Options,
        *,
        targets: Tensor | None,
        black: Tensor | None,
        regions: Tensor | None,
    ) -> None:
        self.groups = groups_of(options)
        self._journal = journal
        self._options = options
        self._targets = targets
        self._black = None if black is None else black.tolist()
        self._regions = regions
        self._decided: dict[int, Decided | None] = {}
        self._explainers: dict[str, str | None] = {}
        self._waiting: list[Finding] = []

    def decided(self, places: Sequence[int]) -> list[Decided | None]:
        """What is known of these images; each is looked up once."""
        wanted = [place for place in places if place not in self._decided]
        found = self._found([self._image_key(place) for place in wanted])
        for place, kept in zip(wanted, found, strict=True):
            self._decided[place] = None if kept is None else Decided(**kept.value)
        return [self._decided[place] for place in places]

    def keep_decided(self, place: int, decided: Decided) -> None:
        """Keep what the model sees in an image, unless it is known."""
        if self._journal is not None and self._decided[place] != decided:
            self._decided[place] = decided
            value = {"target": decided.target, "probability": decided.probability}
            self._keep(self._image_key(place), value, None, "", place, decided.target)

    def records(
        self, asked: Iterable[tuple[Explainer, int]], decided: Mapping[int, Decided]
    ) -> dict[tuple[str, int], dict[str, Record]]:
        """What is known of methods on images, by label, place and group; one look-up for all."""
        wanted = [
            (method, place, group)
            for method, place in asked if self._explainer(method) is not None
            for group in (MAPS, *self.groups)
        ]  # fmt: skip
        keys = [self._key(*one, decided[one[1]].target) for one in wanted]
        found: dict[tuple[str, int], dict[str, Record]] = {}
        for (method, place, group), kept in zip(wanted, self._found(keys), strict=True):
            if kept is not None:
                found.setdefault((method.label, place), {})[group] = Record.read(kept)
        return found

    def open(self, records: Mapping[str, Record]) -> frozenset[str]:
        """What has to be computed of a method on an image of which `records` are known."""
        if MAPS in records and records[MAPS].missing:
            return frozenset()
        return frozenset(group for group in (MAPS, *self.groups) if group not in records)

    def keep(
        self, method: Explainer, place: int, decided: Decided, group: str, record: Record
    ) -> None:
        """Keep a finding, unless nobody knows what the method depends on; an error is passing."""
        if self._explainer(method) is not None:
            key = self._key(method, place, group, decided.target)
            made = record.to_json()
            self._keep(key, *made, method.label, place, decided.target, passing=record.failed)

    def flush(self) -> None:
        """Hand over what is to be kept, all in one."""
        if self._journal is not None and self._waiting:
            self._journal.keep_all(self._waiting)
            self._waiting = []

    def _found(self, keys: Sequence[Mapping[str, Any]]) -> Sequence[Any]:
        return [None] * len(keys) if self._journal is None or not keys else self._journal.find(keys)

    def _keep(
        self, key: Mapping[str, Any], value: Any, blob: bytes | None, label: str, place: int,
        target: int, *, passing: bool = False,
    ) -> None:  # fmt: skip
        if self._journal is not None:
            image = self._journal.names[place]
            self._waiting.append(Finding(key, value, blob, label, image, target, passing))

    def _explainer(self, method: Explainer) -> str | None:
        if self._journal is None:
            return None
        if method.label not in self._explainers:
            self._explainers[method.label] = self._journal.explainer(method.label)
        return self._explainers[method.label]

    def _image_key(self, place: int) -> dict[str, Any]:
        given = None if self._targets is None else int(self._targets[place])
        return {"part": _IMAGE, "image": self._hash(place), "asked": given}

    def _key(self, method: Explainer, place: int, group: str, target: int) -> dict[str, Any]:
        read = {name: getattr(self._options, name) for name in _GROUPS.get(group, ())}
        info = getattr(method, "info", None)
        if info is None or info.seeded:
            read["seed"] = self._options.seed
        if group == "masked":
            read["checks"] = [name for name in _MASKED if name in self._options.checks]
            read["black"] = self._black
        if group == "localisation":
            read["region"] = self._region(place)
        return {
            "part": group, "explainer": self._explainer(method), "image": self._hash(place),
            "target": target, "options": read,
        }  # fmt: skip

    def _hash(self, place: int) -> str | None:
        return None if self._journal is None else self._journal.images[place]

    def _region(self, place: int) -> str | None:
        if self._regions is None:
            return None
        found = self._regions[place].cpu().numpy()
        return hashlib.sha256(f"{found.shape}".encode() + np.packbits(found).tobytes()).hexdigest()
