"""What a weights file is that torch does not load without running code: read, and never run.

A pickle is a program: it names functions by module and name, and whoever loads it calls them. Here
the names are listed without importing any of them, so that a refusal can say what the file wants.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

__all__ = ["globals_of", "refusal"]

_MOST = 16 << 20  # bytes of a pickle that are looked at: it describes tensors, and holds none
_PICKLES = 5  # in a row in files of torch before 1.6: number, version, system, content, keys
_MODULES = "torch.nn.modules."
#: What state dicts are made of.
_PLAIN = ("torch._utils._rebuild", "torch._tensor._rebuild", "torch.nn.parameter.", "collections.")
_SAFE = "torch.save(model.state_dict(), 'state.pt')"


def refusal(path: Path) -> str | None:
    """Why a file cannot be loaded without running code, and what to do; None where that is unknown.

    For a pickled model or any other pickle with code, TorchScript, and a torch.export program.
    """
    shown = repr(str(path))
    inside = _members(path)
    if inside is not None and any(name.endswith("/constants.pkl") for name in inside):
        return (
            f"{shown} holds TorchScript, which is a program: expected safetensors or a state dict. "
            f"If you trust it, convert it once: torch.save(torch.jit.load({shown}).state_dict(), "
            "'state.pt')"
        )
    if inside is not None and any(name.endswith("/archive_format") for name in inside):
        return (
            f"{shown} holds a torch.export program, not weights: return it from a factory "
            f"(torch.export.load({shown})) and name that as the model"
        )
    names = globals_of(path)
    foreign = [name for name in names if not _is_plain(name)]
    if not foreign:
        return None
    whole = any(name.startswith(_MODULES) for name in foreign)
    if whole:
        what = f"holds a whole pickled model ({foreign[0]})"
        convert = f"torch.save(torch.load({shown}, weights_only=False).state_dict(), 'state.pt')"
    else:
        more = f" and {len(foreign) - 3} more" if len(foreign) > 3 else ""
        what = f"is a pickle that calls {', '.join(foreign[:3])}{more}"
        convert = _SAFE
    return (
        f"{shown} {what}, and loading that can run any code: expected safetensors or a state dict. "
        f"If you trust whoever made it, convert it once where its code can be imported: {convert}; "
        "or allow it with --unsafe-pickle (unsafe_pickle=True)"
    )


def globals_of(path: Path) -> list[str]:
    """The functions and classes that the pickles in a file name, as module.name, each once.

    Nothing is imported. What stands behind damage is left out.
    """
    found: dict[str, None] = {}
    try:
        with _pickle_of(path) as stream:
            for _ in range(_PICKLES):
                for name in _globals(stream):
                    found[name] = None
    except Exception:  # the rest is damaged, or is no pickle: pickletools raises anything
        return list(found)
    return list(found)


def _members(path: Path) -> list[str] | None:
    """Names in a zip file, as torch writes them; None where the file is none."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except Exception:  # zipfile raises many types on damaged files
        return None


def _pickle_of(path: Path) -> IO[bytes]:
    """The pickle in a file of torch, or the file itself."""
    inside = _members(path)
    if inside is None:
        with path.open("rb") as stream:
            return io.BytesIO(stream.read(_MOST))
    name = next(name for name in inside if name.endswith("data.pkl"))
    with zipfile.ZipFile(path) as archive, archive.open(name) as member:
        return io.BytesIO(member.read(_MOST))


def _globals(stream: IO[bytes]) -> Iterator[str]:
    """Those of one pickle, as far as it can be read.

    STACK_GLOBAL takes module and name from the stack: the last two texts, which may come from the
    memo.
    """
    memo: dict[int, str] = {}
    texts: list[str] = []
    for operation, argument, _ in pickletools.genops(stream):
        if operation.name in ("GLOBAL", "INST"):
            yield str(argument).replace(" ", ".")
        elif operation.name == "STACK_GLOBAL":
            yield ".".join(texts[-2:])
        elif "UNICODE" in operation.name or "STRING" in operation.name:
            texts.append(str(argument))
        elif operation.name == "MEMOIZE":
            memo[len(memo)] = texts[-1] if texts else ""
        elif operation.name in ("BINPUT", "LONG_BINPUT", "PUT"):
            memo[int(str(argument))] = texts[-1] if texts else ""
        elif operation.name in ("BINGET", "LONG_BINGET", "GET"):
            texts.append(memo.get(int(str(argument)), ""))


def _is_plain(name: str) -> bool:
    module, _, last = name.rpartition(".")
    stored = module.startswith("torch") and last.endswith("Storage")
    return name.startswith(_PLAIN) or stored or module == "torch"  # dtypes, devices, sizes
