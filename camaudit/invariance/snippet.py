"""A counterexample as a program of its own."""

from __future__ import annotations

import torch
from torch import Tensor

from camaudit.errors import UsageError
from camaudit.invariance.example import Example
from camaudit.invariance.networks import code_of
from camaudit.invariance.property import PROPERTIES
from camaudit.invariance.run import Counterexample
from camaudit.invariance.situation import drawn_images

__all__ = ["EXPLAIN", "program"]

#: How a program gets hold of a registered method.
EXPLAIN = (
    "from camaudit.invariance import registered\n\nexplain = registered({spec!r}, seed={seed})"
)


def program(
    name: str, found: Counterexample, explain: str, *, title: str, claims: str | None = None
) -> str:
    """Code that repeats a counterexample of the property `name`, and fails as it did.

    found: a drawn counterexample. explain: code that defines `explain`. title: what the explainer
    is called. The network is made with torch alone, its seeds written out. A `name` that is no
    property stands for the comparison with the method `claims`.

    Raises :class:`UsageError` for a counterexample on a user's own model.
    """
    if found.example is None:
        raise UsageError("a program repeats a drawn example; this one is on a model of one's own")
    compared = name not in PROPERTIES
    question = _compared(claims) if compared else _question(name, found.example)
    statement = f"the maps of {claims}" if compared else PROPERTIES[name].info.statement
    parts = [
        f'"""{_quotable(title)}, {name}: {_quotable(found.message)}\n\n'
        f'Expected: {_quotable(statement)}.\n"""',
        code_of(found.example.drawn.plan),
        _images(found.example),
        explain,
        _wall(found.example),
        question,
    ]
    return "\n\n".join(part.strip("\n") for part in parts if part) + "\n"


def _quotable(text: str) -> str:
    """`text` on one line, safe inside a docstring."""
    return " ".join(text.split()).replace("\\", "/").replace('"""', "'''").rstrip('"')


def _images(example: Example) -> str:
    drawn = example.drawn
    values = drawn_images(drawn.kind, len(drawn.targets), drawn.plan, drawn.seed)
    return f"images = {_literal(values)}\ntargets = torch.tensor({list(drawn.targets)})"


def _literal(values: Tensor) -> str:
    """A tensor by its numbers, which read back exactly."""
    return f"torch.tensor({values.tolist()}, dtype={values.dtype})"


def _wall(example: Example) -> str:
    if example.drawn.live_rows is None:
        return ""
    return (
        "from camaudit.walls import insert_wall\n\n"
        f'model = insert_wall(model, "trunk", images[:1], live_rows={example.drawn.live_rows})'
    )


def _compared(claims: str | None) -> str:
    return f"""\
from camaudit.invariance import raw, registered

theirs = explain(model, "trunk", images, targets)
ours = registered({claims!r})(model, "trunk", images, targets)
print(theirs, ours, raw(theirs, ours), sep="\\n")"""


def _question(name: str, example: Example) -> str:
    walled = example.drawn.live_rows is not None
    extra = ", walled=model" if walled else f", plan=Plan.from_dict({example.drawn.plan.to_dict()})"
    imported = "PROPERTIES, Situation" if walled else "PROPERTIES, Plan, Situation"
    return f"""\
from camaudit.invariance import {imported}

given = Situation(model, "trunk", images, targets{extra})
found = PROPERTIES[{name!r}].function(explain, given, {example.parameters!r})
bound = PROPERTIES[{name!r}].info.tolerance.of({torch.float64})
print(found, "allowed:", bound)
assert found.holds(bound)"""
