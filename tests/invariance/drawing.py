"""Examples drawn once for a property, and what they say of an explainer, without shrinking."""

from __future__ import annotations

from contextlib import suppress
from functools import cache

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from camaudit.invariance import (
    PROPERTIES,
    Counterexample,
    Example,
    Explain,
    replayed,
    situations,
)


class _EnoughError(BaseException):
    """All examples are there."""


@cache
def drawn(name: str, count: int, number: int = 0) -> tuple[Example, ...]:
    """`count` examples that the property `name` applies to, from the seed `number`."""
    info = PROPERTIES[name].info
    found: list[Example] = []

    @seed(number)
    @settings(
        max_examples=20 * count, database=None, deadline=None, phases=(Phase.generate,),
        suppress_health_check=list(HealthCheck), print_blob=False,
    )  # fmt: skip
    @given(st.data())
    def collect(data: st.DataObject) -> None:
        plain = data.draw(situations(**info.limits))
        situation = plain.situation()
        if info.needs(situation) is None:
            parameters = data.draw(info.parameters(situation))
            found.append(Example(drawn=plain, parameters=parameters))
        if len(found) == count:
            raise _EnoughError

    with suppress(_EnoughError):
        collect()
    assert len(found) == count, f"{name}: only {len(found)} examples"
    return tuple(found)


def refuted(name: str, explain: Explain, count: int, number: int = 0) -> Counterexample | None:
    """The first of `count` drawn examples that does not hold."""
    for example in drawn(name, count, number):
        found = replayed(name, explain, example)
        if found is not None:
            return found
    return None
