"""Networks with a wall that can be trained: small VGGs, the paper's VGG16, any of torchvision's.

A :class:`NetworkSpec` says all that is needed to build one again; it is what is stored beside the
weights.
"""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from camaudit.cut import cut_at, default_layer
from camaudit.errors import ModelError, WallError
from camaudit.initialisation import draw_weights_
from camaudit.models.loading import load_model
from camaudit.walls import (
    DeadZone,
    MaskedLinear,
    PaperVGG16,
    WalledModel,
    dead_cells,
    insert_wall,
    split_trunk,
)  # fmt: skip
from camaudit.walls.insert import receptive_field_zone
from camaudit.walls.region import describe
from camaudit.walls.vgg16 import TARGET_LAYER

__all__ = [
    "SMALL_SIZES",
    "NetworkSpec",
    "SmallVGG",
    "apply_masks_",
    "build",
    "example_for",
    "geometry",
    "leaking",
    "spec_for",
    "trainable",
    "twins",
    "walled",
]

SMALL_SIZES = (28, 64)  #: sides in pixels that the small VGGs are made for
WallKind = Literal["weights", "insert", "split"]
_PAPER_SIZE = 224
_PAPER_ROWS = 5
_WIDTHS = ((32, 32), (64, 64), (128, 128, 128))
_TWO_BLOCKS = 40  # sides up to here get two blocks, larger ones three
_ENOUGH = 0.1  # share of the image that an inserted wall must hide to be preferred to a split


@dataclass(frozen=True)
class NetworkSpec:
    """A network and its wall.

    `network`: "small", "vgg16" or "torchvision:NAME". `wall`: "weights" (the first Linear after
    flatten cannot read dead rows), "insert" or "split" (a wall right after `layer`). `masked`
    False is the baseline: the same network without the wall, which keeps the wall's geometry so
    that both can be scored over the same zone. `rescale`: whether live cells are multiplied by
    (all cells / live cells). `widths`, `hidden`, `dropout`, `norm` belong to the small VGGs,
    `hidden` and `channels` (of the last convolution) to the paper's VGG16.
    """

    network: str
    size: int
    classes: int
    layer: str
    live_rows: int
    wall: WallKind
    masked: bool = True
    rescale: bool = False
    widths: tuple[tuple[int, ...], ...] = ()
    hidden: int = 256
    dropout: float = 0.5
    norm: bool = True
    channels: int = 256

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {**asdict(self), "widths": [list(block) for block in self.widths]}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> NetworkSpec:
        """Read :meth:`to_dict`'s values; raises :class:`ModelError` for any other."""
        try:
            given = dict(content)
            given["widths"] = tuple(tuple(block) for block in given.get("widths", ()))
            spec = cls(**given)
        except (TypeError, ValueError) as error:
            raise ModelError(f"this is no description of a network: {error!s:.300}") from error
        _check(spec)
        return spec


class SmallVGG(nn.Sequential):
    """`features` → `flatten` → `classifier` for N×3×S×S images, S from 28 to 64.

    Blocks of 3×3 convolutions (BatchNorm, ReLU) with 2×2 max pooling between them, none after the
    last; then flatten → Linear → ReLU → Dropout → Linear. With a mask the first Linear never
    reads the dead rows of the last block's maps. The target layer is the last ReLU.
    """

    def __init__(self, spec: NetworkSpec) -> None:
        side = spec.size >> (len(spec.widths) - 1)
        self.feature_dead = dead_cells((side, side), live_rows=spec.live_rows)
        channels = spec.widths[-1][-1]
        dead = self.feature_dead.flatten().repeat(channels)
        first = (
            MaskedLinear(len(dead), spec.hidden, dead)
            if spec.masked
            else nn.Linear(len(dead), spec.hidden)
        )
        classifier = nn.Sequential(
            first, nn.ReLU(), nn.Dropout(spec.dropout), nn.Linear(spec.hidden, spec.classes)
        )
        parts = OrderedDict[str, nn.Module](
            features=nn.Sequential(*_blocks(spec)), flatten=nn.Flatten(), classifier=classifier
        )
        super().__init__(parts)


class ThroughWall(nn.Module):
    """`network` with a wall right after one of its layers, in training as in use.

    A split wall also crops the image to what the live cells see. The weights are those of
    `network` alone.
    """

    def __init__(self, network: nn.Module, plan: WalledModel) -> None:
        super().__init__()
        self.network = network
        self._plan = (plan,)  # in a tuple: its modules are those of the network
        self.wall = plan.wall
        self.site = plan.unwalled.trunk.site if plan.unwalled is not None else None

    def forward(self, images: Tensor) -> Tensor:
        if self.site is None:
            raise WallError("this wall is in the weights and needs no wrapper")
        plan, calls = self._plan[0], 0
        split = plan.trunk if plan.frame is not None else None

        def masked(_module: nn.Module, _args: Any, output: Tensor) -> Tensor | None:
            nonlocal calls
            calls += 1
            if self.site is None or calls != self.site.call:
                return None
            placed = output if split is None else split.placed(output)  # type: ignore[operator]
            seen: Tensor = self.wall(placed)
            return seen

        handle = self.site.module.register_forward_hook(masked)
        try:
            logits: Tensor = self.network(
                images if split is None else split.seen_part(images)  # type: ignore[operator]
            )
        finally:
            handle.remove()
        return logits


def spec_for(
    network: str,
    *,
    size: int,
    classes: int,
    live_rows: int | None = None,
    layer: str | None = None,
    wall: str = "auto",
    masked: bool = True,
    seed: int = 0,
    **details: Any,
) -> NetworkSpec:
    """The spec of a network for `classes` classes of `size`×`size` images, defaults filled in.

    Half of the rows stay live in a small VGG, 5 of 14 in the paper's VGG16, 4 of 7 elsewhere.
    `wall` "auto" inserts one where receptive fields prove that it hides enough of the image, and
    splits the trunk otherwise (torchvision's networks alone). `details` are further fields of
    :class:`NetworkSpec`. Raises :class:`ModelError` and :class:`WallError`.
    """
    if network.startswith("torchvision:"):
        if details:
            raise ModelError(
                f"{', '.join(sorted(details))} can be chosen for the VGGs alone, not for {network}"
            )
        return _torchvision_spec(network, size, classes, live_rows, layer, wall, masked, seed)
    if layer is not None or wall != "auto":
        raise WallError(
            f"the wall of the network {network!r} is in its first Linear: --layer and --wall are "
            "for torchvision's networks"
        )
    if network == "vgg16":
        if "widths" in details:
            raise ModelError("the widths of the paper's VGG16 are fixed: leave --widths out")
        spec = NetworkSpec(
            "vgg16", size, classes, TARGET_LAYER, _PAPER_ROWS if live_rows is None else live_rows,
            "weights", masked=masked, **{"hidden": 4096, **details},
        )  # fmt: skip
    else:
        widths = details.pop("widths", _WIDTHS[:2] if size <= _TWO_BLOCKS else _WIDTHS)
        rows = size >> (len(widths) - 1)
        spec = NetworkSpec(
            network, size, classes, "", rows // 2 if live_rows is None else live_rows, "weights",
            masked=masked, widths=widths, **details,
        )  # fmt: skip
        spec = dataclasses.replace(spec, layer=f"features.{_last(spec)}")
    _check(spec)
    return spec


def build(spec: NetworkSpec, *, seed: int = 0) -> nn.Module:
    """The network of `spec` with random weights drawn from `seed`, the wall in its weights if any.

    He initialisation for the VGGs, torchvision's own for its networks. The global random state is
    left as it is. An inserted or split wall comes with :func:`walled`, or with
    :func:`trainable` for training.
    """
    _check(spec)
    if spec.network == "vgg16":
        return PaperVGG16(
            live_rows=spec.live_rows, masked=spec.masked, channels=spec.channels,
            hidden=spec.hidden, num_classes=spec.classes, seed=seed,
        )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if spec.network == "small":
            model: nn.Module = SmallVGG(spec)
            draw_weights_(model, "he")
            apply_masks_(model)
            return model
    return load_model(spec.network, seed=seed, num_classes=spec.classes).model


def twins(masked: NetworkSpec, *, seed: int = 0) -> tuple[nn.Module, nn.Module]:
    """The masked network and the unmasked one, with the same weights wherever both have one."""
    free = build(dataclasses.replace(masked, masked=False), seed=seed)
    walled_twin = build(masked, seed=seed)
    walled_twin.load_state_dict(free.state_dict())
    apply_masks_(walled_twin)
    return walled_twin, free


def trainable(spec: NetworkSpec, network: nn.Module) -> nn.Module:
    """What is to be trained: `network` itself, or one that looks through an inserted wall."""
    if spec.wall == "weights" or not spec.masked:
        return network
    return ThroughWall(network, _planned(spec, network))


def walled(spec: NetworkSpec, model: nn.Module, *, twin: nn.Module | None = None) -> WalledModel:
    """A network of `spec` (in eval mode) as a walled model with its dead zone.

    `twin` is the unmasked network for the paired control. A network whose wall was inserted has
    itself without the wall, as always; one with the wall in its weights has none of its own.
    Raises :class:`WallError` for the baseline, which has no wall.
    """
    if not spec.masked:
        raise WallError("this network is the unmasked baseline: it has no wall")
    example = example_for(spec, model)
    plan = _planned(spec, model)
    if twin is None:
        return plan
    cut = cut_at(twin, spec.layer, example)
    return WalledModel(
        plan.trunk, plan.wall, plan.head, unwalled=cut, zone=plan.zone,
        description=plan.description,
    ).eval()  # fmt: skip


def geometry(spec: NetworkSpec, model: nn.Module) -> DeadZone:
    """The dead zone of the wall; for the baseline, that of the wall that its twin has."""
    return _planned(spec, model).zone


def example_for(spec: NetworkSpec, model: nn.Module) -> Tensor:
    """One random image (1×3×S×S) on the model's device, as cutting and walls need it."""
    image = torch.randn(1, 3, spec.size, spec.size, generator=torch.Generator().manual_seed(0))
    return image.to(next(model.parameters()))


def apply_masks_(model: nn.Module) -> None:
    """Set the weights of dead features to 0, in place."""
    for module in _masked(model):
        module.apply_mask_()


def leaking(model: nn.Module) -> int:
    """How many weights of dead features are not exactly 0 (NaN counts)."""
    with torch.no_grad():
        return sum(
            int(torch.count_nonzero(module.weight[:, module.dead])) for module in _masked(model)
        )


def _masked(model: nn.Module) -> Iterator[MaskedLinear]:
    return (module for module in model.modules() if isinstance(module, MaskedLinear))


def _blocks(spec: NetworkSpec) -> Iterator[nn.Module]:
    width = 3
    for number, block in enumerate(spec.widths):
        if number:
            yield nn.MaxPool2d(2)
        for out in block:
            yield nn.Conv2d(width, out, 3, padding=1, bias=not spec.norm)
            if spec.norm:
                yield nn.BatchNorm2d(out)
            yield nn.ReLU()
            width = out


def _last(spec: NetworkSpec) -> int:
    """The number of the last layer that :func:`_blocks` gives."""
    layers = 3 if spec.norm else 2
    return sum(layers * len(block) + 1 for block in spec.widths) - 2


def _planned(spec: NetworkSpec, model: nn.Module) -> WalledModel:
    """The walled model, whatever mode the model is in (which is kept)."""
    modes = {module: module.training for module in model.modules()}
    try:
        return _plan(spec, model.eval())
    finally:
        for module, mode in modes.items():
            module.training = mode


def _plan(spec: NetworkSpec, model: nn.Module) -> WalledModel:
    example = example_for(spec, model)
    if spec.wall != "weights":
        make = insert_wall if spec.wall == "insert" else split_trunk
        return make(
            model, spec.layer, example, live_rows=spec.live_rows,
            rescale="always" if spec.rescale else "never",
        )  # fmt: skip
    cut = cut_at(model, spec.layer, example)
    dead = model.feature_dead
    if not isinstance(dead, Tensor):
        raise ModelError(f"the network {spec.network!r} does not say which cells are dead")
    description = {
        "wall": spec.network, "layer": spec.layer, "live": describe(~dead), "rescale": 1.0,
    }  # fmt: skip
    zone: DeadZone = receptive_field_zone(cut.trunk, example, dead)
    return WalledModel(
        cut.trunk, nn.Identity(), cut.head, unwalled=None, zone=zone, description=description
    ).eval()


def _torchvision_spec(
    network: str,
    size: int,
    classes: int,
    live_rows: int | None,
    layer: str | None,
    wall: str,
    masked: bool,
    seed: int,
) -> NetworkSpec:
    model = load_model(network, seed=seed, num_classes=classes).model
    _require_one_output(model, network, size)
    example = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(0))
    layer = layer or default_layer(model, example)
    plan = None if wall == "split" else insert_wall(model, layer, example, live_rows=live_rows)
    if plan is None or (wall == "auto" and plan.zone.scored_fraction < _ENOUGH):
        plan, kind = split_trunk(model, layer, example, live_rows=live_rows), "split"
    else:
        kind = "insert"
    live = ~plan.zone.feature_dead
    return NetworkSpec(
        network, size, classes, layer, int(live.any(dim=1).sum()),
        "split" if kind == "split" else "insert", masked=masked,
        rescale=bool(plan.description["rescale"] != 1.0),
    )  # fmt: skip


def _require_one_output(model: nn.Module, network: str, size: int) -> None:
    """Refuse networks that return more than logits while training (GoogLeNet, Inception)."""
    model.train()
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            logits = model(torch.zeros(2, 3, size, size))
    except (RuntimeError, ValueError, AssertionError) as error:
        raise ModelError(
            f"{network} fails on {size}×{size} images: {error}; choose another --image-size"
        ) from error
    finally:
        model.eval()
    if not isinstance(logits, Tensor):
        raise ModelError(
            f"{network} returns a {type(logits).__name__} while training; networks with further "
            "outputs are not supported"
        )


def _check(spec: NetworkSpec) -> None:
    """Raise where a spec, which may come from a file, describes no network."""
    numbers = (spec.size, spec.classes, spec.live_rows, spec.hidden, spec.channels)
    if not all(isinstance(n, int) and not isinstance(n, bool) and 0 < n < 10**6 for n in numbers):
        raise ModelError(
            f"expected positive whole numbers in the network's description; got {spec!s:.300}"
        )
    if not isinstance(spec.network, str) or not isinstance(spec.layer, str):
        raise ModelError(f"expected names in the network's description; got {spec!s:.300}")
    if spec.network == "vgg16":
        if spec.size != _PAPER_SIZE:
            raise ModelError(
                f"the paper's VGG16 reads images of {_PAPER_SIZE}×{_PAPER_SIZE} pixels; got "
                f"{spec.size}"
            )
        return
    if spec.network.startswith("torchvision:"):
        if spec.wall not in ("insert", "split"):
            raise ModelError(f"expected the wall insert or split; got {spec.wall!s:.80}")
        return
    if spec.network != "small":
        raise ModelError(
            f"unknown network {spec.network[:80]!r}: expected small, vgg16 or torchvision:NAME"
        )
    low, high = SMALL_SIZES
    if not low <= spec.size <= high:
        raise ModelError(
            f"the small VGGs read images of {low} to {high} pixels a side; got {spec.size}: give "
            "--image-size, or use --network vgg16 or torchvision:NAME"
        )
    blocks = [tuple(block) for block in spec.widths]
    widths = [width for block in blocks for width in block]
    if not blocks or not all(blocks) or not all(
        type(width) is int and 0 < width < 10**5 for width in widths
    ) or len(blocks) > 4:  # fmt: skip
        raise ModelError(f"expected one to four blocks of channel numbers; got {spec.widths!s:.80}")
    if not isinstance(spec.dropout, (int, float)) or not 0 <= spec.dropout < 1:
        raise ModelError(
            f"expected a dropout of 0 or more and less than 1; got {spec.dropout!s:.80}"
        )
