"""Planted faults of explainers: each is right but for one thing, see :class:`Mutant`."""

from __future__ import annotations

from tests.invariance import (
    faults_look,
    faults_maps,
    faults_modules,
    faults_passes,
    faults_score,
    faults_state,
    faults_weights,
)
from tests.invariance.planting import MUTANTS, Mutant

__all__ = ["MUTANTS", "Mutant"]

_FAMILIES = (  # importing them plants their faults
    faults_score, faults_weights, faults_passes, faults_look, faults_maps, faults_state,
    faults_modules,
)  # fmt: skip
