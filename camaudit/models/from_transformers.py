"""Image classifiers of transformers: a local folder, or a config class; never a download.

`hf:FOLDER` is what `save_pretrained` wrote, `hf:NAME` the same in the local cache, and
`hf:ResNetConfig(num_labels=5, depths=1+1)` a network of random weights.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from camaudit.errors import MissingExtraError, ModelError
from camaudit.files import parsed_json
from camaudit.importing import described
from camaudit.models.built import Built, Expected, standardisation
from camaudit.models.options import named_options, near_names, refuse_weights

__all__ = ["from_transformers"]

_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
_RESAMPLING = ("nearest", "lanczos", "bilinear", "bicubic", "box", "hamming")  # Pillow's numbers
_PROCESSOR = "preprocessor_config.json"


def from_transformers(text: str) -> Built:
    """The image classifier that `text` names, in eval mode; see the module.

    A folder without weights gives its architecture at random initialisation. Raises
    :class:`MissingExtraError` without the extra `transformers`, and :class:`ModelError`.
    """
    spec = f"hf:{text}"
    with _offline():
        try:
            import transformers
        except ImportError as error:
            raise MissingExtraError(
                "transformers' models need the extra transformers: run pip install "
                "'camaudit[transformers]'"
            ) from error
        folder = Path(text)
        if not folder.is_dir():
            name, options = named_options(text, spec=spec)
            if name.endswith("Config"):
                return _configured(transformers, name, options, spec)
            folder = _cached(name, spec)
        return _saved(transformers, folder, spec)


@contextmanager
def _offline() -> Iterator[None]:
    """Within the context the Hub's client refuses every request."""
    before = {name: os.environ.get(name) for name in _OFFLINE}
    os.environ.update(dict.fromkeys(_OFFLINE, "1"))
    constants: Any = None
    try:
        from huggingface_hub import constants  # read once, when it was imported first
    except ImportError:
        was = False
    else:
        was, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        if constants is not None:
            constants.HF_HUB_OFFLINE = was
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _configured(library: Any, name: str, options: dict[str, Any], spec: str) -> Built:
    """The image classifier of a config class, at random initialisation."""
    refuse_weights(options, spec=spec)
    kind = getattr(library, name, None)
    if kind is None:
        known = [key for key in dir(library) if key.endswith("Config")]
        near = near_names(name, known)
        raise ModelError(f"transformers has no config class {name!r}; near names: {near}")
    try:
        config = kind(**options)
        model: nn.Module = library.AutoModelForImageClassification.from_config(config)
    except Exception as error:  # its libraries raise what they like for a wrong option
        raise ModelError(f"transformers cannot build {spec!r}: {described(error)}") from error
    return Built(model.eval(), expected=_of_config(config))


def _of_config(config: Any) -> Expected:
    """What a config says of images where no preprocessor lies beside it."""
    size, channels = getattr(config, "image_size", None), getattr(config, "num_channels", None)
    return Expected(
        source=type(config).__name__,
        size=size if isinstance(size, int) else None,
        channels=channels if isinstance(channels, int) else None,
    )


def _cached(name: str, spec: str) -> Path:
    """The folder of a model that was downloaded before."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(name, "config.json")
    except HFValidationError:
        found = None
    if isinstance(found, str):
        return Path(found).parent
    raise ModelError(
        f"{spec!r}: {name!r} is no local folder and not in the local cache, and nothing is "
        f"downloaded here: run 'hf download {name} --local-dir DIR' yourself and name that folder, "
        "hf:DIR"
    )


def _saved(library: Any, folder: Path, spec: str) -> Built:
    """A model that was saved, or the architecture of a folder that holds a config alone."""
    files = sorted(path for pattern in _WEIGHTS for path in folder.glob(pattern))
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"{spec!r}: {str(folder)!r} has no config.json: expected a folder that "
            "save_pretrained wrote"
        )
    auto = library.AutoModelForImageClassification
    local = {"local_files_only": True, "trust_remote_code": False}
    try:
        config = library.AutoConfig.from_pretrained(folder, **local)
        if not files:
            model: nn.Module = auto.from_config(config)
            return Built(model.eval(), expected=_processed(folder, config))
        model, loading = auto.from_pretrained(folder, output_loading_info=True, **local)
    except Exception as error:  # its libraries raise what they like for a wrong folder
        raise ModelError(f"transformers cannot load {spec!r}: {described(error)}") from error
    missing = sorted(loading.get("missing_keys") or ())
    if missing:
        raise ModelError(
            f"{spec!r} has no weights for {', '.join(missing[:3])}: expected a saved image "
            "classifier with its head, not a backbone alone"
        )
    digest = hashlib.sha256()
    for path in files:
        digest.update(path.read_bytes())
    weights = ", ".join(path.name for path in files[:2]) + (" …" if len(files) > 2 else "")
    expected = _processed(folder, config)
    return Built(model.eval(), f"{folder.name}/{weights}", digest.hexdigest(), expected)


def _processed(folder: Path, config: Any) -> Expected:
    """What the image processor saved with a model does to images, where it is understood."""
    own, path = _of_config(config), folder / _PROCESSOR
    if not path.is_file():
        return own
    try:
        values = parsed_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"cannot read {str(path)!r}: {described(error)}") from error
    number = values.get("resample")
    known = isinstance(number, int) and 0 <= number < len(_RESAMPLING)
    cropped = values.get("do_center_crop") and values.get("crop_size")
    size = _side(cropped) or _side(values.get("size")) or own.size
    return Expected(
        source=f"{folder.name}/{_PROCESSOR}",
        size=size,
        channels=own.channels,
        preprocess=_standardised(values, own.channels or 3),
        crop=_share(values, size),
        interpolation=_RESAMPLING[number] if known else None,
    )


def _side(given: Any) -> int | None:
    """The side of the square that a size means, None where it means none."""
    if isinstance(given, dict):
        sides = {given[key] for key in ("height", "width", "shortest_edge") if given.get(key)}
        given = sides.pop() if len(sides) == 1 else None
    return given if isinstance(given, int) else None


def _share(values: dict[str, Any], size: int | None) -> float | None:
    """The central share of an image that is kept: by `crop_pct`, or by cropping after a resize."""
    if isinstance(values.get("crop_pct"), float):
        return float(values["crop_pct"])
    whole = _side(values.get("size")) if values.get("do_center_crop") else None
    return size / whole if size and whole and size <= whole else None


def _standardised(values: dict[str, Any], channels: int) -> str | None:
    """MEAN/STD for pixels in [0, 1]; None where the processor does something else.

    A processor computes `(f·v − mean)/std` of 8-bit values v, with f = 1/255 as a rule; that is
    `(x − m)/s` with `x = v/255`, `m = mean/(255 f)` and `s = std/(255 f)`.
    """
    if values.get("rescale_offset") or values.get("include_top"):
        return None  # shifted, or standardised twice
    factor = 255 * (values.get("rescale_factor", 1 / 255) if values.get("do_rescale", True) else 1)
    mean, std = values.get("image_mean") or [0.0], values.get("image_std") or [1.0]
    if not values.get("do_normalize", True):
        mean, std = [0.0], [1.0]
    mean, std = ([float(one) / factor for one in given] for given in (mean, std))
    return standardisation(mean, std, channels)
