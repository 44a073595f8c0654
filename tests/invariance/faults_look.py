"""Faults in where an explainer looks, and in how it deals with several images or calls."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.invariance.literal import (
    LITERAL,
    Score,
    Seen,
    class_row,
    combined,
    look,
    masked_logits,
    masks,
    mean_gradient,
    of_varying,
    principal,
    row_by_row,
    weighted,
)
from tests.invariance.planting import looking, planted, step


def elsewhere(
    claims: str, name: str, fault: str, where: Callable[[nn.Module, str, Tensor], str]
) -> None:
    """Add the method that looks at the layer `where(model, layer, images)`."""

    def looks(model: nn.Module, layer: str, images: Tensor, *asked: Any) -> Seen:
        return look(model, where(model, layer, images), images, *asked)

    step(claims, name, fault, look=looks)


def run_order(model: nn.Module, images: Tensor) -> list[tuple[str, Tensor]]:
    """Modules without children, by name, in the order in which they ran, with their outputs."""
    ran: list[tuple[str, Tensor]] = []
    with ExitStack() as stack, torch.no_grad():
        for name, module in model.named_modules():
            if not list(module.children()):
                handle = module.register_forward_hook(
                    lambda _m, _a, output, name=name: ran.append((name, output))
                )
                stack.callback(handle.remove)
        model(images)
    return ran


def within(name: str, layer: str) -> bool:
    """Whether the module `name` is `layer` or a part of it."""
    return name == layer or name.startswith(f"{layer}.")


def before_last(model: nn.Module, layer: str, images: Tensor) -> str:
    """The module that ran before the last one of the layer; the layer where there is none."""
    names = [name for name, _ in run_order(model, images)]
    place = max(place for place, name in enumerate(names) if within(name, layer))
    return names[place - 1] if place else layer


def last_map(model: nn.Module, _layer: str, images: Tensor) -> str:
    """The last module whose output has four dimensions."""
    return [name for name, output in run_order(model, images) if output.ndim == 4][-1]


def first_child(model: nn.Module, layer: str, _images: Tensor) -> str:
    """The first module in the layer, the layer itself where it holds none."""
    children = [name for name, _ in model.get_submodule(layer).named_children()]
    return f"{layer}.{children[0]}" if children else layer


def convolutions(model: nn.Module) -> list[str]:
    """The names of all convolutions, in the order in which they were registered."""
    return [name for name, module in model.named_modules() if isinstance(module, nn.Conv2d)]


def last_convolution(model: nn.Module, _layer: str, _images: Tensor) -> str:
    """The last convolution of the model, by type."""
    return convolutions(model)[-1]


def first_convolution(model: nn.Module, _layer: str, _images: Tensor) -> str:
    """The first convolution of the model, by type."""
    return convolutions(model)[0]


def at_input(model: nn.Module, layer: str, images: Tensor, targets: Tensor, score: Score) -> Seen:
    """One pass that keeps the layer's input in place of its output."""
    taken: list[Tensor] = []

    def keep(_module: nn.Module, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        taken.append(args[0].detach().clone().requires_grad_())
        return (taken[0].clone(),)

    handle = model.get_submodule(layer).register_forward_pre_hook(keep)
    try:
        with torch.enable_grad():
            logits = model(images)
            (G,) = torch.autograd.grad(score(logits, targets).sum(), taken[0])
    finally:
        handle.remove()
    return Seen(model, layer, images, targets, score, taken[0].detach(), G, logits.detach())


def relu_in_place(
    model: nn.Module, layer: str, images: Tensor, targets: Tensor, score: Score
) -> Seen:
    """One pass whose hook rectifies the layer's output in place: the head reads it so."""
    handle = model.get_submodule(layer).register_forward_hook(lambda _m, _a, output: output.relu_())
    try:
        return look(model, layer, images, targets, score)
    finally:
        handle.remove()


def guided(model: nn.Module, layer: str, images: Tensor, targets: Tensor, score: Score) -> Seen:
    """One pass whose ReLUs let positive gradients alone through, as guided backpropagation does."""
    with ExitStack() as stack:
        for module in model.modules():
            if isinstance(module, nn.ReLU):
                handle = module.register_full_backward_hook(lambda _m, into, _o: (into[0].relu(),))
                stack.callback(handle.remove)
        return look(model, layer, images, targets, score)


def train_mode(model: nn.Module, layer: str, images: Tensor, targets: Tensor, score: Score) -> Seen:
    """One pass in train mode; mode and state are put back."""
    state = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    try:
        return look(model, layer, images, targets, score)
    finally:
        model.eval()
        model.load_state_dict(state)


def autocast(model: nn.Module, layer: str, images: Tensor, targets: Tensor, score: Score) -> Seen:
    """One pass under autocast, which rounds float32, and that alone, to bfloat16."""
    with torch.autocast("cpu", dtype=torch.bfloat16):
        seen = look(model, layer, images, targets, score)
    return replace(seen, A=seen.A.to(images), G=seen.G.to(images), logits=seen.logits.to(images))


def pooled(seen: Seen) -> Seen:
    """A and G averaged over 2×2 cells where there are two, and brought back to their size."""
    size = seen.A.shape[2:]
    window = [min(2, side) for side in size]

    def coarse(maps: Tensor) -> Tensor:
        return F.interpolate(F.avg_pool2d(maps, window), size=size, mode="nearest")

    return replace(seen, A=coarse(seen.A), G=coarse(seen.G))


def batch_softmax(seen: Seen, row: int) -> Tensor:
    """ScoreCAM's weights (K) of an image, of a softmax over the channels of all images."""
    scores = [seen.scores(masked_logits(seen, r, masks(seen, r)), r) for r in range(len(seen.A))]
    return torch.cat(scores).softmax(dim=0).reshape(len(seen.A), -1)[row]


def together(seen: Seen) -> Tensor:
    """EigenCAM of all images' cells in one matrix."""
    N, K, h, w = seen.A.shape
    return principal(seen.A.transpose(0, 1).reshape(K, N * h, w)).relu().reshape(N, h, w)


elsewhere("gradcam", "last-but-one", "looks before the layer's last step", before_last)
elsewhere("xgradcam", "first-child", "looks at the first module in the layer", first_child)
elsewhere("hirescam", "last-map", "looks at the last map of the model", last_map)
elsewhere("layercam", "last-convolution", "looks at the last convolution", last_convolution)
elsewhere("eigencam", "first-convolution", "looks at the first convolution", first_convolution)
step("gradcam", "layer-input", "looks at the layer's input", look=at_input)
step("gradcam", "relu-in-place", "rectifies the activations in place", look=relu_in_place)
step("hirescam", "guided-relu", "changes the gradient of every ReLU", look=guided)
step("gradcam", "train-mode", "runs the model in train mode", look=train_mode)
step("layercam", "autocast", "runs the model under autocast", look=autocast)
looking("gradcam", "pooled", "reads A and G after a 2×2 pooling", pooled)
looking(
    "gradcam",
    "neighbour-activations",
    "weighs the activations of the previous image of the batch",
    lambda s: replace(s, A=s.A.roll(1, 0)),
)
looking(
    "layercam",
    "neighbour-gradient",
    "takes the gradient of the next image of the batch",
    lambda s: replace(s, G=s.G.roll(-1, 0)),
)
looking(
    "hirescam",
    "first-activations",
    "takes the activations of the first image for all images",
    lambda s: replace(s, A=s.A[:1].expand_as(s.A)),
)
looking(
    "xgradcam",
    "batch-gradient",
    "averages the gradient over the batch",
    lambda s: replace(s, G=s.G.mean(dim=0, keepdim=True).expand_as(s.G)),
)
step(
    "gradcam",
    "batch-weights",
    "averages the weights over the batch",
    map=weighted(lambda s: mean_gradient(s).mean(dim=0, keepdim=True).expand(len(s.A), -1)),
)
step(
    "gradcam",
    "last-weights",
    "takes the weights of the last image for all images",
    map=weighted(lambda s: mean_gradient(s)[-1:].expand(len(s.A), -1)),
)
step(
    "gradcam",
    "batch-norm-of-weights",
    "divides the weights by their length over the whole batch",
    map=weighted(lambda s: mean_gradient(s) / mean_gradient(s).norm().clamp(min=1e-300)),
)
step(
    "gradcam++",
    "batch-sum",
    "sums A over the batch too in the denominator of α",
    map=weighted(
        lambda s: torch.where(
            s.G > 0, s.G / (2 + s.G * s.A.sum(dim=(0, 2, 3), keepdim=True)), 0
        ).sum(dim=(2, 3))
    ),
)
step(
    "cam",
    "first-row",
    "takes the row of the first image's class for all images",
    map=weighted(lambda s: class_row(s)[:1].expand(len(s.A), -1)),
)
step("eigencam", "batch-component", "decomposes all images at once", map=together)
step(
    "scorecam",
    "batch-softmax",
    "takes the softmax over the channels of all images",
    map=row_by_row(lambda s, row: of_varying(batch_softmax(s, row), s.A[row])),
)


class Remembering:
    """Grad-CAM that keeps the activations of a call and weighs them in the next."""

    def __init__(self) -> None:
        self.A = torch.zeros(0)

    def __call__(self, model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
        """Maps of the previous call's activations, where they have the same shape."""
        seen = look(model, layer, images, targets, LITERAL["gradcam"].score)
        A, self.A = self.A, seen.A
        return combined(mean_gradient(seen), A.to(seen.A) if A.shape == seen.A.shape else seen.A)


class Accumulating:
    """LayerCAM whose gradients add up from call to call on the same model."""

    def __init__(self) -> None:
        self.sums: WeakKeyDictionary[nn.Module, Tensor] = WeakKeyDictionary()

    def __call__(self, model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
        """Maps of the sum of all gradients so far."""
        seen = look(model, layer, images, targets, LITERAL["layercam"].score)
        before = self.sums.get(model, seen.G * 0)
        self.sums[model] = seen.G + before if before.shape == seen.G.shape else seen.G
        return LITERAL["layercam"].map(replace(seen, G=self.sums[model]))


class Cached:
    """HiResCAM that keeps its maps by the model and the shape of the images alone."""

    def __init__(self) -> None:
        self.maps: WeakKeyDictionary[nn.Module, dict[Any, Tensor]] = WeakKeyDictionary()

    def __call__(self, model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
        """The maps of the first call."""
        known = self.maps.setdefault(model, {})
        if images.shape not in known:
            known[images.shape] = LITERAL["hirescam"](model, layer, images, targets)
        return known[images.shape]


class CachedByImages(Cached):
    """HiResCAM that keeps its maps by model and images, whatever the class."""

    def __call__(self, model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
        """The maps of the first class that was asked for."""
        known = self.maps.setdefault(model, {})
        key = (tuple(images.shape), tuple(images.flatten().tolist()))
        if key not in known:
            known[key] = LITERAL["hirescam"](model, layer, images, targets)
        return known[key]


planted("gradcam", "previous-call", "weighs the activations of the previous call")(Remembering())
planted("layercam", "accumulated-gradient", "adds up gradients from call to call")(Accumulating())
planted("hirescam", "cached-by-model", "gives a model's first maps for all images")(Cached())
planted("hirescam", "cached-by-images", "gives an image's first map for all classes")(
    CachedByImages()
)
