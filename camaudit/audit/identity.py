"""What a run's cells depend on: the code, the model with its wall, and how it is run."""

from __future__ import annotations

import functools
import hashlib
import inspect
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

import camaudit
from camaudit.audit.settings import Settings
from camaudit.audit.subject import Second, Subject, WalledSubject
from camaudit.data.stack_mix import StackImage
from camaudit.models.weights import file_sha256, state_sha256
from camaudit.store import cell_key, digest_of

__all__ = ["code_sha256", "identity", "image_keys", "second_key"]

#: Parts of the package that compute nothing of a cell.
_OUTSIDE = {
    "report", "gates", "commands", "testing", "schema", "store", "cli.py", "console.py",
    "pytest_plugin.py", "__main__.py",
}  # fmt: skip


def identity(settings: Settings, subject: Subject) -> dict[str, Any]:
    """What the key of every cell of a run holds, as plain JSON.

    The model (weights, the code of its modules and of what made it, layer, wall, preprocessing),
    what changes the numbers of masked images, torch's version and camaudit's own code.
    """
    engine = {"precision": settings.precision, "exact": settings.exact}
    return {
        "code": code_sha256(),
        "torch": torch.__version__,
        "subject": _subject(subject),
        "factory": _factory_sha256(settings.model),
        "engine": {**engine, "compile": settings.compile},
    }


def second_key(second: Second) -> str:
    """What stands for a second model in a key: its weights, the code of its modules, its layer."""
    model = second.model
    return cell_key(
        {"state": state_sha256(model), "code": _modules_sha256(model), "layer": second.layer}
    )


def image_keys(images: Iterable[StackImage]) -> tuple[str, ...]:
    """What stands for each image of a run in a key: the SHA-256 of its pixels.

    Where others before it show the same pixels, their number too: each is computed in a batch of
    its own, and rounds as that does, whichever is computed first.
    """
    before: Counter[str] = Counter()
    keys = []
    for digest in (image.sha256 for image in images):
        keys.append(f"{digest} {before[digest]}" if digest in before else digest)
        before[digest] += 1
    return tuple(keys)


@functools.cache
def code_sha256() -> str:
    """SHA-256 of the code that computes cells, and of the version of camaudit."""
    digest = hashlib.sha256(camaudit.__version__.encode())
    folder = Path(camaudit.__file__).parent
    for path in sorted(folder.rglob("*.py")):
        inner = path.relative_to(folder)
        if inner.parts[0] not in _OUTSIDE:
            digest.update(inner.as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _subject(subject: Subject) -> dict[str, Any]:
    """What of a subject changes its maps."""
    known = subject.description
    wanted = ("state_sha256", "class", "layer", "layer_shape", "reading", "preprocess")
    zone = None
    if isinstance(subject, WalledSubject):
        zone = digest_of(subject.walled.zone.scored.numpy().tobytes())
    return {
        **{name: known[name] for name in wanted},
        "wall": known.get("wall"),
        "unmasked": (known.get("unmasked") or {}).get("weights_sha256"),
        "code": _modules_sha256(subject.model),
        "size": subject.size,
        "dtype": str(subject.dtype),
        "device": subject.device.type,
        "zone": zone,
    }


def _factory_sha256(spec: str) -> str | None:
    """Of the file whose function made the model; None for a model that is named."""
    source = spec.rpartition(":")[0]
    file = getattr(sys.modules.get(source), "__file__", None) or source
    path = Path(file)
    return file_sha256(path) if path.is_file() else None


def _modules_sha256(model: nn.Module) -> str:
    """Over how a model's modules are built, and the files in which their classes stand."""
    digest = hashlib.sha256(repr(model).encode("utf-8", "backslashreplace"))
    files = set()
    for kind in {type(module) for module in model.modules()}:
        file = getattr(sys.modules.get(kind.__module__), "__file__", None)
        files.add(file or _source(kind))
    for file in sorted(filter(None, files)):
        path = Path(file)
        digest.update(path.read_bytes() if path.is_file() else file.encode())
    return digest.hexdigest()


def _source(kind: type) -> str | None:
    try:
        return inspect.getsourcefile(kind)
    except (TypeError, OSError):
        return None
