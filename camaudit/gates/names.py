"""Names that a policy may use, so that it is read without torch.

A test holds them to the registries that they come from.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

__all__ = [
    "CHECKS", "CONTROLS", "COSTLY", "DEAD_ZONE", "HEADS", "INVARIANCE", "METHODS", "ORDERS",
    "PRECISIONS", "PROPERTIES", "SCHEMES", "STANDARD", "WALLS", "near",
]  # fmt: skip

DEAD_ZONE = "dead-zone"
INVARIANCE = "invariance"
CHECKS = (
    DEAD_ZONE, "mprt", "emprt", "smprt", "random-logit", "data-randomisation", INVARIANCE,
)  # fmt: skip
WALLS = ("auto", "split", "insert", "vgg16")
ORDERS = ("top-down", "bottom-up", "independent")
SCHEMES = ("he", "module", "permute")
HEADS = ("softmax", "sigmoid")
PRECISIONS = ("float32", "bfloat16", "float16")

#: Registered methods, and the defaults of their options.
METHODS: dict[str, dict[str, bool | int | float | str | None]] = {
    "ablationcam": {},
    "cam": {},
    "fem": {"k": 2.0, "form": "paper"},
    "lafam": {},
    "gradcam": {},
    "gradcam++": {"epsilon": 0.0},
    "xgradcam": {},
    "hirescam": {},
    "layercam": {},
    "elementwise": {},
    "augmentedgradcam++": {"samples": 8, "degrees": 15.0, "shift": 0.1},
    "rise": {"masks": 4000, "cells": 7, "keep": 0.5},
    "finercam": {"strength": 0.6, "references": 3},
    "uniform": {},
    "random": {},
    "gaussian": {},
    "sobel": {},
    "eigencam": {},
    "eigengradcam": {},
    "segeigencam": {},
    "fullgrad": {},
    "scorecam": {
        "score": "logit", "normalise": "after", "align_corners": True, "channel_softmax": True,
        "baseline": "none",
    },
    "gscorecam": {"channels": 300},
    "scorecam++": {"baseline": "none", "activation": "tanh", "gate_map": True},
    "groupcam": {"groups": 32, "percentile": 70.0},
    "kpcacam": {"kernel": "sigmoid", "gamma": None},
    "polycam": {"layers": 2, "form": "±"},
    "refinecam": {"base": "gradcam++", "layers": 3},
    "opticam": {"steps": 100, "learning_rate": 0.1},
    "reciprocam": {"baseline": "zero"},
    "reciprocam-gaussian": {"baseline": "zero"},
    "shapleycam": {},
    "liftcam": {},
    "smoothgradcam++": {"samples": 4, "std": 0.3},
    "sscam": {"samples": 35, "std": 2.0, "noise": "mask"},
    "iscam": {"steps": 10},
    "attention-rollout": {},
    "legrad": {"pool": "own"},
    "vit-reciprocam": {"window": "gaussian", "baseline": "zero"},
}  # fmt: skip

#: What a run takes without a list of methods.
STANDARD = (
    "cam", "gradcam", "gradcam++", "xgradcam", "hirescam", "layercam", "elementwise", "eigencam",
    "scorecam", "scorecam++", "ablationcam", "uniform", "random", "gaussian", "sobel",
)  # fmt: skip

#: Methods that know nothing of the model: shown beside others, and held to nothing by default.
CONTROLS = ("uniform", "random", "gaussian", "sobel")

#: Methods that run the model many times an image: they take fewer images, and take part in the
#: sanity checks only where costly_cascades lets them.
COSTLY = (
    "rise", "scorecam", "gscorecam", "scorecam++", "groupcam", "polycam", "opticam", "sscam",
    "iscam",
)  # fmt: skip

#: Properties of the check invariance.
PROPERTIES = (
    "hygiene-state", "hygiene-grad", "hygiene-hooks", "hygiene-random", "hygiene-settings",
    "hygiene-input", "hygiene-error", "own-memory", "call-history", "failing-model",
    "channel-permutation", "channel-scale", "channel-duplicate", "channel-added", "dead-channel",
    "completeness", "completeness-pooled", "score-linearity", "dead-pixels-live-part",
    "dead-mass-zero", "linear-split", "linear-merge", "implementation", "containers",
    "folded-norm", "input-shift", "constant-image", "zero-map", "map-range", "batch-order",
    "batch-size", "determinism", "memory-format", "dtype", "logit-scale", "logit-shift",
    "increasing-score", "class-permutation", "flip-horizontal", "flip-horizontal-kernels",
    "flip-vertical", "flip-vertical-kernels", "transpose", "transpose-kernels", "translation",
)  # fmt: skip


def near(given: str, known: Iterable[str]) -> str:
    """What may have been meant, as the end of a message: the near names, or else all of them.

    >>> near("grad_cam", ["gradcam", "uniform"])
    'did you mean gradcam?'
    """
    names = list(known)
    close = difflib.get_close_matches(given, names, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"known are {', '.join(names)}"
