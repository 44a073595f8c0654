"""A trained network on disk: weights as safetensors, a description that rebuilds it, a card.

Nothing in the folder is code: :func:`load_trained` builds the network from its description and
fills in the weights, whose hash must be the one that was recorded.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save as to_safetensors
from torch import Tensor, nn

import camaudit
from camaudit.data.preprocess import Normalisation, parse_preprocess
from camaudit.errors import ModelError, WeightsError, ZoneError
from camaudit.files import made_folder, parsed_json, replacing, write_json, write_text
from camaudit.models.weights import file_sha256, load_weights
from camaudit.training.card import card
from camaudit.training.networks import NetworkSpec, build, geometry, leaking, walled
from camaudit.training.settings import Job
from camaudit.walls import DeadZone, Verification, WalledModel, verify_zone

__all__ = [
    "CARD_NAME",
    "DESCRIPTION_NAME",
    "UNMASKED",
    "WEIGHTS_NAME",
    "Trained",
    "load_trained",
    "save_trained",
]

WEIGHTS_NAME = "model.safetensors"
DESCRIPTION_NAME = "model.json"
CARD_NAME = "README.md"
_FORMAT = "camaudit-trained-1"
UNMASKED = "unmasked"  #: the folder of the twin, beside that of the masked network
_ORDERED = ("masked", UNMASKED)


@dataclass(frozen=True, eq=False)
class Trained:
    """A trained network in eval mode, on the CPU, and what is known of it.

    `layer` is the target layer, `classes` are named in the order of the logits, `description` is
    the whole of `model.json`: wall and zone, training data, recipe, accuracy.
    """

    folder: Path
    model: nn.Module
    spec: NetworkSpec
    layer: str
    size: int
    classes: tuple[str, ...]
    normalisation: Normalisation
    weights_sha256: str
    description: dict[str, Any]

    @property
    def name(self) -> str:
        """What a reader calls it, such as "small VGG (masked) trained on Fashion-MNIST"."""
        return str(self.description["name"])

    def walled(self, *, twin: Trained | None = None) -> WalledModel:
        """The network behind its wall, with the dead zone; `twin` is its unmasked counterpart.

        Raises :class:`WallError` for the unmasked network, which has no wall.
        """
        return walled(self.spec, self.model, twin=None if twin is None else twin.model)


def load_trained(folder: Path) -> Trained:
    """The network in `folder`, or in its sub-folder `masked` or `unmasked` (a run's output).

    Raises :class:`ModelError` where there is none or its description is damaged, and
    :class:`WeightsError` where the weights are not those that were written, or leak.
    """
    home = _home(folder)
    content = _description(home / DESCRIPTION_NAME)
    try:
        spec = NetworkSpec.from_dict(content["network"])
        digest, classes = content["weights_sha256"], tuple(content["classes"])
        normalisation = parse_preprocess(content["preprocess"])
        name = content["name"]
    except (KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"{home / DESCRIPTION_NAME} lacks or garbles {error}") from error
    if not all(isinstance(text, str) for text in (name, *classes)) or len(classes) != spec.classes:
        raise ModelError(f"{home / DESCRIPTION_NAME} does not name its {spec.classes} classes")
    try:
        model = build(spec)
    except (RuntimeError, MemoryError) as error:
        raise ModelError(f"{home / DESCRIPTION_NAME}: no such network fits ({error})") from error
    weights = home / WEIGHTS_NAME
    if weights.is_file() and file_sha256(weights) != digest:
        raise WeightsError(
            f"{weights} is not the file that was trained (its SHA-256 differs from the one in "
            f"{DESCRIPTION_NAME}): restore it, or train again"
        )
    load_weights(model, weights)
    if leaking(model):
        raise WeightsError(f"{weights}: weights of dead features are not 0, the wall leaks")
    return Trained(
        home,
        model.eval(),
        spec,
        spec.layer,
        spec.size,
        classes,
        normalisation,
        str(digest),
        content,
    )


def save_trained(
    folder: Path,
    network: nn.Module,
    spec: NetworkSpec,
    images: Tensor,
    *,
    job: Job,
    name: str,
    epochs: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Write weights, card and, last, `model.json`; returns its content.

    The wall is verified on `images` first. Raises :class:`ZoneError` where it does not hold, and
    :class:`OutputError` where a file cannot be written.
    """
    zone = _verified(spec, network, images)
    made_folder(folder)
    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    with replacing(folder / WEIGHTS_NAME) as stream:
        stream.write(to_safetensors(state, metadata={"format": "pt"}))
    identity = {key: value for key, value in job.identity.items() if key != "networks"}
    content = {
        "format": _FORMAT,
        "camaudit": camaudit.__version__,
        "name": f"{_called(spec)} ({name}) trained on {job.source.name}"
        + (" with permuted labels" if job.settings.permute_labels else ""),
        "network": spec.to_dict(),
        "layer": spec.layer,
        "size": [spec.size, spec.size],
        "classes": list(job.source.classes),
        "preprocess": job.normalisation.name,
        "wall": {
            "kind": spec.wall if spec.masked else None,
            "live_rows": spec.live_rows,
            "rows": int(zone.feature_dead.shape[0]),
            "zone": zone.to_dict(),
        },
        "training": {**identity, "notes": list(job.notes)},
        "result": dict(epochs[-1]),
        "weights": WEIGHTS_NAME,
        "weights_sha256": file_sha256(folder / WEIGHTS_NAME),
    }
    write_text(folder / CARD_NAME, card(content))
    write_json(folder / DESCRIPTION_NAME, content)
    return content


def _verified(spec: NetworkSpec, network: nn.Module, images: Tensor) -> DeadZone:
    """The zone; that of a masked network with the outcome of perturbing its dead pixels."""
    zone = geometry(spec, network)
    if not spec.masked or not bool(zone.pixel_dead.any()):
        return zone
    model = walled(spec, network)
    checked: Verification = verify_zone(model, images, zone)
    if not checked.passed:
        raise ZoneError(
            "the trained wall does not hold: changing dead pixels changed the logits by up to "
            f"{checked.max_abs_difference:.3g}, or changing live ones changed nothing"
        )
    return zone.with_verification(checked)


def _called(spec: NetworkSpec) -> str:
    names = {"small": "small VGG", "vgg16": "the paper's VGG16"}
    return names.get(spec.network, spec.network)


def _home(folder: Path) -> Path:
    for home in (folder, *(folder / name for name in _ORDERED)):
        if (home / DESCRIPTION_NAME).is_file():
            return home
    raise ModelError(
        f"no trained network in {str(folder)!r}: expected {DESCRIPTION_NAME} there, or below "
        "masked/ or unmasked/ (camaudit train writes them when it is done)"
    )


def _description(path: Path) -> dict[str, Any]:
    try:
        content = parsed_json(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}") from error
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise ModelError(f"{path} is no description of a trained network ({_FORMAT})")
    return content
