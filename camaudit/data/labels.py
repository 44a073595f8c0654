"""Labels: from the name of a class folder to the index of an ImageNet-1k class."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files

__all__ = ["class_index", "class_title", "imagenet_index", "imagenet_names", "imagenet_wnids"]

_WNID = re.compile(r"[nN][0-9]{8}")


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
    if _WNID.fullmatch(text):
        return _index_of_wnid().get(text.lower())
    if re.fullmatch(r"0*[0-9]{1,3}", text):
        return int(text)
    return _index_of_name().get(_folded(text))


def class_index(classes: Sequence[str], *, name: str | None, label: int | None) -> int | None:
    """The place among a network's own `classes` of an image's class, or None.

    The image's class goes by its `name`, as it is written or, where one class alone then fits,
    by its letters and digits without case (``T-shirt/top`` is ``t_shirt_top``). Where that is none
    of the network's, it goes by its ImageNet `label`, which a class named by a WordNet id or as
    torchvision does also has.

    >>> class_index(["n01440764", "Ankle boot"], name="ankle_boot", label=None)
    1
    >>> class_index(["n01440764", "Ankle boot"], name="tench", label=0)
    0
    """
    if name is not None:
        for fold in (str, _letters):
            places = [place for place, own in enumerate(classes) if fold(own) == fold(name) != ""]
            if len(places) == 1:
                return places[0]
    if label is None:
        return None
    places = [place for place, own in enumerate(classes) if _named_class(own) == label]
    return places[0] if len(places) == 1 else None


def class_title(name: str) -> str:
    """What a reader calls a class: the name behind a WordNet id, else `name` itself."""
    index = imagenet_index(name) if _WNID.fullmatch(name) else None
    return name if index is None else imagenet_names()[index]


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


def _named_class(name: str) -> int | None:
    """The ImageNet index of a class name or WordNet id; digits alone are a number of its own."""
    return None if name.strip().isdecimal() else imagenet_index(name)


def _letters(name: str) -> str:
    """Letters and digits alone, without case."""
    return "".join(char for char in name.casefold() if char.isalnum())


def _folded(name: str) -> str:
    """A name without case, underscores and repeated spaces."""
    return " ".join(name.replace("_", " ").casefold().split())
