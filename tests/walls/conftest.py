"""Fixtures shared by the tests of walls."""

import pytest
import torch

from tests.networks import images


@pytest.fixture
def example() -> torch.Tensor:
    """One 16×16 image; the networks of `Headed` make a 7×7 map of it."""
    return images(1)


@pytest.fixture
def batch() -> torch.Tensor:
    return images(3, seed=2)
