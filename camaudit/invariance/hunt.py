"""Drawing examples until one shows what is looked for, and then smaller ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from hypothesis import HealthCheck, Phase, given, reject, seed, settings
from hypothesis.errors import Unsatisfiable

from camaudit.invariance.guard import FaultError
from camaudit.invariance.run import Search
from camaudit.invariance.situation import Drawn
from camaudit.invariance.strategies import situations

__all__ = ["Enough", "Shown", "hunt"]

#: So many examples are tried on the way to a smaller one.
TRIES = 300


class Shown(Exception):  # noqa: N818 - no error: it ends a search that has found something
    """An example that shows what is looked for.

    `size` measures it, in parameters and pixels; `error` is the explainer's fault, if it is one.
    """

    def __init__(self, drawn: Drawn, size: int, error: FaultError | None = None) -> None:
        super().__init__(str(error or "found"))
        self.drawn = drawn
        self.size = size
        self.error = error


class Enough(BaseException):
    """Raised by what sees examples where no further one is worth its time."""


def hunt(
    see: Callable[[Drawn], bool],
    search: Search,
    limits: Mapping[str, Any],
    *,
    shrink: bool = True,
) -> Shown | None:
    """Draw examples of :func:`situations` with these limits; the smallest that `see` has shown.

    `see` returns whether an example says anything (one that does not is drawn again), and raises
    :class:`Shown`. None where `search.examples` were seen, or ten times as many drawn. With
    `shrink`, :data:`TRIES` further ones are tried on the way to a smaller one.
    """
    found: list[Shown] = []
    tried = 0

    @seed(search.seed)
    @settings(
        max_examples=search.examples,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink) if shrink else (Phase.generate,),
        suppress_health_check=list(HealthCheck),
        report_multiple_bugs=False,
        print_blob=False,
    )
    @given(situations(**limits))
    def run(drawn: Drawn) -> None:
        nonlocal tried
        tried += bool(found)
        if tried > TRIES:
            raise Enough
        try:
            says = see(drawn)
        except Shown as shown:
            found.append(shown)
            raise
        if not says:
            reject()

    try:
        run()
    except (Enough, Unsatisfiable):
        pass
    except Exception:
        # What was shown counts, also where Hypothesis complains of an explainer that is not steady.
        if not found:
            raise
    return min(found, key=lambda shown: shown.size, default=None)
