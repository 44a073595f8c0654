"""One adapter a library: its maps as it returns them, and what it does to a raw map on the way."""

from __future__ import annotations

import contextlib
import importlib
import io
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.parity.cases import SIZE, Case

__all__ = [
    "LIBRARIES",
    "Library",
    "Maps",
    "Peer",
    "as_contributions",
    "as_drops",
    "as_grad_cam",
    "as_torchcam",
    "difference",
    "load",
    "quiet",
    "rectified",
    "rectified_parts",
    "run",
]

Maps = NDArray[np.float64]
Patch = Callable[[Case, Any], AbstractContextManager[None]]


@dataclass(frozen=True)
class Peer:
    """A class of a library: how it is built and called, and what is held fixed meanwhile.

    `build` and `call` are keyword arguments of its constructor and of its call. `patch(case,
    explainer)` is a context in which it runs, for random numbers and signs that it leaves open.
    `read(attribution, case)` turns what captum attributes to cells (N×K×h×w) into maps.
    """

    owner: str
    name: str
    build: Mapping[str, Any] | None = None
    call: Mapping[str, Any] | None = None
    patch: Patch | None = None
    read: Callable[[Tensor, Case], Tensor] | None = None

    def held(self, case: Case, explainer: Any) -> AbstractContextManager[None]:
        return self.patch(case, explainer) if self.patch else nullcontext()


@dataclass(frozen=True)
class Library:
    """How to `explain(peer, case)`, and its `postprocess(raw, peer)` applied to our raw maps."""

    package: str
    explain: Callable[[Peer, Case], Maps]
    postprocess: Callable[[Tensor, Peer], Maps]


def run(peer: Peer, case: Case) -> Maps:
    """Maps of `peer` as its library returns them (N×h×w or N×H×W), from a model of its own."""
    with quiet():
        return LIBRARIES[peer.owner].explain(peer, case)


def difference(ours: Maps, theirs: Maps) -> float:
    """The largest `max |ours − theirs| / max |theirs|` of an image; infinite if a map is not
    finite or theirs is empty."""
    assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
    scale = np.abs(theirs).max(axis=(1, 2))
    if not (np.isfinite(ours).all() and np.isfinite(theirs).all() and (scale > 0).all()):
        return float("inf")
    return float((np.abs(ours - theirs).max(axis=(1, 2)) / scale).max())


def load(package: str, name: str = "") -> Any:
    """A package of a peer, or something in it, imported without its warnings."""
    with quiet():
        module = importlib.import_module(package)
    return getattr(module, name) if name else module


@contextmanager
def quiet() -> Iterator[None]:
    """No warning and no progress bar of theirs."""
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


# --- pytorch-grad-cam -----------------------------------------------------------------------------


def explain_grad_cam(peer: Peer, case: Case) -> Maps:
    """pytorch-grad-cam's call. FullGrad takes no layer, RefineCAM several, FinerCAM one image."""
    cls = load(LIBRARIES[peer.owner].package, peer.name)
    target_class = load("pytorch_grad_cam.utils.model_targets", "ClassifierOutputTarget")
    model = case.model()
    stages = {"FullGrad": (), "RefineCAM": case.spec.stages}.get(peer.name, (case.spec.layer,))
    explainer = cls(model, [model.get_submodule(name) for name in stages], **(peer.build or {}))
    images, classes = case.images, case.targets.tolist()
    call = dict(peer.call or {})
    with peer.held(case, explainer):
        if peer.name == "FinerCAM":
            rows = [
                explainer(input_tensor=image[None], targets=None, target_idx=target, **call)
                for image, target in zip(images, classes, strict=True)
            ]
            maps = np.concatenate(rows)
        else:
            targets = [target_class(target) for target in classes]
            maps = explainer(input_tensor=images, targets=targets, **call)
    if peer.name == "ShapleyCAM":  # it keeps views, and its clean-up would detach them in place
        explainer.activations_and_grads.gradients.clear()
        explainer.activations_and_grads.activations.clear()
    return np.asarray(maps, dtype=np.float64)


def scaled(maps: Maps) -> Maps:
    """`(m − min m) / (max(m − min m) + 1e-7)`, image by image."""
    low = maps - maps.min(axis=(1, 2), keepdims=True)
    result: Maps = low / (low.max(axis=(1, 2), keepdims=True) + 1e-7)
    return result


def resized(maps: Maps) -> Maps:
    """Maps (N×h×w) at H×W by OpenCV's bilinear resize in float32."""
    import cv2

    height, width = SIZE
    rows = [cv2.resize(np.float32(row), (width, height)) for row in maps]
    return np.stack(rows).astype(np.float64)


def as_grad_cam(raw: Tensor, _peer: Peer | None = None) -> Maps:
    """Rectify, min-max, resize, min-max: what every map of a single layer goes through there."""
    return scaled(resized(scaled(np.maximum(raw.double().numpy(), 0))))


# --- torchcam -------------------------------------------------------------------------------------


def explain_torchcam(peer: Peer, case: Case) -> Maps:
    """torchcam's call: the extractor hooks the model, which runs on the images first."""
    cls = load(LIBRARIES[peer.owner].package, peer.name)
    model, build, call = case.model(), dict(peer.build or {}), dict(peer.call or {})
    if peer.name == "CAM":
        build["fc_layer"] = case.spec.linear
    layers: Any = list(case.spec.stages) if peer.name == "RefineCAM" else case.spec.layer
    with cls(model, layers, input_shape=(3, *SIZE), **build) as extractor:
        scores = model(case.images)
        with peer.held(case, extractor):
            (maps,) = extractor(case.targets.tolist(), scores, **call)
    result: Maps = maps.detach().double().numpy()
    return result


def as_torchcam(raw: Tensor, peer: Peer | None = None) -> Maps:
    """`(m − min m) / (max(m − min m) + 1e-8)` at the layer's own resolution, unless told not to."""
    maps = raw.double()
    if peer is None or (peer.call or {}).get("normalized", True):
        maps = maps - maps.amin(dim=(1, 2), keepdim=True)
        maps = maps / (maps.amax(dim=(1, 2), keepdim=True) + 1e-8)
    result: Maps = maps.numpy()
    return result


# --- captum ---------------------------------------------------------------------------------------


def explain_captum(peer: Peer, case: Case) -> Maps:
    """captum's attributions of the target layer's cells, read as a map by `peer.read`.

    DeepLift explains the part after the layer, from activations 0, so that its input is the layer.
    """
    cls = load(LIBRARIES[peer.owner].package, peer.name)
    model, call = case.model(), dict(peer.call or {})
    maps = case.activations(model)
    if peer.name == "DeepLift":
        explainer, given = cls(model.get_submodule("head")), maps
        call["baselines"] = torch.zeros_like(maps)
    else:
        explainer, given = cls(model, model.get_submodule(case.spec.layer)), case.images
    if peer.name == "LayerFeatureAblation":
        channels = torch.arange(maps.shape[1])[None, :, None, None]
        call |= {"layer_baselines": 0, "layer_mask": channels.expand(1, *maps.shape[1:])}
    attribution = explainer.attribute(given, target=case.targets, **call).detach()
    result: Maps = (peer.read or summed)(attribution, case).double().numpy()
    return result


def summed(attribution: Tensor, _case: Case) -> Tensor:
    """`Σ_k a_k`, signed as it comes."""
    return attribution.sum(dim=1)


def rectified(attribution: Tensor, _case: Case) -> Tensor:
    """`ReLU(Σ_k a_k)`."""
    return attribution.sum(dim=1).relu()


def rectified_parts(attribution: Tensor, _case: Case) -> Tensor:
    """`Σ_k ReLU(a_k)`."""
    return attribution.relu().sum(dim=1)


def as_contributions(attribution: Tensor, case: Case) -> Tensor:
    """`ReLU(Σ_k w_k A_k)` with the channel weights `w_k = Σ_ij a_kij`."""
    maps = case.activations(case.model())
    return torch.einsum("nk,nkij->nij", attribution.sum(dim=(2, 3)), maps).relu()


def as_drops(attribution: Tensor, case: Case) -> Tensor:
    """`ReLU(Σ_k w_k A_k)`, `w_k = a_k/|s_c|`: a_k is what channel k's absence takes away."""
    model = case.model()
    with torch.no_grad():
        scores = model(case.images).gather(1, case.targets[:, None])
    weights = attribution.mean(dim=(2, 3)) / scores.abs()
    return torch.einsum("nk,nkij->nij", weights, case.activations(model)).relu()


def as_captum(raw: Tensor, _peer: Peer) -> Maps:
    """The raw map itself."""
    result: Maps = raw.double().numpy()
    return result


LIBRARIES: dict[str, Library] = {
    "pytorch-grad-cam": Library("pytorch_grad_cam", explain_grad_cam, as_grad_cam),
    "torchcam": Library("torchcam.methods", explain_torchcam, as_torchcam),
    "captum": Library("captum.attr", explain_captum, as_captum),
}
