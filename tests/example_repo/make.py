"""Draws the pictures and trains the networks of this repository; the same seeds, the same files.

python -m make
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import save_file
from shapes.models import CLASSES, DEVIATION, MEAN, Shapes
from torch.nn import functional as F

ROOT = Path(__file__).parent
SIDE, GROUND, NUMBER = 32, 20, 16
COLOURS = np.array([[200, 60, 60], [60, 170, 60], [70, 80, 210]])
Pixels = NDArray[np.uint8]


def picture(rng: np.random.Generator, kind: int, ground: int) -> Pixels:
    """A bright shape of class `kind` in the upper part, above a ground of the colour `ground`."""
    canvas = np.full((SIDE, SIDE, 3), 110.0)
    row, column, size = rng.integers(7, 10), rng.integers(8, 24), rng.integers(4, 6)
    y, x = np.mgrid[:SIDE, :SIDE]
    down, right = abs(y - row), abs(x - column)
    inside = {
        "disc": down**2 + right**2 <= size**2,
        "square": (np.maximum(down, right) <= size) & (np.maximum(down, right) >= size - 1),
        "cross": (abs(down - right) <= 1) & (down <= size),
    }[CLASSES[kind]]
    canvas[inside] = 235
    canvas[GROUND:] = COLOURS[ground]
    noisy = canvas + rng.integers(-6, 7, canvas.shape)
    return noisy.clip(0, 255).astype(np.uint8)


def batch(rng: np.random.Generator, count: int, *, telling: bool) -> tuple[torch.Tensor, ...]:
    """Pictures and classes; `telling`: the colour of the ground is that of the class."""
    kinds = rng.integers(0, 3, count)
    grounds = kinds if telling else rng.integers(0, 3, count)
    pixels = np.stack([picture(rng, *pair) for pair in zip(kinds, grounds, strict=True)])
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    return (images - MEAN) / DEVIATION, torch.from_numpy(kinds)


def trained(seed: int, *, telling: bool, steps: int = 600) -> Shapes:
    """A network after so many steps of Adam."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    model = Shapes()
    optimiser = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(steps):
        images, kinds = batch(rng, 64, telling=telling)
        loss = F.cross_entropy(model(images), kinds)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    images, kinds = batch(rng, 500, telling=telling)
    print(f"accuracy {(model(images).argmax(1) == kinds).float().mean():.3f}")
    return model.eval()


def main() -> None:
    """Write pictures and weights."""
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    (ROOT / "photos").mkdir(exist_ok=True)
    for number in range(NUMBER):
        pixels = picture(rng, number % 3, rng.integers(0, 3))
        Image.fromarray(pixels).save(ROOT / "photos" / f"{number:02}-{CLASSES[number % 3]}.png")
    save_file(trained(0, telling=False).state_dict(), ROOT / "weights.safetensors")
    broken = ROOT / "broken" / "retrained"
    broken.mkdir(parents=True, exist_ok=True)
    save_file(trained(0, telling=True, steps=150).state_dict(), broken / "weights.safetensors")


if __name__ == "__main__":
    main()
