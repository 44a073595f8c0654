"""Which classes of an image are explained: the model's highest, the image's own, or named ones.

All of an image are explained from the same forward pass; what is masked once serves them all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

from camaudit.data.annotations import some
from camaudit.data.labels import class_index, imagenet_index
from camaudit.data.stack_mix import StackImage
from camaudit.errors import UsageError

__all__ = ["Asked", "Classes", "Target", "asked_targets", "highest", "named_targets", "ranks"]

IMAGENET_CLASSES = 1000

_TOP = re.compile(r"top-([0-9]{1,6})")

Role = Literal["predicted", "label", "seen", "unseen", "asked"]


@dataclass(frozen=True)
class Asked:
    """What `--targets` asks for: the `count` highest logits, the images' labels, or `names`."""

    kind: Literal["top", "labels", "classes"]
    count: int = 1
    names: tuple[str, ...] = ()

    @property
    def plain(self) -> bool:
        """Whether it is the top-1 class alone."""
        return self.kind == "top" and self.count == 1


@dataclass(frozen=True)
class Target:
    """A class that is explained on an image, and why: its `role`, None for the plain top-1.

    "predicted" is one of the model's highest logits, "label" a class of the image, "asked" one that
    was named; of an image of two classes "seen" is the class above the wall and "unseen" the one
    behind it.
    """

    index: int
    role: Role | None = None


@dataclass(frozen=True)
class Classes:
    """The classes of a model: how many logits it has, and their names where they are known."""

    count: int
    names: tuple[str, ...] | None = None

    def of(self, *, name: str | None, label: int | None) -> int | None:
        """The logit of an image's class; None where that is not known.

        A network that names its classes is asked by name. Else WordNet ids and names are
        ImageNet's and count for heads of 1000 classes alone; a folder that is named by a number
        counts wherever the model has a class of that number.
        """
        if self.names is not None:
            return class_index(self.names, name=name, label=label)
        if self.count == IMAGENET_CLASSES:
            return label
        given = name or ""
        number = int(given) if given.isascii() and given.isdecimal() else self.count
        return number if number < self.count else None

    def named(self, text: str) -> int:
        """The logit that a number or a name stands for; raises :class:`UsageError` for neither."""
        if text.isascii() and text.isdecimal():
            if int(text) < self.count:
                return int(text)
            raise UsageError(
                f"--targets: the model has the classes 0 to {self.count - 1}; got {text}"
            )
        found = self.of(name=text, label=imagenet_index(text))
        if found is None:
            known = self.names is not None or self.count == IMAGENET_CLASSES
            why = (
                "it has no class of that name" if known else "the names of its classes are unknown"
            )
            raise UsageError(
                f"--targets: {text!r} is no class of the model ({why}): name classes by their "
                f"numbers, 0 to {self.count - 1}"
            )
        return found


def asked_targets(text: str) -> Asked:
    """What `top-K`, `labels` or a list of classes between commas asks for.

    Raises :class:`UsageError` for K = 0, an empty entry and one that is there twice.

    >>> asked_targets("top-3").count, asked_targets("3, tench").names
    (3, ('3', 'tench'))
    """
    wanted = text.strip()
    if wanted == "labels":
        return Asked("labels")
    found = _TOP.fullmatch(wanted)
    if found is not None:
        if int(found[1]) < 1:
            raise UsageError(f"--targets: expected top-K with K of at least 1; got {text!r}")
        return Asked("top", int(found[1]))
    names = tuple(name.strip() for name in wanted.split(","))
    if not all(names) or len(set(names)) < len(names):
        raise UsageError(
            "--targets: expected top-K, labels, or classes by number or name between commas, each "
            f"once; got {text!r}"
        )
    return Asked("classes", names=names)


def highest(logits: Tensor, asked: Asked) -> list[tuple[Target, ...]]:
    """For every row of `logits` (N×C) its `asked.count` highest classes, the highest first.

    Of equal logits the class of the lower number comes first. Raises :class:`UsageError` where
    there are fewer classes.
    """
    if asked.count > logits.shape[1]:
        raise UsageError(
            f"--targets top-{asked.count}: the model has {logits.shape[1]} classes only"
        )
    role: Role | None = None if asked.plain else "predicted"
    order = logits.argsort(dim=1, descending=True, stable=True)[:, : asked.count]
    return [tuple(Target(index, role) for index in row) for row in order.tolist()]


def ranks(logits: Tensor, indices: Tensor) -> list[int]:
    """The place of class `indices[n]` (N, int64) among row n of `logits` (N×C), 1 the highest."""
    order = logits.argsort(dim=1, descending=True, stable=True)
    places: list[int] = (order == indices[:, None]).int().argmax(dim=1).tolist()
    return [place + 1 for place in places]


def named_targets(
    asked: Asked,
    images: Sequence[StackImage],
    classes: Classes,
    objects: Sequence[tuple[str, ...]] = (),
) -> list[tuple[Target, ...]]:
    """For every image its labels, or the classes that were named.

    `objects` are the names of the annotated objects of each image, if there are any; those that
    are no class of the model are passed over. Raises :class:`UsageError` for names that are none,
    and where an image has no class that the model knows, or one of two classes is unknown to it.
    """
    if asked.kind == "classes":
        found = tuple(Target(classes.named(name), "asked") for name in asked.names)
        if len({target.index for target in found}) < len(found):
            raise UsageError(f"--targets names a class twice: {', '.join(asked.names)}")
        return [found] * len(images)
    given = objects or [()] * len(images)
    labels = [_labels(image, classes, own) for image, own in zip(images, given, strict=True)]
    lacking = [image for image, found in zip(images, labels, strict=True) if not found]
    if lacking:
        first = lacking[0]
        shown = " over ".join(filter(None, (first.label_name, first.unseen_label_name)))
        raise UsageError(
            f"--targets labels: {len(lacking)} of {len(images)} images have no class, or one that "
            f"the model does not know ({some([one.id for one in lacking])}; the first is of "
            f"{shown or 'no class'}): name class folders by WordNet id, index, or the model's own "
            "class names, or ask for top-K or for classes by number"
        )
    return labels


def _labels(image: StackImage, classes: Classes, objects: Sequence[str]) -> tuple[Target, ...]:
    """The image's own classes; none where the model does not know one that it must."""
    own = classes.of(name=image.label_name, label=image.label)
    if image.unseen_label_name is not None:
        behind = classes.of(name=image.unseen_label_name, label=image.unseen_label)
        if own is None or behind is None:
            return ()
        if own == behind:  # two folders, and one class of the model: it is not unseen
            return (Target(own, "label"),)
        return (Target(own, "seen"), Target(behind, "unseen"))
    known = [classes.of(name=name, label=imagenet_index(name)) for name in objects]
    return tuple(
        Target(index, "label") for index in dict.fromkeys([own, *known]) if index is not None
    )
