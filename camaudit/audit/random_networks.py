"""Networks at random initialisation, each with its wall: the simple CNN and four deep ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import get_model

from camaudit.audit.initialised import RandomNetwork
from camaudit.cut import default_layer
from camaudit.engine import Engine
from camaudit.errors import UsageError
from camaudit.initialisation import SCHEMES, Scheme, initialise_
from camaudit.theory import Design, SimpleCNN, simple_wall
from camaudit.walls import WalledModel, paper_twins, paper_wall, split_trunk

__all__ = ["DEEP", "SIZE", "deep_network", "simple_network"]

SIZE = 224  #: height and width of the deep networks' images

#: Deep networks by name: the paper's own, and torchvision's behind a split trunk.
DEEP = ("vgg16", "resnet18", "mobilenet_v3_large", "convnext_tiny")


def simple_network(
    design: Design, images: Tensor, names: Sequence[str], *, check: str
) -> RandomNetwork:
    """The simple CNN of `design` (with at least one class) explained for class 0.

    The class is fixed, not the top-1, because that is what the theory is about: to take the
    largest of several random logits would favour positive maps.
    """
    masked, unmasked = SimpleCNN(design), SimpleCNN(design, masked=False)
    walled = simple_wall(masked, unmasked=unmasked)

    def draw(seed: int) -> None:
        masked.draw(seed)
        unmasked.draw(seed)

    return RandomNetwork(check, walled, draw, images, names, target=0)


def deep_network(
    name: str, images: Tensor, names: Sequence[str], *, initialisation: Scheme, check: str
) -> RandomNetwork:
    """One of :data:`DEEP` with its wall; the walled network's top-1 is explained.

    images: N×3×224×224, standardised. Normalisation layers keep the statistics of a new network
    (mean 0, variance 1). Raises :class:`UsageError` for an unknown name or initialisation, and
    for "permute", which shuffles trained weights and has none here.
    """
    if initialisation == "permute" or initialisation not in SCHEMES:
        laws = ", ".join(scheme for scheme in SCHEMES if scheme != "permute")
        raise UsageError(
            f"expected an initialisation among {laws} (permute needs trained weights); got "
            f"{initialisation!r}"
        )
    if name not in DEEP:
        raise UsageError(f"expected a network among {', '.join(DEEP)}; got {name!r}")
    build = _paper if name == "vgg16" else _split
    walled, draw = build(name, images[:1], initialisation)
    images = images.contiguous(memory_format=torch.channels_last)
    return RandomNetwork(check, walled, draw, images, names, engine=Engine())


def _paper(
    _name: str, example: Tensor, initialisation: Scheme
) -> tuple[WalledModel, Callable[[int], None]]:
    masked, unmasked = paper_twins(init="default")
    for model in (masked, unmasked):
        _channels_last(model)

    def draw(seed: int) -> None:
        initialise_(unmasked, initialisation, seed=seed)
        masked.load_paper_state(unmasked.state_dict(), remask=True)

    draw(0)
    return paper_wall(masked, example, unmasked=unmasked), draw


def _split(
    name: str, example: Tensor, initialisation: Scheme
) -> tuple[WalledModel, Callable[[int], None]]:
    model = get_model(name, weights=None).eval()
    _channels_last(model)

    def draw(seed: int) -> None:
        initialise_(model, initialisation, seed=seed)

    draw(0)
    return split_trunk(model, default_layer(model, example), example), draw


def _channels_last(model: nn.Module) -> None:
    form: dict[str, Any] = {"memory_format": torch.channels_last}
    model.to(**form)
