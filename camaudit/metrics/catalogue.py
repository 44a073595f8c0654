"""Every registered metric: importing this module fills the registry."""

from __future__ import annotations

from camaudit.metrics import (
    adcc,
    confidence,
    infidelity,
    insertion_deletion,
    localisation,
    road,
    sparsity,
)
from camaudit.metrics.registry import METRICS, MetricInfo

__all__ = [
    "METRICS",
    "MetricInfo",
    "adcc",
    "confidence",
    "infidelity",
    "insertion_deletion",
    "localisation",
    "road",
    "sparsity",
]
