"""Explanations under test: assertions that stand alone, and what the pytest plugin is made of.

Names below are imported when first used, so that an idle plugin loads no torch.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "assert_blind_to_dead_zone": "camaudit.testing.assertions",
    "assert_depends_on_parameters": "camaudit.testing.assertions",
    "assert_invariant": "camaudit.testing.assertions",
}

__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'camaudit.testing' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
