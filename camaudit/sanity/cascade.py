"""Cascades of randomisation: which layers are random at a step, and the captures that follow.

Adebayo et al. 2018, Sanity Checks for Saliency Maps, section 3. Every order runs only what
changed: see :mod:`camaudit.sanity.suffix`. Where only layers after the target layer are random
its activations are those of the original, and the head alone runs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from camaudit.capture import Capture, capture
from camaudit.cut import Cut, Trunk, cut_at
from camaudit.errors import DegenerateModelError, UsageError
from camaudit.objective import Objective, Score
from camaudit.sanity.order import Layer, Order, execution_order
from camaudit.sanity.originals import Originals
from camaudit.sanity.outcomes import Remark, Step
from camaudit.sanity.randomise import Randomiser, Scheme
from camaudit.sanity.suffix import Memory, Suffix, prepare_suffix

__all__ = [
    "ORDERS",
    "Batch",
    "Bound",
    "Cascade",
    "OrderName",
    "State",
    "finite_capture",
    "prepare_cascade",
]

OrderName = Literal["top-down", "bottom-up", "independent", "all"]
ORDERS: tuple[OrderName, ...] = get_args(OrderName)

_JOINED_ROWS = 64  # of images in one pass of a shared head


@dataclass(frozen=True, eq=False)
class State:
    """The model at one step of one seed's cascade, captured.

    `lost`: the rows of the batch whose logits are not finite. Another row stands in for each of
    them in the `capture`, which is None where no row has finite logits.
    `changed`: whether any weight differs from the original's. `above`: whether the activations
    are the original's because only later layers are random. The model holds the random weights
    until the next state is asked for, or those of a later step where heads were joined.
    """

    order: OrderName
    seed: int
    step: int
    above: bool
    changed: bool
    capture: Capture | None
    lost: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class _Step:
    """A state before its head has run; the fields are those of :class:`State`."""

    order: OrderName
    number: int
    above: bool
    changed: bool
    activations: Tensor


@dataclass(frozen=True, eq=False)
class Batch:
    """Images with their classes and what the original model made of them."""

    images: Tensor
    original: Capture
    memory: Memory | None

    @property
    def targets(self) -> Tensor:
        """The explained classes (N, int64)."""
        return self.original.targets


@dataclass(frozen=True, eq=False)
class Cascade:
    """A model cut at its target layer, its layers in execution order, and their suffixes.

    The first `below` layers run before the target layer has ended, the others after it. Steps
    end at the `measured` places of the order: what lies between two of them is randomised too.
    """

    cut: Cut
    order: Order
    below: int
    suffix: Suffix
    measured: tuple[int, ...]

    @property
    def model(self) -> nn.Module:
        """The audited model."""
        return self.cut.trunk.model

    @property
    def remarks(self) -> tuple[Remark, ...]:
        """What a reader must know of the layers."""
        notes = list(self.order.remarks)
        layers, steps = len(self.order.layers), len(self.measured)
        if steps < layers:
            notes.append(
                Remark(
                    f"maps are compared at {steps} of {layers} layers, evenly spaced; cascades "
                    "randomise those between them too, the order independent leaves them out"
                )
            )
        if layers and self.below == layers:
            notes.append(
                Remark(
                    f"no layer after the target layer {self.cut.layer!r} has weights: a top-down "
                    "cascade begins below it"
                )
            )
        if self.suffix.broken is not None:
            notes.append(
                Remark(f"every step runs the whole model up to the layer: {self.suffix.broken}")
            )
        notes += [Remark(why) for why in sorted(self.suffix.strays)]
        return tuple(notes)

    def randomiser(self, scheme: Scheme, *, originals: Originals | None = None) -> Randomiser:
        """The context within which :meth:`states` may be asked for; see :class:`Randomiser`."""
        return Randomiser(self.model, self.order, scheme=scheme, originals=originals)

    def steps(self, order: OrderName) -> tuple[Step, ...]:
        """The steps of an order, see :class:`Step`."""
        if order == "all":
            return (Step(order, 1, "all layers", self.below == 0, len(self.order.layers)),)
        random = {place: done for done, place in enumerate(self._places(order), start=1)}
        return tuple(
            Step(
                order, number, self.order.layers[place].name, self._above(order, place),
                1 if order == "independent" else random[place],
            )
            for number, place in enumerate(self._stops(order), start=1)
        )  # fmt: skip

    def batch(
        self, images: Tensor, *, targets: Tensor | None = None, objective: Objective | None = None
    ) -> Batch:
        """Run the original model once on `images`; arguments and errors as for `capture`."""
        activations, memory = self.suffix.record(images)
        known = _Known(self.cut, images, activations)
        return Batch(images, capture(known, images, targets=targets, objective=objective), memory)

    def states(
        self,
        batch: Batch,
        order: OrderName,
        seed: int,
        weights: Randomiser,
        *,
        joined: bool = False,
    ) -> Iterator[State]:
        """Step after step of one seed's cascade; the weights are the original's before and after.

        joined: steps that share their head (from the logits down, once the target layer is
        reached) are captured in one pass of it. Their captures are told from single ones only by
        rounding, and by the model, which has gone on: for methods that do not run it.
        Raises :class:`UsageError` for an unknown order.
        """
        if order not in ORDERS:
            raise UsageError(f"expected an order among {', '.join(ORDERS)}; got {order!r}")
        weights.restore()
        try:
            if order == "all":
                yield from self._all(batch, order, seed, weights)
            elif joined and order == "top-down" and self.below < len(self.order.layers):
                yield from self._joined(batch, seed, self._walk(batch, order, seed, weights))
            else:
                for step in self._walk(batch, order, seed, weights):
                    yield self._captured(batch, seed, [step])[0]
        finally:
            weights.restore()

    def _joined(self, batch: Batch, seed: int, steps: Iterator[_Step]) -> Iterator[State]:
        """The states of `steps`, those of one head captured together."""
        waiting: list[_Step] = []
        for step in steps:
            if step.above:
                yield self._captured(batch, seed, [step])[0]
                continue
            waiting.append(step)
            if (len(waiting) + 1) * len(batch.images) > _JOINED_ROWS:
                yield from self._captured(batch, seed, waiting)
                waiting = []
        if waiting:
            yield from self._captured(batch, seed, waiting)

    def _walk(
        self, batch: Batch, order: OrderName, seed: int, weights: Randomiser
    ) -> Iterator[_Step]:
        original, memory = self._output(batch), batch.memory
        activations, changed = original, False
        stops = {place: number for number, place in enumerate(self._stops(order), start=1)}
        for place in self._places(order):
            if order == "independent" and place not in stops:
                continue
            layer = self.order.layers[place]
            differs = weights.randomise(layer, seed=seed)
            changed = differs or (changed and order != "independent")
            if place < self.below and order == "bottom-up":
                activations, memory = self.suffix.advance(batch.images, place, memory)
            elif place < self.below and place in stops:
                activations = original
                if changed:
                    activations = self.suffix.run(batch.images, place, memory, original=original)
            elif order != "bottom-up":
                activations = original
            if place not in stops:
                continue
            above = self._above(order, place)
            yield _Step(order, stops[place], above, changed, activations)
            if order == "independent":
                weights.restore(layer)

    def _all(
        self, batch: Batch, order: OrderName, seed: int, weights: Randomiser
    ) -> Iterator[State]:
        differs = [weights.randomise(layer, seed=seed) for layer in self.order.layers]
        activations = original = self._output(batch)
        if self.below:
            activations = self.suffix.run(batch.images, 0, batch.memory, original=original)
        step = _Step(order, 1, self.below == 0, any(differs), activations)
        yield self._captured(batch, seed, [step])[0]

    def _output(self, batch: Batch) -> Tensor:
        """What the target layer itself gave: the maps, or tokens with their prefix."""
        return self.cut.grid.join(batch.original.activations, batch.original.rest)

    def _places(self, order: OrderName) -> Sequence[int]:
        places = range(len(self.order.layers))
        return places[::-1] if order == "top-down" else places

    def _stops(self, order: OrderName) -> Sequence[int]:
        """The measured places, in the order in which they come."""
        return self.measured[::-1] if order == "top-down" else self.measured

    def _above(self, order: OrderName, place: int) -> bool:
        if order == "bottom-up":
            return self.below == 0
        return place >= self.below

    def _captured(self, batch: Batch, seed: int, steps: Sequence[_Step]) -> list[State]:
        """The states of steps with one head, in one pass of it."""
        count, images, score = len(batch.images), batch.images, batch.original.objective
        activations = steps[0].activations
        if len(steps) > 1:
            images = images.repeat(len(steps), 1, 1, 1)
            activations = torch.cat([step.activations for step in steps])
            score = _picked(score, torch.arange(len(images), device=images.device) % count)
        seen, lost = finite_capture(self.cut, images, activations, score)
        states = []
        for place, step in enumerate(steps):
            first = place * count
            mine = tuple(row - first for row in lost if first <= row < first + count)
            part = seen
            if seen is not None and len(steps) > 1:
                part = None if len(mine) == count else seen.rows(first, first + count)
            told = (step.order, seed, step.number, step.above, step.changed)
            states.append(State(*told, part, mine))
        return states


def finite_capture(
    cut: Cut, images: Tensor, activations: Tensor, score: Score
) -> tuple[Capture | None, tuple[int, ...]]:
    """A capture of `images` with these `activations`, and the rows whose logits are not finite.

    They are the layer's own output: maps, or tokens with their prefix.

    Methods never see such a row: the first that is finite stands in for it. The batch keeps its
    size, so that the other rows can equal those of another model bit for bit. There is no capture
    where no row is finite.
    """
    count = len(activations)
    try:
        return _scored(cut, images, activations, score), ()
    except DegenerateModelError:
        with torch.no_grad():
            finite = torch.isfinite(cut.read(*cut.grid.split(activations, images.shape[-2:]))).all(
                dim=1
            )
    if not bool(finite.any()):
        return None, tuple(range(count))
    lost = (~finite).nonzero().flatten()
    stands = finite.nonzero().flatten()[:1].expand_as(lost)
    images, activations = images.clone(), activations.clone()  # which keep their layout
    images[lost], activations[lost] = images[stands], activations[stands]
    rows = torch.arange(count, device=finite.device).index_copy(0, lost, stands)
    try:
        seen = _scored(cut, images, activations, _picked(score, rows))
    except DegenerateModelError:  # a head that is not a function of its input
        return None, tuple(range(count))
    return seen, tuple(lost.tolist())


def _scored(cut: Cut, images: Tensor, activations: Tensor, score: Score) -> Capture:
    known = _Known(cut, images, activations)
    return capture(known, images, targets=score.classes, objective=Bound(score))


def _picked(score: Score, rows: Tensor) -> Score:
    """The scores of the images `rows` (N, int64), which may repeat."""
    against = None if score.against is None else score.against[rows]
    return replace(score, classes=score.classes[rows], against=against)


def prepare_cascade(
    model: nn.Module,
    layer: str,
    example: Tensor,
    *,
    most_steps: int | None = None,
    randomised: bool = True,
    exact: bool = True,
) -> Cascade:
    """Cut `model` at `layer`, order its layers and prove their boundaries on one image.

    example: 1×C×H×W, an image that will be audited. most_steps: how many layers to measure at,
    evenly spaced with the first and the last among them; None for all. randomised: whether
    states will be asked for; without, the layers are left out, and a model may have none. exact:
    as for :func:`camaudit.sanity.suffix.prepare_suffix`. Raises
    the errors of :func:`camaudit.cut.cut_at` and of :func:`camaudit.sanity.order.execution_order`.
    """
    order = execution_order(model, example) if randomised else Order((), ())
    cut = cut_at(model, layer, example)
    site = cut.trunk.site
    below = sum(not _ended(found, site.module, site.call) for found in order.layers)
    first = example[:1].detach()
    suffix = prepare_suffix(cut.trunk, order.layers[:below], first, exact=exact)
    return Cascade(cut, order, below, suffix, _spaced(len(order.layers), most_steps))


def _spaced(layers: int, most: int | None) -> tuple[int, ...]:
    """At most `most` places of `layers`, the first and the last among them."""
    if most is None or most >= layers:
        return tuple(range(layers))
    ends = layers - 1
    return tuple((2 * number * ends + most - 1) // (2 * (most - 1)) for number in range(most))


def _ended(layer: Layer, module: nn.Module, call: int) -> bool:
    """Whether the run `call` of `module` has ended when the layer is first used."""
    return layer.runs.get(module, 0) >= call


class _KnownTrunk(Trunk):
    """A trunk that knows its output for one batch; other images run as ever."""

    def __init__(self, trunk: Trunk, images: Tensor, activations: Tensor) -> None:
        super().__init__(trunk.model, trunk.site, trunk.grid)
        self.mutates_images = trunk.mutates_images
        self._known = (images, activations)

    def output(self, images: Tensor) -> Tensor:
        known, activations = self._known
        return activations if images is known else super().output(images)


class _Known(Cut):
    """A cut that knows the activations of one batch."""

    def __init__(self, cut: Cut, images: Tensor, activations: Tensor) -> None:
        trunk = _KnownTrunk(cut.trunk, images, activations)
        super().__init__(trunk, cut.head, layer=cut.layer)
        self._base = (cut,)
        for module in (self, trunk):
            module.training = False  # of this alone: eval() would write every module's mode

    def at(self, layer: str, example: Tensor) -> Cut:
        """This cut for its own layer, else the plain cut at an earlier one."""
        return self if layer == self.layer else self._base[0].at(layer, example)

    def stages(self, example: Tensor) -> list[str]:
        """Those of the plain cut."""
        return self._base[0].stages(example)


class Bound(Objective):
    """An objective that is the original's score, whatever the logits are now."""

    def __init__(self, score: Score) -> None:
        super().__init__()
        object.__setattr__(self, "score", score)

    def bind(self, logits: Tensor, classes: Tensor) -> Score:  # noqa: ARG002
        """The original's score."""
        score: Score = vars(self)["score"]
        return score
