"""Properties of images and maps: shifted input, images and maps without structure, range."""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from torch import Tensor, nn

from camaudit.invariance.asking import PIXEL_NOISE, agreement, asked, cells_of, maps_of
from camaudit.invariance.explainer import Explain
from camaudit.invariance.property import EXACT, Parameters, Property, Verdict, prop
from camaudit.invariance.situation import Situation
from camaudit.invariance.transforms import rewired, seen

__all__ = ["Times", "shifted"]

_BASELINE = "it multiplies the image with masks, whose baseline 0 is another image after the shift"


def _shifts(given: Situation) -> SearchStrategy[Parameters]:
    values = st.sampled_from([1.0, -1.0, 0.5, -2.0, 0.0])
    channels = int(given.images.shape[1])
    shift = st.lists(values, min_size=channels, max_size=channels).filter(any)
    return st.fixed_dictionaries({"shift": shift})


@prop(
    "input-shift",
    Property(
        statement="net(x − m) on x + m, m constant in each channel: the same map",
        source="Kindermans et al. 2019, The (Un)reliability of Saliency Methods, section 3",
        violated={
            **PIXEL_NOISE,
            **dict.fromkeys(
                (
                    "scorecam",
                    "gscorecam",
                    "scorecam++",
                    "opticam",
                    "iscam",
                    "sscam",
                    "polycam",
                    "rise",
                ),
                _BASELINE,
            ),
            "fullgrad": "its term x ⊙ ∂s/∂x reads the image's own values",
        },
        parameters=_shifts,
    ),
)
def input_shift(explain: Explain, given: Situation, parameters: Parameters) -> Verdict:
    """Maps of net and of net(x − m), each on the images that give it the same activations."""
    return agreement(explain, given, shifted(given, parameters["shift"]))


def shifted(given: Situation, shift: list[float]) -> Situation:
    """`net(x − m)` on `x + m`, m of one value a channel: the same logits."""
    m = given.images.new_tensor(shift)[:, None, None]
    changed = seen(given, lambda images: images - m.to(images))
    return changed.changed(images=given.images + m)


def _levels(_situation: Situation) -> SearchStrategy[Parameters]:
    return st.fixed_dictionaries({"level": st.sampled_from([0.0, 1.0, -0.5, 0.25, 100.0])})


@prop(
    "constant-image",
    Property(
        statement="an image of one colour: finite maps, or maps that are undefined throughout",
        source="camaudit's definitions: undefined is not zero, and never a part of a map",
        tolerance=EXACT,
        parameters=_levels,
        rounding=False,
    ),
)
def constant_image(explain: Explain, given: Situation, parameters: Parameters) -> Verdict:
    """Maps of images that have the value `level` everywhere."""
    images = torch.full_like(given.images, parameters["level"])
    maps = asked(explain, given.changed(images=images))
    return _finite_or_undefined(maps)


def _above(_situation: Situation) -> SearchStrategy[Parameters]:
    return st.fixed_dictionaries({"biased": st.booleans()})


def _biased(given: Situation) -> nn.Module:
    """`A ↦ A + ½` as a convolution."""
    channels = int(maps_of(given).shape[1])
    with torch.random.fork_rng(devices=[]):
        above = nn.Conv2d(channels, channels, 1, groups=channels)
    nn.init.constant_(above.weight, 1.0)
    nn.init.constant_(above.get_parameter("bias"), 0.5)
    return above.to(given.images)


class Times(nn.Module):
    """`x ↦ factor · x`."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: Tensor) -> Tensor:
        return x * self.factor


@prop(
    "zero-map",
    Property(
        statement="a target layer that is 0 everywhere: a map of zeros, or an undefined one",
        source="every definition sums, projects or compares activations; zeros give zero",
        tolerance=EXACT,
        violated={
            "fullgrad": "it adds up the biases of all layers, those above the target layer too",
            "rise": "it asks the model as a black box, and adds masks up whatever the layer holds",
            "uniform": "a control: it reads no activations",
            "random": "a control: it reads no activations",
            "gaussian": "a control: it reads no activations",
            "sobel": "a control: it reads the image alone",
        },
        parameters=_above,
        rounding=False,
    ),
)
def zero_map(explain: Explain, given: Situation, parameters: Parameters) -> Verdict:
    """The largest value of the maps at a layer whose output was multiplied with 0.

    biased: a convolution above the layer adds something to every cell again.
    """
    above = _biased(given) if parameters["biased"] else nn.Identity()
    maps = asked(explain, rewired(given, Times(0.0), above))
    verdict = _finite_or_undefined(maps)
    if verdict.fault is not None or verdict.difference is None:
        return verdict
    return Verdict(torch.nan_to_num(maps, nan=0.0).abs().max().item())


def _finite_or_undefined(maps: Tensor) -> Verdict:
    """Says nothing where every map is undefined (NaN everywhere)."""
    defined = ~torch.isnan(maps).flatten(1).all(dim=1)
    if not bool(defined.any()):
        return Verdict(None)
    if not bool(torch.isfinite(maps[defined]).all()):
        return Verdict(None, "a part of a map is NaN or infinite")
    return Verdict(0.0)


@prop(
    "map-range",
    Property(
        statement="one map an image, h×w or H×W, without negative values",
        source="raw CAM definitions end in a ReLU; controls are magnitudes",
        tolerance=EXACT,
        violated={"polycam": "its map has the size of the earliest of its layers"},
        rounding=False,
    ),
)
def map_range(explain: Explain, given: Situation, _parameters: Parameters) -> Verdict:
    """The most negative value as a share of the largest magnitude; a fault for other sizes."""
    maps = asked(explain, given)
    cells, size = cells_of(given), (int(given.images.shape[-2]), int(given.images.shape[-1]))
    if len(maps) != len(given.images) or tuple(maps.shape[1:]) not in (cells, size):
        shape = "×".join(map(str, maps.shape))
        expected = " or ".join(f"{len(given.images)}×{h}×{w}" for h, w in (cells, size))
        return Verdict(None, f"expected maps of shape {expected}; got {shape}")
    values = maps[torch.isfinite(maps).flatten(1).all(dim=1)]
    if not len(values):
        return Verdict(None)
    high = values.abs().max().item()
    return Verdict(max(0.0, -values.min().item()) / high if high > 0 else 0.0)
