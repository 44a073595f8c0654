"""How the work of an evaluation is cut into batches, and how much of it there is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from camaudit.evaluation import imputed
from camaudit.evaluation.explained import Explainer
from camaudit.evaluation.options import Options

__all__ = ["batches", "slow", "unit", "work"]

_COSTLY = 300  # passes that the maps of a costly method are taken to need, for the ETA


def batches(
    count: int, *, methods: Sequence[Explainer], costly_images: int, batch_size: int
) -> Iterator[range]:
    """The images of an evaluation that are explained together.

    Those that methods take which run the model many times an image come one by one: there is
    nothing to gain by more, and each may be computed elsewhere.
    """
    single = min(costly_images, count) if any(map(slow, methods)) else 0
    yield from (range(place, place + 1) for place in range(single))
    for start in range(single, count, batch_size):
        yield range(start, min(start + batch_size, count))


def work(
    count: int, *, methods: Sequence[Explainer], options: Options, costly_images: int,
    size: Sequence[int],
) -> int:  # fmt: skip
    """About how many passes an evaluation of images of a size (H, W) takes, as progress has it."""
    return sum(
        (min(costly_images, count) if slow(method) else count) * unit(method, options, size)
        for method in methods
    )


def unit(method: Explainer, options: Options, size: Sequence[int]) -> int:
    """About how many passes an image takes with a method."""
    checks = options.checks
    passes = 2 * bool({"confidence", "adcc"} & set(checks))
    height, width = size
    maps = 1 + ("adcc" in checks)
    if "insertion-deletion" in checks:
        passes += 2 * -(-height * width // options.pixels_per_step)
    if "road" in checks:
        passes += imputed.PASSES
    if "sensitivity" in checks:
        maps += options.samples
    return passes + maps * (_COSTLY if slow(method) else 1)


def slow(method: Explainer) -> bool:
    """Whether a method runs the model many times an image."""
    info = getattr(method, "info", None)
    return bool(info is not None and info.many_passes)
