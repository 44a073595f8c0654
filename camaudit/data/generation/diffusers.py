"""Back end on this machine: a text-to-image pipeline in a folder, run by the library diffusers.

Nothing is fetched, and only safetensors files are read: pickled weights could run code.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image

from camaudit.data.contact_sheet import png
from camaudit.data.folders import printable
from camaudit.data.generation.request import JSON, Generated, RefusedError, Request
from camaudit.data.images import read_file
from camaudit.errors import (
    DeviceError,
    GenerationError,
    ImageError,
    MissingExtraError,
    UsageError,
)

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["DiffusersOptions", "DiffusersPipeline"]

_INDEX = "model_index.json"
_MULTIPLE = 8  # sides that every latent diffusion model takes


@dataclass(frozen=True, kw_only=True)
class DiffusersOptions:
    """A folder with a pipeline, and how it is run.

    pipeline: as diffusers' `save_pretrained` writes it, with `model_index.json`.
    steps, guidance: of the sampler; None for the pipeline's own.
    size: (H, W) of the pictures, multiples of 8; None for the pipeline's own.
    device: cpu (32-bit floats), cuda, cuda:N or mps (16-bit floats).
    """

    pipeline: Path
    steps: int | None = None
    guidance: float | None = None
    size: tuple[int, int] | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        shown = printable(str(self.pipeline))
        if not (self.pipeline / _INDEX).is_file():
            raise UsageError(
                f"{shown} is no pipeline: expected a folder with {_INDEX}, as diffusers' "
                "save_pretrained writes it, or as it lies on Hugging Face"
            )
        if self.steps is not None and self.steps < 1:
            raise UsageError(f"steps must be 1 or more, got {self.steps}")
        if self.size is not None and any(side < 8 or side % _MULTIPLE for side in self.size):
            height, width = self.size
            raise UsageError(f"sides must be multiples of {_MULTIPLE}, got {width}x{height}")


class DiffusersPipeline:
    """A pipeline that is loaded when the first picture is needed.

    The noise is drawn on the CPU from the request's seed, so that it does not depend on the
    device; the pictures of one device and version are the same each time.

    Raises :class:`MissingExtraError` where diffusers is not installed.
    """

    def __init__(self, options: DiffusersOptions) -> None:
        self._options = options
        self._library = _library()
        self._pipe: Callable[..., Any] | None = None
        self._fingerprint = _fingerprint(options.pipeline)

    @property
    def settings(self) -> dict[str, JSON]:
        """The pipeline by name and fingerprint, the sampler, and the library's version."""
        options = self._options
        return {
            "backend": "diffusers",
            "model": options.pipeline.resolve().name,
            "fingerprint": self._fingerprint,
            "diffusers": str(self._library.__version__),
            "steps": options.steps,
            "guidance": options.guidance,
            "picture_size": None if options.size is None else list(options.size),
            "device": options.device.partition(":")[0],
        }

    @property
    def notes(self) -> tuple[str, ...]:
        """Nothing to say."""
        return ()

    def generate(self, request: Request) -> Generated:
        """Run the pipeline once.

        Raises:
            RefusedError: if its safety checker withholds the picture.
            UsageError: if the pipeline cannot be loaded, or makes no images.
            GenerationError: if it fails.
        """
        import torch

        options = self._options
        pipe = self._pipe or self._loaded()
        self._pipe = pipe
        wanted: dict[str, Any] = {
            "num_inference_steps": options.steps,
            "guidance_scale": options.guidance,
            "height": options.size and options.size[0],
            "width": options.size and options.size[1],
        }
        chosen = {name: value for name, value in wanted.items() if value is not None}
        generator = torch.Generator("cpu").manual_seed(request.seed)
        try:
            with _quiet(), torch.no_grad():
                outcome = pipe(prompt=request.prompt, generator=generator, **chosen)
        except Exception as error:  # whatever a pipeline of any kind raises
            raise GenerationError(
                f"the pipeline {self.settings['model']} failed: {type(error).__name__}: {error}; "
                "see --steps, --guidance, --size and --device"
            ) from error
        if any(getattr(outcome, "nsfw_content_detected", None) or ()):
            raise RefusedError("the pipeline's safety checker withheld the picture")
        picture = _picture(outcome)
        return Generated(
            picture=png(picture.convert("RGB")),
            generation={"backend": "diffusers", "model": self.settings["model"]},
        )

    def _loaded(self) -> Callable[..., Any]:
        """The pipeline on its device."""
        import torch

        options, shown = self._options, printable(str(self._options.pipeline))
        on_cpu = options.device == "cpu"
        try:
            with _quiet():
                pipe = self._library.AutoPipelineForText2Image.from_pretrained(
                    str(options.pipeline),
                    local_files_only=True,
                    use_safetensors=True,
                    torch_dtype=torch.float32 if on_cpu else torch.float16,
                )
        except Exception as error:  # missing files, other formats, unknown pipelines, no memory
            raise UsageError(
                f"{shown} cannot be loaded: {type(error).__name__}: {error}; expected a whole "
                "text-to-image pipeline with safetensors weights"
            ) from error
        try:
            pipe = pipe.to(options.device)
        except Exception as error:  # CUDA, MPS and a missing build raise different types
            raise DeviceError(
                f"the pipeline cannot be moved to {options.device}: {error}; see --device"
            ) from error
        if hasattr(pipe, "set_progress_bar_config"):
            pipe.set_progress_bar_config(disable=True)
        return pipe  # type: ignore[no-any-return]


def _library() -> ModuleType:
    try:
        import diffusers
        import transformers  # text encoders need it, and without it loading would fail late
    except ImportError as error:
        raise MissingExtraError(
            f"the back end diffusers needs {error.name or 'diffusers'}, which is not installed; "
            'install it with: pip install "camaudit[gen]"'
        ) from error
    for module in (diffusers, transformers):
        logging = getattr(getattr(module, "utils", None), "logging", None)
        if logging is not None:  # their bars would run through ours
            logging.disable_progress_bar()
            logging.set_verbosity_error()
    return diffusers  # type: ignore[no-any-return, unused-ignore]


@contextmanager
def _quiet() -> Iterator[None]:
    """The library's warnings are of no use to somebody who did not write the pipeline."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _picture(outcome: Any) -> Image.Image:
    pictures = getattr(outcome, "images", None)
    if not pictures or not isinstance(pictures[0], Image.Image):
        raise UsageError("the pipeline gave no picture: expected one that makes images from text")
    return pictures[0]


def _fingerprint(folder: Path) -> str:
    """SHA-256 over configurations, and over names and sizes of the weights, which are large."""
    digest = hashlib.sha256()
    try:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            name = path.relative_to(folder).as_posix()
            if any(part.startswith(".") for part in name.split("/")):
                continue
            digest.update(f"{name} {path.stat().st_size}\n".encode("utf-8", "backslashreplace"))
            if path.suffix == ".json":
                digest.update(read_file(path))
    except (OSError, ImageError) as error:
        raise UsageError(f"{printable(str(folder))} cannot be read: {error}") from error
    return digest.hexdigest()
