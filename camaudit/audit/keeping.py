"""The maps of the first images, handed on as they come to whoever writes them."""

from __future__ import annotations

from collections.abc import Sequence

from camaudit.audit.units import Map
from camaudit.data.stack_mix import StackImage
from camaudit.report.keeping import MapsWriter
from camaudit.walls import DeadZone

__all__ = ["Keeper", "shown_caption", "shown_title"]

_Pair = tuple[Map | None, Map | None]  # with the wall, and without

_PAIRINGS = {
    "two-images": "two photographs of a class, stacked at the wall",
    "two-crops": "two crops of one photograph, stacked at the wall",
    "two-classes": "photographs of two classes, stacked at the wall",
    "single": "as it is",
}


def shown_title(image: StackImage) -> str:
    """What an image is called in a report: its class or classes, else its id."""
    names = [name for name in (image.label_name, image.unseen_label_name) if name]
    return " above ".join(names) or image.id


def shown_caption(image: StackImage) -> str:
    """What an image was made of, in words."""
    sources = " above ".join(dict.fromkeys(source.id for source in image.sources))
    return f"{sources} ({_PAIRINGS[image.pairing]})"


class Keeper:
    """Gathers the maps of one batch after the other, and forgets them once they are written.

    Without a `writer` nothing is kept.
    """

    def __init__(
        self, writer: MapsWriter | None, images: Sequence[StackImage], zone: DeadZone
    ) -> None:
        self._writer = writer
        self._images = images[: 0 if writer is None else writer.most]
        self._maps: dict[int, dict[int, dict[str, _Pair]]] = {}
        if writer is not None:
            writer.wall(dead=zone.pixel_dead.numpy(), scored=zone.scored.numpy())

    @property
    def most(self) -> int:
        """Of how many images maps are wanted."""
        return len(self._images)

    def map(
        self, place: int, target: int, method: str, walled: Map | None, unmasked: Map | None
    ) -> None:
        """A method's raw maps (h×w, of any grid) of an image, with the wall and without.

        None for a map that is none; `unmasked` also where there is no model without the wall.
        """
        if place < len(self._images):
            of = self._maps.setdefault(place, {}).setdefault(target, {})
            of[method] = walled, unmasked

    def written(self, start: int, stop: int, *, several: bool) -> None:
        """All maps of the images from `start` to before `stop` have come: write them.

        `several`: images have several targets, each with maps of its own.
        """
        if self._writer is None:
            return
        for place in range(start, min(stop, len(self._images))):
            image = self._images[place]
            found: dict[int, dict[str, _Pair]] = self._maps.pop(place, {})
            for target, maps in found.items() or [(None, {})]:
                self._writer.add(
                    id=image.id,
                    target=target if several else None,
                    title=shown_title(image),
                    caption=shown_caption(image),
                    pixels=image.pixels,
                    maps={method: walled for method, (walled, _) in maps.items()},
                    unmasked={method: twin for method, (_, twin) in maps.items()},
                )
