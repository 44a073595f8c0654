"""An explainer's maps beside those of the method that it claims to be, network by network."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field

import torch
from torch import Tensor

from camaudit.errors import NotApplicableError, UsageError
from camaudit.invariance.compare import FLOOR
from camaudit.invariance.conditioning import moved_by_rounding
from camaudit.invariance.explainer import Explain
from camaudit.invariance.guard import FaultError, Guarded
from camaudit.invariance.hunt import Shown
from camaudit.invariance.processing import Pair
from camaudit.invariance.property import Tolerance
from camaudit.invariance.situation import Drawn, Situation

__all__ = ["CLOSE", "Case", "Comparison"]

CLOSE = Tolerance(
    1e-5, 2e-3,
    "many explainers resize, score or decompose in float32 even where the model is float64: "
    "1.2e-7 of a value, enlarged by sums that cancel",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Case:
    """Maps of one example by both sides.

    `drawn` is None on the user's own model. `rows` are the images that `pair` has maps of: those
    whose reference says something, of `images` in all. `size` measures the example: parameters
    and pixels.
    """

    drawn: Drawn | None
    pair: Pair
    rows: tuple[int, ...]
    images: int
    size: int


@dataclass(eq=False)
class Comparison:
    """An explainer beside the `reference` that it claims to be, and what was counted of examples.

    `own` is the user's own model with images, if there is one. Each side sees models and images of
    its own, so that neither can change the other's.
    """

    explain: Explain
    reference: Explain
    own: Situation | None = None
    budget: float | None = None
    degenerate: int = 0
    passed_over: int = 0
    reasons: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.guarded = Guarded(self.explain, budget=self.budget)

    def put(self, drawn: Drawn) -> Case | None:
        """Both sides' maps of a drawn example; None where they say nothing, which is counted.

        An example says something where every image's reference does. Raises :class:`Shown` with the
        explainer's fault.
        """
        given = drawn.situation()
        size = given.images.numel() + sum(value.numel() for value in given.model.parameters())
        try:
            return self._compared(drawn, given, _copied(given), size)
        except FaultError as error:
            raise Shown(drawn, size, error) from error

    def own_case(self) -> Case | None:
        """Both sides' maps on the user's own model, the reference's on a float64 copy of it.

        None without such a model, and where no image's reference says something. Raises
        :class:`FaultError`, and :class:`UsageError` for a model that cannot be copied.
        """
        if self.own is None:
            return None
        return self._compared(None, _in_float64(self.own), _copied(self.own), 0)

    def unstable(self, case: Case) -> bool:
        """Whether rounding alone moves the reference's maps as far as a difference that counts."""
        if case.drawn is not None:
            given = case.drawn.situation()
        elif self.own is not None:
            given = _copied(self.own)
        else:
            return False
        return moved_by_rounding(self.reference, given, case.pair.bound)

    def _compared(
        self, drawn: Drawn | None, given: Situation, theirs: Situation, size: int
    ) -> Case | None:
        try:
            ours = _maps(self.reference, given)
            rows = _informative(ours)
            if len(rows) < (len(ours) if drawn is not None else 1):
                self.degenerate += 1
                return None
            maps = _maps(self.guarded, theirs)
        except NotApplicableError as error:
            self.passed_over += 1
            self.reasons.append(str(error))
            return None
        chosen, bound = list(rows), CLOSE.of(theirs.images.dtype)
        high, wide = theirs.images.shape[-2:]
        pair = Pair(ours[chosen], maps[chosen], (int(high), int(wide)), bound)
        return Case(drawn, pair, rows, len(ours), size)


def _maps(explain: Explain, given: Situation) -> Tensor:
    """Its maps, float64 on the CPU."""
    maps = explain(given.model, given.layer, given.images, given.targets)
    return maps.detach().cpu().double()


def _informative(maps: Tensor) -> tuple[int, ...]:
    """The images whose map is finite and not constant."""
    high, low = maps.amax(dim=(1, 2)), maps.amin(dim=(1, 2))
    floor = FLOOR[torch.float64]
    varies = (high - low > floor * high.abs()) & (high > floor) & torch.isfinite(high - low)
    return tuple(varies.nonzero().flatten().tolist())


def _copied(given: Situation) -> Situation:
    """The same situation with a model and images of its own."""
    try:
        model = copy.deepcopy(given.model)
    except Exception as error:
        raise UsageError(
            f"the model cannot be copied ({type(error).__name__}: {error}), so it has no float64 "
            "reference: build it from code, as ordinary Python modules"
        ) from error
    images, targets = given.images.clone(), given.targets.clone()
    return given.changed(model=model, images=images, targets=targets, walled=None)


def _in_float64(given: Situation) -> Situation:
    """A copy in float64, on the CPU where the device has none."""
    own = _copied(given)
    device = torch.device("cpu") if given.images.device.type == "mps" else given.images.device
    model = own.model.to(device=device, dtype=torch.float64)
    images = own.images.to(device=device, dtype=torch.float64)
    return own.changed(model=model, images=images, targets=own.targets.to(device))
