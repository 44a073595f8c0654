"""COCO: boxes and outlines of objects in one JSON file."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from camaudit.data.annotations import (
    MAX_SIDE,
    WANTED,
    Annotated,
    Labelled,
    Polygon,
    Regions,
    checked_box,
    checked_side,
    gathered,
)
from camaudit.data.fields import Fields
from camaudit.data.folders import printable
from camaudit.data.images import read_file
from camaudit.errors import ImageError, UsageError
from camaudit.files import parsed_json

__all__ = ["coco_file"]


def coco_file(path: Path, shown: str, *, boxes_only: bool) -> Regions:
    """A COCO JSON file; images without annotations stay, with no object."""
    root = Fields(_json(path, shown), shown)
    classes = _classes(root)
    images = _images(root)
    objects: dict[int, list[Labelled]] = defaultdict(list)
    ids: dict[int, str] = {}
    for item in root.entries("annotations"):
        if "id" in item.value:
            _once(ids, item.integer("id"), item)
        image_id = item.integer("image_id")
        if image_id not in images:
            raise UsageError(f"{item.where}: no image has the id {image_id}")
        _, _, size = images[image_id]
        objects[image_id].append(_object(item, size, classes, boxes_only=boxes_only))
    entries = [
        Annotated(name, where, size=size, objects=tuple(objects[image_id]))
        for image_id, (name, where, size) in images.items()
    ]
    return gathered(shown, "coco", entries, named=bool(classes))


def _json(path: Path, shown: str) -> Any:
    try:
        return parsed_json(read_file(path).decode("utf-8-sig"))
    except ImageError as error:
        raise UsageError(f"{WANTED}; {shown}: {error}") from error
    except ValueError as error:
        raise UsageError(f"{WANTED}; {shown} is a file, and no JSON: {error}") from error


def _once(ids: dict[int, str], found: int, item: Fields) -> None:
    """Record an id, or refuse it if it was there before."""
    if found in ids:
        raise UsageError(f"{item.where} and {ids[found]} have the same id {found}")
    ids[found] = item.where


def _classes(root: Fields) -> dict[int, str]:
    """Names of the categories by id; none where the file lists none."""
    names: dict[int, str] = {}
    ids: dict[int, str] = {}
    for item in root.entries("categories") if "categories" in root.value else []:
        _once(ids, item.integer("id"), item)
        names[item.integer("id")] = item.text("name")
    return names


def _images(root: Fields) -> dict[int, tuple[str, str, tuple[int, int]]]:
    """(printable file_name, place, (width, height)) by id."""
    images: dict[int, tuple[str, str, tuple[int, int]]] = {}
    ids: dict[int, str] = {}
    for item in root.entries("images"):
        name = str(PurePosixPath(printable(item.text("file_name"))))
        where = f"{item.where} ({name})"
        _once(ids, item.integer("id"), item)
        size = (
            checked_side(item.integer("width"), where),
            checked_side(item.integer("height"), where),
        )
        images[item.integer("id")] = (name, where, size)
    return images


def _object(
    item: Fields, size: tuple[int, int], classes: dict[int, str], *, boxes_only: bool
) -> Labelled:
    """One annotation with its class, where there are classes."""
    label = None
    if classes:
        category = item.integer("category_id")
        if category not in classes:
            raise UsageError(f"{item.where}: no category has the id {category}")
        label = classes[category]
    x, y, w, h = _small(item, "bbox", item.numbers("bbox", whole=False, length=4))
    box = checked_box((x, y, x + w, y + h), size, item.where)
    return Labelled(box, label, () if boxes_only else _outline(item, size))


def _small(item: Fields, key: str, values: Sequence[float]) -> list[float]:
    """The values as floats; none may be so large that sums with it lose their meaning."""
    if any(abs(value) > MAX_SIDE for value in values):
        raise item.error(key, f"within ±{MAX_SIDE}", item.value[key])
    return [float(value) for value in values]


def _outline(item: Fields, size: tuple[int, int]) -> tuple[Polygon, ...]:
    """The polygons of an annotation, each checked as its box is."""
    found = item.value.get("segmentation")
    if isinstance(found, dict):
        raise UsageError(
            f"{item.where}: the segmentation is run-length encoded (RLE), which is not read: give "
            "polygons, leave the annotation out, or take boxes_only=True"
        )
    if found is None or found == []:
        return ()
    if not isinstance(found, list):
        raise item.error("segmentation", "a list of polygons", found)
    polygons = []
    for place, flat in enumerate(found):
        inner = Fields({"polygon": flat}, f"{item.where}: segmentation[{place}]")
        if not isinstance(flat, list) or len(flat) < 6 or len(flat) % 2:
            raise inner.error("polygon", "[x1, y1, x2, y2, …] of three or more corners", flat)
        numbers = inner.numbers("polygon", whole=False, length=len(flat))
        corners = np.array(_small(inner, "polygon", numbers)).reshape(-1, 2)
        (x0, y0), (x1, y1) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
        checked_box((x0, y0, x1, y1), size, inner.where)
        if _on_a_line(corners):
            raise UsageError(f"{inner.where}: the corners lie on a line, so the polygon is empty")
        polygons.append(corners)
    return tuple(polygons)


def _on_a_line(corners: Polygon) -> bool:
    """Whether no corner is away from the line through the first one and the farthest from it."""
    x, y = (corners - corners[0]).T
    square = x * x + y * y
    far = int(square.argmax())
    return not bool((abs(x * y[far] - y * x[far]) > 1e-9 * square[far]).any())
