"""Explainers under test: callables from a model, a layer, images and targets to maps."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from camaudit.capture import capture
from camaudit.cut import Cut, cut_at
from camaudit.methods import MethodCall, method_call
from camaudit.recent import Recent

__all__ = ["LIGHT", "Cuts", "Explain", "Registered", "light", "registered"]

#: (model in eval mode, layer name, images N×C×H×W, targets N) → maps N×h×w or N×H×W.
Explain = Callable[[nn.Module, str, Tensor, Tensor], Tensor]

#: Fewer samples for methods whose cost is their number, so that hundreds of examples are possible;
#: fewer groups, and fewer chosen channels, than the few channels of a drawn network.
LIGHT = {
    "rise": "rise(masks=8)",
    "opticam": "opticam(steps=2)",
    "sscam": "sscam(samples=2)",
    "iscam": "iscam(steps=3)",
    "groupcam": "groupcam(groups=2)",
    "gscorecam": "gscorecam(channels=2)",
    "smoothgradcam++": "smoothgradcam++(samples=2)",
    "augmentedgradcam++": "augmentedgradcam++(samples=3)",
}


class Cuts:
    """The cuts of the last few models: a property asks about the same ones several times.

    `cut` makes them, with the arguments and errors of :func:`camaudit.cut.cut_at`.
    """

    def __init__(
        self, models: int = 1, *, cut: Callable[[nn.Module, str, Tensor], Cut] = cut_at
    ) -> None:
        self._limit = models
        self._cut = cut
        self._known: list[tuple[nn.Module, Recent[Cut]]] = []

    def of(self, model: nn.Module, layer: str, example: Tensor) -> Cut:
        """The cut of `model` at `layer`."""
        found = next((entry for entry in self._known if entry[0] is model), (model, Recent()))
        self._known = [found, *(entry for entry in self._known if entry is not found)]
        del self._known[self._limit :]
        return found[1].get(layer, example, lambda: self._cut(model, layer, example))


class Registered:
    """A registered method as an explainer; its seed is always the same.

    A wall stays a part of the model: the map is taken from the layer, before the wall. Methods
    that are asked about the same models in turn may share their `cuts`.
    """

    def __init__(
        self, call: MethodCall, *, seed: int = 0, batch_size: int = 16, cuts: Cuts | None = None
    ) -> None:
        self.call = call
        self.seed = seed
        self.batch_size = batch_size
        self._cuts = Cuts() if cuts is None else cuts

    @property
    def __name__(self) -> str:
        return self.call.label

    def __call__(self, model: nn.Module, layer: str, images: Tensor, targets: Tensor) -> Tensor:
        """Raw maps; raises what cutting, capturing and the method raise."""
        cut = self._cuts.of(model, layer, images[:1])
        found = capture(cut, images, targets=targets, batch_size=self.batch_size)
        return self.call(found, seed=self.seed)


def light(call: MethodCall) -> MethodCall:
    """The method with few samples, where it takes samples and none of its options is given."""
    return call if call.options or call.layers else method_call(LIGHT.get(call.name, call.name))


def registered(spec: str, *, seed: int = 0) -> Registered:
    """The method that `spec` names, with options as in `scorecam(score=probability)`.

    Raises the errors of :func:`camaudit.methods.method_call`.
    """
    return Registered(method_call(spec), seed=seed)
