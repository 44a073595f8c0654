"""`python -m tests.benchmarks.report [IMAGES]`: how large a report is, and how soon it is seen.

Made-up maps of fifteen methods, with the wall and without, and the grain of real photographs.
Times are those of the browser: first paint, the whole page read, and the first image drawn in the
explorer.
"""

from __future__ import annotations

import dataclasses
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from camaudit.report.keeping import keeping
from camaudit.report.kept_maps import KeptMaps
from camaudit.report.pages import FIRST, report_files
from camaudit.report.writing import write_pages
from camaudit.types import Results
from tests.browser import chromium
from tests.report.conftest import (
    FIRST_DEAD_ROW,
    METHODS,
    SIDE,
    make_photo,
    make_record,
    make_results,
    make_summary,
)

__all__ = ["kept_run", "main", "many_results"]

_PHOTOS = 40  # different ones; the others repeat them
_TIMES = """() => ({
    paint: performance.getEntriesByName("first-contentful-paint")[0]?.startTime,
    read: performance.getEntriesByType("navigation")[0].domContentLoadedEventEnd})"""


def many_results(count: int) -> Results:
    """The results of fifteen methods on `count` images."""
    rng = np.random.default_rng(5)
    methods = [dataclasses.replace(method, images=count) for method in METHODS]
    records = [
        make_record(method, f"image-{number}", number, float(rng.normal()))
        for method in methods
        for number in range(count)
    ]
    images = [{"id": f"image-{number}", "sha256": f"{number:064x}"} for number in range(count)]
    plain = make_results()
    return dataclasses.replace(
        plain,
        records=records,
        summary=[make_summary(method, records) for method in methods],
        provenance=dataclasses.replace(plain.provenance, images=images),
    )


@contextmanager
def kept_run(
    count: int, folder: Path, methods: int | None = None, *, unmasked: bool = True
) -> Iterator[KeptMaps]:
    """The kept maps of `count` images: 7×7 cells, and whole images for two of the controls.

    With `unmasked` also those of the model without its wall: the same for the controls.
    """
    rng = np.random.default_rng(6)
    photos = [make_photo(rng) for _ in range(min(count, _PHOTOS))]
    large = rng.random((SIDE, SIDE))
    dead = np.zeros((SIDE, SIDE), dtype=bool)
    dead[FIRST_DEAD_ROW:] = True
    with keeping(folder, count) as writer:
        writer.wall(dead=dead, scored=dead)
        for number in range(count):
            maps: dict[str, Any] = {
                method.name: large if method.name in ("random", "sobel") else rng.random((7, 7))
                for method in METHODS[:methods]
                if method.mean is not None
            }
            twins = {
                name: values if values is large else rng.random((7, 7))
                for name, values in maps.items()
            }
            writer.add(
                id=f"image-{number}", title=f"image {number}", caption="", maps=maps,
                unmasked=twins if unmasked else None, pixels=photos[number % len(photos)],
            )  # fmt: skip
        yield writer.finish()


def main(count: int) -> None:
    """Write a report of `count` images into a temporary folder and open it."""
    with tempfile.TemporaryDirectory() as name, kept_run(count, Path(name)) as maps:
        began = time.perf_counter()
        files = report_files(many_results(count), maps.gallery(FIRST), (), maps)
        written = write_pages(files, name)
        sizes = [path.stat().st_size / 1e6 for path in written]
        print(f"{count} images: {len(written)} files in {time.perf_counter() - began:.1f} s, "
              f"{sizes[0]:.1f} MB the first, {max(sizes):.1f} MB the largest")  # fmt: skip
        with chromium() as browser:
            for path in dict.fromkeys([written[0], written[-1]]):
                page = browser.new_page(viewport={"width": 1280, "height": 900})
                page.goto(path.as_uri(), wait_until="domcontentloaded")
                page.wait_for_selector("#explorer-views canvas")
                drawn = page.evaluate("performance.now()")
                times = page.evaluate(_TIMES)
                print(f"{path.name}: first paint {times['paint']:.0f} ms, page read "
                      f"{times['read']:.0f} ms, first image drawn {drawn:.0f} ms")  # fmt: skip
                page.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
