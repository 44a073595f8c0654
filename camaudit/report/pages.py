"""The files of a report: one page, or, where that would be too large, pages of images beside it."""

from __future__ import annotations

from collections.abc import Sequence

from camaudit.report.comparison import ComparisonView
from camaudit.report.explorer import ONE_FILE, Explorer, PageLink, embedded, fitted
from camaudit.report.gallery import GalleryImage
from camaudit.report.html import render, render_images, render_theory
from camaudit.report.kept_maps import KeptMaps
from camaudit.report.sanity_pictures import SanityPicture
from camaudit.report.view import report_view, select_check
from camaudit.report.writing import REPORT_NAME, encoded
from camaudit.types import Results

__all__ = ["FIRST", "PAGES_NAME", "report_files"]

PAGES_NAME = "report"  #: folder of the pages of images
FIRST = 12  #: images on the report itself where there are pages
_MARGIN = 100_000  # bytes that an explorer takes beside its data


def report_files(
    results: Results,
    gallery: Sequence[GalleryImage] = (),
    pictures: Sequence[SanityPicture] = (),
    maps: KeptMaps | None = None,
    *,
    comparison: ComparisonView | None = None,
    limit: int = ONE_FILE,
) -> dict[str, str]:
    """The report's files by their names in the run's folder; the first one is the report itself.

    One file of at most `limit` bytes carries all that was kept, its photographs made smaller where
    need be. Where even the smallest do not fit, each page of images has at most `limit` bytes. A
    report without an explorer is as large as it is, and so is that of a theory check.
    """
    if "setup" in results.theory:
        return {REPORT_NAME: render_theory(results)}
    plain = render(results, gallery, pictures, comparison=comparison)
    summary = select_check(results)
    if maps is None or not len(maps) or not summary:
        return {REPORT_NAME: plain}
    total = len({record.image for record in results.records})
    room = limit - len(encoded(plain)) - _MARGIN
    whole = fitted(maps, summary, results.records, total=total, room=room)
    if whole is not None:
        page = render(results, gallery, pictures, comparison=comparison, explorer=whole)
        return {REPORT_NAME: page}
    explorers = _divided(results, maps, total=total, room=limit - _MARGIN)
    links = _links(explorers)
    first = embedded(maps, summary, results.records, places=range(FIRST), total=total)
    pages = {
        link.address: render_images(
            one,
            subject=report_view(results).subject,
            version=results.camaudit,
            pages=links,
            current=link,
        )
        for link, one in zip(links, explorers, strict=True)
    }
    page = render(results, gallery, pictures, comparison=comparison, explorer=first, pages=links)
    return {REPORT_NAME: page, **pages}


def _divided(results: Results, maps: KeptMaps, *, total: int, room: int) -> list[Explorer]:
    """Explorers of consecutive images, as few as fit `room` bytes each."""
    summary = select_check(results)
    found: list[Explorer] = []
    start = 0
    # the first images tell how large one is; what does not fit after all is halved
    sample = embedded(maps, summary, results.records, places=range(FIRST), total=total)
    count = max(1, room * FIRST // sample.size * 9 // 10)
    while start < len(maps):
        places = range(start, min(start + count, len(maps)))
        one = embedded(maps, summary, results.records, places=places, total=total)
        if one.size > room and len(places) > 1:
            count = max(1, len(places) // 2)
            continue
        found.append(one)
        start = places.stop
    return found


def _links(explorers: Sequence[Explorer]) -> list[PageLink]:
    found, start = [], 0
    for number, one in enumerate(explorers, start=1):
        label = f"Images {start + 1}–{start + one.count}"
        found.append(PageLink(f"{PAGES_NAME}/images-{number:03d}.html", label))
        start += one.count
    return found
