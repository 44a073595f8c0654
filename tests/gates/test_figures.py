"""The table of figures."""

from __future__ import annotations

from dataclasses import replace

import pytest

from camaudit.errors import DuplicateNameError, UnknownNameError
from camaudit.gates.figures import FIGURES, figure_named, register_figure
from camaudit.gates.names import CHECKS


def test_every_check_has_a_figure() -> None:
    assert {figure.check for figure in FIGURES.values()} == set(CHECKS)


def test_names_are_those_of_the_table_and_groups_those_of_the_checks() -> None:
    for name, figure in FIGURES.items():
        assert figure.name == name
        assert name.split(".")[0].replace("_", "-") == figure.check
        assert figure.meaning[-1] != "."


def test_counts_are_the_findings_of_invariance() -> None:
    counts = [name for name, figure in FIGURES.items() if figure.count]
    assert counts == ["invariance.bugs", "invariance.faults", "invariance.different"]


def test_an_unknown_figure_lists_the_near_ones() -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean dead_zone\.mu_l1"):
        figure_named("dead_zone.mul1")


def test_a_name_is_registered_once_and_with_a_check_and_a_range() -> None:
    figure = figure_named("emprt.rise")
    before = dict(FIGURES)
    with pytest.raises(DuplicateNameError, match=r"emprt\.rise"):
        register_figure(figure)
    with pytest.raises(ValueError, match="expected a check among"):
        register_figure(replace(figure, name="x.y", check="x"))
    with pytest.raises(ValueError, match="low < high"):
        register_figure(replace(figure, name="x.y", high=-1.0))
    assert before == FIGURES
