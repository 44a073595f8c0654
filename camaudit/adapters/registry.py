"""From a spec to the adapter that it names."""

from __future__ import annotations

from collections.abc import Callable

from camaudit.adapters import captum, pytorch_grad_cam, torchcam
from camaudit.adapters.base import Adapter
from camaudit.adapters.precomputed import Precomputed, precomputed
from camaudit.spelling import Spelled

__all__ = ["load_adapter"]

_MAKERS: dict[str, Callable[[Spelled], Adapter]] = {
    "pytorch_grad_cam": pytorch_grad_cam.adapter,
    "torchcam": torchcam.adapter,
    "captum": captum.adapter,
}


def load_adapter(spec: Spelled) -> Adapter | Precomputed:
    """The explainer of a library's class, or of a folder of maps.

    Raises :class:`camaudit.errors.MissingExtraError` where the library is not installed, and
    :class:`camaudit.errors.UsageError` for a version, class, option or folder that cannot be used.
    """
    return precomputed(spec) if spec.kind == "maps" else _MAKERS[spec.source](spec)
