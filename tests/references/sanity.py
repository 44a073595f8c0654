"""Slow, literal float64 references of the sanity checks, for tests.

For every step of every cascade the model is copied, the new weights are written into the copy, it
is cut and captured from scratch for one image and one method, and two maps are compared by scipy
or scikit-image. Nothing is kept from one cell to the next, and the order of the layers is not
found but given: whoever draws a network says in which order its layers run.

A value is None where the check has none: undefined, not applicable or unchanged by construction.
"""

import copy
import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.stats import spearmanr
from skimage.feature import hog
from skimage.metrics import structural_similarity
from torch import Tensor, nn

from camaudit.capture import Capture, capture
from camaudit.cut import cut_at
from camaudit.errors import NotApplicableError
from camaudit.maps import upsample
from camaudit.methods import noise
from camaudit.objective import Objective

SIMILARITIES = ("spearman", "spearman-abs", "ssim", "hog")
BLOCK = 2**22
NORMALISATIONS = (
    nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.InstanceNorm1d, nn.InstanceNorm2d, nn.InstanceNorm3d,
)  # fmt: skip
CONTAINERS = (
    nn.Module, nn.Sequential, nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict,
)  # fmt: skip
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
CLASS_READERS = {
    "gradients", "scores", "logits", "targets", "head", "model", "linear_weight", "divided",
    "objective",
}  # fmt: skip

Value = float | None
Row = list[Value]  # one value an image
Explainer = Callable[..., Tensor]


@dataclass(frozen=True)
class Layer:
    """A layer as a cascade knows it: its name, its tensors' full names, and where it runs."""

    name: str
    tensors: tuple[str, ...]
    after: bool = False  # whether its first use comes after the target layer


@dataclass(frozen=True)
class Setting:
    """What all checks of one run have in common; `reads` says which capture fields a label reads.

    `layers` are in execution order, `seeds` are the re-initialisations', `seed` is the methods'.
    """

    model: nn.Module
    target: str
    layers: Sequence[Layer]
    images: Tensor
    methods: Mapping[str, Explainer]
    reads: Mapping[str, set[str]]
    targets: Tensor | None = None
    objective: Objective | None = None
    seeds: Sequence[int] = (0, 1)
    scheme: str = "he"
    similarities: Sequence[str] = SIMILARITIES
    resolution: str = "image"
    samples: int = 10
    draws: int = 5
    seed: int = 0


# ---------------------------------------------------------------------------------------------
# random numbers and new weights


def key(seed: int, name: str, block: int | str) -> int:
    """The first four bytes of SHA-256 of "seed/name/block", big-endian."""
    digest = hashlib.sha256(f"{seed}/{name}/{block}".encode()).digest()
    return digest[0] * 2**24 + digest[1] * 2**16 + digest[2] * 2**8 + digest[3]


def generator(seed: int, name: str, block: int | str) -> torch.Generator:
    """A generator seeded with the key."""
    return torch.Generator().manual_seed(key(seed, name, block))


def normal(seed: int, name: str, count: int) -> np.ndarray:
    """`count` standard normal float32 numbers of a tensor, blocks of 2²² one after the other."""
    parts = [np.empty(0, dtype=np.float32)]
    for block in range(math.ceil(count / BLOCK)):
        length = min(BLOCK, count - block * BLOCK)
        drawn = torch.empty(length, dtype=torch.float32)
        drawn.normal_(0, 1, generator=generator(seed, name, block))
        parts.append(drawn.numpy())
    return np.concatenate(parts)


def owner_of(model: nn.Module, name: str) -> tuple[nn.Module, str]:
    """The module that a full tensor name leads to, and the name's last component."""
    path, _, last = name.rpartition(".")
    return model.get_submodule(path), last


def value_of(model: nn.Module, name: str) -> Tensor:
    """A copy of the (effective) tensor of this name."""
    module, last = owner_of(model, name)
    return getattr(module, last).detach().clone()


def is_library_layer(module: nn.Module) -> bool:
    """Whether the module's class derives from a class of torch.nn that is no container."""
    known = [one for one in type(module).__mro__ if one.__module__.startswith("torch.nn.")]
    return any(one not in CONTAINERS for one in known)


def he(model: nn.Module, name: str, seed: int) -> Tensor:
    """The new values of one tensor by the five rules of "he", in its shape and dtype."""
    module, last = owner_of(model, name)
    old = value_of(model, name)
    statistics = getattr(module, "running_mean", None) is not None
    if last == "running_mean":
        return torch.zeros_like(old)
    if last == "running_var":
        return torch.ones_like(old)
    if (statistics or isinstance(module, NORMALISATIONS)) and last == "weight":
        return torch.ones_like(old)
    if (statistics or isinstance(module, NORMALISATIONS)) and last == "bias":
        return torch.zeros_like(old)
    if "bias" in last and old.ndim <= 1:
        return torch.zeros_like(old)
    if old.ndim >= 2 and (is_library_layer(module) or last == "weight"):
        kept = old.shape[1] if isinstance(module, TRANSPOSED) else old.shape[0]
        scale = math.sqrt(2 / (old.numel() / kept))
    else:
        entries = [float(entry) for entry in old.flatten()]
        scale = math.sqrt(math.fsum(entry**2 for entry in entries) / len(entries))
    product = normal(seed, name, old.numel()) * np.float32(scale)
    assert product.dtype == np.float32
    return torch.from_numpy(product).reshape(old.shape).to(old.dtype)


def permuted(model: nn.Module, name: str, seed: int) -> Tensor:
    """The tensor's own entries in another order; exact zeros stay where they are."""
    old = value_of(model, name)
    entries = old.flatten().tolist()
    places = [place for place, entry in enumerate(entries) if entry != 0]
    order = torch.randperm(len(places), generator=generator(seed, name, "permute")).tolist()
    changed = list(entries)
    for place, source in zip(places, order, strict=True):
        changed[place] = entries[places[source]]
    return torch.tensor(changed, dtype=torch.float64).reshape(old.shape).to(old.dtype)


def own(model: nn.Module, layer: Layer, seed: int) -> dict[str, Tensor]:
    """What the layer's own initialiser writes, by tensor; empty where it has none."""
    found = dict(model.named_modules()).get(layer.name)
    module = copy.deepcopy(found)
    reset = getattr(module, "reset_parameters", getattr(module, "_reset_parameters", None))
    if module is None or reset is None:
        return {}
    lasts = [name.rpartition(".")[2] for name in layer.tensors]
    before = {last: (id(getattr(module, last)), getattr(module, last)._version) for last in lasts}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(key(seed, layer.name, "module"))
        reset()
    written = {}
    for name, last in zip(layer.tensors, lasts, strict=True):
        tensor = getattr(module, last)
        if (id(tensor), tensor._version) != before[last]:
            written[name] = tensor.detach().clone()
    return written


def new_values(model: nn.Module, layer: Layer, scheme: str, seed: int) -> dict[str, Tensor]:
    """The new values of every tensor of a layer."""
    if scheme == "permute":
        return {name: permuted(model, name, seed) for name in layer.tensors}
    values = {name: he(model, name, seed) for name in layer.tensors}
    if scheme == "module":
        values.update(own(model, layer, seed))
    return values


def rewritten(model: nn.Module, layers: Sequence[Layer], scheme: str, seed: int) -> nn.Module:
    """A deep copy of the model with new weights in these layers."""
    other = copy.deepcopy(model)
    for layer in layers:
        for name, values in new_values(model, layer, scheme, seed).items():
            module, last = owner_of(other, name)
            with torch.no_grad():
                if last in getattr(module, "parametrizations", {}):
                    setattr(module, last, values)
                else:
                    getattr(module, last).copy_(values)
    return other


def same_weights(model: nn.Module, other: nn.Module, layers: Sequence[Layer]) -> bool:
    """Whether every tensor of these layers is the same in both models, bit for bit."""
    names = [name for layer in layers for name in layer.tensors]
    return all(torch.equal(value_of(model, name), value_of(other, name)) for name in names)


def steps(order: str, layers: Sequence[Layer]) -> list[list[Layer]]:
    """Which layers are random at each step of a cascade."""
    count = len(layers)
    if order == "all":
        return [list(layers)]
    if order == "top-down":
        return [[layers[count - 1 - k] for k in range(step)] for step in range(1, count + 1)]
    if order == "bottom-up":
        return [[layers[k] for k in range(step)] for step in range(1, count + 1)]
    return [[layer] for layer in layers]


# ---------------------------------------------------------------------------------------------
# maps


def logits_of(setting: Setting, image: int) -> Tensor:
    """The original model's logits (C) of one image."""
    with torch.no_grad():
        return setting.model(setting.images[image : image + 1])[0]


def class_of(setting: Setting, image: int) -> int:
    """The class that is explained: the given target, or the original model's top-1."""
    if setting.targets is not None:
        return int(setting.targets[image])
    return int(logits_of(setting, image).argmax())


def objective_of(setting: Setting, image: int, label: int) -> Objective:
    """The objective with the other classes that the original model's logits choose."""
    objective = setting.objective or Objective()
    score = objective.bind(logits_of(setting, image)[None], torch.tensor([label]))
    return objective if score.against is None else replace(objective, against=score.against)


def capture_of(
    setting: Setting, model: nn.Module, target: str, picture: Tensor, image: int, label: int
) -> Capture:
    """One picture (C×H×W), captured from scratch for the score of image `image` and a class."""
    divided = cut_at(model, target, picture[None])
    objective = objective_of(setting, image, label)
    return capture(divided, picture[None], targets=torch.tensor([label]), objective=objective)


def raw_map(
    setting: Setting, method: str, model: nn.Module, image: int, label: int, target: str
) -> Tensor | None:
    """The native map of one image; None where the method cannot be applied."""
    picture = setting.images[image]
    taken = capture_of(setting, model, target, picture, image, label)
    try:
        return setting.methods[method](taken, seed=setting.seed)[0].detach()
    except NotApplicableError:
        return None


def views(setting: Setting, image: int) -> list[Tensor]:
    """The noisy pictures x + 0.1·(max x − min x)·ε_j of one image."""
    picture = setting.images[image]
    sigma = 0.1 * (float(picture.max()) - float(picture.min()))
    noisy = []
    for j in range(setting.samples):
        drawn = noise.normal(setting.seed, picture, j, tuple(picture.shape))
        noisy.append(picture + sigma * torch.from_numpy(drawn).to(picture))
    return noisy


def smooth_map(
    setting: Setting, method: str, model: nn.Module, image: int, label: int, target: str
) -> Tensor | None:
    """The mean of the native maps of the noisy pictures."""
    total: Tensor | None = None
    for picture in views(setting, image):
        taken = capture_of(setting, model, target, picture, image, label)
        try:
            found = setting.methods[method](taken, seed=setting.seed)[0].detach()
        except NotApplicableError:
            return None
        total = found if total is None else total + found
    assert total is not None
    return total / setting.samples


MAPS = {"mprt": raw_map, "smprt": smooth_map}


def pictures_of(setting: Setting, check: str, image: int) -> list[Tensor]:
    """The pictures that a check captures for one image."""
    return views(setting, image) if check == "smprt" else [setting.images[image]]


# ---------------------------------------------------------------------------------------------
# similarities


def _array(values: Tensor) -> np.ndarray:
    return values.detach().to(torch.float64).numpy()


def is_constant(values: np.ndarray) -> bool:
    """Whether all entries are one number, but for 16 units in the last place of float64."""
    spread = values.max() - values.min()
    return bool(spread <= 16 * 2.0**-52 * np.abs(values).max())


def minmax(values: np.ndarray) -> np.ndarray:
    """(x − min)/(max − min) of a map that is not constant."""
    return (values - values.min()) / (values.max() - values.min())


def similarities(setting: Setting, a: Tensor | None, b: Tensor | None) -> dict[str, Value]:
    """Every similarity of two native maps; None where it is undefined."""
    undefined: dict[str, Value] = dict.fromkeys(setting.similarities)
    for native in (a, b):
        if native is None or not bool(torch.isfinite(native).all()):
            return undefined
        if is_constant(_array(native)):
            return undefined
    assert a is not None
    assert b is not None
    if setting.resolution == "image":
        size = (int(setting.images.shape[-2]), int(setting.images.shape[-1]))
        a, b = upsample(a[None], size)[0], upsample(b[None], size)[0]
    return {name: compared(name, _array(a), _array(b)) for name in setting.similarities}


def compared(name: str, a: np.ndarray, b: np.ndarray) -> Value:
    """One similarity of two arrays of equal shape; None where it is undefined."""
    if name == "spearman-abs":
        a, b = np.abs(a), np.abs(b)
    if is_constant(a) or is_constant(b):
        return None
    if name.startswith("spearman"):
        return float(spearmanr(a.ravel(), b.ravel()).statistic)
    if name == "ssim":
        if min(a.shape) < 11:
            return None
        options = {"data_range": 1, "gaussian_weights": True}
        return float(structural_similarity(minmax(a), minmax(b), **options))
    if min(a.shape) < 48:
        return None
    left, right = (hog(minmax(x), pixels_per_cell=(16, 16)) for x in (a, b))
    if is_constant(left) or is_constant(right):
        return None
    return float(np.corrcoef(left, right)[0, 1])


# ---------------------------------------------------------------------------------------------
# model parameter randomisation


def unchanged(
    setting: Setting,
    check: str,
    method: str,
    random: Sequence[Layer],
    other: nn.Module,
    image: int,
) -> bool:
    """Whether the map could not have changed, whatever the method makes of its inputs.

    (a) only activations were read and all random layers run after the target layer; (b) every
    random layer got the weights that it had; (c) only activations and gradients were read, and
    they are the same, bit for bit.
    """
    reads = setting.reads[method]
    label = class_of(setting, image)
    if same_weights(setting.model, other, random):
        return True
    above = all(layer.after for layer in random)
    if above and "activations" in reads and reads <= {"images", "activations", "targets"}:
        make = MAPS[check]
        before = make(setting, method, setting.model, image, label, setting.target)
        after = make(setting, method, other, image, label, setting.target)
        assert before is not None
        assert after is not None
        if torch.equal(before, after):
            return True
    if not reads <= {"activations", "gradients"}:
        return False
    for picture in pictures_of(setting, check, image):
        old = capture_of(setting, setting.model, setting.target, picture, image, label)
        new = capture_of(setting, other, setting.target, picture, image, label)
        if not torch.equal(old.activations, new.activations):
            return False
        if not torch.equal(old.gradients, new.gradients):
            return False
    return True


def pair(
    setting: Setting, check: str, method: str, a: nn.Module, b: nn.Module, image: int
) -> dict[str, Value]:
    """Every similarity of the maps of one image under two models."""
    label = class_of(setting, image)
    left = MAPS[check](setting, method, a, image, label, setting.target)
    right = MAPS[check](setting, method, b, image, label, setting.target)
    return similarities(setting, left, right)


def cell(
    setting: Setting, check: str, method: str, random: Sequence[Layer], seed: int, image: int
) -> dict[str, Value]:  # fmt: skip
    """Every similarity with the original's map where these layers are random."""
    other = rewritten(setting.model, random, setting.scheme, seed)
    if unchanged(setting, check, method, random, other, image):
        return dict.fromkeys(setting.similarities)
    return pair(setting, check, method, setting.model, other, image)


def cascade(setting: Setting, check: str, order: str, method: str) -> dict[str, list[list[Row]]]:
    """The similarities with the original's map, [similarity][seed][step][image]; (s)mprt."""
    found: dict[str, list[list[Row]]] = {name: [] for name in setting.similarities}
    for seed in setting.seeds:
        for name in setting.similarities:
            found[name].append([])
        for random in steps(order, setting.layers):
            cells = [
                cell(setting, check, method, random, seed, image)
                for image in range(len(setting.images))
            ]
            for name in setting.similarities:
                found[name][-1].append([values[name] for values in cells])
    return found


def null(setting: Setting, check: str, method: str) -> dict[str, dict[tuple[int, int], Row]]:
    """The similarities of two wholly random models' maps, [similarity][s, t][image]."""
    found: dict[str, dict[tuple[int, int], Row]] = {name: {} for name in setting.similarities}
    for first in range(len(setting.seeds)):
        for second in range(first + 1, len(setting.seeds)):
            s, t = setting.seeds[first], setting.seeds[second]
            cells = []
            for image in range(len(setting.images)):
                one = rewritten(setting.model, setting.layers, setting.scheme, s)
                two = rewritten(setting.model, setting.layers, setting.scheme, t)
                cells.append(pair(setting, check, method, one, two, image))
            for name in setting.similarities:
                found[name][s, t] = [values[name] for values in cells]
    return found


def mean(values: Sequence[Value]) -> Value:
    """The mean of the values that there are; None without any."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def effects(values: list[list[Row]], nulls: Mapping[tuple[int, int], Row]) -> list[Value]:
    """mean_{s,i} S − mean_{s<t,i} N for each step of a cascade."""
    level = mean([value for row in nulls.values() for value in row])
    found: list[Value] = []
    for step in range(len(values[0])):
        scored = mean([value for rows in values for value in rows[step]])
        found.append(None if scored is None or level is None else scored - level)
    return found


# ---------------------------------------------------------------------------------------------
# the other checks


def entropy(values: np.ndarray) -> Value:
    """H = −Σ p ln p of the 100-bin histogram between the map's minimum and its maximum.

    None where the two are so close that the bins have no width.
    """
    edges = np.linspace(values.min(), values.max(), 101)
    if not bool((np.diff(edges) > 0).all()):
        return None
    counts, _ = np.histogram(values, bins=100)
    shares = [count / values.size for count in counts.tolist()]
    return -math.fsum(share * math.log(share) for share in shares if share > 0)


def emprt(setting: Setting, method: str) -> list[Row]:
    """(H_rand − H_orig)/H_orig of the native maps, values[seed][image]; None where unchanged."""
    values = []
    for seed in setting.seeds:
        row: Row = []
        for image in range(len(setting.images)):
            label = class_of(setting, image)
            other = rewritten(setting.model, setting.layers, setting.scheme, seed)
            entropies: list[float] = []
            for model in (setting.model, other):
                found = raw_map(setting, method, model, image, label, setting.target)
                if found is None or not bool(torch.isfinite(found).all()):
                    continue
                complexity = None if is_constant(_array(found)) else entropy(_array(found))
                if complexity is not None:
                    entropies.append(complexity)
            same = unchanged(setting, "mprt", method, setting.layers, other, image)
            if same or len(entropies) < 2:
                row.append(None)
            else:
                row.append((entropies[1] - entropies[0]) / entropies[0])
        values.append(row)
    return values


def other_classes(setting: Setting, image: int) -> list[int]:
    """The classes that an image's own is compared with."""
    own_class = class_of(setting, image)
    others = [label for label in range(len(logits_of(setting, image))) if label != own_class]
    drawn = np.random.default_rng([setting.seed, image]).permutation(others)
    return [int(label) for label in drawn[: setting.draws]]


def same_map(a: Tensor | None, b: Tensor | None) -> bool:
    """Whether there are two maps, equal bit for bit."""
    return a is not None and b is not None and torch.equal(a, b)


def random_logit(setting: Setting, method: str) -> dict[str, list[Row]]:
    """The similarities of the map of c with those of other classes, [similarity][image][draw].

    None where a method reads nothing of what depends on the class and its two maps are equal.
    """
    found: dict[str, list[Row]] = {name: [] for name in setting.similarities}
    for image in range(len(setting.images)):
        cells = []
        for other in other_classes(setting, image):
            label = class_of(setting, image)
            a = raw_map(setting, method, setting.model, image, label, setting.target)
            b = raw_map(setting, method, setting.model, image, other, setting.target)
            blind = not setting.reads[method] & CLASS_READERS and same_map(a, b)
            cells.append(similarities(setting, a, None if blind else b))
        for name in setting.similarities:
            found[name].append([values[name] for values in cells])
    return found


def data_randomisation(
    setting: Setting, method: str, other: nn.Module, target: str
) -> dict[str, Row]:
    """The similarities of the maps of two models, the second at its layer `target`, by image."""
    found: dict[str, Row] = {name: [] for name in setting.similarities}
    for image in range(len(setting.images)):
        label = class_of(setting, image)
        a = raw_map(setting, method, setting.model, image, label, setting.target)
        b = raw_map(setting, method, other, image, label, target)
        for name, value in similarities(setting, a, b).items():
            found[name].append(value)
    return found


# ---------------------------------------------------------------------------------------------
# how exactly a similarity is determined


def wobbled(native: Tensor, draw: int) -> Tensor:
    """The map with every cell that is not 0 off by at most 1e-13 of the largest magnitude."""
    noisy = torch.rand(native.shape, generator=generator(draw, "wobble", 0), dtype=torch.float64)
    return native + torch.where(native == 0, 0.0, 1e-13 * native.abs().max() * (2 * noisy - 1))


def slack(
    setting: Setting, name: str, a: Tensor | None, b: Tensor | None, *, draws: int = 8
) -> float:
    """How far rounding turns a similarity of two native maps: 10 times the most of some trials.

    Two similarities jump. Pixels of an upsampled map may be equal but for rounding, and their ranks
    then depend on the order of a sum; HOG counts a gradient on the border of two orientation bins
    in one of them. Exact zeros (ReLU) and pixels that repeat at the border stay what they are.
    """
    alone = replace(setting, similarities=(name,))
    exact = similarities(alone, a, b)[name]
    if a is None or b is None or exact is None:
        return 0.0
    turned = [0.0]
    for draw in range(draws):
        other = similarities(alone, wobbled(a, 2 * draw), wobbled(b, 2 * draw + 1))[name]
        if other is not None:
            turned.append(abs(other - exact))
    return 10 * max(turned)
