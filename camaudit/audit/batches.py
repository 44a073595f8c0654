"""Images as a subject reads them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from camaudit.audit.live import stacked
from camaudit.audit.subject import Subject
from camaudit.data.stack_mix import StackImage
from camaudit.streams import Stream

__all__ = ["all_images", "batch_tensor"]


def batch_tensor(subject: Subject, images: Sequence[StackImage]) -> Tensor:
    """The images as the subject reads them: N×C×H×W, standardised, its dtype and device."""
    batch = stacked(images, dtype=subject.dtype)
    if batch is None:
        pixels = [image.pixels for image in images]
        batch = subject.normalisation.to_tensor(pixels, dtype=subject.dtype)
    return batch.to(subject.device, memory_format=torch.channels_last)


def all_images(subject: Subject, images: Sequence[StackImage]) -> Stream:
    """The same of all images (N ≥ 1), read part by part."""
    return Stream(
        lambda part: batch_tensor(subject, images[part]),
        batch_tensor(subject, images[:1]),
        len(images),
    )
