"""μ of saliency methods over networks with random weights: networks × images × methods."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from camaudit.audit.progress import Progress, Silent
from camaudit.audit.scoring import score_pair
from camaudit.audit.summary import summarise
from camaudit.capture import Capture, capture
from camaudit.engine import Engine, Forwards, prepare
from camaudit.errors import DegenerateModelError
from camaudit.methods import method_call
from camaudit.types import DeadZoneFigures, Record, Status, Summary
from camaudit.walls import WalledModel

__all__ = ["Measured", "RandomNetwork", "measure"]

_BATCH = 256  # masked images in one pass where no engine decides: of small networks


@dataclass(frozen=True, eq=False)
class RandomNetwork:
    """A walled network whose weights, and those of its twin, are drawn anew by `draw(seed)`.

    images (N×C×H×W) with their names; `target` is the class that is explained, None for the
    walled network's top-1. `check` names the records. `engine` is how masked images run, None
    for the network's own function.
    """

    check: str
    walled: WalledModel
    draw: Callable[[int], None]
    images: Tensor
    names: Sequence[str]
    target: int | None = None
    engine: Engine | None = None


@dataclass(eq=False)
class Measured:
    """What :func:`measure` found: records, their summaries, and the logits of every network.

    `logits` holds one N×classes tensor (float64, CPU) a network, of the walled model.
    """

    records: list[Record] = field(default_factory=list)
    summary: list[Summary] = field(default_factory=list)
    logits: list[Tensor] = field(default_factory=list)

    def logit_variance(self) -> dict[str, float | None]:
        """How much a random network's logits differ between images, at all.

        `between_images = mean over networks of Σ_c Var_i(s_ic) / Σ_c mean_i(s²_ic)`: the share of
        the logits' mean square that is variance between images, in [0, 1]. `relative`: the
        standard deviation between images over that between classes. None where no image differs
        in anything (0/0), or for a single image.
        """
        shares, ratios = [], []
        for logits in self.logits:
            if len(logits) < 2 or not bool(torch.isfinite(logits).all()):
                continue
            variance = float(logits.var(dim=0, correction=0).sum())
            square = float(logits.square().mean(dim=0).sum())
            classes = float(logits.var(dim=1, correction=0).mean()) * logits.shape[1]
            shares += [variance / square] if square > 0 else []
            ratios += [(variance / classes) ** 0.5] if classes > 0 else []
        return {"between_images": _mean(shares), "relative": _mean(ratios)}


def measure(
    network: RandomNetwork,
    methods: Sequence[str],
    *,
    seeds: Sequence[int],
    seed: int,
    bounded: Mapping[str, int] | None = None,
    work: int = 1,
    progress: Progress | None = None,
) -> Measured:
    """Every method on every image of every network, with the wall and without.

    `bounded` gives the pairs of network and image that a costly method takes, by name; as many
    networks as images take part, if there are enough. `seed` is that of random methods and of the
    bootstrap over networks and images; `work` is what one network adds to the progress.
    """
    found = Measured()
    progress = progress or Silent()
    forwards: list[Forwards | None] | None = None
    for place, drawn in enumerate(seeds):
        progress.stage(f"{network.check}, network {place + 1} of {len(seeds)}")
        network.draw(drawn)
        if forwards is None:
            forwards = _forwards(network, methods)
        try:
            seen, twin = _captures(network, *forwards)
        except DegenerateModelError as error:
            found.records += [
                _record(network, name, drawn, image, None, _nothing(Status.ERROR), None, str(error))
                for name in methods
                for image in network.names
            ]
            progress.advance(work)
            continue
        found.logits.append(seen.logits.double().cpu())
        for name in methods:
            count = _count(place, len(network.names), (bounded or {}).get(name))
            if count:
                found.records += _scored(network, name, drawn, seen, twin, count, seed)
        progress.advance(work)
    families = {name: method_call(name).info.family for name in methods}
    found.summary = summarise(
        found.records,
        families=families,
        scored_fraction=network.walled.zone.scored_fraction,
        seed=seed,
        check=network.check,
    )
    return found


def _count(place: int, images: int, cells: int | None) -> int:
    """Images of network number `place` that a method takes: `cells` in a square, if bounded."""
    if cells is None:
        return images
    each = min(images, math.isqrt(cells))
    return min(each, max(0, cells - place * each)) if each else 0


def _forwards(network: RandomNetwork, methods: Sequence[str]) -> list[Forwards | None]:
    """How masked images run, walled and unwalled; they keep up with new weights."""
    needed = any(method_call(name).info.many_passes for name in methods)
    if network.engine is None or not needed:
        return [None, None]
    pair = (network.walled, network.walled.unwalled)
    example = network.images[:1]
    return [None if one is None else prepare(one, example, network.engine) for one in pair]


def _captures(
    network: RandomNetwork, walled_forwards: Forwards | None, twin_forwards: Forwards | None
) -> tuple[Capture, Capture | None]:
    images, twin = network.images, network.walled.unwalled
    given = None
    if network.target is not None:
        given = torch.full((len(images),), network.target, device=images.device)
    seen = capture(
        network.walled, images, targets=given, forwards=walled_forwards, batch_size=_BATCH
    )
    if twin is None:
        return seen, None
    return seen, capture(
        twin, images, targets=seen.targets, forwards=twin_forwards, batch_size=_BATCH
    )


def _scored(
    network: RandomNetwork,
    name: str,
    drawn: int,
    seen: Capture,
    twin: Capture | None,
    count: int,
    seed: int,
) -> list[Record]:
    zone = network.walled.zone
    parts = [slice(0, count)]
    if method_call(name).info.many_passes:
        parts = [slice(row, row + 1) for row in range(count)]
    records = []
    for part in parts:
        found, control, message = score_pair(name, seen, twin, part, zone.scored, seed=seed)
        for row, figures in enumerate(found.figures):
            place = part.start + row
            other = None if control is None else control.figures[row]
            target = int(seen.targets[place])
            image = network.names[place]
            records.append(_record(network, name, drawn, image, target, figures, other, message))
    return records


def _record(
    network: RandomNetwork,
    method: str,
    drawn: int,
    image: str,
    target: int | None,
    figures: DeadZoneFigures,
    unmasked: DeadZoneFigures | None,
    message: str | None,
) -> Record:
    return Record(
        check=network.check,
        method=method,
        image=image,
        target=target,
        target_name=None,
        **vars(figures),
        message=message,
        unmasked=unmasked,
        seed=drawn,
    )


def _nothing(status: Status) -> DeadZoneFigures:
    return DeadZoneFigures(None, None, None, status)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
