"""One example of a property, as plain values and as code that repeats it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from camaudit.invariance.explainer import Explain
from camaudit.invariance.property import PROPERTIES, Check, Parameters, Verdict
from camaudit.invariance.situation import Drawn

__all__ = ["Example", "checked"]


@dataclass(frozen=True, kw_only=True)
class Example:
    """A drawn situation with the parameters of a property."""

    drawn: Drawn
    parameters: Parameters = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, read back by :meth:`from_dict`."""
        return {"drawn": self.drawn.to_dict(), "parameters": dict(self.parameters)}

    @staticmethod
    def from_dict(values: dict[str, Any]) -> Example:
        """What :meth:`to_dict` wrote; raises :class:`camaudit.errors.UsageError` otherwise."""
        return Example(drawn=Drawn.from_dict(values["drawn"]), parameters=values["parameters"])


def checked(name: str, explain: Explain, example: Example) -> Verdict:
    """The verdict of the property `name` on an example; raises what the explainer raises."""
    check: Check = PROPERTIES[name].function
    return check(explain, example.drawn.situation(), example.parameters)
