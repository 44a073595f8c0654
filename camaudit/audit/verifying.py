"""A wall's dead zone, verified by perturbation before anything is scored on it."""

from __future__ import annotations

from torch import Tensor

from camaudit.errors import ZoneError
from camaudit.walls import DeadZone, WalledModel, verify_zone

__all__ = ["verified_zone"]


def verified_zone(walled: WalledModel, images: Tensor, *, seed: int) -> DeadZone:
    """The zone of `walled` with its verification on `images` (N×C×H×W).

    Raises :class:`ZoneError` if it is refuted, or if the model ignores the live pixels too.
    """
    outcome = verify_zone(walled, images, walled.zone, seed=seed)
    if not outcome.live_changed:
        raise ZoneError(
            "changing the live pixels did not change the logits either: the model ignores its "
            "input, so nothing can be said of what it sees"
        )
    if not outcome.passed:
        raise ZoneError(
            f"the dead zone is refuted: changing dead pixels moved the logits by "
            f"{outcome.max_abs_difference:.3g} (allowed {outcome.bound:.3g} on {outcome.device})"
        )
    return walled.zone.with_verification(outcome)
