"""Images as a subject reads them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from camaudit.audit.live import stacked
from camaudit.audit.subject import Subject
from camaudit.data.stack_mix import StackImage

__all__ = ["batch_tensor"]


def batch_tensor(subject: Subject, images: Sequence[StackImage]) -> Tensor:
    """The images as the subject reads them: N×C×H×W, standardised, its dtype and device."""
    batch = stacked(images, dtype=subject.dtype)
    if batch is None:
        pixels = [image.pixels for image in images]
        batch = subject.normalisation.to_tensor(pixels, dtype=subject.dtype)
    return batch.to(subject.device, memory_format=torch.channels_last)
