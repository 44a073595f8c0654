"""docs/models.md cannot drift: its Python runs, its specs are read, its families are the tested."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "models.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


@pytest.mark.parametrize(
    "code", BLOCKS, ids=["transformers", "channels", "inputs", "segmentation", "detection"]
)
def test_the_examples_run(code: str) -> None:
    exec(code, {"__name__": "docs"})  # noqa: S102 - the page's own code
