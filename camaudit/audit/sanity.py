"""The sanity checks of an audit: run on the subject, judged against bounds, and pictured."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from camaudit.audit.batches import all_images
from camaudit.audit.identity import second_key
from camaudit.audit.progress import Progress
from camaudit.audit.sanity_claims import sanity_claims
from camaudit.audit.settings import Settings
from camaudit.audit.subject import Second, Subject
from camaudit.data.stack_mix import StackImage
from camaudit.errors import UsageError
from camaudit.journal import Journal
from camaudit.maps import upsample
from camaudit.methods import MethodCall, method_call
from camaudit.report.sanity_pictures import SanityPicture, shown_steps
from camaudit.sanity import Options, SanityResult, run_sanity
from camaudit.sanity.run import Checks, opened
from camaudit.streams import Images
from camaudit.types import Claim

__all__ = ["SECOND", "SanityFindings", "audit_sanity", "opened_checks"]

PICTURES = 3  #: images whose maps along the first cascade are kept for the report
_ORIGINAL = "original"
SECOND = "data-randomisation"  #: the check that needs a second model


@dataclass(frozen=True, eq=False)
class SanityFindings:
    """What the sanity checks of a run found.

    `sanity` is results.json's, without timings, which are seconds in `seconds`; `second` describes
    the model trained on permuted labels.
    """

    sanity: dict[str, Any]
    claims: list[Claim]
    pictures: list[SanityPicture]
    seconds: dict[str, float]
    warnings: tuple[str, ...]
    second: dict[str, Any] | None

    @property
    def empty(self) -> bool:
        """Whether no cell has a value."""
        parts = [*self.sanity["curves"], *self.sanity["tables"]]
        return not any(_scored(part["values"]) for part in parts)

    @property
    def failed(self) -> bool:
        """Whether any method failed on any image."""
        return any(remark["outcome"] == "error" for remark in self.sanity["remarks"])


def audit_sanity(
    settings: Settings,
    subject: Subject,
    images: Sequence[StackImage],
    methods: Sequence[str],
    progress: Progress,
    *,
    journal: Journal | None = None,
    second: Second | None = None,
) -> SanityFindings:
    """Run the sanity checks of the settings on the subject's model, which stays as it is.

    The model is the subject's own, without a wall unless its weights hold one. Methods that run
    the model many times an image take part where the settings say so. What the `journal` knows is
    taken from it, and the rest is kept there. `second` is the model trained on permuted labels, for
    data randomisation. Raises the errors of :func:`camaudit.sanity.run_sanity`, and
    :class:`UsageError` where no method is left.
    """
    calls, warnings = _taking_part(settings, methods)
    kept = _Kept(images[:PICTURES], settings.sanity)
    found = run_sanity(
        subject.model, subject.layer, all_images(subject, images), methods=calls,
        options=settings.sanity, progress=progress, sink=kept,
        permuted=None if second is None else second.model,
        permuted_layer=None if second is None else second.layer,
        permuted_key=None if second is None or journal is None else second_key(second),
        journal=journal,
    )  # fmt: skip
    families = {call.label: call.info.family for call in calls}
    plain = found.to_dict()
    seconds = plain.pop("timing")
    return SanityFindings(
        sanity={**plain, "families": families},
        claims=sanity_claims(found, families),
        pictures=kept.pictures(found),
        seconds={name: round(value, 3) for name, value in seconds.items()},
        warnings=warnings if second is None else (*warnings, *second.warnings),
        second=None if second is None else second.description,
    )


def opened_checks(
    settings: Settings,
    subject: Subject,
    methods: Sequence[str],
    images: Images,
    *,
    second: Second | None = None,
    permuted: str | None = None,
) -> AbstractContextManager[Checks]:
    """The sanity checks of the settings, to be computed part by part.

    second: the model trained on permuted labels; without, data randomisation is not among them.
    permuted: what stands for it in keys.
    """
    calls, _ = _taking_part(settings, methods)
    own = tuple(name for name in settings.sanity.checks if second or name != SECOND)
    options = replace(settings.sanity, checks=own)
    return opened(
        subject.model, subject.layer, images, methods=calls, options=options,
        permuted=None if second is None else second.model,
        permuted_layer=None if second is None else second.layer,
        permuted_key=permuted, sink=_Wanted(min(PICTURES, len(images)), options),
    )  # fmt: skip


def _taking_part(
    settings: Settings, methods: Sequence[str]
) -> tuple[list[MethodCall], tuple[str, ...]]:
    calls = [method_call(name) for name in methods]
    left = [call.label for call in calls if call.info.many_passes and not settings.costly_cascades]
    fixed = [call.label for call in calls if call.info.fixed]
    calls = [call for call in calls if call.label not in (*left, *fixed)]
    if not calls:
        raise UsageError(
            f"{', '.join((*left, *fixed))}: methods that run the model many times an image take no "
            "part in sanity checks unless --costly-cascades asks for it, and precomputed maps "
            "never do; name others too"
        )
    told = []
    if left:
        told.append(
            f"{', '.join(left)} took no part in the sanity checks, because that runs the model "
            "many times for every image and random model; --costly-cascades has it done"
        )
    if fixed:
        told.append(
            f"the sanity checks are not applicable to {', '.join(fixed)}: precomputed maps cannot "
            "be made again for another model, class or image"
        )
    return calls, tuple(told)


class _Wanted:
    """Wants the maps of the first `count` images under the first cascade, and the originals."""

    def __init__(self, count: int, options: Options) -> None:
        self._count = count
        check = next((name for name in ("mprt", "smprt") if name in options.checks), None)
        self._source = None if check is None else (check, options.orders[0], options.seeds[0])

    def wants(self, check: str, order: str, seed: int | None, image: int) -> bool:
        """Whether a map will be shown."""
        if self._source is None or image >= self._count:
            return False
        original = (self._source[0], _ORIGINAL, None)
        return (check, order, seed) in (self._source, original)

    def __call__(
        self, check: str, order: str, method: str, seed: int | None, step: int, image: int,
        saliency: Tensor,
    ) -> None:  # fmt: skip
        """Nothing: who computes a part has its maps kept with what it finds."""


class _Kept(_Wanted):
    """Keeps the maps of the first images under the first cascade and seed, and the originals."""

    def __init__(self, images: Sequence[StackImage], options: Options) -> None:
        super().__init__(len(images), options)
        self._images = list(images)
        self._maps: dict[tuple[str, int, int], NDArray[np.float32]] = {}

    def __call__(
        self, check: str, order: str, method: str, seed: int | None, step: int, image: int,
        saliency: Tensor,
    ) -> None:  # fmt: skip
        """Keep a map at its image's size."""
        del check, order, seed
        raised = upsample(saliency[None].float(), self._images[image].size)[0]
        self._maps[method, step, image] = raised.cpu().numpy()

    def pictures(self, found: SanityResult) -> list[SanityPicture]:
        """One picture an image; none where no cascade was run."""
        if self._source is None:
            return []
        check, order, seed = self._source
        names = ("trained", *(step.layer for step in found.steps if step.order == order))
        places = shown_steps(len(names))
        return [
            SanityPicture(
                id=image.id,
                title=image.label_name or image.id,
                pixels=image.pixels,
                check=check,
                order=order,
                seed=seed,
                steps=tuple(names[place] for place in places),
                maps={
                    str(method): tuple(self._maps.get((method, place, number)) for place in places)
                    for method in found.settings["methods"]
                },
            )
            for number, image in enumerate(self._images)
        ]


def _scored(values: Any) -> bool:
    if isinstance(values, (list, tuple)):
        return any(_scored(value) for value in values)
    return values is not None
