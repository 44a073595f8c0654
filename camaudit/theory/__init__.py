"""The paper on random initialisation: simple CNNs, their GradCAM in closed form and simulated."""

from __future__ import annotations

from camaudit.theory.coefficients import coefficients
from camaudit.theory.design import Design
from camaudit.theory.expectation import (
    Expectation,
    expected_gradcam,
    expected_root,
    patch_norms,
)
from camaudit.theory.simple_cnn import SimpleCNN, simple_wall
from camaudit.theory.simulation import Simulation, simulate

__all__ = [
    "Design",
    "Expectation",
    "SimpleCNN",
    "Simulation",
    "coefficients",
    "expected_gradcam",
    "expected_root",
    "patch_norms",
    "simple_wall",
    "simulate",
]
