"""Verification by perturbation: dead pixels may become anything finite, the logits may not move."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from camaudit.errors import DegenerateModelError, WallError
from camaudit.walls.zone import DeadZone, Verification

__all__ = ["PERTURBATIONS", "perturb", "verify_zone"]

#: Kinds of change, in the order in which :func:`verify_zone` takes them.
PERTURBATIONS = ("noise", "large", "edge", "shuffle", "huge", "constant", "speck")
_MODERATE = ("noise", "shuffle", "speck")


def perturb(images: Tensor, dead: Tensor, kind: str, generator: torch.Generator) -> Tensor:
    """`images` (N×C×H×W) with other finite values at `dead` (H×W) pixels, the same elsewhere.

    noise: N(0, 1); large: 1e4·N(0, 1); edge: large, only at dead pixels beside a live one;
    shuffle: the dead pixels permuted; huge: ±1e30; constant: one value; speck: one dead pixel.
    Values stay within what the images' dtype can hold.
    """
    limit = torch.finfo(images.dtype).max
    draw = torch.randn(images.shape, generator=generator, dtype=torch.float64).to(images)
    where = dead.to(images.device)
    if kind == "edge":
        where, changed = where & _beside_live(where), (1e4 * draw).clamp(-limit, limit)
    elif kind == "speck":
        cells = where.nonzero()
        row, column = cells[int(torch.randint(len(cells), (), generator=generator))].tolist()
        where = torch.zeros_like(where)
        where[row, column] = True
        changed = images + 10 * draw
    elif kind == "shuffle":
        order = torch.randperm(int(where.sum()), generator=generator).to(images.device)
        changed = images.clone()
        changed[:, :, where] = images[:, :, where][:, :, order]
    else:
        changes: dict[str, Callable[[], Tensor]] = {
            "noise": lambda: draw,
            "large": lambda: (1e4 * draw).clamp(-limit, limit),
            "huge": lambda: min(1e30, limit) * draw.sign(),
            "constant": lambda: draw.flatten()[0].expand_as(images),
        }
        changed = changes[kind]()
    return torch.empty_like(images).copy_(torch.where(where, changed, images))  # the same strides


def verify_zone(
    model: Callable[[Tensor], Tensor],
    images: Tensor,
    zone: DeadZone,
    *,
    perturbations: int = 14,
    seed: int = 0,
) -> Verification:
    """Compare logits before and after changing the zone's dead pixels, `perturbations` times.

    On the CPU the logits must be bit-equal. Elsewhere convolution algorithms (Winograd, FFT) mix
    neighbours at rounding level: changes then stay at the size of an image's own values and the
    stated bound is `1e-3 · max |logit|`. As a positive control the live pixels are changed too:
    if that moves nothing, the verification does not pass. Raises :class:`WallError` for a zone
    without dead pixels or of another size than the images, and for no perturbation at all.
    """
    if perturbations < 1:
        raise WallError(f"perturbations must be at least 1; got {perturbations}")
    if tuple(zone.pixel_dead.shape) != tuple(images.shape[-2:]):
        raise WallError(
            f"the zone is {tuple(zone.pixel_dead.shape)} pixels, the images are "
            f"{tuple(images.shape[-2:])}: build the wall for the size of the images"
        )
    if not bool(zone.pixel_dead.any()):
        raise WallError("this wall has no pixel dead zone, so there is nothing to verify")
    generator = torch.Generator().manual_seed(seed)
    exact = images.device.type == "cpu"
    kinds = PERTURBATIONS if exact else _MODERATE
    with torch.no_grad():
        expected = model(images)
        if not bool(torch.isfinite(expected).all()):
            raise DegenerateModelError(
                "the model's logits are NaN or infinite on the unchanged image: there is no "
                "decision to explain; check the weights and the preprocessing"
            )
        worst, equal = 0.0, True
        for step in range(perturbations):
            kind = kinds[step % len(kinds)]
            logits = model(perturb(images, zone.pixel_dead, kind, generator))
            equal &= torch.equal(logits, expected)
            worst = max(worst, _distance(logits, expected))
        moved = model(perturb(images, ~zone.pixel_dead, "noise", generator))
    return Verification(
        perturbations=perturbations,
        max_abs_difference=worst,
        bound=0.0 if exact else 1e-3 * float(expected.abs().max()),
        bit_equal=equal,
        live_changed=not torch.equal(moved, expected),
        device=str(images.device),
        seed=seed,
    )


def _distance(logits: Tensor, expected: Tensor) -> float:
    """Largest absolute difference; infinite where a logit stopped being finite."""
    difference = (logits.double() - expected.double()).abs().max()
    return float(difference) if bool(torch.isfinite(difference)) else float("inf")


def _beside_live(dead: Tensor) -> Tensor:
    """Dead pixels with a live pixel among their eight neighbours."""
    live = (~dead).float()[None, None]
    return torch.nn.functional.max_pool2d(live, 3, stride=1, padding=1)[0, 0].bool() & dead
