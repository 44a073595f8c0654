"""Hygiene: an explainer looks at a model, and leaves everything as it found it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from torch import Tensor, nn

from camaudit.errors import NotApplicableError
from camaudit.invariance.asking import asked
from camaudit.invariance.explainer import Explain
from camaudit.invariance.guard import Fault, FaultError
from camaudit.invariance.process import restored
from camaudit.invariance.property import EXACT, Parameters, Property, Verdict, prop
from camaudit.invariance.situation import Situation
from camaudit.invariance.snapshots import ASPECTS, changed_between, taken
from camaudit.invariance.transforms import after, copied

__all__ = ["Failing", "InterruptedRunError", "prepared"]

_STATEMENTS = {
    "state": "parameters, buffers, their requires_grad and the modes of all modules",
    "grad": "`.grad` of the parameters, empty or not",
    "hooks": "hooks, attributes and children of all modules, the user's own hooks among them",
    "input": "images and targets, requires_grad and `.grad` of the images",
    "random": "the global random states of torch, NumPy and Python",
    "settings": "grad mode, default dtype, threads, determinism, cuDNN's flags, anomaly mode",
}
_SOURCE = "an audit measures the model that it was given; camaudit's metamorphic properties"


def prepared(given: Situation, *, images_require_grad: bool = False) -> Situation:
    """A copy to look at, in a state that is easily spoilt.

    Every other parameter has its `.grad` filled, the last one requires no gradient, and the user
    has a hook on the target layer. The images may require a gradient.
    """
    own = copied(given)
    weights = [value for value in own.model.parameters() if value.is_floating_point()]
    for value in weights[::2]:
        value.grad = torch.full_like(value, 0.5)
    for value in weights[-1:]:
        value.requires_grad_(False)
    layer = own.model.get_submodule(own.layer.partition("#")[0])
    layer.register_forward_hook(lambda _module, _args, _output: None)
    images = given.images.detach().clone().requires_grad_(images_require_grad)
    return own.changed(
        model=own.model, images=images, targets=given.targets.clone(), plan=given.plan
    )


def _require_idle(given: Situation, aspects: tuple[str, ...]) -> None:
    """Raise :class:`NotApplicableError` where the model's own forward pass changes something.

    What modules create when they run first is there afterwards.
    """
    given.logits()
    before = taken(given, aspects)
    given.logits()
    changed = changed_between(before, taken(given, aspects))
    if changed:
        raise NotApplicableError(f"the model's own forward pass changes {changed[0]}")


def _register_aspect(aspect: str) -> None:
    @prop(
        f"hygiene-{aspect}",
        Property(
            statement=f"{_STATEMENTS[aspect]}: unchanged by the explainer",
            source=_SOURCE,
            tolerance=EXACT,
            rounding=False,
        ),
    )
    def kept(explain: Explain, given: Situation, _parameters: Parameters) -> Verdict:
        """Compare before and after; the process is put back in order in any case."""
        own = prepared(given)
        with restored():
            _require_idle(own, (aspect,))
            before = taken(own, (aspect,))
            asked(explain, own)
            return _verdict(changed_between(before, taken(own, (aspect,))))


for _aspect in ASPECTS:
    if _aspect != "input":
        _register_aspect(_aspect)


def _required(_situation: Situation) -> SearchStrategy[Parameters]:
    return st.fixed_dictionaries({"images_require_grad": st.booleans()})


@prop(
    "hygiene-input",
    Property(
        statement=f"{_STATEMENTS['input']}: unchanged by the explainer",
        source=_SOURCE,
        tolerance=EXACT,
        parameters=_required,
        rounding=False,
    ),
)
def input_kept(explain: Explain, given: Situation, parameters: Parameters) -> Verdict:
    """As for the other aspects; of images that require a gradient nobody need make maps."""
    own = prepared(given, images_require_grad=parameters["images_require_grad"])
    with restored():
        _require_idle(own, ("input",))
        before = taken(own, ("input",))
        if parameters["images_require_grad"]:
            _tried(explain, own)
        else:
            asked(explain, own)
        return _verdict(changed_between(before, taken(own, ("input",))))


def _verdict(changed: list[str], when: str = "") -> Verdict:
    if not changed:
        return Verdict(0.0)
    listed = ", ".join(changed[:3]) + (f" and {len(changed) - 3} more" if changed[3:] else "")
    return Verdict(None, f"the explainer changed {listed}{when}")


class InterruptedRunError(Exception):
    """Raised by a :class:`Failing` layer."""


class Failing(nn.Module):
    """Hands logits on, and raises in a chosen pass, see :meth:`at_pass`.

    `passes` counts forward passes, or with `backward` backward ones.
    """

    def __init__(self, *, backward: bool) -> None:
        super().__init__()
        self.backward = backward
        self.chosen: int | None = None
        self.passes = 0

    def forward(self, logits: Tensor) -> Tensor:
        if self.backward:
            handed: Tensor = _Back.apply(logits, self)
            return handed
        self.passed()
        return logits

    def passed(self) -> None:
        """Count a pass; raises :class:`InterruptedRunError` in the chosen one."""
        self.passes += 1
        if self.passes == self.chosen:
            raise InterruptedRunError(f"pass {self.passes} was to fail")

    @contextmanager
    def at_pass(self, number: int) -> Iterator[None]:
        """Within the context the pass of that number, counted from 1, raises."""
        self.passes, self.chosen = 0, number
        try:
            yield
        finally:
            self.chosen = None


class _Back(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, owner: Failing) -> Tensor:
        ctx.owner = owner
        return logits.view_as(logits)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        ctx.owner.passed()
        return gradients[0], None


def _failures(given: Situation) -> SearchStrategy[Parameters]:
    # An index out of range leaves an accelerator's whole process unusable.
    places = ["forward", "backward"] + (["target"] if given.images.device.type == "cpu" else [])
    fields = {"where": st.sampled_from(places), "place": st.floats(0, 1, exclude_max=True)}
    return st.fixed_dictionaries(fields)


@prop(
    "hygiene-error",
    Property(
        statement="the model raises in the middle, or a target is none of its classes: an error "
        "may come, and all is as it was before",
        source=_SOURCE,
        tolerance=EXACT,
        parameters=_failures,
        rounding=False,
    ),
)
def after_error(explain: Explain, given: Situation, parameters: Parameters) -> Verdict:
    """Compare all aspects before and after a run that fails at a `place` in it, a share of 1."""
    own, aspects = prepared(given), tuple(ASPECTS)
    failing = Failing(backward=parameters["where"] == "backward")
    with restored():
        if parameters["where"] == "target":
            classes = int(own.logits().shape[1])
            own = own.changed(targets=torch.full_like(own.targets, classes))
        else:
            asked(explain, after(own, failing))
            if not failing.passes:
                return Verdict(None)
            # another module, for an explainer may need fewer passes of one that it knows
            own = after(own, failing)
        fails_at = 1 + int(parameters["place"] * failing.passes)
        _require_idle(own, aspects)
        before = taken(own, aspects)
        with failing.at_pass(fails_at):
            _tried(explain, own)
        return _verdict(changed_between(before, taken(own, aspects)), " in a run that failed")


def _tried(explain: Explain, given: Situation) -> None:
    """Ask; whatever the explainer raises is expected, but for its budget."""
    try:
        asked(explain, given)
    except Exception as error:
        if isinstance(error, FaultError) and error.fault is Fault.TOO_SLOW:
            raise
