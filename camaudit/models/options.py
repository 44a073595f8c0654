"""Options of a model spec, as in `timm:resnet18(num_classes=10, in_chans=1)`."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

from camaudit.errors import ModelError, UsageError
from camaudit.spelling import called

__all__ = ["named_options", "near_names", "refuse_weights"]

_WORDS: dict[str, Any] = {"true": True, "false": False, "none": None}

#: Options by which libraries fetch weights, or unpickle them.
_WEIGHTS = (
    "pretrained", "weights", "weights_backbone", "checkpoint_path", "cache_dir",
    "pretrained_cfg", "pretrained_cfg_overlay",
)  # fmt: skip


def named_options(text: str, *, spec: str) -> tuple[str, dict[str, Any]]:
    """The name and the options of `NAME(option=value, …)`.

    A value is a whole number, a number, true, false or none, a list of these with + between them,
    or a word.

    >>> named_options("resnet18(num_classes=10, depths=1+2)", spec="")
    ('resnet18', {'num_classes': 10, 'depths': [1, 2]})
    """
    try:
        name, written = called(text)
    except UsageError:
        raise ModelError(
            f"cannot read the model spec {spec!r}: expected a name, or NAME(option=value, …)"
        ) from None
    options: dict[str, Any] = {}
    for part, key, value in written:
        if not key.isidentifier() or not value or key in options:
            raise ModelError(
                f"cannot read the option {part!r} of {spec!r}: expected option=value, each once"
            )
        options[key] = _value(value)
    return name, options


def refuse_weights(options: dict[str, Any], *, spec: str) -> None:
    """Raise :class:`ModelError` for options that would fetch weights, or run code in them."""
    wrong = [key for key in _WEIGHTS if key in options]
    if wrong:
        raise ModelError(
            f"{spec!r}: {', '.join(wrong)} is left out here, for nothing is downloaded: give a "
            "local file of weights with --weights"
        )


def near_names(name: str, names: Sequence[str]) -> str:
    """The names that are spelt most like `name`, for a message."""
    return ", ".join(difflib.get_close_matches(name, names, n=3)) or "none near"


def _value(text: str) -> Any:
    if "+" in text and not _is_number(text):
        return [_value(part) for part in text.split("+")]
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _is_number(text: str) -> bool:
    """Whether a + belongs to a number, as in 1e+3."""
    try:
        float(text)
    except ValueError:
        return False
    return True
