"""The right explainers are the registered methods: a mutant differs in its fault alone."""

from __future__ import annotations

import pytest

from camaudit.invariance import Search
from camaudit.invariance.conformance import Conformity, conformance
from tests.invariance.literal import LITERAL


@pytest.mark.parametrize("name", LITERAL)
def test_right_explainer_conforms(name: str) -> None:
    found = conformance(LITERAL[name], name, search=Search(examples=8), limits={"classes": 6})
    assert found.outcome is Conformity.EQUAL, found
    assert found.examples == 8
