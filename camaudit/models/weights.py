"""Weights files: safetensors, or state dicts that torch loads without running code."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from camaudit.errors import WeightsError

__all__ = ["file_sha256", "load_weights", "read_state_dict", "state_sha256"]

_WRAPPERS = ("module.", "_orig_mod.")  # what DataParallel and torch.compile put before every key


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """The state dict in `path`: `.safetensors`, or a torch file read with weights_only=True.

    A checkpoint that holds its state dict under "state_dict" or "model" is unwrapped, and a
    "module." or "_orig_mod." prefix (of DataParallel, of torch.compile) that is common to all keys
    is dropped. Raises :class:`WeightsError` where the file is
    missing, corrupt, holds anything but tensors, or would run code when loaded.
    """
    if not path.is_file():
        raise WeightsError(f"no weights file {str(path)!r}: give the path of an existing file")
    try:
        content = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except (
        SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError,
    ) as error:  # fmt: skip
        raise WeightsError(
            f"cannot read weights from {str(path)!r}: expected safetensors, or a state dict that "
            f"torch.load(weights_only=True) accepts ({_first_line(error)})"
        ) from error
    return _tensors(_unwrap(content), path)


def load_weights(model: nn.Module, path: Path) -> None:
    """Load `path` into `model`; every key and shape must fit.

    Raises :class:`WeightsError` naming the first missing, unexpected or misshapen keys.
    """
    state = read_state_dict(path)
    try:
        model.load_state_dict(state)
    except RuntimeError as error:
        own = model.state_dict()
        missing = [key for key in own if key not in state]
        unexpected = [key for key in state if key not in own]
        shapes = [k for k in own if k in state and own[k].shape != state[k].shape]
        raise WeightsError(
            f"the weights in {str(path)!r} do not fit the model: missing {_some(missing)}; "
            f"unexpected {_some(unexpected)}; other shapes {_some(shapes)}"
        ) from error


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def state_sha256(model: nn.Module) -> str:
    """SHA-256 over the state dict: names, dtypes, shapes and raw values, in key order."""
    digest = hashlib.sha256()
    for key, value in sorted(model.state_dict().items()):
        tensor = value.detach().cpu().contiguous()
        digest.update(f"{key}|{tensor.dtype}|{tuple(tensor.shape)}|".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _unwrap(content: Any) -> Any:
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            return content[key]
    return content


def _tensors(content: Any, path: Path) -> dict[str, Tensor]:
    if not isinstance(content, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in content.items()
    ):
        raise WeightsError(
            f"{str(path)!r} holds a {type(content).__name__}; expected a state dict, that is "
            "names to tensors"
        )
    for prefix in _WRAPPERS:
        if content and all(key.startswith(prefix) for key in content):
            return _tensors({key[len(prefix) :]: value for key, value in content.items()}, path)
    return content


def _some(names: list[str]) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
