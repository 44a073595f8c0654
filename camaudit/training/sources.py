"""Where training and validation images come from: folders, tar files, MNIST and CIFAR files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from camaudit.data.folders import printable, scan
from camaudit.data.images import read_file
from camaudit.errors import ImageError, UsageError
from camaudit.training.archives import Member, tar_members
from camaudit.training.images import Arrays, Encoded, ImageSet, Item
from camaudit.training.numbered import FASHION, cifar, cifar_pickles, idx_pair, idx_paths
from camaudit.training.randomness import held_out

__all__ = ["Source", "open_source"]

_TRAIN = ("train", "training")
_VALIDATION = ("val", "valid", "validation", "test")
_WANTED = (
    "expected a folder with train/ and val/ of class folders, one of class folders alone, a tar "
    "file of either, a folder of MNIST's or Fashion-MNIST's idx files, or one of CIFAR's binary "
    "files"
)


@dataclass(frozen=True, eq=False)
class Source:
    """Images to train and to validate on; `classes` are named in the order of the labels.

    `directional`: left and right are part of what an image says (digits), so that flips would
    teach something wrong. `notes` tell what a reader of the results should know.
    """

    name: str
    kind: str
    train: ImageSet
    validation: ImageSet
    classes: tuple[str, ...]
    directional: bool = False
    notes: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """A digest of what is trained and validated on."""
        return f"{self.train.fingerprint()}-{self.validation.fingerprint()}"


def open_source(path: Path, *, val_share: float = 0.1) -> Source:
    """Recognise what `path` holds and open it; images in files are not decoded yet.

    Where there is no validation part, `val_share` of each class is held out, the same images for
    every seed. Raises :class:`ImageError` for missing, damaged or unsuitable data.
    """
    if not 0 < val_share < 1:
        raise UsageError(f"expected a validation share between 0 and 1; got {val_share}")
    shown = printable(str(path))
    if path.is_file():
        source = _from_members(tar_members(path), path, val_share)
    elif path.is_dir():
        source = _numbered(path) or _from_folders(path, val_share)
    else:
        raise ImageError(f"{_WANTED}; {shown} does not exist: check the path")
    return _checked(source, shown)


def _numbered(folder: Path) -> Source | None:
    """MNIST's or CIFAR's files in `folder`; None where there are none."""
    train, test = idx_paths(folder, "train"), idx_paths(folder, "t10k")
    if train is not None and test is not None:
        fashion = "fashion" in str(folder.resolve()).lower()
        names = FASHION if fashion else tuple(map(str, range(10)))
        return Source(
            "Fashion-MNIST" if fashion else printable(folder.name), "idx files",
            idx_pair(*train), idx_pair(*test), names, directional=not fashion,
        )  # fmt: skip
    if train is not None or test is not None:
        raise ImageError(
            f"{printable(str(folder))} is incomplete: expected images and labels named train-… and "
            "t10k-…"
        )
    found = cifar(folder)
    if found is not None:
        kind = f"CIFAR-{len(found[2])}"
        return Source(kind, "CIFAR binary files", *found)
    if cifar_pickles(folder):
        raise ImageError(
            f"{printable(str(folder))} holds CIFAR's Python version, whose pickles would run code: "
            "take the binary version (cifar-10-binary.tar.gz, cifar-100-binary.tar.gz), unpacked"
        )
    return None


def _from_folders(folder: Path, val_share: float) -> Source:
    train, validation = (
        next((folder / name for name in names if (folder / name).is_dir()), None)
        for names in (_TRAIN, _VALIDATION)
    )
    if train is None or validation is None:
        return _split(_scanned(folder), printable(folder.name), "image folders", val_share)
    parts = (_scanned(train), _scanned(validation))
    return _joined(*parts, printable(folder.name), "image folders")


def _from_members(members: Sequence[Member], path: Path, val_share: float) -> Source:
    """A tar file of class folders, or of train/ and val/ of these, below any common folder."""
    if not members:
        raise ImageError(f"{_WANTED}; {printable(str(path))} holds no image files")
    parts = [(member.parts, member.item) for member in members]
    tops = {names[0] for names, _ in parts}
    while len(tops) == 1 and not tops & {*_TRAIN, *_VALIDATION} and len(parts[0][0]) > 2:
        if min(len(names) for names, _ in parts) <= 2:
            break
        parts = [(names[1:], item) for names, item in parts]
        tops = {names[0] for names, _ in parts}
    train, validation = (next((n for n in ns if n in tops), None) for ns in (_TRAIN, _VALIDATION))
    name = printable(path.name)
    if train is None or validation is None:
        return _split(_classed(parts, path), name, "tar file", val_share)
    chosen = [
        _classed([(names[1:], item) for names, item in parts if names[0] == part], path)
        for part in (train, validation)
    ]
    return _joined(chosen[0], chosen[1], name, "tar file")


_Classed = dict[str, list[Item]]


def _classed(parts: Sequence[tuple[tuple[str, ...], Item]], path: Path) -> _Classed:
    found: _Classed = {}
    for names, item in parts:
        if len(names) < 2:
            raise ImageError(
                f"{_WANTED}; {printable(str(path))} has {item.id} outside a class folder"
            )
        found.setdefault(names[0], []).append(item)
    return found


def _scanned(folder: Path) -> _Classed:
    collection = scan(folder)
    if not collection.classes:
        raise ImageError(f"{_WANTED}; {printable(str(folder))} holds images without class folders")
    return {
        name: [
            Item(photo.id, photo.path.stat().st_size, partial(read_file, photo.path))
            for photo in photos
        ]
        for name, photos in collection.classes.items()
    }


def _encoded(found: _Classed, classes: Sequence[str]) -> Encoded:
    rows = [(item, classes.index(name)) for name in sorted(found) for item in found[name]]
    labels = np.array([label for _, label in rows], dtype=np.int64)
    return Encoded(tuple(item for item, _ in rows), labels)


def _joined(train: _Classed, validation: _Classed, name: str, kind: str) -> Source:
    unknown = sorted(set(validation) - set(train))
    if unknown:
        raise ImageError(
            f"the validation part has classes that the training part lacks: {_some(unknown)}"
        )
    classes = tuple(sorted(train))
    missing = sorted(set(train) - set(validation))
    notes = (f"no validation image of {_some(missing)}",) if missing else ()
    return Source(
        name, kind, _encoded(train, classes), _encoded(validation, classes), classes, notes=notes
    )


def _split(found: _Classed, name: str, kind: str, share: float) -> Source:
    single = sorted(key for key, items in found.items() if len(items) < 2)
    if single:
        raise ImageError(
            f"there is no validation part, and no image to hold out where a class has only one: "
            f"{_some(single)}; add images, or take the class out"
        )
    classes = tuple(sorted(found))
    whole = _encoded(found, classes)
    mask = held_out(whole.labels, share)
    note = f"{int(mask.sum())} of {len(mask)} images are held out for validation"
    return Source(name, kind, whole.subset(~mask), whole.subset(mask), classes, notes=(note,))


def _checked(source: Source, shown: str) -> Source:
    """At least two classes, and every label a class."""
    labels = np.concatenate([source.train.labels, source.validation.labels])
    if len(labels) and int(labels.max()) >= len(source.classes):
        if isinstance(source.train, Arrays) and source.kind == "idx files":
            names = tuple(map(str, range(int(labels.max()) + 1)))
            return _checked(replace(source, classes=names), shown)
        raise ImageError(
            f"{shown} has label {int(labels.max())}, but {len(source.classes)} classes: the files "
            "are damaged"
        )
    if len(Counter(source.train.labels.tolist())) < 2:
        raise ImageError(f"{shown} has images of a single class; training needs two or more")
    return source


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
