"""Counterexamples on disk: kept as JSON and as programs, and tried first the next time."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from camaudit.errors import UsageError
from camaudit.files import made_folder, parsed_json, write_files
from camaudit.invariance.example import Example
from camaudit.redaction import cleaner

__all__ = ["Store"]

_FORMAT = 1


class Store:
    """Counterexamples in a folder, one file pair (.json, .py) for every explainer and property.

    Nothing is ever removed: an example that was fixed stays as a regression test. A new one for
    the same explainer and property is put beside the earlier ones of the same file, newest first.
    """

    KEPT = 5  #: examples kept for an explainer and a property

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def known(self, explainer: str, name: str) -> list[Example]:
        """Earlier counterexamples, newest first; none where there is no file.

        Raises :class:`UsageError` for a file that cannot be read.
        """
        path = self._path(explainer, name, "json")
        if not path.is_file():
            return []
        try:
            stored = parsed_json(path.read_text(encoding="utf-8"))
            if stored["format"] != _FORMAT:
                raise ValueError(f"format {stored['format']!r}")
            return [Example.from_dict(values) for values in stored["examples"]]
        except (OSError, ValueError, KeyError, TypeError, UsageError) as error:
            raise UsageError(
                f"{path} is no file of counterexamples as camaudit writes them ({error}): remove "
                "it, or name another folder with --counterexamples"
            ) from error

    def keep(self, explainer: str, name: str, example: Example, code: str) -> Path:
        """Store a counterexample and its program; returns the program's path.

        The program, which quotes errors, is without secrets, see :mod:`camaudit.redaction`.
        Raises :class:`camaudit.errors.OutputError` where the folder cannot be written.
        """
        examples = [example, *(one for one in self.known(explainer, name) if one != example)]
        program = self._path(explainer, name, "py")
        texts = {
            self._path(explainer, name, "json").name: self._encoded(examples[: self.KEPT]),
            program.name: cleaner()(code),
        }
        encoded = {key: text.encode("utf-8", "backslashreplace") for key, text in texts.items()}
        write_files(encoded, made_folder(self.folder))
        return program

    @staticmethod
    def _encoded(examples: Sequence[Example]) -> str:
        stored = {"format": _FORMAT, "examples": [example.to_dict() for example in examples]}
        return json.dumps(stored, indent=2) + "\n"

    def _path(self, explainer: str, name: str, ending: str) -> Path:
        slug = re.sub(r"[^A-Za-z0-9._+-]+", "-", explainer).strip("-.") or "explainer"
        return self.folder / f"{slug}--{name}.{ending}"
