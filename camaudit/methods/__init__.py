"""Saliency methods: pure functions of one capture that return raw, rectified maps.

A method never learns of walls, metrics or audits, and never normalises.
"""

from camaudit.methods import activation, controls, decomposition, gradient, perturbation
from camaudit.methods.base import METHODS, MethodInfo, compute, method_names

__all__ = [
    "METHODS",
    "MethodInfo",
    "activation",
    "compute",
    "controls",
    "decomposition",
    "gradient",
    "method_names",
    "perturbation",
]
