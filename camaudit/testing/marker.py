"""The marker camaudit: what a test audits by, where it does not say so itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import pytest

from camaudit.errors import UsageError
from camaudit.gates.binding import explainers_of

if TYPE_CHECKING:
    from camaudit.gates.policy import Policy
    from camaudit.testing.session import AuditSession

__all__ = ["Marked", "marked", "parametrise"]

MARKER = "camaudit"
ARGUMENT = "camaudit_explainer"


@dataclass(frozen=True, kw_only=True)
class Marked:
    """The marker's arguments, those of the nearest marker first.

    checks: names. policy: a path, or a policy. explainers: those of `camaudit_explainer`.
    """

    checks: tuple[str, ...] | None = None
    policy: Any = None
    explainers: tuple[Any, ...] | None = None


def marked(marks: Iterable[pytest.Mark]) -> Marked:
    """What markers say, the nearest of them first; raises :class:`UsageError`."""
    known = [one.name for one in fields(Marked)]
    found: dict[str, Any] = {}
    for mark in marks:
        wrong = [repr(argument) for argument in mark.args]
        wrong += [name for name in mark.kwargs if name not in known]
        if wrong:
            raise UsageError(
                f"the marker camaudit takes {', '.join(f'{name}=…' for name in known)}; got "
                f"{', '.join(wrong)}"
            )
        found = {**mark.kwargs, **found}
    for name in ("checks", "explainers"):
        if found.get(name) is not None:
            found[name] = _listed(name, found[name])
    return Marked(**found)


def parametrise(session: AuditSession, metafunc: pytest.Metafunc) -> None:
    """Run a test for each explainer of its marker, else of the policy but the controls.

    A test that is parametrised over `camaudit_explainer` already is left as it is.
    """
    given = [mark.args[0] for mark in metafunc.definition.iter_markers("parametrize") if mark.args]
    if any(ARGUMENT in _names(argument) for argument in given):
        return
    try:
        marks = marked(metafunc.definition.iter_markers(MARKER))
        explainers = _named(marks.explainers) or _explainers(session.policy(marks.policy))
    except UsageError as error:
        raise pytest.Collector.CollectError(
            f"{metafunc.definition.nodeid}: no explainers for {ARGUMENT}: {error}"
        ) from error
    metafunc.parametrize(
        ARGUMENT, [one for _, one in explainers], ids=[name for name, _ in explainers],
        indirect=True,
    )  # fmt: skip


def _names(argument: Any) -> list[str]:
    listed = argument.split(",") if isinstance(argument, str) else list(argument)
    return [str(name).strip() for name in listed]


def _explainers(policy: Policy) -> list[tuple[str, Any]]:
    """Names and explainers; files of the user's own are in the policy's folder."""
    found = []
    for one in explainers_of(policy):
        source, mark, name = one.spec.partition(":")
        own = one.own and source.endswith(".py")
        spec = f"{policy.folder / source}{mark}{name}" if own else one.spec
        found += [] if one.control else [(one.label, spec)]
    if not found:
        raise UsageError(f"{policy.path} has none but controls")
    return found


def _named(explainers: tuple[Any, ...] | None) -> list[tuple[str, Any]]:
    return [
        (one if isinstance(one, str) else getattr(one, "__name__", type(one).__name__), one)
        for one in explainers or ()
    ]


def _listed(name: str, value: Any) -> tuple[Any, ...]:
    if isinstance(value, str) or callable(value):
        value = (value,)
    try:
        found = tuple(value)
    except TypeError:
        found = ()
    if not found:
        raise UsageError(f"the marker camaudit: {name} must list at least one; got {value!r}")
    return found
