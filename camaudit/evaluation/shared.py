"""Images that go through the model together, and what the metrics of all methods have in common."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from camaudit.capture import Capture
from camaudit.evaluation import stepwise
from camaudit.evaluation.explained import Maps, NoMaps
from camaudit.evaluation.known import MAPS, Decided
from camaudit.evaluation.options import Options
from camaudit.evaluation.passes import Passes
from camaudit.evaluation.perturbed import Perturbed, perturb
from camaudit.evaluation.records import Record
from camaudit.evaluation.spent import Masks, Spent
from camaudit.evaluation.watch import Watch

__all__ = ["Image", "Piece", "Shared", "shared"]


@dataclass(frozen=True, eq=False)
class Image:
    """An image's class, and what the methods so far have left for the next: points and masks.

    There are masks of the image itself and of each of max-sensitivity's changed ones.
    """

    decided: Decided
    points: list[stepwise.Points]
    masks: Sequence[Masks]


@dataclass(frozen=True, eq=False)
class Shared:
    """Images `start` … of a run.

    seen, ends and perturbed are None where nothing that needs them is to be computed. `unsound`
    names the groups of metrics in which an image had no logits: they are not kept.
    """

    start: int
    images: Sequence[Image]
    seen: Capture | None = None
    ends: stepwise.Ends | None = None
    perturbed: Perturbed | None = None
    unsound: frozenset[str] = frozenset()

    def __len__(self) -> int:
        return len(self.images)

    @property
    def places(self) -> range:
        """The images' places in the run."""
        return range(self.start, self.start + len(self.images))

    def rows(self, part: slice) -> Shared:
        """Those of some of the images; the slice has both ends."""
        return replace(
            self,
            start=self.start + part.start,
            images=self.images[part],
            seen=None if self.seen is None else self.seen.rows(part.start, part.stop),
            ends=None if self.ends is None else self.ends.rows(part),
            perturbed=None if self.perturbed is None else self.perturbed.rows(part),
        )


@dataclass(frozen=True, eq=False)
class Piece:
    """A method on images of which the same is known: `open` is what has to be computed.

    `found` are the maps where anything is open, and `spent` is what each image's took.
    """

    shared: Shared
    records: Sequence[Mapping[str, Record]]
    open: frozenset[str]
    found: Maps | NoMaps | None = None
    spent: Sequence[Spent] = ()

    def __len__(self) -> int:
        return len(self.shared)

    @property
    def nothing(self) -> bool:
        """Whether there are no maps."""
        if self.open:
            return isinstance(self.found, NoMaps)
        return bool(self.records[0][MAPS].missing)


def shared(
    start: int,
    decided: Sequence[Decided],
    seen: Capture | None,
    wanted: Collection[str],
    groups: Collection[str],
    options: Options,
    passes: Passes,
    watch: Watch,
) -> Shared:
    """What all methods have in common on some images, as far as the `wanted` groups need it.

    The passes of the other `groups` are counted as if they were run now.
    """
    count, changed = len(decided), options.samples if "sensitivity" in groups else 0
    images = [Image(one, [], [Masks() for _ in range(1 + changed)]) for one in decided]
    found = Shared(start, images, seen)
    for name, number in (("infidelity", options.samples), ("sensitivity", options.samples)):
        if name in groups and name not in wanted:
            passes.add(name, count * number)
    if "insertion-deletion" in groups and "insertion-deletion" not in wanted:
        passes.add(stepwise.PURPOSE, count + 1)
    if seen is None:
        return found
    if "insertion-deletion" in wanted:
        faults = passes.faults.total()
        with watch("insertion-deletion"):
            found = replace(found, ends=stepwise.ends(seen, passes))
        if passes.faults.total() > faults:
            found = replace(found, unsound=frozenset({"insertion-deletion"}))
    if {"infidelity", "sensitivity"} & set(wanted):
        faults = passes.faults.total()
        with watch("perturbations"):
            found = replace(found, perturbed=perturb(seen, options, wanted, passes))
        if passes.faults.total() > faults:
            found = replace(found, unsound=found.unsound | {"infidelity"})
    return found
