"""Which classes a data set of generated images shows, in which order and under which names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from camaudit.data.classes import ANIMALS, Key, choose_classes, class_key, drawn, parse_classes
from camaudit.data.labels import imagenet_names

__all__ = ["Subject", "Subjects", "choose_subjects"]


@dataclass(frozen=True)
class Subject:
    """A class: its ImageNet-1k index and name, or None and the name that it was given."""

    label: int | None
    name: str


@dataclass(frozen=True)
class Subjects:
    """Classes in seeded order, what was asked for as a manifest records it, and notes."""

    ordered: tuple[Subject, ...]
    wanted: str | list[Key]
    notes: tuple[str, ...] = ()


def choose_subjects(
    wanted: str | None, *, seed: int, folders: Iterable[str] | None = None
) -> Subjects:
    """The classes that `wanted` asks for, in the order in which STACK-MIX takes them.

    Without `folders` any class can be had: the default is ImageNet's first 398, `all` is all of
    its 1000, and names that ImageNet does not know stand for themselves. With `folders` only
    these can, as :func:`camaudit.data.classes.choose_classes` says.

    Raises :class:`camaudit.errors.UsageError` as that function and `parse_classes` do.
    """
    if folders is not None:
        choice = choose_classes(folders, wanted=wanted, seed=seed)
        ordered = tuple(_subject(class_key(name)) for name in choice.names)
        return Subjects(ordered, choice.wanted, choice.notes)
    text = (wanted or ANIMALS).strip()
    keys = parse_classes("0-999" if text == "all" else text)
    return Subjects(tuple(_subject(key) for key in drawn(keys, seed)), _recorded(text, keys))


def _recorded(text: str, keys: tuple[Key, ...]) -> str | list[Key]:
    """A range as it was written; a list or a file as the classes that it stands for."""
    is_range = text == "all" or text.replace("-", "").replace(" ", "").isdigit()
    return text if is_range else list(keys)


def _subject(key: Key) -> Subject:
    if isinstance(key, int):
        return Subject(key, imagenet_names()[key])
    return Subject(None, key)
