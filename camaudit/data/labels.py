"""Labels: from the name of a class folder to the index of an ImageNet-1k class."""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from importlib.resources import files

__all__ = ["imagenet_index", "imagenet_names", "imagenet_wnids"]


def imagenet_index(name: str) -> int | None:
    """The ImageNet-1k index (0–999) that a folder name stands for, or None.

    Three spellings are understood, in this order: a WordNet id (``n01440764``), the index itself
    in digits (``0``, ``007``), and a class name of torchvision's list, where case, underscores
    and repeated spaces make no difference (``great_white_shark``). A name that two classes share
    (``cardigan``, a dog and a garment) stands for neither.

    >>> imagenet_index("n01440764"), imagenet_index("17"), imagenet_index("1000")
    (0, 17, None)
    """
    text = name.strip()
    if re.fullmatch(r"[nN][0-9]{8}", text):
        return _index_of_wnid().get(text.lower())
    if re.fullmatch(r"0*[0-9]{1,3}", text):
        return int(text)
    return _index_of_name().get(_folded(text))


@lru_cache(maxsize=1)
def imagenet_wnids() -> tuple[str, ...]:
    """The 1000 WordNet ids in the order of the classes, which is their ascending order."""
    text = files("camaudit.data").joinpath("imagenet_wnids.txt").read_text(encoding="ascii")
    return tuple(text.split())


def imagenet_names() -> list[str]:
    """The 1000 class names in the order of the classes, as torchvision publishes them.

    Imports torchvision, and with it torch.
    """
    from torchvision.models import ResNet18_Weights  # type: ignore[import-untyped, unused-ignore]

    return list(ResNet18_Weights.DEFAULT.meta["categories"])


@lru_cache(maxsize=1)
def _index_of_wnid() -> dict[str, int]:
    return {wnid: index for index, wnid in enumerate(imagenet_wnids())}


@lru_cache(maxsize=1)
def _index_of_name() -> dict[str, int]:
    """Folded class names to indices, without those that two classes share."""
    folded = [_folded(name) for name in imagenet_names()]
    uses = Counter(folded)
    return {name: index for index, name in enumerate(folded) if uses[name] == 1}


def _folded(name: str) -> str:
    """A name without case, underscores and repeated spaces."""
    return " ".join(name.replace("_", " ").casefold().split())
