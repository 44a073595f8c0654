"""A journal in memory, which may break off."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from camaudit.journal import Finding, Kept

__all__ = ["Memory", "StoppedError", "key_text"]


class StoppedError(Exception):
    """A run was broken off."""


class Memory:
    """A :class:`camaudit.journal.Journal`; `left` is how often something can be kept."""

    def __init__(self, given: Tensor, *, left: int = -1, unknown: Sequence[str] = ()) -> None:
        self.kept: dict[str, Finding] = {}
        self.left = left
        self.unknown = unknown
        self.computed: list[Finding] = []
        self.given(given)

    def given(self, images: Tensor) -> None:
        """Another run of other images."""
        self.images = [hashlib.sha256(one.numpy().tobytes()).hexdigest() for one in images]
        self.names = [f"image-{place}" for place in range(len(images))]
        self.computed = []

    def explainer(self, label: str) -> str | None:
        """The label, but for those of which nothing is known."""
        return None if label in self.unknown else label

    def find(self, keys: Sequence[Mapping[str, Any]]) -> list[Kept | None]:
        """What is there, as it comes back from JSON."""
        found = [self.kept.get(key_text(key)) for key in keys]
        return [
            None if one is None else Kept(json.loads(json.dumps(one.value)), one.blob)
            for one in found
        ]

    def keep(
        self, key: Mapping[str, Any], value: Any, blob: bytes | None = None, **of: str
    ) -> None:
        """Keep one."""
        self.keep_all([Finding(key, value, blob, **of)])

    def keep_all(self, findings: Sequence[Finding]) -> None:
        """All of them, or none."""
        if self.left == 0:
            raise StoppedError
        self.left -= 1
        for one in findings:
            json.dumps(one.value, allow_nan=False)
            self.kept[key_text(one.key)] = one
            self.computed.append(one)

    @property
    def parts(self) -> set[tuple[str, str, str]]:
        """What was computed since :meth:`given`: method, image and group."""
        return {(one.method, one.image, one.key["part"]) for one in self.computed}


def key_text(key: Mapping[str, Any]) -> str:
    """A key as canonical JSON."""
    return json.dumps(key, sort_keys=True, allow_nan=False)
