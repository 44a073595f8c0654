"""What a run leaves about itself: versions, machine, image sources."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
import torchvision

from camaudit.data.stack_mix import StackImage

__all__ = ["environment", "image_entry", "image_source", "images_sha256"]


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
        "sha256": hashlib.sha256(image.pixels.tobytes()).hexdigest(),
    }


def images_sha256(images: list[StackImage]) -> str:
    """One hash over the pixels of all images, in order."""
    digest = hashlib.sha256()
    for image in images:
        digest.update(str(image.pixels.shape).encode())
        digest.update(image.pixels.tobytes())
    return digest.hexdigest()


def image_source(folder: Path | None, data: Sequence[str] = ()) -> str:
    """Where the images come from, in words: data sets, a folder, or neither."""
    if data:
        return ", ".join(data)
    return "photographs in scikit-image's wheel" if folder is None else str(folder)
