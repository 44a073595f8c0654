"""Maps that were made before the run, by any tool in any language: a folder, a file an image."""

from __future__ import annotations

import difflib
import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from camaudit.adapters.reading import SUFFIXES, read_map
from camaudit.adapters.reduction import WORDS, Reduction, reduced, reduction
from camaudit.errors import MethodError, NotApplicableError, UsageError
from camaudit.maps import upsample
from camaudit.spelling import Spelled

__all__ = ["Folder", "Precomputed", "digest", "precomputed"]

_OPTIONS = ("name", "unwalled", "reduce")


class Folder:
    """A folder of map files, found by an image's names; none is opened before it is asked for.

    A file belongs to an image if its path in the folder without the suffix, or its name without
    the suffix, is one of the image's names.
    """

    def __init__(self, path: Path) -> None:
        if not path.is_dir():
            raise UsageError(
                f"no folder {str(path)!r} to take maps from: expected a folder with one "
                f"{', '.join(SUFFIXES)} file an image (a function in a module called maps is "
                "written maps.py:FUNCTION)"
            )
        self.path = path
        self.files = sorted(
            one
            for one in path.rglob("*")
            if one.suffix.lower() in SUFFIXES and one.is_file()
            and not any(part.startswith(".") for part in one.relative_to(path).parts)
        )  # fmt: skip
        if not self.files:
            raise UsageError(
                f"the folder {str(path)!r} holds no map: expected {', '.join(SUFFIXES)} files"
            )
        self._known: dict[str, list[Path]] = defaultdict(list)
        for one in self.files:
            for name in {one.relative_to(path).with_suffix("").as_posix(), one.stem}:
                self._known[name].append(one)

    def of(self, names: Sequence[str]) -> list[Path]:
        """The files of an image: those that go by the first of its names that any goes by."""
        return next((self._known[name] for name in names if name in self._known), [])


class Precomputed:
    """Maps from a folder, found by the image that is asked for; the model is not looked at.

    They are maps of the audited model: of the walled one where there is a wall. `unwalled` is the
    folder of those of the same model without it. Before a run asks, :meth:`bind` says which images
    there are.
    """

    def __init__(
        self,
        label: str,
        spec: str,
        folder: Folder,
        *,
        unwalled: Folder | None = None,
        reduce: Reduction | None = None,
    ) -> None:
        self.label = label
        self.spec = spec
        self.folder = folder
        self.unwalled = unwalled
        self.reduce = reduce
        self.walled = False
        self._names: dict[str, tuple[str, ...]] = {}

    @property
    def __name__(self) -> str:
        return self.label

    @property
    def processing(self) -> tuple[str, ...]:
        """What is known of what was done to the maps."""
        first = "made by another tool, as it wrote them"
        if any(one.suffix.lower() == ".png" for one in self.folder.files):
            first += " (PNG: whole grey levels, no negative values)"
        return (first,) if self.reduce is None else (first, WORDS[self.reduce])

    def bind(self, images: Mapping[str, tuple[str, ...]], *, walled: bool) -> None:
        """Say which images a run has: names of each, the image's id first, by its :func:`digest`.

        walled: whether the run's model has a wall.
        """
        self._names = dict(images)
        self.walled = walled

    def inventory(self) -> dict[str, Any]:
        """What is there and what is not, for results.json: missing images by id, extra files."""
        found: dict[str, Any] = {"folder": str(self.folder.path), **self._counted(self.folder)}
        if self.unwalled is not None:
            path = str(self.unwalled.path)
            found["unwalled"] = {"folder": path, **self._counted(self.unwalled)}
        return found

    def __call__(self, _model: nn.Module, _layer: str, images: Tensor, _targets: Tensor) -> Tensor:
        """Maps of the folder; the model, its layer and the targets are those they were made for."""
        return self.of(images)

    def of(self, images: Tensor, *, unwalled: bool = False) -> Tensor:
        """Maps (N×h×w) of images (N×C×H×W) of the run, those of the model without its wall if so.

        Maps of several sizes are brought to that of the images. Raises
        :class:`NotApplicableError` where there is no map and :class:`MethodError`, which names the
        file, where it cannot be used.
        """
        folder = self.unwalled if unwalled else self.folder
        if folder is None:
            raise NotApplicableError(
                f"{self.label} has maps of the model with its wall alone: unwalled=FOLDER names "
                "those of the same model without it"
            )
        maps = [self._one(folder, image) for image in images]
        if len({one.shape for one in maps}) > 1:
            size = (int(images.shape[-2]), int(images.shape[-1]))
            maps = [upsample(one[None], size)[0] for one in maps]
        dtype = torch.float32 if images.device.type == "mps" else torch.float64
        return torch.stack(maps).to(images.device, dtype)

    def _one(self, folder: Folder, image: Tensor) -> Tensor:
        names = self._names.get(digest(image))
        if names is None:
            raise NotApplicableError(
                f"{self.label} has maps of the run's own images alone, and was asked for another "
                "one (masked, noisy or drawn): precomputed maps cannot be made again"
            )
        files = folder.of(names)
        if not files:
            raise NotApplicableError(f"{self.label} has no map of {names[0]}")
        if len(files) > 1:
            listed = ", ".join(one.relative_to(folder.path).as_posix() for one in files)
            raise MethodError(f"{names[0]} has {len(files)} maps, {listed}: keep one of them")
        values = torch.from_numpy(np.ascontiguousarray(read_map(files[0])))
        return self._shaped(values, files[0].name, (int(image.shape[-2]), int(image.shape[-1])))

    def _shaped(self, values: Tensor, name: str, size: tuple[int, int]) -> Tensor:
        if values.ndim == 3 and self.reduce is not None:
            values = reduced(values, self.reduce)
        if values.ndim != 2:
            advice = "reduce=abs-sum, sum or positive-sum makes one map of C×h×w"
            raise MethodError(
                f"{name} has the shape {tuple(values.shape)}; expected one map h×w"
                f"{f': {advice}' if values.ndim == 3 else ''}"
            )
        if size[0] != size[1] and tuple(values.shape) == size[::-1]:
            raise MethodError(
                f"{name} is transposed: expected {size[0]}×{size[1]} (height × width), got "
                f"{values.shape[0]}×{values.shape[1]}; write its transpose"
            )
        return values

    def _counted(self, folder: Folder) -> dict[str, Any]:
        files = {names[0]: folder.of(names) for names in self._names.values()}
        used = {one for found in files.values() for one in found}
        return {
            "images": len(files),
            "found": sum(bool(found) for found in files.values()),
            "missing": [name for name, found in files.items() if not found],
            "extra": len(folder.files) - len(used),
        }


def digest(image: Tensor) -> str:
    """By which an image (C×H×W), as the model reads it, is known again."""
    plain = image.detach().cpu().double().contiguous()
    return hashlib.sha256(plain.numpy().tobytes()).hexdigest()


def precomputed(spec: Spelled) -> Precomputed:
    """The explainer of `maps:FOLDER(name=…, unwalled=FOLDER, reduce=…)`.

    Raises :class:`UsageError` for a folder without maps and for unknown options.
    """
    options = dict(spec.options)
    for key in options:
        if key not in _OPTIONS:
            near = difflib.get_close_matches(key, _OPTIONS, n=1)
            hint = f"did you mean {near[0]}?" if near else f"it has {', '.join(_OPTIONS)}"
            raise UsageError(f"maps:FOLDER has no option {key!r}: {hint}")
    other = options.get("unwalled")
    return Precomputed(
        spec.label,
        spec.spec,
        Folder(Path(spec.source)),
        unwalled=None if other is None else Folder(Path(other)),
        reduce=reduction(options["reduce"]) if "reduce" in options else None,
    )
