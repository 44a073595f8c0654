"""What a run leaves about itself: versions, machine, image sources."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
import torchvision

from camaudit.data.stack_mix import StackImage
from camaudit.redaction import cleaner
from camaudit.types import Results

__all__ = [
    "environment",
    "image_entry",
    "image_source",
    "images_sha256",
    "publishable",
]

_PARTS = ("theory", "metrics", "protocol", "sanity", "invariance")


def environment(device: torch.device) -> dict[str, Any]:
    """Versions and machine facts that can change a figure."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "python": platform.python_version(),
        "platform": platform.system(),
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "numpy": np.__version__,
        "pillow": PIL.__version__,
        "device": str(device),
        "device_name": name,
        "threads": torch.get_num_threads(),
    }


def image_entry(image: StackImage) -> dict[str, Any]:
    """An image's sources, label and hash, as in results.json."""
    unseen = {"unseen_label": image.unseen_label, "unseen_label_name": image.unseen_label_name}
    return {
        "id": image.id,
        "label": image.label,
        "label_name": image.label_name,
        **({} if image.unseen_label_name is None else unseen),
        "pairing": image.pairing,
        "sources": [asdict(source) for source in image.sources],
        "notes": list(image.notes),
        "sha256": image.sha256,
    }


def images_sha256(images: Sequence[StackImage]) -> str:
    """One hash over the sizes of all images and the hashes of their pixels, in order."""
    digest = hashlib.sha256()
    for image in images:
        digest.update(f"{image.size} {image.sha256}\n".encode())
    return digest.hexdigest()


def image_source(folder: Path | None, data: Sequence[str] = ()) -> str:
    """Where the images come from, in words: data sets, a folder, or neither."""
    if data:
        return ", ".join(data)
    return "photographs in scikit-image's wheel" if folder is None else str(folder)


def publishable(results: Results) -> Results:
    """The results without secrets, and with paths cut, see :mod:`camaudit.redaction`."""
    source = results.provenance
    names = {entry["id"] for entry in source.images if "id" in entry}
    names |= {record.method for record in results.records} | set(source.settings.get("methods", ()))
    clean = cleaner(names=names)
    provenance = replace(
        source, environment=clean(source.environment), subject=clean(source.subject),
        settings=clean(source.settings), images=clean(source.images),
    )  # fmt: skip
    return replace(
        results,
        provenance=provenance,
        records=[
            one if one.message is None else replace(one, message=clean(one.message))
            for one in results.records
        ],
        data=[replace(one, folder=clean(one.folder)) for one in results.data],
        claims=[replace(one, detail=clean(one.detail)) for one in results.claims],
        warnings=clean(results.warnings),
        **{name: clean(getattr(results, name)) for name in _PARTS},
    )
