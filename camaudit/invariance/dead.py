"""Properties of walls: what a model cannot see must not move, or hold, any of its map."""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from torch import Tensor

from camaudit.errors import NotApplicableError
from camaudit.invariance.asking import PIXEL_NOISE, asked
from camaudit.invariance.compare import FLOOR, raw
from camaudit.invariance.explainer import Explain
from camaudit.invariance.property import Parameters, Property, Verdict, prop
from camaudit.invariance.situation import Situation
from camaudit.walls import DeadZone, scored_zone

__all__ = ["part_of", "repainted"]

_STATISTIC = "its masks are scaled by the extremes of the whole channel, dead cells included"
_GLOBAL = "a weight of the whole channel also reaches dead cells, which are active"


def _walled(given: Situation) -> str | None:
    return "there is no wall" if given.walled is None else None


def _dead_pixels(given: Situation) -> str | None:
    if given.walled is None:
        return "there is no wall"
    dead = bool(given.walled.zone.pixel_dead.any())
    return None if dead else "no pixel is proven dead"


def _paints(_situation: Situation) -> SearchStrategy[Parameters]:
    return st.fixed_dictionaries(
        {"paint": st.integers(0, 2**16), "scale": st.sampled_from([1.0, 10.0])}
    )


def repainted(given: Situation, parameters: Parameters) -> Situation:
    """The situation with normal noise, `scale` times that of `paint`, in place of dead pixels."""
    zone = _zone(given)
    generator = torch.Generator().manual_seed(parameters["paint"])
    noise = torch.randn(given.images.shape, generator=generator, dtype=torch.float64)
    dead = zone.pixel_dead.to(given.images.device)
    paint = (noise * parameters["scale"]).to(given.images)
    return given.changed(images=torch.where(dead, paint, given.images))


def part_of(zone: DeadZone, size: tuple[int, int], *, dead: bool) -> Tensor:
    """The cells of a map of `size` (h×w) that are wholly `dead`, or wholly live; boolean.

    Wholly: bilinear upsampling from the target layer mixes no other cells into them. Pixels of a
    map of the image's size must be dead (live) themselves, too. No cell where the map is coarser
    than the target layer.
    """
    cells = zone.feature_dead if dead else ~zone.feature_dead
    if size[0] < cells.shape[0] or size[1] < cells.shape[1]:
        return torch.zeros(size, dtype=torch.bool)
    pixels = torch.ones(size, dtype=torch.bool)
    if size == tuple(zone.pixel_dead.shape):
        pixels = (zone.pixel_dead if dead else ~zone.pixel_dead).cpu()
    return scored_zone(cells.cpu(), pixels)


def _zone(given: Situation) -> DeadZone:
    if given.walled is None:
        raise NotApplicableError("there is no wall")
    return given.walled.zone


@prop(
    "dead-pixels-live-part",
    Property(
        statement="pixels that the model cannot see change: the live part of the map does not",
        source="camaudit's definitions, metamorphic properties; Kindermans et al. 2019",
        violated={
            **PIXEL_NOISE,
            **dict.fromkeys(
                ("scorecam", "gscorecam", "iscam", "opticam", "groupcam", "polycam"), _STATISTIC
            ),
            "scorecam++": "its masks are interpolated between live and dead cells",
            "gradcam++": "its weights hold the sum of the whole channel, dead cells included",
            "refinecam": "Grad-CAM++, its base, sums the whole channel, dead cells included",
            "xgradcam": "its weights are shares of the channel's whole sum, dead cells included",
            "fem": "its thresholds are statistics of the whole channel, dead cells included",
            "eigencam": "the principal component is that of all cells, dead ones included",
            "kpcacam": "the principal component is that of all cells, dead ones included",
            "sobel": "a control: its filter reads pixels beside the live ones",
        },
        needs=_dead_pixels,
        parameters=_paints,
        limits={"walled": True, "blocks": ("chain",)},
    ),
)
def dead_pixels_live_part(explain: Explain, given: Situation, parameters: Parameters) -> Verdict:
    """The live part of the maps, before and after the dead pixels changed."""
    ours, theirs = asked(explain, given), asked(explain, repainted(given, parameters))
    if ours.shape != theirs.shape:
        return Verdict.of(raw(ours, theirs))
    live = part_of(_zone(given), _size(ours), dead=False).to(ours.device)
    if not bool(live.any()):
        return Verdict(None)
    return Verdict.of(raw(ours[:, live][:, None], theirs[:, live][:, None]))


@prop(
    "dead-mass-zero",
    Property(
        statement="cells that the model cannot see hold none of the map, whatever their pixels",
        source="camaudit's definitions, metamorphic properties: where G is 0, so is G ⊙ A",
        violated={
            **dict.fromkeys(
                (
                    "cam", "gradcam", "gradcam++", "xgradcam", "finercam", "shapleycam", "liftcam",
                    "smoothgradcam++", "augmentedgradcam++", "ablationcam", "scorecam",
                    "gscorecam", "scorecam++", "groupcam", "opticam", "sscam", "iscam", "polycam",
                    "refinecam",
                ),
                _GLOBAL,
            ),
            "fem": "it never asks the model which cells it reads",
            "lafam": "it never asks the model which cells it reads",
            "eigencam": "it never asks the model which cells it reads",
            "kpcacam": "it never asks the model which cells it reads",
            "eigengradcam": "centring the columns takes their means from cells that are 0",
            "segeigencam": "centring the columns takes their means from cells that are 0",
            "reciprocam-gaussian": "its window reaches from a dead cell into live ones",
            "rise": "a random mask that the score likes covers dead cells as well",
            "fullgrad": "it upsamples biases of earlier layers, whose live cells reach further",
            **dict.fromkeys(
                ("uniform", "random", "gaussian", "sobel"), "a control: it knows no model"
            ),
        },
        needs=_walled,
        parameters=_paints,
        limits={"walled": True},
    ),
)  # fmt: skip
def dead_mass_zero(explain: Explain, given: Situation, parameters: Parameters) -> Verdict:
    """The largest value in the dead part as a share of the map's, also with other dead pixels."""
    verdicts = [_dead_share(explain, each) for each in (given, repainted(given, parameters))]
    shares = [each.difference for each in verdicts if each.difference is not None]
    return Verdict(max(shares, default=None))


def _dead_share(explain: Explain, given: Situation) -> Verdict:
    maps = asked(explain, given)
    dead = part_of(_zone(given), _size(maps), dead=True).to(maps.device)
    high = maps.abs().amax(dim=(1, 2))
    counted = torch.isfinite(high) & (high > FLOOR.get(maps.dtype, 1e-3))
    if not bool(dead.any()) or not bool(counted.any()):
        return Verdict(None)
    shares = maps[counted][:, dead].abs().amax(dim=1) / high[counted]
    return Verdict(shares.max().item())


def _size(maps: Tensor) -> tuple[int, int]:
    return int(maps.shape[1]), int(maps.shape[2])
