"""Pascal VOC: boxes of objects in one XML file a photograph, as ImageNet's are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Literal

from defusedxml.ElementTree import ParseError, fromstring

from camaudit.data.annotations import (
    Annotated,
    Labelled,
    Regions,
    checked_box,
    checked_side,
    gathered,
    some,
    split_by_suffix,
)
from camaudit.data.folders import printable
from camaudit.data.images import read_file
from camaudit.errors import ImageError, UsageError

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["Origin", "voc_folder"]

Origin = Literal[0, 1]


def voc_folder(files: Sequence[tuple[str, Path]], shown: str, origin: Origin) -> Regions:
    """A folder of Pascal VOC XML files."""
    wanted, notes = split_by_suffix(files, ".xml")
    entries, others = [], []
    for name, path in wanted:
        where = f"{shown}/{name}"
        root = _xml(path, where)
        stem = PurePosixPath(name[: -len(".xml")])
        named = PurePosixPath(printable((root.findtext("filename") or "").strip())).name
        # ImageNet's files leave the suffix out, and some hold a forgotten "%s".
        suffixed = named != stem.name and PurePosixPath(named).stem == stem.name
        if named and named != stem.name and not suffixed:
            others.append(name)
        size = _size(root, where)
        objects = tuple(
            _object(item, size, f"{where}: object {place}", origin)
            for place, item in enumerate(root.findall("object"), start=1)
        )
        photo = str(stem.with_name(named)) if suffixed else str(stem)
        entries.append(Annotated(photo, where, bare=not suffixed, size=size, objects=objects))
    if others:
        notes.append(
            f"{len(others)} XML files name another photograph in <filename> than the one they are "
            f"named after, and are taken as of the latter ({some(others)})"
        )
    return gathered(shown, "voc", entries, named=True, notes=notes)


def _xml(path: Path, where: str) -> Element:
    """The root of an XML file without a document type, so that no entity can be defined."""
    try:
        root: Element = fromstring(read_file(path), forbid_dtd=True)
    except ImageError as error:
        raise UsageError(f"{where}: {error}") from error
    except (ParseError, ValueError, LookupError) as error:  # defusedxml's are ValueErrors
        raise UsageError(f"{where} is no XML that is safe to read: {error!r}") from error
    if root.tag != "annotation":
        raise UsageError(f"{where}: expected <annotation> at the top, got <{root.tag}>")
    return root


def _only(parent: Element, tag: str, where: str) -> Element:
    """The one child of that name."""
    found = parent.findall(tag)
    if len(found) != 1:
        raise UsageError(f"{where}: expected one <{tag}> in <{parent.tag}>, got {len(found)}")
    return found[0]


def _number(parent: Element, tag: str, where: str) -> float:
    """The finite number in the one child of that name."""
    text = (_only(parent, tag, where).text or "").strip()
    try:
        number = float(text) if text.isascii() and "_" not in text else math.nan
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UsageError(f"{where}: <{tag}> must be a finite number; got {text[:80]!r}")
    return number


def _size(root: Element, where: str) -> tuple[int, int]:
    size = _only(root, "size", where)
    width, height = (_number(size, tag, where) for tag in ("width", "height"))
    if width != int(width) or height != int(height):
        raise UsageError(f"{where}: <size> must be whole pixels; got {width:g}×{height:g}")
    return checked_side(int(width), where), checked_side(int(height), where)


def _object(item: Element, size: tuple[int, int], where: str, origin: Origin) -> Labelled:
    label = (_only(item, "name", where).text or "").strip()
    if not label:
        raise UsageError(f"{where}: <name> is empty")
    bounds = _only(item, "bndbox", where)
    x0, y0, x1, y1 = (_number(bounds, tag, where) for tag in ("xmin", "ymin", "xmax", "ymax"))
    counted = "; if these files count pixels from 0, as ImageNet's do, take origin=0"
    from_zero = origin == 1 and min(x0, y0) == 0
    box = (x0 - origin, y0 - origin, x1, y1)
    return Labelled(checked_box(box, size, where, counted if from_zero else ""), label)
