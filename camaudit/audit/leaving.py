"""Code of the user's that ends the program: no audit may end as if it had come to its end."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from camaudit.errors import AuditError

__all__ = ["staying"]


@contextmanager
def staying() -> Iterator[None]:
    """Within the context neither `sys.exit` nor `os._exit` ends this process.

    Both would give it an exit code of the user's choice, 0 say, before anything is decided. Raises
    :class:`AuditError` in their place. A process that was forked here may end as it likes; what
    leaves from a library in C cannot be held.
    """
    leave, here = os._exit, os.getpid()

    def stay(status: Any = None) -> None:
        if os.getpid() != here:
            leave(status)
        raise SystemExit(status)

    os._exit = stay  # type: ignore[assignment]
    try:
        yield
    except SystemExit as error:
        raise AuditError(
            f"the model or an explainer ended the program (exit code {error.code}) before the "
            "audit was done: take that call out of it"
        ) from error
    finally:
        os._exit = leave
