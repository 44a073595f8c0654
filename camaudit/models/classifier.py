"""Any model as a classifier: logits (N×C) read from what it returns, under its own layer names.

What is read is fixed once, on an example image:

1. a tensor is itself;
2. of a dict, tuple, list or dataclass it is what `output` names (a key, an attribute or a place);
3. else what is called `logits`;
4. else the only floating tensor N×C in it. Two of them are an error that lists what came.

A tensor N×1 or N is the single logit z of class 1. It stands as the two logits (−z, z), each with
its own sigmoid, so that the probability of class 1 is `1/(1 + exp(−z))` and that of class 0 is the
rest. An `objective`, a function of what the model returns, takes the place of 1 to 4.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from camaudit.errors import DegenerateModelError, ModelError
from camaudit.probability import Link

__all__ = ["Classifier", "Objective", "as_classifier", "description_of", "mean_over", "own_module"]

#: What a model returns for N images → scores (N×C), one column for each thing to explain.
Objective = Callable[[Any], Tensor]

Key = str | int | None


class Classifier(nn.Module):
    """A view of a model that returns logits (N×C): the same layers by the same names.

    Children, parameters and buffers are the model's own, so that `layer4` stays `layer4`, and a
    state dict has the model's keys. `link` turns the logits into probabilities. `key` is where
    they stand in what the model returns (None: that is the tensor itself), `single` whether they
    are one logit.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        key: Key = None,
        single: bool = False,
        link: Link = "softmax",
        objective: Objective | None = None,
    ) -> None:
        super().__init__()
        self._seen = (model,)  # in a tuple: its parts are registered below, under their own names
        self._modules = model._modules
        self._parameters = model._parameters
        self._buffers = model._buffers
        self._non_persistent_buffers_set = model._non_persistent_buffers_set
        self.training = model.training
        self.key = key
        self.single = single
        self.link = link
        self.objective = objective

    @property
    def model(self) -> nn.Module:
        """The model itself."""
        return self._seen[0]

    def train(self, mode: bool = True) -> Classifier:
        """Put the model and this view into training or evaluation mode."""
        self.model.train(mode)
        self.training = mode
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Logits (N×C) of images (N×C×H×W)."""
        logits = _read(self.model(images), self.key, self.objective, len(images))
        return torch.cat([-logits, logits], dim=1) if self.single else logits


def as_classifier(
    model: nn.Module,
    example: Tensor,
    *,
    output: str | None = None,
    head: Link | None = None,
    objective: Objective | None = None,
) -> nn.Module:
    """`model` as a classifier, itself where it is one; it is left as it is.

    Parameters
    ----------
    example: one image (1×C×H×W) of the size that will be used.
    output: key, attribute or place of the logits in what the model returns.
    head: "softmax" (one class of many) or "sigmoid" (each class for itself, multi-label). None:
        sigmoid for a single logit, else softmax.
    objective: what is explained, as a function of what the model returns, instead of logits.

    Raises :class:`ModelError` where the model fails on the image or the logits are not found, and
    :class:`DegenerateModelError` where they are NaN.
    """
    if objective is not None and output is not None:
        raise ModelError("an objective reads all that the model returns: leave output out")
    found = _run(model, example)
    key = None if objective is not None else _key(found, output, len(example))
    logits = _read(found, key, objective, len(example))
    single = logits.shape[1] == 1
    if single and head == "softmax":
        raise ModelError(
            "the model returns one logit an image, whose softmax is always 1: leave --head out, "
            "or say sigmoid"
        )
    if bool(torch.isnan(logits).any()):
        raise DegenerateModelError(
            f"the model's logits are NaN on a {_shape(example)} image of standard normal noise: "
            "check the weights"
        )
    link: Link = head or ("sigmoid" if single else "softmax")
    if key is None and objective is None and not single and link == "softmax":
        return model
    return Classifier(model, key=key, single=single, link=link, objective=objective)


def own_module(model: nn.Module) -> nn.Module:
    """The model under a :class:`Classifier`, or `model` itself."""
    return model.model if isinstance(model, Classifier) else model


def description_of(model: nn.Module) -> dict[str, Any]:
    """How logits and probabilities are read from the model, as results.json has it."""
    if not isinstance(model, Classifier):
        return {"output": None, "head": "softmax", "single_logit": False}
    key = None if model.key is None else str(model.key)
    read = key if model.objective is None else "objective"
    return {"output": read, "head": model.link, "single_logit": model.single}


def mean_over(region: Tensor | None = None, *, output: str | None = None) -> Objective:
    """For segmentation: the mean logit of each class over a region of the model's own output.

    `s_nc = Σ_ij R_nij·Y_ncij / Σ_ij R_nij` of the output Y (N×C×H×W), found as by `output` or under
    the names "out" and "logits". region: H×W, boolean or weights ≥ 0; None for the whole image.
    Raises :class:`ModelError` for an output or a region of another shape, and for an empty region.
    """
    if region is not None and (region.ndim != 2 or bool((region < 0).any()) or not region.any()):
        raise ModelError(
            "expected a region H×W of weights ≥ 0, not all 0; got "
            f"{tuple(region.shape)} {region.dtype}"
        )

    def objective(found: Any) -> Tensor:
        items = _items(found)
        name = output or next((key for key in ("out", "logits") if key in items), None)
        maps = found if isinstance(found, Tensor) and name is None else items.get(str(name))
        if not isinstance(maps, Tensor) or maps.ndim != 4:
            raise ModelError(
                f"expected an output N×C×H×W to take the mean of; the model returns "
                f"{_listing(found)}: name one with mean_over(output=…)"
            )
        if region is None:
            return maps.mean(dim=(2, 3))
        if region.shape != maps.shape[-2:]:
            raise ModelError(
                f"the region has {tuple(region.shape)} cells, the model's output "
                f"{tuple(maps.shape[-2:])}: give a region of the output's size"
            )
        weights = region.to(maps)
        return (maps * weights).sum(dim=(2, 3)) / weights.sum()

    return objective


def _run(model: nn.Module, example: Tensor) -> Any:
    """One forward pass, so that a model that cannot run says so in its own words."""
    try:
        with torch.no_grad():
            return model(example)
    except (Exception, SystemExit) as error:
        raise ModelError(
            f"the model fails on a {_shape(example)} image: {type(error).__name__}: {error} "
            f"(expected a model that takes one batch of {example.shape[1]}-channel images; wrap "
            "yours so that it does, or choose another --image-size)"
        ) from error


def _key(found: Any, output: str | None, images: int) -> Key:
    """Where the logits stand, by the rule at the head of this module."""
    if isinstance(found, Tensor) and output is None:
        return None
    items = _items(found)
    if output is not None:
        if output not in items:
            raise ModelError(
                f"--output {output} is nothing that the model returns: {_listing(found)}"
            )
        return _place(found, output)
    if "logits" in items:
        return _place(found, "logits")
    rows = [
        name for name, item in items.items()
        if isinstance(item, Tensor) and item.is_floating_point() and item.ndim == 2
        and len(item) == images
    ]  # fmt: skip
    if len(rows) != 1:
        why = "no" if not rows else "more than one"
        raise ModelError(
            f"the model returns {why} floating tensor N×C that could be its logits: "
            f"{_listing(found)}; name the one to read with --output (a key or a place), or wrap "
            "the model so that it returns logits"
        )
    return _place(found, rows[0])


def _items(found: Any) -> dict[str, Any]:
    """What a model returned, by the names that `output` may have."""
    if isinstance(found, Mapping):
        return {str(key): value for key, value in found.items()}
    if dataclasses.is_dataclass(found) and not isinstance(found, type):
        return {field.name: getattr(found, field.name) for field in dataclasses.fields(found)}
    if isinstance(found, (tuple, list)):
        named = dict(zip(getattr(found, "_fields", ()), found, strict=False))
        return named or {str(place): value for place, value in enumerate(found)}
    return dict(vars(found)) if hasattr(found, "__dict__") and not isinstance(found, Tensor) else {}


def _place(found: Any, name: str) -> Key:
    """`name` as what :func:`_at` reads it by."""
    if isinstance(found, Mapping):
        return cast(Key, next(key for key in found if str(key) == name))
    return int(name) if isinstance(found, (tuple, list)) and name.isdecimal() else name


def _at(found: Any, key: Key) -> Any:
    if key is None:
        return found
    if isinstance(found, Mapping) or isinstance(key, int):
        return found[key]
    return getattr(found, key)


def _read(found: Any, key: Key, objective: Objective | None, images: int) -> Tensor:
    """Logits N×C of what the model returned, a single one as N×1."""
    logits = _at(found, key) if objective is None else objective(found)
    if not isinstance(logits, Tensor):
        raise ModelError(
            f"expected logits N×C from the model; what was read is {_listing(logits)}: name the "
            "logits with --output, or wrap the model so that it returns them"
        )
    if logits.ndim < 2 and logits.numel() == images:
        logits = logits.reshape(images, 1)
    if logits.ndim != 2 or len(logits) != images or not logits.is_floating_point():
        came = f"{logits.dtype} of shape {tuple(logits.shape)}"
        raise ModelError(
            f"the model returns {came} for {images} image(s); expected logits N×C (for maps "
            "N×C×H×W give an objective such as mean_over, see docs/models.md)"
        )
    return logits


def _listing(found: Any) -> str:
    """What a model returned, in words."""
    if isinstance(found, Tensor):
        return f"a tensor {tuple(found.shape)}"
    shown = [
        f"{name}: {tuple(item.shape) if isinstance(item, Tensor) else type(item).__name__}"
        for name, item in _items(found).items()
    ]
    return f"a {type(found).__name__} ({', '.join(shown) or 'empty'})"


def _shape(example: Tensor) -> str:
    return "×".join(map(str, example.shape))
