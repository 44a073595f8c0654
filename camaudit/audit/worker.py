"""What computes: a model with its wall that decides on batches and scores methods on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from camaudit.audit.batches import batch_tensor
from camaudit.audit.scoring import Scored, score_pair
from camaudit.audit.settings import Settings
from camaudit.audit.subject import WalledSubject
from camaudit.audit.targets import Target, highest, ranks
from camaudit.audit.units import Batch, Chosen, Decided, Entry, Map
from camaudit.capture import Capture, capture
from camaudit.data.stack_mix import StackImage
from camaudit.engine import Forwards, prepare
from camaudit.errors import DegenerateModelError, LayerError
from camaudit.objective import Objective

__all__ = ["Worker", "prepared"]


@dataclass(frozen=True, eq=False)
class _Explained:
    """A batch explained by its images' n-th targets, None for those that have fewer."""

    seen: Capture
    twin: Capture | None
    targets: tuple[Target | None, ...]


@dataclass(frozen=True, eq=False)
class _Held:
    """The batch that is at work: captured once for all methods."""

    batch: Batch
    decided: list[Decided]
    explained: list[_Explained]


class Worker:
    """Decides on batches and scores methods on them; holds what the last batch left.

    `forwards` are how masked images run. `left` is where
    :class:`camaudit.audit.foreign.Foreign` notes what foreign explainers left on the model: each
    entry has what its own call did.
    """

    def __init__(
        self,
        settings: Settings,
        subject: WalledSubject,
        forwards: Mapping[str, Forwards],
        *,
        left: dict[str, list[str]],
    ) -> None:
        self.settings = settings
        self.subject = subject
        self.forwards = forwards
        self.left = left
        self._held: _Held | None = None

    def decide(self, batch: Batch) -> list[Decided] | None:
        """What the model sees in each image, and the classes to explain.

        None where an image among several spoils them all: they must come one by one.
        """
        held = self._captured(batch)
        return None if held is None else held.decided

    def score(self, batch: Batch, method: str, part: slice) -> list[list[Entry]]:
        """`method` on the images `part` of a batch: for each of them an entry a target.

        Without finite logits there is no target, and so no entry.
        """
        held = self._captured(batch)
        self.left.pop(method, None)
        found: list[list[Entry]] = [[] for _ in range(part.stop - part.start)]
        for one in [] if held is None else held.explained:
            targets = one.targets[part]
            if not any(targets):
                continue
            scored, control, message = score_pair(
                method, one.seen, one.twin, part, self.subject.walled.zone.scored,
                seed=self.settings.seed,
            )  # fmt: skip
            left = tuple(self.left.get(method, ()))
            for row, (figures, target) in enumerate(zip(scored.figures, targets, strict=True)):
                if target is not None:
                    other = None if control is None else control.figures[row]
                    drawn, twin = _drawn(scored, row), _drawn(control, row)
                    if drawn is not None and twin is not None and np.array_equal(drawn, twin):
                        twin = drawn  # held, sent and kept once
                    found[row].append(Entry(figures, other, message, drawn, left, twin))
        return found

    def _captured(self, batch: Batch) -> _Held | None:
        if self._held is not None and self._held.batch is batch:
            return self._held
        self._held = None  # what it takes is free before the next batch comes
        try:
            seen, twin = self._captures(batch.images)
        except DegenerateModelError as error:
            if len(batch.images) > 1:
                return None
            self._held = _Held(batch, [Decided(None, None, message=str(error))], [])
            return self._held
        chosen = batch.named or highest(seen.logits, self.settings.asked_targets)
        explained = _explained(seen, twin, chosen)
        self._held = _Held(batch, _decided(seen, twin, chosen), explained)
        return self._held

    def _captures(self, images: Sequence[StackImage]) -> tuple[Capture, Capture | None]:
        """The walled capture and the twin's, on the same images and the same targets."""
        walled = self.subject.walled
        batch = batch_tensor(self.subject, images)
        seen = capture(walled, batch, forwards=self.forwards["walled"])
        if walled.unwalled is None:
            return seen, None
        forwards = self.forwards["unwalled"]
        twin = capture(walled.unwalled, batch, targets=seen.targets, forwards=forwards)
        if not walled.unwalled.agrees_with_model(batch, twin.logits):
            raise LayerError(
                f"cut at layer {walled.unwalled.layer!r} the model gives other logits on these "
                "images than it gives whole: something leads around the layer; choose another"
            )
        return seen, twin


def prepared(settings: Settings, subject: WalledSubject, image: StackImage) -> dict[str, Forwards]:
    """How masked images run, for the walled model and its twin."""
    walled, example = subject.walled, batch_tensor(subject, [image])
    found = {"walled": prepare(walled, example, settings.engine)}
    if walled.unwalled is not None:
        found["unwalled"] = prepare(walled.unwalled, example, settings.engine)
    return found


def _drawn(scored: Scored | None, row: int) -> Map | None:
    return None if scored is None or scored.raw is None else scored.raw[row].numpy()


def _decided(
    seen: Capture, twin: Capture | None, chosen: Sequence[tuple[Target, ...]]
) -> list[Decided]:
    top = seen.targets.tolist()
    other = [None] * len(top) if twin is None else twin.logits.argmax(dim=1).tolist()
    placed = [
        ranks(seen.logits[row : row + 1].expand(len(targets), -1),
              seen.targets.new_tensor([target.index for target in targets]))
        for row, targets in enumerate(chosen)
    ]  # fmt: skip
    return [
        Decided(own, its, tuple(map(Chosen, targets, places)))
        for own, its, targets, places in zip(top, other, chosen, placed, strict=True)
    ]


def _explained(
    seen: Capture, twin: Capture | None, chosen: Sequence[tuple[Target, ...]]
) -> list[_Explained]:
    """The batch by its images' first targets, by their second ones, and so on.

    Activations are those of `seen` and `twin`, and so are the masked images that methods ran.
    """
    found = []
    top = seen.targets.tolist()
    for number in range(max(map(len, chosen))):
        targets = tuple(one[number] if number < len(one) else None for one in chosen)
        indices = [own if one is None else one.index for one, own in zip(targets, top, strict=True)]
        if indices == top:
            found.append(_Explained(seen, twin, targets))
            continue
        classes = seen.targets.new_tensor(indices)
        other = None if twin is None else twin.explaining(Objective(), targets=classes)
        found.append(_Explained(seen.explaining(Objective(), targets=classes), other, targets))
    return found
