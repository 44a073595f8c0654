"""Repositories to run pytest in."""

from __future__ import annotations

import pytest

from tests.testing.repos import Repo


@pytest.fixture
def repo(pytester: pytest.Pytester) -> Repo:
    """The example's network and pictures, without a policy."""
    return Repo(pytester)
