"""All registered methods × the properties of space, images, walls, runs and hygiene.

What a method violates by its definition is shown by a stored counterexample each; everything else
must hold on a few drawn networks (the long profile draws thousands).
"""

from __future__ import annotations

import pytest

from camaudit.invariance import (
    PROPERTIES,
    Outcome,
    Search,
    dead,
    examine,
    hygiene,
    images,
    registered,
    runtime,
    space,
)
from camaudit.methods import METHODS, method_names
from tests.invariance.drawing import LIGHT, rich
from tests.invariance.violations import counterexamples, is_refuted

FAMILIES = {module.__name__ for module in (space, images, dead, runtime, hygiene)}
NAMES = [name for name in PROPERTIES if PROPERTIES[name].function.__module__ in FAMILIES]
VIOLATED = [name for name in NAMES if PROPERTIES[name].info.violated]


@pytest.mark.parametrize("name", VIOLATED)
def test_every_violation_has_a_counterexample(name: str) -> None:
    examples = counterexamples(name)
    assert set(examples) == set(PROPERTIES[name].info.violated)
    for method, example in examples.items():
        assert is_refuted(name, method, example), f"{method} does not violate {name} there"


def _is_costly(method: str) -> bool:
    info = METHODS[method].info
    return info.many_passes or info.family in {"multi-layer", "augmentation"}


@pytest.mark.parametrize("name", NAMES)
def test_every_other_method_satisfies_it(name: str) -> None:
    violated = PROPERTIES[name].info.violated
    assert set(violated) <= set(method_names())
    for method in method_names():
        if method in violated:
            continue
        found = examine(
            name,
            registered(LIGHT.get(method, method)),
            method=method,
            search=Search(examples=1),
            known=rich(name, 2)[-1 if _is_costly(method) else -2 :],
        )
        assert found.outcome is Outcome.HOLDS, f"{method}: {found}"
