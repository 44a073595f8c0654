"""Pictures as a slow back end gave them, kept on disk so that an interrupted run goes on.

`FOLDER/originals/ID.bin` is the picture and `ID.json`, which is written after it, says what it
is. An id stands for one request to one back end with one set of settings, so a file that is there
is the answer.
"""

from __future__ import annotations

import json
from pathlib import Path

from camaudit.data.folders import sha256_bytes
from camaudit.data.generation.request import JSON, Backend, Generated, Request
from camaudit.data.images import read_file
from camaudit.errors import ImageError
from camaudit.files import made_folder, parsed_json, write_files

__all__ = ["Originals"]


class Originals:
    """A back end whose pictures are kept: each request is passed on once."""

    def __init__(self, backend: Backend, folder: Path) -> None:
        self._backend = backend
        self._folder = folder / "originals"

    @property
    def settings(self) -> dict[str, JSON]:
        """Those of the back end."""
        return self._backend.settings

    @property
    def notes(self) -> tuple[str, ...]:
        """Those of the back end."""
        return self._backend.notes

    def generate(self, request: Request) -> Generated:
        """The picture that is kept, else a new one, which is kept before it is returned."""
        kept = self._kept(request)
        if kept is not None:
            return kept
        made = self._backend.generate(request)
        record = {
            "seed": request.seed,
            "prompt": request.prompt,
            "sha256": sha256_bytes(made.picture),
            "generation": made.generation,
            "notes": list(made.notes),
        }
        text = json.dumps(record, ensure_ascii=False, indent=2) + "\n"
        files = {f"{request.id}.bin": made.picture, f"{request.id}.json": text.encode()}
        write_files(files, made_folder(self._folder))
        return made

    def _kept(self, request: Request) -> Generated | None:
        """The picture of an earlier run; None if there is none, or it is damaged or another's."""
        try:
            record = parsed_json(read_file(self._folder / f"{request.id}.json"))
            picture = read_file(self._folder / f"{request.id}.bin")
            asked = (record["seed"], record["prompt"], record["sha256"])
            if asked != (request.seed, request.prompt, sha256_bytes(picture)):
                return None
            generation, notes = dict(record["generation"]), tuple(record["notes"])
        except (ImageError, ValueError, KeyError, TypeError):
            return None
        return Generated(picture=picture, generation=generation, notes=notes)
