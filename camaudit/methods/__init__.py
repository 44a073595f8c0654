"""Saliency methods: pure functions of one capture that return raw, rectified maps.

A method never learns of walls, metrics or audits, and never normalises.
"""

from camaudit.methods import ablation, activation, controls, decomposition, gradient, scores
from camaudit.methods.base import METHODS, MethodInfo, compute, method_names

__all__ = [
    "METHODS",
    "MethodInfo",
    "ablation",
    "activation",
    "compute",
    "controls",
    "decomposition",
    "gradient",
    "method_names",
    "scores",
]
