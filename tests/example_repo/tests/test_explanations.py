"""What the policy leaves open: other pictures, other layers."""

from __future__ import annotations

from pathlib import Path

import torch
from shapes.explainers import ours
from shapes.models import build

from camaudit.testing import assert_blind_to_dead_zone

ROOT = Path(__file__).parents[1]


def test_explanations(camaudit):
    results = camaudit.audit(
        build(), layer="features.5", explainer=ours, images=ROOT / "photos",
        claims={"ours": "gradcam"},
    )  # fmt: skip
    results.assert_passes(ROOT / "camaudit.toml")


def test_noise_is_no_reason_to_look_at_the_ground():
    images = torch.randn(8, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    assert_blind_to_dead_zone("hirescam", build(), "features.5", images, wall="split", live_rows=5)
