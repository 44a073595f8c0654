"""Stacks of two classes: a photograph of one above the wall, one of another class behind it.

The network sees the upper class alone. Whatever a map of the lower class shows behind the wall, the
network cannot have used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from camaudit.data.folders import Photo
from camaudit.data.loading import Loader, View
from camaudit.data.pairs import crossed_pairs
from camaudit.errors import ImageError

__all__ = ["ClassPhotos", "require_two_classes", "two_class_pairs"]

ClassPhotos = tuple[str, Sequence[Photo]]
"""The name of a class and its photographs in the order in which they are taken."""


def require_two_classes(names: Sequence[str]) -> None:
    """Raise :class:`ImageError` where there is no second class to lie behind the wall."""
    if len(names) < 2:
        raise ImageError(
            f"pairs of two classes need at least two class folders; got {len(names)}: add a class, "
            "or stack photographs of one class (--pairs same)"
        )


def two_class_pairs(
    classes: Sequence[ClassPhotos], place: int, loader: Loader
) -> Iterator[tuple[str, tuple[View, View]]]:
    """Pairs of the class at `place` (seen) above another one, whose name comes first; lazily.

    The other classes take turns, from the next one of `classes` on: with one pair a class, every
    class is seen once and lies behind the wall once. No two photographs make a pair twice, and
    those that cannot be used, or show the same pixels in both classes, make none.
    """
    _, photos = classes[place]
    others = [classes[(place + shift) % len(classes)] for shift in range(1, len(classes))]
    # from the end, so that a class does not show one photograph above and behind the wall
    going = [
        (name, crossed_pairs(photos, theirs[::-1], start=shift))
        for shift, (name, theirs) in enumerate(others)
    ]
    while going:
        left = []
        for name, pairs in going:
            views = _next(pairs, loader)
            if views is not None:
                left.append((name, pairs))
                yield name, views
            elif all(loader.refused(photo) for photo in photos):
                return
        going = left


def _next(pairs: Iterator[tuple[Photo, Photo]], loader: Loader) -> tuple[View, View] | None:
    for first, second in pairs:
        if loader.refused(first) or loader.refused(second):
            continue
        top, bottom = loader.view(first), loader.view(second)
        if top is None or bottom is None:
            continue
        if top.content.sha256 != bottom.content.sha256:
            return top, bottom
    return None
