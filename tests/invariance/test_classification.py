"""All registered methods × all properties: who violates which, and who none.

What a method violates by its definition is shown by a stored counterexample each; everything else
must hold on a few drawn networks (`tests.invariance.long_run` draws thousands).
"""

from __future__ import annotations

import pytest

from camaudit.invariance import PROPERTIES
from camaudit.methods import method_names
from tests.invariance.long_run import NEVER, counted
from tests.invariance.violations import counterexamples, is_refuted

EXAMPLES = 60  # of all methods together


@pytest.mark.parametrize("name", [name for name in PROPERTIES if PROPERTIES[name].info.violated])
def test_every_violation_has_a_counterexample(name: str) -> None:
    examples = counterexamples(name)
    assert set(examples) == set(PROPERTIES[name].info.violated)
    for method, example in examples.items():
        assert is_refuted(name, method, example), f"{method} does not violate {name} there"


@pytest.mark.parametrize("name", PROPERTIES)
def test_every_other_method_satisfies_it(name: str) -> None:
    violated = PROPERTIES[name].info.violated
    assert set(violated) <= set(method_names())
    found = counted(name, EXAMPLES)
    assert not found["bugs"]
    assert set(found["silent"]) - set(violated) <= NEVER.get(name, set())
    assert found["examples"] >= EXAMPLES
