"""The subject of an audit: a model on a device, mostly walled, and where it came from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from camaudit.audit.inputs import DEFAULT_SIZE, classifier, example_of, input_of, notes_of
from camaudit.audit.live import AS_GIVEN, Live, as_given
from camaudit.audit.settings import Settings
from camaudit.cut import cut_at, default_layer
from camaudit.data.preprocess import Normalisation, parse_preprocess
from camaudit.errors import (
    LayerError,
    ModelError,
    UsageError,
    WallError,
    WeightsError,
)
from camaudit.models.classifier import description_of, own_module
from camaudit.models.loading import LoadedModel, load_model, resolve_device
from camaudit.models.weights import file_sha256, read_weights, state_sha256
from camaudit.sites import require_eval
from camaudit.training.trained import (
    DESCRIPTION_NAME,
    UNMASKED,
    WEIGHTS_NAME,
    Trained,
    load_trained,
)
from camaudit.walls import (
    PaperVGG16,
    WalledModel,
    insert_wall,
    paper_twins,
    paper_wall,
    paper_widths,
    split_trunk,
)  # fmt: skip

__all__ = [
    "Second",
    "Subject",
    "WalledSubject",
    "build_subject",
    "load_second",
    "load_subject",
]

_ENOUGH = 0.1  # share of the image that a receptive-field zone must score to be preferred
_PAPER_ROWS = 5  # live rows of the paper's wall


@dataclass(frozen=True, eq=False, kw_only=True)
class Subject:
    """A model in eval mode on `device`, its target layer, normalisation and description.

    `dtype` is that of the model's parameters; images are given to it in the same, at `size`
    (height and width). `classes` are the names of its logits where they are known.
    """

    model: nn.Module
    layer: str
    normalisation: Normalisation
    device: torch.device
    dtype: torch.dtype
    description: dict[str, Any]
    warnings: tuple[str, ...]
    size: int
    classes: tuple[str, ...] | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class WalledSubject(Subject):
    """A subject with a wall that leaves a pixel dead zone to score."""

    walled: WalledModel


@dataclass(frozen=True, eq=False)
class Second:
    """A second model to compare the subject with, its target layer, and what a user must know."""

    model: nn.Module
    layer: str
    description: dict[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class _Built:
    """A model with what its source says of it; `unmasked` describes a twin of its own.

    `wall` builds its wall, after `layer`.
    """

    loaded: LoadedModel
    layer: str
    wall: Callable[[], WalledModel]
    example: Tensor
    classes: tuple[str, ...] | None = None
    unmasked: dict[str, Any] | None = None
    live: bool = False


def build_subject(settings: Settings, live: Live | None = None) -> WalledSubject:
    """Load the model (or take the one that is `live`), build its wall and say what was built.

    Raises the errors of :mod:`camaudit.models.loading` and :mod:`camaudit.walls`, and
    :class:`WallError` where the wall leaves no pixel dead zone to score.
    """
    device = resolve_device(settings.device) if live is None else _device(live)
    built = _built(settings, device) if live is None else _live(settings, live, device)
    walled = built.wall()
    if not walled.zone.exists:
        advice = "use fewer live rows" if settings.wall == "split" else "try --wall split"
        raise WallError(f"this wall leaves no pixel to score: {walled.zone.why} Then {advice}")
    known = _known(settings, built, device)
    with torch.no_grad():
        shape = list(walled.trunk(built.example).shape[1:])
    wall = dict(walled.description)
    layer = wall.pop("layer")
    description = {**known["description"], "layer": layer, "layer_shape": shape, "wall": wall}
    if built.unmasked is not None:
        description["unmasked"] = built.unmasked
    return WalledSubject(**{**known, "layer": layer, "description": description}, walled=walled)


def load_subject(settings: Settings, live: Live | None = None) -> Subject:
    """Load the model, or take the one that is `live`, without building a wall.

    A network that was trained or published with a wall keeps it, for it lies in its weights.
    Raises the errors of :mod:`camaudit.models.loading`, and those of
    :func:`camaudit.cut.cut_at` for the layer.
    """
    device = resolve_device(settings.device) if live is None else _device(live)
    built = _built(settings, device) if live is None else _live(settings, live, device)
    known = _known(settings, built, device)
    with torch.no_grad():
        cut = cut_at(built.loaded.model, built.layer, built.example)
        shape = list(cut.trunk(built.example).shape[1:])
    description = {**known["description"], "layer": built.layer, "layer_shape": shape}
    return Subject(**{**known, "description": description})


def load_second(settings: Settings, subject: Subject) -> Second:
    """The model that `settings.permuted` names, on the subject's device.

    That is `trained:DIR` (or DIR), written by `camaudit train --permute-labels`, or a weights file
    for the subject's own architecture. Raises the errors of loading, :class:`UsageError` where
    none is named, and :class:`ModelError` for one that was trained on true labels or has other
    images or classes.
    """
    given = settings.permuted
    if given is None:
        raise UsageError(
            "data randomisation compares the model with one trained on permuted labels: name that "
            "one with --permuted (camaudit train --permute-labels makes it)"
        )
    folder = Path(given.removeprefix("trained:"))
    if given.startswith("trained:") or folder.is_dir():
        second = _permuted(folder, subject)
    elif settings.trained is not None:
        raise UsageError(
            "the subject is a trained network, so the second one is too: expected --permuted "
            f"trained:DIR, what camaudit train --permute-labels wrote; got {given}"
        )
    else:
        own = replace(settings, weights=folder, unmasked_weights=None)
        built = _built(own, subject.device)
        digest = built.loaded.weights_sha256
        known = {"weights": built.loaded.weights, "weights_sha256": digest}
        notes = _unpickled(built.loaded)
        second = Second(built.loaded.model, subject.layer, known, notes)
    _moved(second.model, subject.device)
    shapes = [
        {name: tuple(value.shape) for name, value in model.state_dict().items()}
        for model in (subject.model, second.model)
    ]
    if shapes[0] != shapes[1]:
        wrong = [n for n in {**shapes[0], **shapes[1]} if shapes[0].get(n) != shapes[1].get(n)]
        raise ModelError(
            "the second model is another network than the subject: expected the same one, trained "
            f"on permuted labels; they differ in {', '.join(wrong[:3])}"
        )
    return second


def _permuted(folder: Path, subject: Subject) -> Second:
    found = load_trained(folder)
    training = found.description.get("training") or {}
    if not training.get("permute_labels"):
        raise ModelError(
            f"{folder} was trained on true labels: train the second model with --permute-labels"
        )
    seen = (subject.size, subject.classes or found.classes, subject.normalisation)
    if (found.size, found.classes, found.normalisation) != seen:
        raise ModelError(
            f"{folder} was trained on other images or classes than the subject: expected "
            f"{subject.size}×{subject.size} pixels, the same preprocessing and the same classes"
        )
    known = {"weights": found.name, "weights_sha256": found.weights_sha256}
    return Second(found.model, found.layer, known)


def _built(settings: Settings, device: torch.device) -> _Built:
    if settings.wall == "vgg16":
        return _paper(settings, device)
    if settings.trained is not None:
        return _trained(settings.trained, settings, device)
    return _loaded(settings, device)


def _known(settings: Settings, built: _Built, device: torch.device) -> dict[str, Any]:
    """The fields of a subject that do not depend on its wall."""
    loaded, channels = built.loaded, built.example.shape[1]
    if loaded.preprocess == AS_GIVEN:
        normalisation = as_given(channels)
    else:
        given = settings.preprocess or loaded.preprocess or "imagenet"
        normalisation = parse_preprocess(given, channels=channels)
    warnings = []
    if loaded.weights_sha256 is None and not built.live:
        warnings.append(
            f"no weights file was given: the network is {loaded.weights}; give --weights unless "
            "that is what you want to audit"
        )
    if settings.preprocess is None and loaded.preprocess is None:
        warnings.append("no --preprocess was given: images are standardised as for ImageNet")
    warnings += _unpickled(loaded)
    warnings += notes_of(settings, loaded, built.example)
    return {
        "model": loaded.model,
        "layer": built.layer,
        "normalisation": normalisation,
        "device": device,
        "dtype": built.example.dtype,
        "description": {
            **_describe(loaded, normalisation),
            "input": input_of(settings, loaded, built.example),
            "layer_chosen": "given" if settings.layer or loaded.layer else "automatically",
        },
        "warnings": tuple(warnings),
        "size": built.example.shape[-1],
        "classes": built.classes,
    }


def _unpickled(loaded: LoadedModel) -> tuple[str, ...]:
    """What to say of weights files that were free to run code."""
    return tuple(
        f"{name} was unpickled with --unsafe-pickle: it could run any code on this machine, and "
        "what this run says is worth no more than that file; audit a state dict or safetensors "
        "instead"
        for name in loaded.unpickled
    )


def _moved(model: nn.Module, device: torch.device) -> nn.Module:
    moved: nn.Module = model.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return moved


def _loaded(settings: Settings, device: torch.device) -> _Built:
    """A model by its spec, with the wall that the settings ask for."""
    loaded = load_model(
        settings.model, weights=settings.weights, seed=settings.seed,
        unsafe_pickle=settings.unsafe_pickle,
    )  # fmt: skip
    _moved(loaded.model, device)
    return _ready(settings, loaded, device)


def _live(settings: Settings, live: Live, device: torch.device) -> _Built:
    """A model that a program holds, where and as it is."""
    loaded = live.loaded(layer=settings.layer)
    return replace(_ready(settings, loaded, device, live), live=True)


def _device(live: Live) -> torch.device:
    """That of the first parameter or buffer; the CPU where there is none."""
    model = live.model
    if isinstance(model, nn.Module):
        tensors = [*model.parameters(), *model.buffers()]
    else:
        tensors = list(model.state_dict.values())
    return tensors[0].device if tensors else torch.device("cpu")


def _ready(
    settings: Settings, loaded: LoadedModel, device: torch.device, live: Live | None = None
) -> _Built:
    require_eval(loaded.model)
    model, example = classifier(settings, loaded, device, live)
    layer = settings.layer or loaded.layer or default_layer(model, example)
    loaded = replace(loaded, model=model)
    return _Built(loaded, layer, lambda: _walled(model, layer, settings, example), example)


def _paper(settings: Settings, device: torch.device) -> _Built:
    """The paper's VGG16: twins at He initialisation, or checkpoints of one or of both."""
    if settings.layer is not None:
        raise LayerError("the paper's VGG16 has its wall after layer 29: leave --layer out")
    if settings.image_size not in (None, DEFAULT_SIZE):
        raise WallError(
            f"the paper's VGG16 reads images of {DEFAULT_SIZE}×{DEFAULT_SIZE} pixels; got "
            f"{settings.image_size}: leave --image-size out"
        )
    seed, rows = settings.seed, settings.live_rows or _PAPER_ROWS
    unmasked: dict[str, Any] | None = None
    weights, digest = f"He initialisation (seed {seed})", None
    unpickled: list[str] = []
    twin: PaperVGG16 | None
    if settings.weights is None:
        if settings.unmasked_weights is not None:
            raise UsageError("--unmasked-weights are those of the twin: give --weights too")
        masked, twin = paper_twins(seed=seed, live_rows=rows)
    else:
        masked, twin = _checkpoint(settings, settings.weights, unpickled, masked=True), None
        weights, digest = settings.weights.name, file_sha256(settings.weights)
        if settings.unmasked_weights is not None:
            path = settings.unmasked_weights
            twin = _checkpoint(settings, path, unpickled, masked=False)
            unmasked = {"weights": path.name, "weights_sha256": file_sha256(path)}
    _moved(masked, device)
    loaded = LoadedModel(
        masked, "the paper's VGG16", weights, digest, "29", "imagenet", unpickled=tuple(unpickled)
    )
    if twin is not None:
        _moved(twin, device)
    example = example_of(DEFAULT_SIZE, device)
    return _Built(
        loaded, "29", lambda: paper_wall(masked, example, unmasked=twin), example,
        unmasked=unmasked,
    )  # fmt: skip


def _checkpoint(
    settings: Settings, path: Path, unpickled: list[str], *, masked: bool
) -> PaperVGG16:
    """A state dict in the authors' layout in the network of the widths that it has.

    Its name is added to `unpickled` if it was free to run code.
    """
    weights = read_weights(path, unsafe_pickle=settings.unsafe_pickle)
    if weights.ran_code:
        unpickled.append(path.name)
    state, rows = weights.state, settings.live_rows or _PAPER_ROWS
    network = PaperVGG16(live_rows=rows, masked=masked, init="default", **paper_widths(state))
    try:
        network.load_paper_state(state)
    except WeightsError as error:
        raise WeightsError(f"{path}: {error}") from error
    return network.eval()


def _trained(folder: Path, settings: Settings, device: torch.device) -> _Built:
    """What `camaudit train` wrote: the masked network, and the unmasked one if it lies beside."""
    own = load_trained(folder)
    if settings.walled and not own.spec.masked:
        raise WallError(
            f"{folder} holds the unmasked network, which has no wall: name the folder of the "
            "masked one, or of the run that trained both"
        )
    if settings.image_size not in (None, own.size):
        raise UsageError(
            f"this network was trained on images of {own.size}×{own.size} pixels; got "
            f"--image-size {settings.image_size}: leave it out"
        )
    twin = _twin(own)
    _moved(own.model, device)
    unmasked = None
    if twin is not None:
        _moved(twin.model, device)
        unmasked = {"weights": WEIGHTS_NAME, "weights_sha256": twin.weights_sha256}
    loaded = LoadedModel(
        own.model, own.name, WEIGHTS_NAME, own.weights_sha256, own.layer, own.normalisation.name
    )
    example = example_of(own.size, device)
    return _Built(loaded, own.layer, lambda: own.walled(twin=twin), example, own.classes, unmasked)


def _twin(own: Trained) -> Trained | None:
    """The unmasked network that was trained as `own` was, from the folder beside it, if any."""
    beside = own.folder.resolve().parent / UNMASKED
    if not (beside / DESCRIPTION_NAME).is_file():
        return None
    twin = load_trained(beside)
    pairs = {
        "networks": (replace(own.spec, masked=False), twin.spec),
        "classes": (own.classes, twin.classes),
        "preprocessing": (own.normalisation, twin.normalisation),
        "training data": (_trained_on(own), _trained_on(twin)),
    }
    wrong = [what for what, (one, other) in pairs.items() if one != other]
    if wrong:
        raise ModelError(
            f"{beside} is no twin of {own.folder}: they differ in {', '.join(wrong)}; train both "
            "with --twin, or move one away"
        )
    return twin


def _trained_on(network: Trained) -> tuple[Any, ...]:
    training = network.description.get("training") or {}
    return training.get("data"), training.get("permute_labels")


def _walled(model: nn.Module, layer: str, settings: Settings, example: Tensor) -> WalledModel:
    if settings.wall == "split":
        return split_trunk(model, layer, example, live_rows=settings.live_rows)
    inserted = insert_wall(model, layer, example, live_rows=settings.live_rows)
    if settings.wall == "insert" or inserted.zone.scored_fraction >= _ENOUGH:
        return inserted
    return split_trunk(model, layer, example, live_rows=settings.live_rows)


def _describe(loaded: LoadedModel, normalisation: Normalisation) -> dict[str, Any]:
    return {
        "model": loaded.name,
        "class": type(own_module(loaded.model)).__name__,
        "parameters": sum(p.numel() for p in loaded.model.parameters()),
        "taken": list(loaded.notes),
        "reading": description_of(loaded.model),
        "weights": loaded.weights,
        "weights_sha256": loaded.weights_sha256,
        "state_sha256": state_sha256(loaded.model),
        "preprocess": {
            "name": normalisation.name,
            "mean": list(normalisation.mean),
            "std": list(normalisation.std),
        },
    }
