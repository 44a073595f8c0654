"""One thread, so that the figures are the same in every process."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.training.drawn import idx_folder


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Torch uses one thread during each test."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of idx files with 48 + 16 images of four classes."""
    return idx_folder(tmp_path_factory.mktemp("digits"))
