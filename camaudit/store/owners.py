"""Which processes work on a store: each holds a lock that ends with it, whatever the clock says."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows has no such locks: there every other process counts as gone
    fcntl = None  # type: ignore[assignment]

__all__ = ["Owner"]

_PREFIX = ".working-"


class Owner:
    """This process among those that work in `folder`.

    Its file is locked as long as the process lives; the kernel lets go of the lock when it dies,
    also by SIGKILL. Clocks and process numbers, which are used again, play no part.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = secrets.token_hex(8)
        self._file = self._path(self.name)
        self._handle = os.open(self._file, os.O_CREAT | os.O_RDWR, 0o600)
        if fcntl is not None:
            fcntl.flock(self._handle, fcntl.LOCK_EX)

    def alive(self, name: str) -> bool:
        """Whether the process of that name still works; its file is removed where it does not."""
        if name == self.name:
            return True
        path = self._path(name)
        try:
            handle = os.open(path, os.O_RDWR)
        except OSError:
            return False
        try:
            if fcntl is not None:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        else:
            with suppress(OSError):
                path.unlink()
            return False
        finally:
            os.close(handle)

    def close(self) -> None:
        """Let go; called twice it does nothing."""
        if self._handle < 0:
            return
        with suppress(OSError):
            self._file.unlink()
        os.close(self._handle)
        self._handle = -1

    def sweep(self) -> None:
        """Remove the files of processes that are gone."""
        for path in self.folder.glob(f"{_PREFIX}*"):
            self.alive(path.name.removeprefix(_PREFIX))

    def _path(self, name: str) -> Path:
        return self.folder / f"{_PREFIX}{name}"
