"""Explainers of other libraries, and maps that were made before, behind one protocol.

Each is called with (model, layer, images N×C×H×W, targets N) and returns maps N×h×w; each says what
was done to its maps on the way. Nothing here imports a library before one of its classes is named.
"""

from camaudit.adapters.base import Adapter
from camaudit.adapters.hygiene import differences, traces, untouched
from camaudit.adapters.precomputed import Precomputed, digest
from camaudit.adapters.registry import load_adapter

__all__ = [
    "Adapter",
    "Precomputed",
    "differences",
    "digest",
    "load_adapter",
    "traces",
    "untouched",
]
