"""Sanity checks of a trained network: what depends on its weights, and what draws edges."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from camaudit.audit.sanity_claims import sanity_claims
from camaudit.capture import Capture
from camaudit.data.embedded import embedded_photos
from camaudit.data.preprocess import parse_preprocess
from camaudit.data.stack_mix import plain_images
from camaudit.methods import select
from camaudit.models.loading import load_model
from camaudit.sanity import Options, SanityResult, run_sanity
from camaudit.types import ClaimOutcome

SIZE = 128
FAMILIES = dict.fromkeys(("gradcam", "sobel", "uniform", "edges"), "")


class Edges:
    """A planted explainer in the way of Guided Backprop: edges, with a little of the gradient.

    Gradient times input would depend on the weights; the edges of the photograph outweigh it.
    """

    label = "edges"

    def __init__(self, model: nn.Module) -> None:
        self.model = model

    def __call__(self, seen: Capture, *, seed: int) -> Tensor:
        del seed
        images = seen.images.detach().requires_grad_()
        with torch.enable_grad():
            scores = self.model(images).gather(1, seen.targets[:, None]).sum()
        (gradient,) = torch.autograd.grad(scores, images)
        influence = gradient.abs().sum(dim=1)
        influence = influence / influence.amax(dim=(1, 2), keepdim=True)
        grey = seen.images.mean(dim=1)
        down, across = grey.diff(dim=1).abs(), grey.diff(dim=2).abs()
        edges = down[:, :, 1:] + across[:, 1:]
        return nn.functional.pad(edges, (1, 0, 1, 0)) * (1 + 0.1 * influence)


@cache
def found() -> SanityResult:
    loaded = load_model("lite0")
    pixels = [image.pixels for image in plain_images(embedded_photos(), size=SIZE).images]
    images = parse_preprocess("lite").to_tensor(pixels)
    before = {name: value.clone() for name, value in loaded.model.state_dict().items()}
    result = run_sanity(
        loaded.model, "_swish#2", images,
        methods=[*select(["gradcam", "sobel", "uniform"]), Edges(loaded.model)],
        options=Options(checks=("mprt",), most_steps=4, similarities=("spearman", "ssim")),
    )  # fmt: skip
    after = loaded.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    return result


def means(method: str) -> list[float | None]:
    """The mean Spearman correlation at each step."""
    steps = [e for e in found().effects if (e.method, e.figure) == (method, "spearman")]
    return [e.similarity.mean for e in sorted(steps, key=lambda e: e.step)]


def test_gradcam_falls_to_the_null() -> None:
    last = [e for e in found().effects if (e.method, e.figure) == ("gradcam", "spearman")][-1]
    assert last.similarity.mean is not None
    assert last.similarity.mean < 0.5
    assert last.distance.ci_low is not None
    assert last.distance.ci_high is not None
    assert last.distance.ci_low < 0.1
    assert last.distance.ci_high > -0.1


def test_edges_outlive_the_weights() -> None:
    assert means("sobel") == pytest.approx([1] * 4, abs=1e-12)
    edges = means("edges")
    assert all(value is not None and 0.9 < value < 1 for value in edges)


def test_verdicts() -> None:
    outcomes = {
        claim.statement.split(" does not")[0]: claim.outcome
        for claim in sanity_claims(found(), FAMILIES)
    }
    assert outcomes == {
        "GradCAM": ClaimOutcome.PASS,
        "Sobel edges": ClaimOutcome.FAIL,
        "edges": ClaimOutcome.FAIL,
        "Uniform": ClaimOutcome.NOT_APPLICABLE,
    }


def test_a_constant_map_has_no_figure() -> None:
    assert means("uniform") == [None] * 4
    uniform = [c for c in found().curves if c.method == "uniform"]
    assert all(v is None for c in uniform for v in np.ravel(np.array(c.values, dtype=object)))
