"""Why methods violate a property by their definition: reasons that several properties share."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = [
    "ADAM",
    "CHANNELS",
    "FIXED",
    "MASKS",
    "PLUSPLUS",
    "PROBABILITY",
    "SCORES",
    "because",
]

#: Methods whose weights are Grad-CAM++'s
PLUSPLUS = ("gradcam++", "smoothgradcam++", "augmentedgradcam++", "refinecam")
#: A softmax over channels of the logits of masked images
SCORES = ("scorecam", "gscorecam", "sscam", "iscam")
#: Probabilities of masked images
PROBABILITY = ("rise", "scorecam++", "groupcam", "polycam")
#: Ascent along the score
ADAM = ("opticam",)
#: Maps weighted by scores of images masked by the maps, channel by channel
MASKS = (*SCORES, "scorecam++", "polycam", *ADAM)
#: The channels alone, whatever reads them
CHANNELS = ("eigencam", "kpcacam", "fem", "lafam")
#: Neither the score nor the channels
FIXED = ("uniform", "random", "gaussian", "sobel")


def because(reasons: Mapping[tuple[str, ...], str]) -> dict[str, str]:
    """The reason of every method, from reasons of groups of methods."""
    return {name: reason for names, reason in reasons.items() for name in names}
