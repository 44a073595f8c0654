"""Every planted fault is found, by a property or by conformance, and the right explainer spared."""

from __future__ import annotations

import pytest

from camaudit.invariance import Search
from camaudit.methods import method_names
from tests.invariance.kill_table import PAGE, ordered, page
from tests.invariance.killed_by import KILLED_BY
from tests.invariance.killing import CONFORMANCE, killed, killers, spared
from tests.invariance.literal import LITERAL
from tests.invariance.mutants import MUTANTS

#: A search ends at the first counterexample; conformance compares all of its networks.
SEARCH = Search(examples=40, shrink=False)
COMPARED = Search(examples=6, shrink=False)
SPARED = Search(examples=3, shrink=False)
#: That right explainers conform is tested beside them.
CONFORMING = {(claims, CONFORMANCE) for claims in LITERAL}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_killed(name: str) -> None:
    mutant, first = MUTANTS[name], KILLED_BY[name][0]
    search = COMPARED if first == CONFORMANCE else SEARCH
    assert killed(mutant, first, search) is not None, f"{first} lets {mutant.fault!r} live"


@pytest.mark.parametrize(
    ("claims", "first"),
    sorted({(MUTANTS[name].claims, by[0]) for name, by in KILLED_BY.items()} - CONFORMING),
)
def test_right_explainer_is_spared(claims: str, first: str) -> None:
    assert spared(claims, first, SPARED) is None


def test_every_mutant_has_its_killers() -> None:
    assert list(KILLED_BY) == list(MUTANTS)
    assert all(KILLED_BY.values())
    assert ordered(KILLED_BY) == KILLED_BY


def test_every_property_kills() -> None:
    assert {name for by in KILLED_BY.values() for name in by} == set(killers())


def test_mutants_are_of_many_kinds() -> None:
    assert len(MUTANTS) >= 70
    assert len({(mutant.claims, mutant.fault) for mutant in MUTANTS.values()}) == len(MUTANTS)
    assert {mutant.claims for mutant in MUTANTS.values()} <= set(method_names())


def test_page_shows_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(KILLED_BY)
