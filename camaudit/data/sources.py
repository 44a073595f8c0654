"""Where photographs come from: class folders, or ImageNet's flat validation folder.

The validation folder holds `ILSVRC2012_val_00000001.JPEG` to `…_00050000.JPEG`. Which image is of
which class stands in a ground-truth file, of which five forms are understood:

1. one WordNet id a line, line i for image i (`imagenet_2012_validation_synset_labels.txt`);
2. one index a line, 0 to 999 in ascending order of the WordNet ids;
3. the devkit's `ILSVRC2012_validation_ground_truth.txt`: one ILSVRC id a line, 1 to 1000. Its ids
   are *not* in that order, so `synsets` must say what they stand for: the devkit's `meta.mat`, or
   a text with the WordNet id of ILSVRC id i in line i;
4. file name and WordNet id or index a line (Caffe's `val.txt`);
5. Kaggle's `LOC_val_solution.csv`.

Names that end in their WordNet id (`ILSVRC2012_val_00000001_n01751748.JPEG`) need no such file.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from camaudit.data.collecting import collect
from camaudit.data.folders import Collection, Photo, Skipped, printable
from camaudit.data.images import read_file
from camaudit.data.labels import imagenet_wnids
from camaudit.errors import ImageError, UsageError

__all__ = ["IMAGENET_LICENCE", "UNDERSTOOD", "UNKNOWN_LICENCE", "PhotoSource", "open_source"]

IMAGENET_LICENCE = (
    "Photographs of ImageNet (ILSVRC2012): they belong to their owners and may be used for "
    "non-commercial research and education only, see https://image-net.org/download"
)
UNKNOWN_LICENCE = (
    "The licence of the photographs was not stated; ask their owner before passing them on"
)
UNDERSTOOD = (
    "understood are: a WordNet id a line; an index from 0 to 999 a line; the devkit's "
    "ILSVRC2012_validation_ground_truth.txt together with its meta.mat (--synsets); "
    "'ILSVRC2012_val_00000001.JPEG LABEL' lines; LOC_val_solution.csv"
)

_NAME = re.compile(r"ILSVRC2012_val_([0-9]{8})(?:_(n[0-9]{8}))?(?:\.jpe?g)?", re.IGNORECASE)
_WNID = re.compile(r"n[0-9]{8}")
_CLASSES = 1000


@dataclass(frozen=True)
class PhotoSource:
    """Photographs in classes, how they lay on disk, and what is known of their licence."""

    collection: Collection
    layout: str
    licence: str = UNKNOWN_LICENCE


def open_source(
    folder: Path | str, *, ground_truth: Path | None = None, synsets: Path | None = None
) -> PhotoSource:
    """List the photographs of a folder in their classes; none is opened.

    Raises:
        ImageError: as :func:`camaudit.data.folders.scan`, and for a flat folder which is not
            ImageNet's.
        UsageError: for a ground truth or synsets file that is needed and missing, is not needed,
            or is in none of the forms above.
    """
    collection = collect(folder)
    if synsets is not None and ground_truth is None:
        raise UsageError("--synsets says what the ids in --ground-truth stand for: give that too")
    if collection.classes:
        if ground_truth is not None:
            raise UsageError(
                f"{printable(str(folder))} has class folders, so its labels are known: leave "
                "--ground-truth out"
            )
        return PhotoSource(collection, "class folders")
    numbers = {photo: _NAME.fullmatch(photo.path.name) for photo in collection.photos}
    named = {photo: found for photo, found in numbers.items() if found is not None}
    if not named:
        raise ImageError(
            f"expected one sub-folder for each class in {printable(str(folder))}, or ImageNet's "
            "validation images (ILSVRC2012_val_00000001.JPEG, …); got a flat folder of other "
            "images: sort them into class folders"
        )
    labelled = _labelled(named, ground_truth, synsets)
    strangers: list[Skipped] = [
        (photo.id, "no name of a validation image of ImageNet")
        for photo, found in numbers.items()
        if found is None
    ]
    skipped = (*collection.skipped, *strangers)
    layout = "ImageNet's validation images in one folder"
    ordered = Collection.of(collection.root, labelled, skipped)
    return PhotoSource(ordered, layout, IMAGENET_LICENCE)


def _labelled(
    named: dict[Photo, re.Match[str]], ground_truth: Path | None, synsets: Path | None
) -> list[Photo]:
    """The photographs with their WordNet ids as names of their classes."""
    if ground_truth is None:
        if not all(found[2] for found in named.values()):
            raise UsageError(
                "ImageNet's validation images in one folder need --ground-truth FILE, which says "
                f"of what class each is; {UNDERSTOOD}"
            )
        unknown = next((f[2] for f in named.values() if f[2] not in set(imagenet_wnids())), None)
        if unknown is not None:
            raise UsageError(f"{unknown} in a file name is no class of ImageNet-1k")
        return [replace(photo, label_name=found[2]) for photo, found in named.items()]
    truth = _read_truth(ground_truth, synsets)
    labelled = []
    for photo, found in named.items():
        wnid = truth.get(int(found[1]))
        if wnid is None:
            raise UsageError(
                f"{printable(str(ground_truth))} says nothing of {photo.id}: it has {len(truth)} "
                "labels; take the file for the whole validation set"
            )
        labelled.append(replace(photo, label_name=wnid))
    return labelled


def _read_truth(path: Path, synsets: Path | None) -> dict[int, str]:
    """WordNet ids by the number of the image."""
    lines = _lines(path, "ground truth")
    shown = printable(str(path))
    if lines[0].replace(" ", "").lower() == "imageid,predictionstring":
        lines = [" ".join(line.replace(",", " ").split()[:2]) for line in lines[1:]]
    rows = [line.split() for line in lines]
    width = {len(row) for row in rows}
    if width == {2}:
        numbers = [_number(row[0], shown, place) for place, row in enumerate(rows, 1)]
        if len(set(numbers)) < len(numbers):
            raise UsageError(f"{shown} lists an image twice; {UNDERSTOOD}")
    elif width == {1}:
        numbers = list(range(1, len(rows) + 1))
    else:
        place = next((i for i, row in enumerate(rows, 1) if len(row) != len(rows[0])), 1)
        raise UsageError(f"{shown}, line {place}: cannot read {lines[place - 1]!r}; {UNDERSTOOD}")
    wnids = _wnids([row[-1] for row in rows], synsets, shown, named=width == {2})
    return dict(zip(numbers, wnids, strict=True))


def _number(name: str, shown: str, place: int) -> int:
    found = _NAME.fullmatch(name)
    if found is None:
        raise UsageError(f"{shown}, line {place}: {name!r} is no validation image; {UNDERSTOOD}")
    return int(found[1])


def _wnids(labels: Sequence[str], synsets: Path | None, shown: str, *, named: bool) -> list[str]:
    """Labels of any of the understood kinds as WordNet ids."""
    if all(_WNID.fullmatch(label) for label in labels):
        unknown = next((label for label in labels if label not in set(imagenet_wnids())), None)
        if unknown is not None:
            raise UsageError(f"{shown}: {unknown} is no class of ImageNet-1k")
        return list(labels)
    wrong = next((i for i, label in enumerate(labels) if not re.fullmatch("[0-9]{1,4}", label)), -1)
    if wrong >= 0:
        raise UsageError(f"{shown}, label {wrong + 1}: cannot read {labels[wrong]!r}; {UNDERSTOOD}")
    values = [int(label) for label in labels]
    if synsets is not None:
        table = _read_synsets(synsets)
        outside = next((value for value in values if value not in table), None)
        if outside is not None:
            raise UsageError(f"{shown}: {outside} is no ILSVRC id (1 to {_CLASSES})")
        return [table[value] for value in values]
    if max(values) > _CLASSES - 1 or (0 not in values and not named):
        raise UsageError(
            f"{shown}: these numbers are or may be ILSVRC ids (1 to {_CLASSES}), whose order is "
            "not that of the classes: pass the devkit's meta.mat as --synsets, or a file of "
            f"WordNet ids; {UNDERSTOOD}"
        )
    order = imagenet_wnids()
    return [order[value] for value in values]


def _read_synsets(path: Path) -> dict[int, str]:
    """WordNet ids by ILSVRC id, from the devkit's meta.mat or a text."""
    shown = printable(str(path))
    if path.suffix.lower() == ".mat":
        table = _from_mat(path)
    else:
        lines = [line.split()[0] for line in _lines(path, "synsets")]
        table = dict(enumerate(lines, 1))
    known = set(imagenet_wnids())
    if set(table.values()) != known or set(table) != set(range(1, _CLASSES + 1)):
        raise UsageError(
            f"{shown}: expected the WordNet ids of ILSVRC ids 1 to {_CLASSES}, one a line, each "
            f"class of ImageNet-1k once; got {len(table)} entries"
        )
    if [table[number] for number in sorted(table)] == list(imagenet_wnids()):
        raise UsageError(
            f"{shown} is in ascending order of the WordNet ids, but ILSVRC ids are not: take the "
            "devkit's meta.mat"
        )
    return table


def _from_mat(path: Path) -> dict[int, str]:
    from scipy.io import loadmat  # late: only this reader needs it

    try:
        table = loadmat(io.BytesIO(read_file(path)), squeeze_me=True)["synsets"]
        pairs = [(int(row["ILSVRC2012_ID"]), str(row["WNID"])) for row in table]
    # SciPy raises many unrelated types on damaged files
    except Exception as error:
        raise UsageError(
            f"{printable(str(path))} is not the devkit's meta.mat: {type(error).__name__}: {error}"
        ) from error
    return {number: wnid for number, wnid in pairs if number <= _CLASSES}


def _lines(path: Path, what: str) -> list[str]:
    """The lines of a text that are not empty."""
    try:
        text = read_file(path).decode("utf-8-sig")
    except ImageError as error:
        raise UsageError(f"the {what} file {printable(str(path))}: {error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{printable(str(path))} is no text; {UNDERSTOOD}") from error
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        raise UsageError(f"the {what} file {printable(str(path))} is empty; {UNDERSTOOD}")
    return lines
