"""Every named post-processing is recognised, against resizing and scaling written out literally."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from camaudit.invariance import Drawn, Search, registered
from camaudit.invariance.choice import chosen
from camaudit.invariance.comparison import Case, Comparison
from camaudit.invariance.hunt import hunt
from camaudit.invariance.processing import NONE, PROCESSINGS, Pair, Processing

Floats = NDArray[np.float64]


def signed_gradcam(model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
    """`Σ_k mean_ij(G_k) A_k`, not rectified."""
    kept: list[Tensor] = []
    handle = model.get_submodule(layer).register_forward_hook(
        lambda _module, _args, output: kept.append(output)
    )
    try:
        scores = model(images).gather(1, targets[:, None]).sum()
    finally:
        handle.remove()
    (A,) = kept
    (G,) = torch.autograd.grad(scores, A)
    return (G.mean(dim=(2, 3), keepdim=True) * A).sum(dim=1).detach()


def taps(way: str, place: int, pixels: int, cells: int) -> dict[int, float]:
    """The cells that a pixel reads, with their weights; indices may lie outside of the map."""
    if way == "nearest":
        return {place * cells // pixels: 1.0}
    if way == "bilinear, aligned corners":
        at = place * (cells - 1) / (pixels - 1) if pixels > 1 else 0.0
    else:
        at = (place + 0.5) * cells / pixels - 0.5
    if way == "bicubic":
        first = math.floor(at)
        return {cell: cubic(abs(at - cell)) for cell in range(first - 1, first + 3)}
    first = math.floor(max(at, 0.0))
    part = max(at, 0.0) - first
    return {first: 1 - part, first + 1: part}


def cubic(x: float, a: float = -0.75) -> float:
    """Keys' kernel at distance x ≤ 2."""
    if x <= 1:
        return (a + 2) * x**3 - (a + 3) * x**2 + 1
    return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a


def matrix(way: str, pixels: int, cells: int) -> Floats:
    """pixels×cells; a cell outside of the map is the one at its edge."""
    weights = np.zeros((pixels, cells))
    for place in range(pixels):
        for cell, weight in taps(way, place, pixels, cells).items():
            weights[place, min(max(cell, 0), cells - 1)] += weight
    return weights


def done(step: str, maps: Floats, cells: int, size: tuple[int, int]) -> Floats:
    """One step on maps N×h×w."""
    high, low = (f(maps, axis=(1, 2), keepdims=True) for f in (np.max, np.min))
    largest = np.abs(maps).max(axis=(1, 2), keepdims=True)
    scaled: dict[str, Floats] = {
        "not rectified": maps,
        "÷ max": maps / np.where(largest > 0, largest, 1),
        "min-max": (maps - low) / np.where(high > low, high - low, 1),
        "× constant": 0.37 * maps,
        "× cells": cells * maps,
        "÷ cells": maps / cells,
    }
    if step in scaled:
        return scaled[step]
    if tuple(maps.shape[1:]) == size:
        return maps
    rows, columns = (matrix(step, size[axis], maps.shape[1 + axis]) for axis in (0, 1))
    raised: Floats = rows @ maps @ columns.T
    return raised


def processed(signed: Floats, steps: tuple[str, ...], size: tuple[int, int]) -> Floats:
    """Signed maps N×h×w with all steps done to them; rectified unless the first says otherwise."""
    maps, cells = signed, signed[0].size
    if "not rectified" not in steps:
        maps = np.maximum(maps, 0)
    for step in steps:
        maps = done(step, maps, cells, size)
    return maps


@pytest.fixture(scope="module")
def references() -> list[tuple[Case, Floats]]:
    """GradCAM on twenty drawn networks, with its signed maps."""
    comparison, found = Comparison(signed_gradcam, registered("gradcam")), []

    def see(drawn: Drawn) -> bool:
        case = comparison.put(drawn)
        if case is not None:
            found.append((case, case.pair.theirs.numpy()))
        return case is not None

    hunt(see, Search(examples=20), {})
    return found


@pytest.mark.parametrize("processing", PROCESSINGS, ids=lambda processing: processing.name)
def test_every_named_processing_is_recognised(
    processing: Processing, references: list[tuple[Case, Floats]]
) -> None:
    cases = []
    for case, signed in references:
        maps = torch.from_numpy(processed(signed, processing.steps, case.pair.size))
        cases.append(replace(case, pair=replace(case.pair, theirs=maps)))
    found = chosen(cases)
    assert found.processing == processing
    assert found.failing == ()
    differences = [gap.difference for case in cases for gap in found.gaps(case)]
    assert max(value for value in differences if value is not None) < 1e-9


def test_names_are_unique_and_the_simplest_come_first() -> None:
    names = [processing.name for processing in PROCESSINGS]
    assert len(set(names)) == len(names)
    assert PROCESSINGS[0] == NONE
    lengths = [len(processing.steps) for processing in PROCESSINGS]
    assert lengths == sorted(lengths)


def pair(ours: list[float], theirs: list[float]) -> Pair:
    """Maps of one row."""
    made = [torch.tensor([[values]], dtype=torch.float64) for values in (ours, theirs)]
    return Pair(made[0], made[1], (1, len(ours)), 1e-6)


def test_a_negative_factor_is_no_processing() -> None:
    factor = Processing(("× constant",)).factor([pair([1.0, 2.0], [-1.0, -2.0])])
    assert math.isnan(factor)
    assert Processing(("× constant",)).agrees(pair([1.0, 2.0], [-1.0, -2.0]), factor) is None


def test_a_constant_map_says_nothing_of_min_max() -> None:
    assert Processing(("min-max",)).agrees(pair([1.0, 1.0], [0.0, 0.0]), 1.0) is None
    assert NONE.agrees(pair([1.0, 1.0], [0.0, 0.0]), 1.0) is False


def test_an_epsilon_is_allowed_for_as_far_as_it_counts() -> None:
    small, scaled = [0.0, 1e-3, 3e-3], Processing(("min-max",))
    within = pair(small, [value / (3e-3 + 1e-7) for value in small])
    beyond = pair(small, [value / (3e-3 + 1e-6) for value in small])
    assert scaled.agrees(within, 1.0)
    assert scaled.agrees(beyond, 1.0) is False
    tiny = pair([0.0, 1e-5], [0.0, 1.0])
    assert scaled.agrees(tiny, 1.0) is None


def test_signed_min_max_takes_two_cells_to_be_tested() -> None:
    steps = Processing(("not rectified", "min-max"))
    assert steps.agrees(pair([0.0, 1.0, 3.0], [0.0, 0.5, 1.0]), 1.0) is None
    signed = [-2.0, 1.0, 1.5, 3.0]
    shown = [(value + 2) / 5 for value in signed]
    assert steps.agrees(pair([0.0, 1.0, 1.5, 3.0], shown), 1.0)
    assert steps.agrees(pair([0.0, 1.0, 1.6, 3.0], shown), 1.0) is False
    assert steps.agrees(pair([0.5, 1.0, 1.5, 3.0], shown), 1.0) is False
