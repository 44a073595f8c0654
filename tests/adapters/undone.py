"""Explainers in which a difference between a library's class and ours is undone, as functions.

`camaudit run --explainers tests/adapters/undone.py:undivided` runs one; what each changes is said
by the claims of docs/conformance.md that they come from.
"""

from __future__ import annotations

from camaudit.invariance import Explain
from tests.invariance.claims import Instead, claim_of

__all__ = ["UNDONE", "ablated_as_theirs", "undivided", "with_our_sign"]


def _instead(package: str, name: str) -> Instead:
    claim = claim_of(package, name)
    assert claim is not None
    assert claim.instead is not None
    return claim.instead


def _ours(package: str, name: str) -> Explain:
    changed = _instead(package, name).method
    assert callable(changed)
    return changed


def _theirs(package: str, name: str) -> Explain:
    return _instead(package, name).explain


#: Grad-CAM++ whose α is not divided, as torchcam's is not.
undivided = _ours("torchcam", "GradCAMpp")
#: AblationCAM divided by the score itself, its channels ablated as pytorch-grad-cam ablates them.
ablated_as_theirs = _ours("pytorch-grad-cam", "AblationCAM")
#: pytorch-grad-cam's EigenCAM with the sign that ours has.
with_our_sign = _theirs("pytorch-grad-cam", "EigenCAM")

#: The names above by library and class.
UNDONE = {
    ("torchcam", "GradCAMpp"): "undivided",
    ("pytorch-grad-cam", "AblationCAM"): "ablated_as_theirs",
    ("pytorch-grad-cam", "EigenCAM"): "with_our_sign",
}
