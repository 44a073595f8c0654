"""Checkpoints: the whole state of a run in one file that is replaced at once.

Nothing random is in it: order, augmentation and dropout are functions of the seed and the step
(:mod:`camaudit.training.randomness`), and so is the learning rate. Position, weights, optimiser
and gradient scaler are the whole state.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from camaudit.errors import UsageError, WeightsError
from camaudit.files import replacing

__all__ = ["NAME", "Checkpoint", "load", "require_same", "save"]

NAME = "checkpoint.pt"
_FORMAT = "camaudit-checkpoint-1"


@dataclass(frozen=True)
class Checkpoint:
    """`epoch` whole epochs and `step` steps of the next one are done.

    `identity` is what decides the result (plain JSON values), `history` the figures of the whole
    epochs, `networks` and `sums` the state and the running figures of each network, by its name.
    """

    identity: dict[str, Any]
    epoch: int
    step: int
    seconds: float
    history: dict[str, list[dict[str, Any]]]
    networks: dict[str, dict[str, Any]]
    sums: dict[str, list[float]]


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Replace the folder's checkpoint; raises OutputError on a full disk, and the old one stays."""
    content = {**vars(checkpoint), "format": _FORMAT}
    for name in ("identity", "history"):
        content[name] = json.dumps(content[name], allow_nan=False)
    with replacing(folder / NAME) as stream:
        torch.save(content, stream)


def load(folder: Path) -> Checkpoint | None:
    """The folder's checkpoint, None where there is none; no code in it is run.

    Raises :class:`WeightsError` where it is damaged or of another format.
    """
    path = folder / NAME
    if not path.is_file():
        return None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
        if not isinstance(content, dict) or content.pop("format", None) != _FORMAT:
            raise WeightsError(f"{path} is no checkpoint of this version: start in another folder")
        for name in ("identity", "history"):
            content[name] = json.loads(content[name])
        return Checkpoint(**content)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, KeyError,
            TypeError) as error:  # fmt: skip
        raise WeightsError(
            f"{path} is damaged and cannot be resumed ({_first_line(error)}): remove it to start "
            "anew"
        ) from error


def require_same(stored: Mapping[str, Any], asked: Mapping[str, Any], where: str = "") -> None:
    """Raise :class:`UsageError` naming the first setting that differs from the stored run's."""
    for name in sorted({*stored, *asked}):
        one, other = stored.get(name), asked.get(name)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            require_same(one, other, f"{where}{name}.")
        elif one != other:
            raise UsageError(
                f"the run that is to be resumed has {where}{name} = {one!r}, not {other!r}: give "
                "the same options, or train into another folder"
            )


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
