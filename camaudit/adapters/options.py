"""Options of a library's class: which there are, and their values from text."""

from __future__ import annotations

import difflib
import inspect
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from camaudit.errors import UsageError
from camaudit.importing import importable, named
from camaudit.spelling import Spelled

__all__ = ["Parameters", "chosen_class", "divided", "layers_in", "parameters"]

#: Options of a call by name, with their defaults (inspect.Parameter.empty where there is none).
Parameters = dict[str, Any]

_EMPTY = inspect.Parameter.empty
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")


def chosen_class(spec: Spelled, classes: Mapping[str, type]) -> type:
    """The class that `spec` names; UsageError, with near names, where there is none."""
    if spec.name in classes:
        return classes[spec.name]
    near = difflib.get_close_matches(spec.name, classes, n=3, cutoff=0.5)
    hint = f"did you mean {', '.join(near)}?" if near else f"it has {', '.join(sorted(classes))}"
    raise UsageError(f"{spec.source} has no explainer {spec.name!r}: {hint}")


def parameters(function: Callable[..., Any], *, without: Collection[str] = ()) -> Parameters:
    """What can be given by keyword to `function` or, for a class, to its constructor.

    A constructor that passes keywords on has those of its base classes too.
    """
    found: Parameters = {}
    owners = function.__mro__ if isinstance(function, type) else (function,)
    for owner in owners:
        made = vars(owner).get("__init__") if isinstance(owner, type) else owner
        if made is None or made is object.__init__:
            continue
        listed = inspect.signature(made).parameters.values()
        own: Parameters = {}
        for one in listed:
            needed = one.default is _EMPTY and found.keys() - {"self"}  # its own class gives that
            if one.kind not in (one.VAR_POSITIONAL, one.VAR_KEYWORD) and not needed:
                own.setdefault(one.name, one.default)
        found = {**own, **found}
        if not any(one.kind is one.VAR_KEYWORD for one in listed):
            break
    return {name: value for name, value in found.items() if name not in {"self", *without}}


def divided(
    spec: Spelled, library: Any, *groups: Parameters
) -> tuple[dict[str, Any], ...]:  # fmt: skip
    """The spec's options with their values, each in the first of the `groups` that knows it.

    Values are true, false, none, numbers, numbers joined by + (a tuple), package.module:name or
    file.py:name (what is called so), a class of `library` by its name, or words. Raises
    :class:`UsageError` for unknown options and values of another type than the default, and for an
    option without a default that is missing.
    """
    found: tuple[dict[str, Any], ...] = tuple({} for _ in groups)
    for key, text in spec.options:
        place = next((number for number, group in enumerate(groups) if key in group), None)
        if place is None:
            known = sorted({name for group in groups for name in group})
            raise UsageError(f"{spec.source}:{spec.name} has no option {key!r}; it has "
                             f"{', '.join(known) or 'none'}")  # fmt: skip
        value = _value(text, library)
        _check(f"{spec.source}:{spec.name}", key, value, groups[place][key])
        found[place][key] = value
    for group, given in zip(groups, found, strict=True):
        lacking = [key for key, value in group.items() if value is _EMPTY and key not in given]
        if lacking:
            raise UsageError(
                f"{spec.source}:{spec.name} needs {', '.join(lacking)}: write "
                f"{spec.source}:{spec.name}({lacking[0]}=…); a tuple is written 3+8+8"
            )
    return found


def layers_in(spec: Spelled, key: str) -> tuple[Spelled, tuple[str, ...]]:
    """The spec without its option `key`, and the names of layers, joined by +, that it held."""
    names = dict(spec.options).get(key, "")
    rest = tuple(option for option in spec.options if option[0] != key)
    return replace(spec, options=rest), tuple(filter(None, names.split("+")))


def _value(text: str, library: Any) -> Any:
    plain = {"true": True, "false": False, "none": None}
    if text in plain:
        return plain[text]
    if _NUMBER.fullmatch(text):
        return float(text) if re.search(r"[.eE]", text) else int(text)
    parts = text.split("+")
    if len(parts) > 1 and all(parts):
        return tuple(_value(part, library) for part in parts)
    source, mark, name = text.rpartition(":")
    if mark:
        with importable(Path.cwd()):
            return named(source, name, what="an explainer's option")
    known = getattr(library, text, None)
    return known if isinstance(known, type) else text


def _check(what: str, key: str, value: Any, default: Any) -> None:
    """A value of another type than the default would often be ignored in silence."""
    if isinstance(default, bool):
        fits, kind = isinstance(value, bool), "true or false"
    elif isinstance(default, int):
        fits, kind = isinstance(value, int) and not isinstance(value, bool), "a whole number"
    elif isinstance(default, float):
        fits, kind = isinstance(value, int | float) and not isinstance(value, bool), "a number"
    elif isinstance(default, type) and default is not _EMPTY:
        fits, kind = isinstance(value, type), f"a class such as {default.__name__}"
    else:
        return
    if not fits:
        raise UsageError(f"{what}: {key} must be {kind}; got {value!r}")
