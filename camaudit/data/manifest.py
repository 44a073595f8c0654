"""Data sets on disk: a manifest with a hash for every image, read, written and verified.

A data set is a folder with `manifest.json` (written last, whole or not at all), `images/ID.png`
(8-bit RGB) and `contact_sheet.png`. STACK-MIX and STACK-GEN share this form.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal, get_args

from camaudit import __version__
from camaudit.data.fields import Fields
from camaudit.data.folders import printable, sha256_bytes
from camaudit.data.images import Box, Pixels, decode, read_file
from camaudit.data.loading import Source
from camaudit.data.stack_mix import Pairing, StackImage, Told
from camaudit.data.stored import Recent, Stored
from camaudit.errors import ImageError, UsageError
from camaudit.files import made_folder, parsed_json, write_files

__all__ = [
    "FORMAT",
    "IMAGES_NAME",
    "MANIFEST_NAME",
    "SHEET_NAME",
    "Kind",
    "Manifest",
    "ManifestImage",
    "ManifestSource",
    "ManifestWall",
    "Rejection",
    "Verification",
    "foreign_files",
    "load_images",
    "read_manifest",
    "verify",
    "write_manifest",
]

FORMAT = "camaudit-dataset-1"
MANIFEST_NAME = "manifest.json"
SHEET_NAME = "contact_sheet.png"
IMAGES_NAME = "images"

Kind = Literal["stack-mix", "stack-gen"]


@dataclass(frozen=True)
class ManifestSource:
    """A file that an image shows a part of: see :class:`camaudit.data.loading.Source`."""

    id: str
    sha256: str
    crop: Box
    credit: str | None = None


@dataclass(frozen=True)
class ManifestImage:
    """One image: its file (posix path inside the folder), hash, label and origin.

    `label` is an ImageNet-1k index or None, `label_name` the class in words. `generation` is
    what is known of a generated image (prompt, model, response id, …), None for photographs.
    Where two classes are stacked, `label` and `label_name` are of the part that the network sees,
    `unseen_label` and `unseen_label_name` of the other; else the file does not have the latter.
    """

    id: str
    file: str
    sha256: str
    label: int | None
    label_name: str | None
    notes: tuple[str, ...] = ()
    sources: tuple[ManifestSource, ...] = ()
    generation: dict[str, Any] | None = None
    unseen_label: int | None = None
    unseen_label_name: str | None = None


@dataclass(frozen=True)
class ManifestWall:
    """The wall that the images are made for.

    `dead_rows` counts the rows at the bottom, None if the dead rows are others; `pixel_dead_rows`
    are ranges of rows, first and last included, None if there are none to name.
    """

    description: str
    dead_rows: int | None
    pixel_dead_rows: tuple[tuple[int, int], ...] | None


@dataclass(frozen=True)
class Rejection:
    """An image that was left out by hand."""

    id: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What `manifest.json` says of a data set.

    `settings` holds every option that decides the bytes, `size` is (H, W) of every image,
    `licence` is a sentence on the licence of the sources, `notes` say what else a user must know
    (what was skipped, which classes lack a second photograph).
    """

    kind: Kind
    seed: int
    settings: dict[str, Any]
    size: tuple[int, int]
    wall: ManifestWall
    licence: str
    images: tuple[ManifestImage, ...]
    rejected: tuple[Rejection, ...] = ()
    notes: tuple[str, ...] = ()
    camaudit: str = __version__
    format: str = FORMAT

    def to_dict(self) -> dict[str, Any]:
        """Plain values in the order of the file."""
        first = ("format", "kind", "camaudit")
        plain = asdict(self)
        for image in plain["images"]:
            if image["unseen_label_name"] is None:
                del image["unseen_label"], image["unseen_label_name"]
        return {**{key: plain.pop(key) for key in first}, **plain}


@dataclass(frozen=True)
class Verification:
    """How many images are as the manifest says, and every problem in a sentence."""

    ok: int
    problems: tuple[str, ...] = field(default=())

    @property
    def passed(self) -> bool:
        """Whether there is no problem."""
        return not self.problems


def read_manifest(folder: Path | str) -> Manifest:
    """Read `manifest.json` of a data set and check its form; no image is opened.

    Raises:
        UsageError: if there is no manifest, if it is none of this format, if a field is missing
            or of another type, if ids or files repeat, or if a file would lie outside `folder`.
    """
    root = Path(folder)
    shown = printable(str(root / MANIFEST_NAME))
    try:
        data = read_file(root / MANIFEST_NAME)
    except ImageError as error:
        raise UsageError(
            f"{shown}: {error}; expected the folder of a data set that camaudit data has built"
        ) from error
    try:
        plain = parsed_json(data.decode("utf-8"))
    except ValueError as error:
        raise UsageError(f"{shown} is no JSON: {error}; build the data set again") from error
    return _parsed(plain, root, shown)


def write_manifest(manifest: Manifest, folder: Path | str) -> Path:
    """Write `manifest.json` into `folder`, whole or not at all, and return its path.

    Raises:
        UsageError: if :func:`read_manifest` would refuse it, or it holds what JSON cannot.
        OutputError: if it cannot be written; an earlier one is then unchanged.
    """
    root = Path(folder)
    try:
        text = json.dumps(manifest.to_dict(), allow_nan=False, indent=2, ensure_ascii=False)
        data = text.encode("utf-8", "backslashreplace") + b"\n"
        plain = parsed_json(data)
    except (TypeError, ValueError) as error:
        raise UsageError(f"the manifest has no JSON form: {error}") from error
    _parsed(plain, root, MANIFEST_NAME)
    (path,) = write_files({MANIFEST_NAME: data}, made_folder(root))
    return path


def verify(folder: Path | str) -> Verification:
    """Check every hash of a data set, and that no file is missing or foreign.

    Hidden files (`.name`) and the contact sheet, which nothing is computed from, are not
    checked. Raises :class:`UsageError` as :func:`read_manifest` does.
    """
    root = Path(folder)
    manifest = read_manifest(root)
    problems = []
    for image in manifest.images:
        problem = _problem(root, image)
        if problem is not None:
            problems.append(f"{printable(image.file)}: {problem}")
    ok = len(manifest.images) - len(problems)
    for name in foreign_files(root, manifest):
        problems.append(f"{printable(name)}: the manifest does not list it")
    return Verification(ok, tuple(problems))


def foreign_files(root: Path, manifest: Manifest, *, hidden: bool = False) -> list[str]:
    """Posix paths of the files below `root` that are no part of the data set, sorted.

    Hidden ones (`.name`, or in a folder of such a name) count only where `hidden` is set.
    """
    known = {MANIFEST_NAME, SHEET_NAME, *(image.file for image in manifest.images)}
    return sorted(name for name in _files(root, hidden=hidden) if name not in known)


def load_images(folder: Path | str, *, told: Told | None = None) -> list[StackImage]:
    """The images of a data set in the order of the manifest, every hash checked.

    Their pixels are read again when they are wanted. Raises :class:`UsageError` as
    :func:`read_manifest` does, and if a file is missing, was changed, or has another size than the
    manifest says. `told` is called with 1 after every image.
    """
    root = Path(folder)
    manifest = read_manifest(root)
    recent = Recent()
    images = []
    for image in manifest.images:
        images.append(_loaded(root, manifest, image, recent))
        if told is not None:
            told(1)
    return images


def _loaded(root: Path, manifest: Manifest, image: ManifestImage, recent: Recent) -> StackImage:
    def read() -> Pixels:
        return _pixels(root, manifest.size, image)

    sources = tuple(Source(source.id, source.sha256, source.crop) for source in image.sources)
    credits_ = [source.credit for source in image.sources if source.credit]
    return StackImage(
        id=image.id,
        content=Stored(read, read(), recent),
        label=image.label,
        label_name=image.label_name,
        sources=sources,
        pairing=_pairing(sources, two_classes=image.unseen_label_name is not None),
        notes=tuple(dict.fromkeys((*image.notes, *credits_))),
        unseen_label=image.unseen_label,
        unseen_label_name=image.unseen_label_name,
    )


def _pixels(root: Path, size: tuple[int, int], image: ManifestImage) -> Pixels:
    """The pixels of an image of a data set, as its manifest says they are."""
    shown = printable(str(root / image.file))
    try:
        data = read_file(root / image.file)
        if sha256_bytes(data) != image.sha256:
            raise ImageError("its bytes are not those that the manifest lists")
        pixels = decode(data, min_side=1).pixels
    except ImageError as error:
        raise UsageError(
            f"{shown}: {error}; see camaudit data verify, then restore or rebuild the data set"
        ) from error
    if pixels.shape[:2] != size:
        height, width = size
        raise UsageError(
            f"{shown} has {pixels.shape[0]}×{pixels.shape[1]} pixels, the manifest says "
            f"{height}×{width}; build the data set again"
        )
    return pixels


def _pairing(sources: tuple[Source, ...], *, two_classes: bool) -> Pairing:
    if len(sources) != 2:
        return "single"
    if two_classes:
        return "two-classes"
    return "two-crops" if sources[0].id == sources[1].id else "two-images"


def _problem(root: Path, image: ManifestImage) -> str | None:
    """What is wrong with an image's file, or None."""
    try:
        found = sha256_bytes(read_file(root / image.file))
    except ImageError as error:
        return str(error)
    if found != image.sha256:
        return f"expected sha256 {image.sha256[:12]}…, found {found[:12]}…: it was changed"
    return None


def _files(root: Path, *, hidden: bool) -> Iterator[str]:
    """Posix paths of everything below `root` that is no ordinary folder."""
    for where, folders, names in os.walk(root):
        here = Path(where)
        folders[:] = [name for name in folders if hidden or not name.startswith(".")]
        links = [name for name in folders if (here / name).is_symlink()]
        for name in (*names, *links):
            if hidden or not name.startswith("."):
                yield (here / name).relative_to(root).as_posix()


def _parsed(plain: Any, root: Path, shown: str) -> Manifest:
    """The manifest that plain values stand for, checked."""
    top = Fields(plain, shown)
    if top.value.get("format") != FORMAT:
        raise UsageError(
            f"{shown}: expected format {FORMAT!r}, got {top.value.get('format')!r}: it is no data "
            "set of this version of camaudit"
        )
    kind = top.text("kind")
    if kind not in get_args(Kind):
        raise UsageError(f"{shown}: kind must be one of {', '.join(get_args(Kind))}; got {kind!r}")
    size = top.numbers("size", whole=True, length=2)
    if min(size) < 1:
        raise UsageError(f"{shown}: size must be two positive numbers, got {size}")
    manifest = Manifest(
        kind=kind,  # type: ignore[arg-type] # one of the two, as checked above
        seed=top.integer("seed"),
        settings=top.mapping("settings"),
        size=(int(size[0]), int(size[1])),
        wall=_wall(Fields(top.mapping("wall"), f"{shown}: wall"), int(size[0])),
        licence=top.text("licence"),
        images=tuple(_image(entry, root) for entry in top.entries("images")),
        rejected=tuple(
            Rejection(entry.text("id"), entry.text("reason")) for entry in top.entries("rejected")
        ),
        notes=top.texts("notes") if "notes" in top.value else (),
        camaudit=top.text("camaudit"),
    )
    for what in ("id", "file"):
        uses = Counter(getattr(image, what) for image in manifest.images)
        twice = next((name for name, count in uses.items() if count > 1), None)
        if twice is not None:
            raise UsageError(f"{shown}: two images have the {what} {twice!r}")
    return manifest


def _wall(entry: Fields, height: int) -> ManifestWall:
    """The wall, whose two ways to say where the dead rows are must agree."""
    dead = entry.integer_or_none("dead_rows")
    ranges = entry.pairs_or_none("pixel_dead_rows")
    if dead is not None and not 0 < dead < height:
        raise entry.error("dead_rows", f"1 to {height - 1} of {height} rows", dead)
    last = -1
    for first, end in ranges or ():
        if not last < first <= end < height:
            wanted = f"ascending ranges of rows 0 to {height - 1}"
            raise entry.error("pixel_dead_rows", wanted, ranges)
        last = end
    if dead is not None and ranges is not None and ranges != ((height - dead, height - 1),):
        raise entry.error("pixel_dead_rows", f"the last {dead} rows, as dead_rows says", ranges)
    return ManifestWall(entry.text("description"), dead, ranges)


def _image(entry: Fields, root: Path) -> ManifestImage:
    file = entry.text("file")
    if not _inside(file, root):
        raise entry.error("file", "a file inside the folder of the data set", file)
    return ManifestImage(
        id=entry.text("id"),
        file=file,
        sha256=entry.digest("sha256"),
        label=entry.integer_or_none("label"),
        label_name=entry.text_or_none("label_name"),
        notes=entry.texts("notes"),
        sources=tuple(_source(source) for source in entry.entries("sources")),
        generation=entry.mapping_or_none("generation"),
        **_unseen(entry),
    )


def _unseen(entry: Fields) -> dict[str, Any]:
    """The class of the part that the network does not see, where the file names one."""
    names = ("unseen_label", "unseen_label_name")
    if not any(name in entry.value for name in names):
        return {}
    return {names[0]: entry.integer_or_none(names[0]), names[1]: entry.text(names[1])}


def _source(entry: Fields) -> ManifestSource:
    left, top, right, bottom = entry.numbers("crop", whole=False, length=4)
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        wanted = "left, top, right and bottom as fractions from 0 to 1"
        raise entry.error("crop", wanted, [left, top, right, bottom])
    crop = (left, top, right, bottom)
    credit = entry.text_or_none("credit")
    return ManifestSource(entry.text("id"), entry.digest("sha256"), crop, credit)


def _inside(file: str, root: Path) -> bool:
    """Whether a posix path stays below `root` on every system, links included."""
    parts = file.split("/")
    if not file or any(part in ("", ".", "..") for part in parts):
        return False
    if any(char in file for char in "\\:\0") or file in (MANIFEST_NAME, SHEET_NAME):
        return False
    try:
        return (root / PurePosixPath(file)).resolve().is_relative_to(root.resolve())
    except (OSError, RuntimeError, ValueError):  # a loop of links, a name that cannot be
        return False
