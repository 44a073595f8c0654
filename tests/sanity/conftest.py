"""Two threads: maps are compared and weights drawn in as many as torch uses."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def threads(two_threads: None) -> None:
    """The values are to be the same as in one thread."""
