"""A small trained-looking network in a file, and folders of small photographs."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import numpy as np
from PIL import Image

FACTORY = dedent(
    '''
    """A small network that a user might audit."""
    import warnings

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


    def doubled():
        class Wrapped(nn.Module):
            def __init__(self):
                super().__init__()
                self.inner = build()

            def forward(self, x):
                return {"one": self.inner(x), "two": self.inner(x)}

        return Wrapped().eval()


    def segmenting():
        return build()[0][:3].eval()


    def single():
        model = build()
        model[1][2] = nn.Linear(16, 1)
        return model.eval()


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


    def leave():
        raise SystemExit(0)


    class Leaving(nn.Module):
        def forward(self, x):
            raise SystemExit(5)


    def leave_later():
        return nn.Sequential(build(), Leaving()).eval()


    def scripted():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # tracing is deprecated; files of it are about
            return torch.jit.trace(build(), torch.zeros(1, 3, 64, 64))


    def two_inputs():
        class Wrapped(nn.Module):
            def forward(self, x, y):
                return x + y

        return Wrapped().eval()


    class Roots(nn.Module):
        """NaN for pixels far from standard normal ones."""

        def __init__(self):
            super().__init__()
            inner = build()
            self.trunk, self.head = inner[0], inner[1]

        def forward(self, x):
            return self.head(self.trunk(torch.sqrt(x + 7)))


    def roots():
        return Roots().eval()


    class Branching(nn.Module):
        """Another network for dark images: nothing on the graph shows it."""

        def __init__(self):
            super().__init__()
            self.inner = build()

        def forward(self, x):
            logits = self.inner(x)
            return torch.where(x.std() > 0.8, logits, -5 * logits)


    def branching():
        return Branching().eval()


    def flat():
        head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
        return nn.Sequential(nn.Conv2d(3, 4, (32, 3)), head).eval()


    def flattened():
        trunk = nn.Sequential(nn.Conv2d(3, 4, 3, stride=8, padding=1), nn.ReLU())
        return nn.Sequential(trunk, nn.Sequential(nn.Flatten(), nn.Linear(256, 3))).eval()


    def talkative():
        print("loading my model")
        return build()


    def double():
        return build().double()


    def bfloat():
        return build().bfloat16()


    instance = build()


    def grey(channels=1):
        torch.manual_seed(12)
        pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 2))
        trunk = nn.Sequential(nn.Conv2d(channels, 6, 3, stride=4), nn.ReLU())
        return nn.Sequential(trunk, pooled).eval()


    def five():
        return grey(5)
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
