"""A library's call on watched layers: what it raises on a wrong layer becomes a plain message."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from camaudit.adapters.base import watched
from camaudit.errors import MethodError, NotApplicableError

__all__ = ["explained"]


def explained(
    label: str,
    model: nn.Module,
    layers: dict[str, nn.Module],
    explain: Callable[[], Tensor],
    *,
    advice: str | None,
    once: dict[str, nn.Module] | None = None,
) -> Tensor:
    """What `explain` returns while `layers` of `model` are watched.

    Raises :class:`NotApplicableError` where a layer runs several times in a pass, or where the
    library fails and a module of `once` does; :class:`MethodError` where a layer gives no maps
    N×K×h×w and the library fails on that. `advice` says what to do then, None where the layer's
    output is turned into maps.
    """
    with watched(model, {**(once or {}), **layers}) as seen:
        try:
            maps = explain()
        except Exception as error:
            if once and (twice := seen.repeated(once)) is not None:
                raise _repeated(label, twice) from error
            if (odd := seen.odd(layers)) and advice is not None:
                raise MethodError(
                    f"{label} needs maps N×K×h×w of its layer: {odd}; {advice}"
                ) from error
            raise
    if (twice := seen.repeated(layers)) is not None:
        raise _repeated(label, twice)
    return maps


def _repeated(label: str, name: str) -> NotApplicableError:
    return NotApplicableError(
        f"{label} hooks the layer {name!r}, which runs more often than the model (a module that is "
        "used twice, or a layer below a split wall): its hooks cannot tell the runs apart; choose "
        "another layer, or --wall insert"
    )
