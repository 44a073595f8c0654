"""Callables by spec: `package.module:name`, or `file.py:name` for a file that is in no package."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from camaudit.errors import UsageError

__all__ = ["described", "folder_of", "importable", "named"]


def folder_of(source: str) -> Path:
    """Where modules beside `source` are looked for: a file's folder, else the working folder."""
    return Path(source).expanduser().resolve().parent if source.endswith(".py") else Path.cwd()


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """Within the context Python looks for modules in `folder` first, as for a script there."""
    before = list(sys.path)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path[:] = before


def named(source: str, name: str, *, what: str, error: type[UsageError] = UsageError) -> Any:
    """What is called `name` in `source` (package.module or file.py), which is imported.

    A file's path may begin with ~, as those in results.json do.
    `what` says in messages what it is for ("the model factory"). Raises `error` where there is no
    such file, where importing fails, and where the module has no such name (near names are listed).
    """
    module = (
        _from_file(Path(source).expanduser(), what, error)
        if source.endswith(".py")
        else _from_import(source, what, error)
    )
    try:
        return getattr(module, name)
    except AttributeError:
        found = sorted(key for key, value in vars(module).items() if callable(value))
        near = ", ".join(difflib.get_close_matches(name, found, n=3)) or "none near"
        raise error(f"{source!r} has no callable {name!r} (near names: {near})") from None


def described(error: BaseException) -> str:
    """An exception as a clause of a message: its type and its text."""
    return f"{type(error).__name__}: {error}"


def _from_file(path: Path, what: str, error: type[UsageError]) -> Any:
    if not path.is_file():
        raise error(f"no file {str(path)!r} to take {what} from")
    spec = importlib.util.spec_from_file_location(f"camaudit_subject_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise error(f"{str(path)!r} cannot be imported as Python")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and pickling inside it look themselves up
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as failure:
        del sys.modules[spec.name]
        raise error(f"{str(path)!r} failed while being imported: {described(failure)}") from failure
    return module


def _from_import(source: str, what: str, error: type[UsageError]) -> Any:
    try:
        return importlib.import_module(source)
    except (Exception, SystemExit) as failure:
        raise error(f"cannot import {source!r} for {what}: {described(failure)}") from failure
