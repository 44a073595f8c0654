"""Classes of generated images: those that STACK-MIX draws with the same seed."""

import pytest

from camaudit.data.classes import drawn, parse_classes
from camaudit.data.generation.prompts import REFINEMENT, stacked_prompt
from camaudit.data.generation.subjects import Subject, choose_subjects
from camaudit.errors import UsageError


def test_the_default_are_the_paper_s_animals_in_the_order_of_stack_mix():
    chosen = choose_subjects(None, seed=3)
    assert [each.label for each in chosen.ordered] == list(drawn(parse_classes("0-397"), 3))
    assert chosen.wanted == "0-397"
    assert Subject(0, "tench") in chosen.ordered
    assert len(choose_subjects("all", seed=0).ordered) == 1000


def test_own_names_stand_for_themselves():
    chosen = choose_subjects("garden_gnome, 17, n01440764", seed=0)
    assert set(chosen.ordered) == {
        Subject(None, "garden_gnome"), Subject(17, "jay"), Subject(0, "tench")
    }  # fmt: skip
    assert chosen.wanted == [0, 17, "garden_gnome"]


def test_folders_limit_the_choice():
    chosen = choose_subjects(None, seed=0, folders=["n01440764", "jay"])
    assert {each.label for each in chosen.ordered} == {0, 17}
    assert chosen.notes == ("396 of the 398 classes asked for are not in the source",)
    with pytest.raises(UsageError, match="no class 5"):
        choose_subjects("5", seed=0, folders=["n01440764"])


def test_the_prompt_is_the_paper_s():
    assert stacked_prompt("jay") == "A photo of jay stacked on top of jay."
    assert "exactly two" in REFINEMENT
