"""Weights files: safetensors, or state dicts that torch loads without running code.

A pickle that needs its code is read only where `unsafe_pickle` says so.
"""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from camaudit.errors import WeightsError
from camaudit.importing import described
from camaudit.models.pickled import refusal

__all__ = ["Weights", "file_sha256", "load_weights", "read_weights", "state_sha256"]

_REPEATED = 64 << 20  # bytes that a tensor may have more than are stored of it
_WRAPPERS = ("module.", "_orig_mod.")  # what DataParallel and torch.compile put before every key


@dataclass(frozen=True, eq=False)
class Weights:
    """A state dict, and whether its file was free to run code while it was read."""

    state: dict[str, Tensor]
    ran_code: bool


def read_weights(path: Path, *, unsafe_pickle: bool = False) -> Weights:
    """The state dict in `path`: `.safetensors`, or a torch file read with weights_only=True.

    A checkpoint that holds its state dict under "state_dict" or "model" is unwrapped, and a
    "module." or "_orig_mod." prefix (of DataParallel, of torch.compile) that is common to all keys
    is dropped. `unsafe_pickle` reads what cannot be read that way with weights_only=False, which
    runs whatever code the file names, and takes a pickled model's own state dict. Raises
    :class:`WeightsError` where the file is missing, corrupt, holds anything but dense tensors with
    values of their own, or would run code.
    """
    if not path.is_file():
        raise WeightsError(f"no weights file {str(path)!r}: give the path of an existing file")
    try:
        content, ran_code = _safely(path), False
    except Exception as error:  # a damaged pickle raises anything
        if path.suffix == ".safetensors" or not unsafe_pickle:
            raise WeightsError(_why(path, error)) from error
        content, ran_code = _unsafely(path), True
    return Weights(_checked(_tensors(_unwrap(content), path), path), ran_code)


def load_weights(model: nn.Module, path: Path, *, unsafe_pickle: bool = False) -> bool:
    """Load `path` into `model`; every key and shape must fit.

    Returns whether the file was free to run code, see :func:`read_weights`. Raises
    :class:`WeightsError` naming the first missing, unexpected or misshapen keys.
    """
    weights = read_weights(path, unsafe_pickle=unsafe_pickle)
    state = weights.state
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
    return weights.ran_code


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


def _safely(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return load_file(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of formats that are then refused
        return torch.load(path, map_location="cpu", weights_only=True)


def _unsafely(path: Path) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=False)
    except (Exception, SystemExit) as error:  # of the file's own code
        raise WeightsError(
            f"cannot unpickle {str(path)!r}: {described(error)}; the code that it names must be "
            "the one it was saved with, and be found where Python looks for modules"
        ) from error


def _why(path: Path, error: Exception) -> str:
    """What to say of a file that could not be read safely."""
    return refusal(path) or (
        f"cannot read weights from {str(path)!r}: expected safetensors, or a state dict that "
        f"torch.load(weights_only=True) accepts ({_first_line(error)})"
    )


def _unwrap(content: Any) -> Any:
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict | nn.Module):
            content = content[key]
            break
    return content.state_dict() if isinstance(content, nn.Module) else content


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


def _checked(state: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """The state dict, unless a tensor in it only claims its values: a few bytes are no gigabytes.

    A file can hold one value and strides of 0, or indices alone; whatever copies such a tensor
    takes all the memory that its shape asks for.
    """
    for key, value in state.items():
        if value.layout != torch.strided or value.device.type != "cpu":
            raise WeightsError(
                f"{key} in {str(path)!r} is a {value.layout} tensor on {value.device.type}: "
                "expected a dense one with values"
            )
        claimed = value.numel() * value.element_size()
        if claimed > max(_REPEATED, value.untyped_storage().nbytes()):
            raise WeightsError(
                f"{key} in {str(path)!r} claims {claimed} bytes of which the file holds "
                f"{value.untyped_storage().nbytes()}: save it with .contiguous()"
            )
    return state


def _some(names: list[str]) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
