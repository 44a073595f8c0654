"""A model as the checks need it: cut, made random, read batch by batch; each when it is wanted."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from functools import cached_property

import torch
from torch import Tensor, nn

from camaudit.cut import Cut, cut_at
from camaudit.errors import UsageError
from camaudit.objective import Objective
from camaudit.sanity.cascade import Batch, Bound, Cascade, prepare_cascade
from camaudit.sanity.options import Options
from camaudit.sanity.originals import Originals
from camaudit.sanity.randomise import Randomiser
from camaudit.sanity.recall import Notes
from camaudit.sanity.smprt import noisy_views
from camaudit.streams import Images

__all__ = ["Bench", "Reading"]


class Reading:
    """One batch, and what was noted when it was read: that is, when it is first asked for."""

    def __init__(self, read: Callable[[], Batch], notes: Callable[[], Notes], views: int) -> None:
        self._read, self._noted, self._views = read, notes, views
        self.notes = Notes()

    @cached_property
    def batch(self) -> Batch:
        """The images, or their noisy views, on the trained model."""
        found = self._read()
        self.notes.add(self._noted())
        return found

    @property
    def targets(self) -> list[int]:
        """The explained classes, one an image."""
        found: list[int] = self.batch.targets[:: self._views].tolist()
        return found


class Bench:
    """The model of a run and its images; within the `stack` the model may be random.

    `originals` are the model's. `spent` counts seconds by kind.
    """

    def __init__(
        self,
        model: nn.Module,
        layer: str,
        images: Images,
        options: Options,
        *,
        targets: Tensor | None,
        objective: Objective | None,
        permuted: tuple[nn.Module, str] | None,
        originals: Originals,
        stack: ExitStack,
        spent: Counter[str],
    ) -> None:
        self.objective, self._options, self._images = objective, options, images
        self._model, self._layer, self._permuted = model, layer, permuted
        self._targets, self._originals = targets, originals
        self._stack, self._spent = stack, spent

    @cached_property
    def cascade(self) -> Cascade:
        """The model cut at its layer; raises what `prepare_cascade` raises."""
        with torch.no_grad():
            return prepare_cascade(
                self._model, self._layer, self._images[:1], most_steps=self._options.most_steps,
                randomised=self._options.randomises, exact=self._options.exact,
            )  # fmt: skip

    @cached_property
    def weights(self) -> Randomiser:
        """What makes the model random."""
        made = self.cascade.randomiser(self._options.scheme, originals=self._originals)
        return self._stack.enter_context(made)

    @cached_property
    def twin(self) -> Cut:
        """The second model, cut; raises what `cut_at` raises."""
        if self._permuted is None:
            raise UsageError("a model trained on permuted labels is needed; none is given")
        with torch.no_grad():
            return cut_at(*self._permuted, self._images[:1])

    @property
    def paired(self) -> bool:
        """Whether there is a second model."""
        return self._permuted is not None

    def notes(self) -> Notes:
        """What was noted of random layers and stray passes since the last call."""
        strays = self.cascade.suffix.strays
        found = Notes(
            {(one.layer or "", one.reason): None for one in self.weights.taken()}, set(strays)
        )
        strays.clear()
        return found

    def reading(self, rows: slice, *, noisy: bool) -> Reading:
        """The batch `rows`, or its noisy views explained for the classes of the clean images."""
        views = self._options.samples if noisy else 1
        return Reading(lambda: self._batch(rows, noisy), self.notes, views)

    def _batch(self, rows: slice, noisy: bool) -> Batch:
        started = time.perf_counter()
        images = self._images[rows]
        given = None if self._targets is None else self._targets[rows]
        found = self.cascade.batch(images, targets=given, objective=self.objective)
        if noisy:  # the clean image says what is explained
            samples, noise = self._options.samples, self._options.noise
            views = noisy_views(images, samples=samples, noise=noise, seed=self._options.seed)
            score = found.original.objective.repeated(samples)
            found = self.cascade.batch(views, targets=score.classes, objective=Bound(score))
        self._spent["network"] += int(1e9 * (time.perf_counter() - started))
        return found
