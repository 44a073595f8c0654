"""Images of a training source as files in class folders, for what reads folders."""

from __future__ import annotations

import io
import re
from collections import Counter
from pathlib import Path
from typing import Literal, Protocol

from PIL import Image

from camaudit.errors import OutputError
from camaudit.files import made_folder, write_files
from camaudit.training.images import Encoded
from camaudit.training.sources import Source

__all__ = ["Part", "Progress", "export_images"]

Part = Literal["train", "validation"]


class Progress(Protocol):
    """Told how far the export is, in images."""

    def start(self, work: int) -> None:
        """`work` images lie ahead."""

    def advance(self, work: int) -> None:
        """`work` images are written."""


def export_images(
    source: Source, folder: Path, *, part: Part, per_class: int | None, progress: Progress
) -> dict[str, int]:
    """Write the images of a part to `folder`/CLASS/NUMBER.EXT and count them by class.

    Encoded files are copied byte for byte, arrays become PNGs. CLASS is the name with anything
    but letters, digits, dots, dashes and underscores replaced by `_`, NUMBER the image's place in
    the part. `per_class` takes the first so many of every class.

    Raises :class:`OutputError` for a folder that holds files already or cannot be written, and
    :class:`~camaudit.errors.ImageError` for an image that cannot be read.
    """
    home = made_folder(folder)
    if any(home.iterdir()):
        raise OutputError(f"{home} is not empty: choose another folder, or remove what is there")
    images = source.train if part == "train" else source.validation
    names = _folder_names(source.classes)
    chosen, counts = [], Counter[int]()
    for index, label in enumerate(images.labels.tolist()):
        if per_class is None or counts[label] < per_class:
            chosen.append((index, label))
            counts[label] += 1
    progress.start(len(chosen))
    for label in counts:
        made_folder(home / names[label])
    for index, label in chosen:
        if isinstance(images, Encoded):
            item = images.items[index]
            images.pixels(index)  # what cannot be read is refused here, with its name
            data, suffix = item.read(), Path(item.id).suffix.lower() or ".img"
        else:
            data, suffix = _png(images.pixels(index)), ".png"
        write_files({f"{index:06d}{suffix}": data}, home / names[label])
        progress.advance(1)
    return {source.classes[label]: counts[label] for label in sorted(counts)}


def _folder_names(classes: tuple[str, ...]) -> list[str]:
    """A folder name for every class, unique whatever the file system makes of case."""
    names = [re.sub(r"[^\w.-]+", "_", name).strip(".") or "_" for name in classes]
    while True:
        uses = Counter(name.casefold() for name in names)
        if len(uses) == len(names):
            return names
        # a numbered name may be that of another class, so that one round does not always do
        names = [
            f"{name}-{number}" if uses[name.casefold()] > 1 else name
            for number, name in enumerate(names)
        ]


def _png(pixels: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")  # type: ignore[arg-type]
    return stream.getvalue()
