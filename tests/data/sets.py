"""Small photographs in class folders, and data sets that are built from them."""

from __future__ import annotations

import numpy as np
from PIL import Image

from camaudit.data.building import MixOptions, build_stack_mix
from camaudit.data.seam import lower_rows
from camaudit.data.sources import open_source

SIDE = 36


def photographs(root, classes, *, side=40):
    """`classes` maps a folder's name to a number of photographs; all are different."""
    rng = np.random.default_rng(5)
    for name, count in classes.items():
        (root / name).mkdir(parents=True)
        for k in range(count):
            small = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8))
            image = small.resize((side + 10, side), Image.Resampling.BILINEAR)
            image.save(root / name / f"{k}.png")
    return root


def options(**changes):
    chosen = {"wall": lower_rows(9, SIDE), "size": (SIDE, SIDE), **changes}
    return MixOptions(**chosen)


def build(photos, out, *, reject=None, review=False, force=False, licence=None, **changes):
    return build_stack_mix(
        open_source(photos), out, options=options(**changes), reject=reject, review=review,
        force=force, licence=licence,
    )  # fmt: skip


def contents(folder):
    """Bytes of every file, by its posix path."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
