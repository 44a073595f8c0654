"""camaudit finds out whether a saliency map tells the truth about a model.

>>> import camaudit
>>> "split_trunk" in dir(camaudit)
True

Names below are imported when first used, so that `import camaudit` loads no torch.
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOME = {
    "Capture": "camaudit.capture",
    "Cut": "camaudit.cut",
    "DeadZone": "camaudit.walls",
    "METHODS": "camaudit.methods",
    "PaperVGG16": "camaudit.walls",
    "Results": "camaudit.types",
    "Settings": "camaudit.audit.settings",
    "WalledModel": "camaudit.walls",
    "compute": "camaudit.methods",
    "contrastive": "camaudit.objective",
    "counterfactual": "camaudit.objective",
    "custom": "camaudit.objective",
    "cut_at": "camaudit.cut",
    "dead_zone_figures": "camaudit.metrics.dead_zone",
    "dead_zone_mass": "camaudit.metrics.dead_zone",
    "default_layer": "camaudit.cut",
    "insert_wall": "camaudit.walls",
    "inserted_wall": "camaudit.walls",
    "minmax": "camaudit.maps",
    "paper_twins": "camaudit.walls",
    "paper_wall": "camaudit.walls",
    "run_audit": "camaudit.audit.run",
    "split_trunk": "camaudit.walls",
    "stack_mix": "camaudit.data.stack_mix",
    "upsample": "camaudit.maps",
    "verify_zone": "camaudit.walls",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'camaudit' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
