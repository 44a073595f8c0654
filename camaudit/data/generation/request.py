"""What a back end is asked for and what it answers, whichever it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol, TypeAlias, Union

from camaudit.data.manifest import ManifestSource

__all__ = ["JSON", "Backend", "Generated", "RefusedError", "Request"]

JSON: TypeAlias = Union[bool, int, float, str, list["JSON"], dict[str, "JSON"], None]  # noqa: UP007
"""What a manifest can hold."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One image to be made.

    `id` is unique in a data set and is part of file names, `label` an ImageNet-1k index or None,
    `seed` differs from request to request, `size` is the smallest height and width that can be
    used: a square is cropped from the picture.
    """

    id: str
    label: int | None
    label_name: str
    prompt: str
    seed: int
    size: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Generated:
    """A picture as a back end gave it: an encoded image (PNG, JPEG or WebP), and its origin.

    `generation` goes into the manifest: prompt, refined_prompt, backend, model, host,
    response_id, created, cost, … and never a key. A back end that knows where the upper subject
    ends says so there as `boundary`, a fraction of the height. `sources` are the photographs that
    it shows, `notes` what a user should know of it.
    """

    picture: bytes = field(repr=False)
    generation: dict[str, JSON]
    sources: tuple[ManifestSource, ...] = ()
    notes: tuple[str, ...] = ()


class RefusedError(Exception):
    """This one request cannot be met, for the reason in the message; others may be.

    The reason goes into the manifest, and the next seed of the class is tried.
    """


class Backend(Protocol):
    """Something that makes pictures."""

    @property
    def settings(self) -> dict[str, JSON]:
        """Everything that decides the result, for the manifest; never a key."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user must know when the data set is done, such as images paid in vain."""

    def generate(self, request: Request) -> Generated:
        """Make one picture; equal requests give equal pictures where a back end can do that.

        Raises :class:`RefusedError` if this request cannot be met, and an error of
        `camaudit.errors` if no further one can be.
        """
