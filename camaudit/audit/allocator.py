"""Memory that stays with the process between forwards: a large saving on Linux CPUs.

glibc gives every block above 32 MiB back to the system when it is freed, and the next forward
takes the same pages again, one fault at a time. A batch of 16 images through EfficientNet-Lite0
spends half of its time so, and training a small VGG a seventh.
"""

from __future__ import annotations

import ctypes
import sys

__all__ = ["keep_freed_memory"]

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_LARGEST_BLOCK = 2**30


def keep_freed_memory() -> bool:
    """Ask the C library to keep freed memory for reuse; the results do not change.

    Holds for the whole process, so it is the command line that calls it, never the library.
    Returns whether the C library took it (glibc does, others have no such switch).
    """
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(
        mallopt(_M_MMAP_THRESHOLD, _LARGEST_BLOCK) and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)
    )
