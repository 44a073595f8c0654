"""docs/invariance.md: every property and outcome stands in it, and its Python runs."""

from __future__ import annotations

import re

import pytest

from camaudit.invariance import PROPERTIES, Outcome
from camaudit.methods import method_names
from tests.invariance.property_page import PAGE, with_table

TEXT = PAGE.read_text(encoding="utf-8")


def test_every_property_stands_in_the_table() -> None:
    assert with_table(TEXT) == TEXT, "run python -m tests.invariance.property_page"


@pytest.mark.parametrize("outcome", Outcome)
def test_every_outcome_is_explained(outcome: Outcome) -> None:
    assert re.search(rf"^\| \**{outcome.value}\** \|", TEXT, flags=re.MULTILINE)


def test_properties_name_known_methods_and_give_reasons() -> None:
    for name, entry in PROPERTIES.items():
        info = entry.info
        assert set(info.violated) <= set(method_names()), name
        assert all(info.violated.values()), name
        assert info.statement, name
        assert info.source, name
        assert info.tolerance.reason, name


def test_the_python_runs() -> None:
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL):
        exec(block, names)  # noqa: S102 - what a reader would run
