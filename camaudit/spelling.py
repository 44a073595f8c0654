"""How explainers and options are written: `scorecam(score=probability)`, `captum:Saliency`."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Literal, NamedTuple

from camaudit.errors import UsageError

__all__ = [
    "EXTRAS",
    "MAPS",
    "Spelled",
    "Written",
    "called",
    "is_named",
    "listed",
    "placed",
    "spelled",
]

MAPS = "maps"  #: what a folder of maps goes by, as in `maps:FOLDER`
#: Libraries whose explainers go by `LIBRARY:CLASS(options)`, and the extra that brings each.
EXTRAS = {"pytorch_grad_cam": "grad-cam", "torchcam": "torchcam", "captum": "captum"}

_CALL = re.compile(r"\s*([^()\s]+)\s*(?:\((.*)\)\s*)?", re.DOTALL)
_CLASS = re.compile(r"([^\W\d]\w*)\s*(?:\(([^()]*)\))?\s*(?:=(.*))?", re.DOTALL)
_FOLDER = re.compile(r"(.+?)(?:\(([^()]*=[^()]*)\))?", re.DOTALL)
_FUNCTION = re.compile(r"(.+):([^\W\d]\w*)(?:=(.*))?", re.DOTALL)
_NAME = re.compile(r"[^\s(),:=/\\]+")


class Written(NamedTuple):
    """An option as it was written; `value` is None where there was no `=`."""

    text: str
    key: str
    value: str | None


@dataclass(frozen=True)
class Spelled:
    """An explainer's spec in its parts.

    `source` is a library of :data:`EXTRAS`, a folder of maps, or a module or file; `name` the class
    or function in it, empty for a folder; `claim` the method that it claims to be, as written.
    """

    kind: Literal["library", "maps", "function"]
    source: str
    name: str = ""
    options: tuple[tuple[str, str], ...] = ()
    claim: str | None = None

    @property
    def spec(self) -> str:
        """The canonical spelling without the claim: options in alphabetical order."""
        head = f"{MAPS}:{self.source}" if self.kind == "maps" else f"{self.source}:{self.name}"
        given = ", ".join(f"{key}={value}" for key, value in self.options)
        return f"{head}({given})" if given else head

    @property
    def label(self) -> str:
        """The explainer's name in results.json."""
        if self.kind == "maps":
            return dict(self.options).get("name", f"{MAPS}:{PurePath(self.source).name}")
        return self.spec if self.kind == "library" else self.name


def called(text: str) -> tuple[str, list[Written]]:
    """The name and the options of `NAME` or `NAME(option=value, …)`; UsageError for other text."""
    found = _CALL.fullmatch(text)
    if found is None:
        raise UsageError(f"a method is written NAME or NAME(option=value, …); got {text!r}")
    return found[1], _written(found[2])


def is_named(text: str) -> bool:
    """Whether `text` is a method's name, maybe with options, and not a spec with a colon."""
    return ":" not in text


def listed(text: str) -> list[str]:
    """The explainers of a list between commas.

    A comma in brackets parts options. So does one before which stands no whole explainer, neither
    a plain name nor anything with a colon: it belongs to a path.

    >>> listed("gradcam, captum:Occlusion(strides=3+8+8,reduce=sum),/a,b/mine.py:explain")
    ['gradcam', 'captum:Occlusion(strides=3+8+8,reduce=sum)', '/a,b/mine.py:explain']
    """
    found: list[str] = []
    begun = ""
    for part in re.split(r",(?![^(]*\))", text):
        begun = f"{begun},{part}" if begun else part
        if ":" in begun or re.fullmatch(r"\s*[\w+-]*\s*(\(.*\)\s*)?", begun, re.DOTALL):
            found.append(begun.strip())
            begun = ""
    return [one for one in [*found, begun.strip()] if one]


def spelled(text: str) -> Spelled:
    """The parts of `LIBRARY:CLASS(options)=METHOD`, `maps:FOLDER(options)` or `file.py:function`.

    Nothing is imported. Raises :class:`UsageError` for what is none of them.

    >>> spelled("captum:IntegratedGradients(reduce=sum, n_steps=20)").label
    'captum:IntegratedGradients(n_steps=20, reduce=sum)'
    >>> spelled("maps:out/ig(name=ig)").label, spelled("mine.py:explain=gradcam").claim
    ('ig', 'gradcam')
    """
    head, mark, rest = text.strip().partition(":")
    library = head.strip().replace("-", "_")
    if mark and library in EXTRAS:
        return _of_library(text, library, rest)
    if mark and head.strip() == MAPS:
        return _of_maps(text, rest)
    found = _FUNCTION.fullmatch(text.strip())
    if found is None:
        raise UsageError(
            f"cannot read the explainer {text!r}: expected package.module:function, "
            f"file.py:function, {', '.join(f'{name}:CLASS' for name in EXTRAS)} or maps:FOLDER, "
            "and =METHOD after it where it claims to be one of camaudit methods"
        )
    return Spelled("function", found[1], found[2], claim=_claim(text, found[3]))


def placed(spec: str, folder: PurePath) -> str:
    """The spec, its file or its folders of maps taken from `folder` where they are relative.

    >>> from pathlib import PurePosixPath
    >>> placed("maps:out/ig(unwalled=out/plain)", PurePosixPath("/repo"))
    'maps:/repo/out/ig(unwalled=/repo/out/plain)'
    >>> placed("captum:Saliency", PurePosixPath("/repo"))
    'captum:Saliency'
    """
    source, mark, name = spec.partition(":")
    if source.endswith(".py"):
        return f"{folder / source}{mark}{name}"
    if not mark or source.strip() != MAPS:
        return spec
    found = spelled(spec)
    options = tuple(
        (key, str(folder / value) if key == "unwalled" else value) for key, value in found.options
    )
    return replace(found, source=str(folder / found.source), options=options).spec


def _of_library(text: str, library: str, rest: str) -> Spelled:
    found = _CLASS.fullmatch(rest.strip())
    if found is None:
        raise UsageError(
            f"cannot read the explainer {text!r}: expected {library}:CLASS or "
            f"{library}:CLASS(option=value, …), and =METHOD after it where it claims to be one"
        )
    options = _options(text, found[2])
    return Spelled("library", library, found[1], options, _claim(text, found[3]))


def _of_maps(text: str, rest: str) -> Spelled:
    found = _FOLDER.fullmatch(rest.strip())
    if found is None:
        raise UsageError(f"{text!r} names no folder: expected maps:FOLDER, the folder of the maps")
    options = _options(text, found[2])
    name = dict(options).get("name")
    if name is not None and not _NAME.fullmatch(name):
        raise UsageError(
            f"{text!r}: expected a name without spaces, brackets, commas, colons, equals signs and "
            f"slashes; got {name!r}"
        )
    return Spelled("maps", found[1].strip(), options=options)


def _options(text: str, written: str | None) -> tuple[tuple[str, str], ...]:
    options: dict[str, str] = {}
    for one in _written(written):
        if not one.key or not one.value:
            raise UsageError(f"{text!r}: an option is written option=value; got {one.text!r}")
        if one.key in options:
            raise UsageError(f"{text!r} gives the option {one.key} twice")
        plain = one.value.lower() in ("true", "false", "none")
        options[one.key] = one.value.lower() if plain else one.value
    return tuple(sorted(options.items()))


def _written(text: str | None) -> list[Written]:
    found = []
    for part in filter(None, map(str.strip, (text or "").split(","))):
        key, mark, value = (piece.strip() for piece in part.partition("="))
        found.append(Written(part, key, value if mark else None))
    return found


def _claim(text: str, claim: str | None) -> str | None:
    if claim is not None and not claim.strip():
        raise UsageError(f"{text!r} names no method after the =; see camaudit methods")
    return claim
