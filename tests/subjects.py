"""A small trained-looking network in a file, and folders of small photographs."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import numpy as np
from PIL import Image

FACTORY = dedent(
    '''
    """A small network that a user might audit."""
    import torch
    from torch import nn


    def build():
        torch.manual_seed(11)
        trunk = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
            nn.Conv2d(8, 12, 3, stride=2, padding=1), nn.ReLU(),
            nn.Conv2d(12, 16, 3, stride=2, padding=1), nn.ReLU(),
        )
        head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5))
        return nn.Sequential(trunk, head).eval()


    def training():
        return build().train()


    def dictionary():
        class Wrapped(nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = build()

            def forward(self, x):
                return {"logits": self.inner(x), "aux": None}

        return Wrapped().eval()


    def pair():
        class Wrapped(nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = build()

            def forward(self, x):
                return self.inner(x), None

        return Wrapped().eval()


    def nan():
        model = build()
        with torch.no_grad():
            model[1][2].bias.fill_(float("nan"))
        return model


    def deaf():
        """Ignores its input."""
        model = build()
        with torch.no_grad():
            model[1][2].weight.zero_()
        return model


    def broken():
        raise ValueError("no such checkpoint")


    def text():
        return "not a module"


    def grey():
        pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, 2))
        return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), pooled).eval()
    '''
)


def write_factory(folder: Path) -> Path:
    """The file with the factories above."""
    path = folder / "subject.py"
    path.write_text(FACTORY)
    return path


def photograph(seed: int, size: tuple[int, int] = (80, 96)) -> Image.Image:
    """Smooth colour blobs with some noise, so that crops and photographs differ."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (6, 7, 3), dtype=np.uint8))
    pixels = np.asarray(coarse.resize(size[::-1], Image.Resampling.BICUBIC), dtype=np.int16)
    noisy = pixels + rng.integers(-12, 13, pixels.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def write_photographs(root: Path) -> Path:
    """Three classes with two photographs each."""
    for kind in range(3):
        folder = root / f"{kind}"
        folder.mkdir(parents=True)
        for number in range(2):
            photograph(10 * kind + number).save(folder / f"{number}.png")
    return root
