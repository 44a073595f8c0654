"""The README's table of libraries is the one that the tests hold to."""

from __future__ import annotations

import re
from pathlib import Path

from tests.parity.table import BEGIN, END, block, without_figures

README = Path(__file__).parents[2] / "README.md"


def test_the_readme_has_the_table_as_it_is_tested() -> None:
    found = re.search(f"{BEGIN}.*?{END}\n", README.read_text(), flags=re.DOTALL)
    assert found, f"README.md has no {BEGIN} … {END}: paste what python -m tests.parity prints"
    assert without_figures(found.group(0)) == block(measured=False)
