"""Infidelity and max-sensitivity: the perturbed images of a batch run once for all methods."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from torch import Tensor

from camaudit.capture import Capture
from camaudit.evaluation.cells import Cells
from camaudit.evaluation.explained import Explainer, Maps, NoMaps, explained_each
from camaudit.evaluation.options import Options
from camaudit.evaluation.passes import Passes, logit_of
from camaudit.metrics.infidelity import (
    gaussian_noise,
    infidelity,
    max_sensitivity,
    score_changes,
    uniform_noise,
)

__all__ = ["Perturbed", "perturb"]


@dataclass(frozen=True, eq=False)
class Perturbed:
    """What a batch's images became: infidelity's changes with the scores' own, and captures.

    noise: N×S×C×H×W, changes: N×S. moved: N×S×C×H×W of max-sensitivity, and a capture of the
    images under each of the S; None where a metric is not asked for.
    """

    noise: Tensor | None = None
    changes: Tensor | None = None
    moved: Tensor | None = None
    captures: tuple[Capture, ...] = ()

    def rows(self, part: slice) -> Perturbed:
        """Those of some of the images."""
        noise, changes, moved = (
            None if tensor is None else tensor[part]
            for tensor in (self.noise, self.changes, self.moved)
        )
        captures = tuple(one.rows(part.start, part.stop) for one in self.captures)
        return replace(self, noise=noise, changes=changes, moved=moved, captures=captures)

    def put_infidelity(self, cells: Cells, method: Explainer, found: Maps, start: int) -> None:
        """Put infidelity of these images into `cells`."""
        if self.noise is not None and self.changes is not None:
            figures = infidelity(found.maps, self.noise, self.changes)
            cells.put("infidelity", method.label, start, figures, found.reasons)

    def put_sensitivity(
        self, cells: Cells, method: Explainer, seen: Capture, found: Maps, start: int, *,
        seed: int,
    ) -> None:  # fmt: skip
        """Put max-sensitivity of these images into `cells`."""
        if self.moved is None:
            return
        waiting, failed = iter(self.captures), dict[int, NoMaps]()

        def again(_images: Tensor) -> Tensor:
            maps, none = explained_each(method, next(waiting), seed=seed)
            failed.update({row: why for row, why in none.items() if row not in failed})
            return maps

        figures = max_sensitivity(again, seen.images, found.maps, self.moved)
        cells.put("max-sensitivity", method.label, start, figures, found.reasons)
        for row, none in failed.items():
            if found.reasons[row] is None:
                reason = f"on slightly changed images: {none.message}"
                cells.missing(["max-sensitivity"], method.label, [start + row], none.why, reason)


def perturb(seen: Capture, options: Options, wanted: Collection[str], passes: Passes) -> Perturbed:
    """Draw the changes of a batch for the `wanted` checks and run what all methods share."""
    found = Perturbed()
    if "infidelity" in wanted:
        noise = gaussian_noise(
            seen.images, seed=options.seed, samples=options.samples, sigma=options.noise
        )
        with passes.of("infidelity"):
            changes = score_changes(
                passes, seen.images, seen.targets, noise,
                full=logit_of(seen.logits, seen.targets), batch_size=passes.batch_size,
            )  # fmt: skip
        found = replace(found, noise=noise, changes=changes)
    if "sensitivity" in wanted:
        moved = uniform_noise(
            seen.images, seed=options.seed, samples=options.samples, radius=options.radius
        )
        captures = tuple(seen.again(images) for images in (seen.images[:, None] + moved).unbind(1))
        passes.add("sensitivity", len(seen) * options.samples)
        found = replace(found, moved=moved, captures=captures)
    return found
