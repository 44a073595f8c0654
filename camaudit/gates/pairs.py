"""Two samples held against each other, image by image."""

from __future__ import annotations

from dataclasses import dataclass

from camaudit.gates.sample import Array, Sample

__all__ = ["Pair", "paired"]


@dataclass(frozen=True, eq=False)
class Pair:
    """The values of two samples on the images that both have, rows × images."""

    first: Array
    second: Array
    images: tuple[str, ...]


def paired(first: Sample, second: Sample) -> Pair | str:
    """The two on their common images, or why they cannot be compared.

    An image is the same where its id and its pixels are. The images of one must all be among
    those of the other: a comparison on what two sets happen to share would be one of neither.
    """
    if first.values is None or second.values is None:
        return "one of them has no values"
    for name, value in first.context.items():
        if second.context.get(name) != value:
            return f"they differ in {name}"
    if first.rows != second.rows:
        return "they are of other random models"
    places = {key: place for place, key in enumerate(second.keys)}
    common = [place for place, key in enumerate(first.keys) if key in places]
    if not common or len(common) < min(len(first.keys), len(second.keys)):
        return (
            f"they share {len(common)} images of {len(first.keys)} and {len(second.keys)}: one "
            "set must hold the other"
        )
    theirs = [places[first.keys[place]] for place in common]
    images = tuple(first.images[place] for place in common)
    return Pair(first.values[:, common], second.values[:, theirs], images)
