"""The gallery's view model: each photograph with its tiles, one per method."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from camaudit.report import figures
from camaudit.report.gallery import GalleryImage, Wall, jpeg_uri, overlay_uri, wall
from camaudit.report.names import title
from camaudit.report.verdict import CONTROL, Finding
from camaudit.report.view import ranked
from camaudit.types import Record, Status, Summary

__all__ = ["Panel", "Tile", "finding_of", "panels", "reason_of", "target_of", "unmasked_reason"]

_ROLES = {
    "label": "a class of the image",
    "seen": "the class above the wall",
    "unseen": "the class behind the wall, which the model does not see",
    "asked": "asked for",
}  #: what a reader is told of a record's role


@dataclass(frozen=True)
class Tile:
    """One method on one image: an overlay, or the reason why there is none."""

    method: str
    control: bool
    overlay: str | None
    reason: str
    mu_l1: str
    mu_l2: str
    mu_l1_minmax: str
    finding: Finding
    alternative: str


@dataclass(frozen=True)
class Panel:
    """One photograph, its wall and its tiles."""

    number: int
    title: str
    caption: str
    target: str
    width: int
    height: int
    photo: str
    wall: Wall
    dead: str
    scored: str
    methods: tuple[Tile, ...]
    controls: tuple[Tile, ...]


def panels(
    gallery: Sequence[GalleryImage], summary: Sequence[Summary], records: Sequence[Record]
) -> tuple[Panel, ...]:
    """The panels in the gallery's order, with the tiles in the order of the tables."""
    ordered = ranked(summary)
    known = {target: _indexed(records, target) for target in {one.target for one in gallery}}
    return tuple(
        _panel(number, image, ordered, known[image.target])
        for number, image in enumerate(gallery, 1)
    )


def _indexed(records: Sequence[Record], target: int | None) -> dict[tuple[str, str, str], Record]:
    """Records by check, method and image; of one target where images have several."""
    return {
        (record.check, record.method, record.image): record
        for record in records
        if target is None or record.target == target
    }


def _panel(
    number: int,
    image: GalleryImage,
    ordered: Sequence[Summary],
    records: dict[tuple[str, str, str], Record],
) -> Panel:
    found = [records.get((entry.check, entry.method, image.id)) for entry in ordered]
    tiles = [
        _tile(image, entry.method, record, control=entry.family == CONTROL)
        for entry, record in zip(ordered, found, strict=True)
    ]
    listed = {entry.method for entry in ordered}
    extra = [_tile(image, name, None, control=False) for name in image.maps if name not in listed]
    height, width = image.pixels.shape[:2]
    return Panel(
        number=number,
        title=image.title,
        caption=image.caption,
        target=target_of([record for record in found if record is not None]),
        width=width,
        height=height,
        photo=jpeg_uri(image.pixels),
        wall=wall(image.dead, image.scored),
        dead=figures.percent(float(image.dead.mean())),
        scored=figures.percent(float(image.scored.mean())),
        methods=tuple(tile for tile in tiles if not tile.control) + tuple(extra),
        controls=tuple(tile for tile in tiles if tile.control),
    )


def _tile(image: GalleryImage, method: str, record: Record | None, *, control: bool) -> Tile:
    saliency = image.maps.get(method)
    scored = record is None or record.status is Status.OK
    overlay = None if saliency is None or not scored else overlay_uri(saliency)
    name = title(method)
    share = figures.percent(record.mu_l1 if record else None)
    return Tile(
        method=name,
        control=control,
        overlay=overlay,
        reason="" if overlay else reason_of(record, kept=saliency is not None),
        mu_l1=share,
        mu_l2=figures.percent(record.mu_l2 if record else None),
        mu_l1_minmax=figures.percent(record.mu_l1_minmax if record else None),
        finding=finding_of(record),
        alternative=f"{name} on {image.title}: {share} of the map in the dead zone",
    )


def reason_of(record: Record | None, *, kept: bool) -> str:
    """Why a tile shows no map."""
    if record is None:
        return "Not scored on this image." if kept else "Not run on this image."
    if record.status is Status.OK:
        return "The map is zero or not finite." if kept else "The map was not kept."
    word, default = {
        Status.DEGENERATE: ("Degenerate", "the map is zero everywhere or not finite"),
        Status.NOT_APPLICABLE: ("Not applicable", "the method is not defined on this model"),
        Status.ERROR: ("Failed", "no reason was recorded"),
    }[record.status]
    return f"{word}: {record.message or default}"


def unmasked_reason(record: Record | None) -> str:
    """Why there is no map on the model without the wall; empty where one was scored.

    A record has one message: that of the walled model, else that of its unmasked twin.
    """
    if record is None or record.unmasked is None:
        if record is None or record.status is not Status.OK:
            return reason_of(record, kept=False)
        return "Not run on this image without the wall."
    if record.unmasked.status is Status.OK:
        return ""
    status, message = record.unmasked.status, record.message
    if record.status in (Status.NOT_APPLICABLE, Status.ERROR):  # the message is of that
        told = message is not None and status is record.status
        message = f"with the wall too: {message}" if told else None
    return reason_of(replace(record, status=status, message=message), kept=False)


def finding_of(record: Record | None) -> Finding:
    """What one map's μ says by the verdict's rule."""
    if record is None or not figures.defined(record.mu_l1):
        return Finding.UNDEFINED
    return Finding.LIT if (record.mu_l1 or 0.0) > 0 else Finding.ZERO


def target_of(records: Sequence[Record]) -> str:
    """The explained class or classes."""
    named = dict.fromkeys(_class(record) for record in records)
    return figures.joined(list(named), limit=3)


def _class(record: Record) -> str:
    if record.target is None:
        return "none: the logits are not finite"
    named = f"{record.target_name} ({record.target})" if record.target_name else str(record.target)
    why = _ROLES.get(record.role or "")
    rank = "" if record.rank is None else f"number {record.rank} of the model's logits"
    more = ", ".join(part for part in (why, rank) if part)
    return f"{named}: {more}" if more else named
