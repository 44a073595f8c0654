"""Saliency methods: pure functions of one capture that return raw, rectified maps.

A method never learns of walls, metrics or audits, and never normalises.
"""

from camaudit.methods import (
    ablation,
    activation,
    augmentation,
    blackbox,
    contrast,
    controls,
    decomposition,
    full_gradient,
    fusion,
    gradient,
    grouped,
    kernel,
    layered,
    optimised,
    reciprocal,
    scores,
    shapley,
    smooth,
    smoothed,
    transformer,
)
from camaudit.methods.base import METHODS, MethodInfo, method_names
from camaudit.methods.calls import (
    STANDARD,
    MethodCall,
    compute,
    fused,
    method_call,
    options_listing,
    select,
)
from camaudit.methods.fusion import fuse

__all__ = [
    "METHODS",
    "STANDARD",
    "MethodCall",
    "MethodInfo",
    "ablation",
    "activation",
    "augmentation",
    "blackbox",
    "compute",
    "contrast",
    "controls",
    "decomposition",
    "full_gradient",
    "fuse",
    "fused",
    "fusion",
    "gradient",
    "grouped",
    "kernel",
    "layered",
    "method_call",
    "method_names",
    "optimised",
    "options_listing",
    "reciprocal",
    "scores",
    "select",
    "shapley",
    "smooth",
    "smoothed",
    "transformer",
]
