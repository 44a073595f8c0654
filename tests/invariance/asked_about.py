"""What a property asks an explainer about: every model, with its maps and logits, in turn."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from camaudit.invariance import PROPERTIES, Example, Situation


@dataclass(frozen=True, eq=False)
class Question:
    """Activations (N×K×h×w) at the layer that was asked for, logits (N×C) and targets (N)."""

    model: nn.Module
    layer: str
    activations: Tensor
    logits: Tensor
    targets: Tensor

    @property
    def scores(self) -> Tensor:
        return self.logits.gather(1, self.targets[:, None])[:, 0]


@dataclass(eq=False)
class Spy:
    """An explainer that shows the score everywhere, and keeps what it was asked."""

    questions: list[Question] = field(default_factory=list)

    def __call__(self, model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
        found: list[Tensor] = []
        handle = model.get_submodule(layer).register_forward_hook(lambda *a: found.append(a[2]))
        with torch.no_grad():
            logits = model(images)
        handle.remove()
        self.questions.append(Question(model, layer, found[-1], logits, targets))
        return self.questions[-1].scores[:, None, None].repeat(1, 2, 2)


def questions(name: str, example: Example, *, own: bool = False) -> list[Question]:
    """All that the property asks in this example.

    own: as on a user's own model, whose plan is not known. The first question may be about a
    changed model already.
    """
    given = example.drawn.situation()
    return asked_of(name, given.changed(plan=None) if own else given, example)


def asked_of(name: str, given: Situation, example: Example) -> list[Question]:
    spy = Spy()
    parameters = dict(example.parameters)
    if given.plan is None and "folded" in parameters:
        parameters["folded"] = False
    PROPERTIES[name].function(spy, given, parameters)
    return spy.questions


def close(ours: Tensor, theirs: Tensor) -> None:
    """Equal to rounding."""
    torch.testing.assert_close(ours, theirs, rtol=1e-10, atol=1e-12)
