"""Results as a run of the sanity checks leaves them, built by hand from simple laws."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from camaudit.report.sanity_pictures import SanityPicture
from camaudit.types import Claim, ClaimOutcome, Provenance, Results

LAYERS = (
    "features.0", "features.3", "features.7", "features.10", "features.14", "classifier.0",
    "classifier.3", "classifier.6",
)  # fmt: skip
BELOW = 5  # layers that run before the target layer has ended
SEEDS = (0, 1, 2, 3, 4, 5)
IMAGES = 7
SIMILARITIES = ("spearman", "spearman-abs", "ssim", "hog")
CHECKS = ("mprt", "smprt", "emprt", "random-logit", "data-randomisation")
ORDERS = ("top-down", "bottom-up", "independent")
FAMILIES = {
    "gradcam": "gradient", "gradcam++": "gradient", "eigencam": "decomposition",
    "scorecam(score=probability)": "perturbation", "fullgrad": "gradient", "broken": "plugin",
    "sobel": "control", "uniform": "control",
}  # fmt: skip
#: Null of each method; what is left of a map that the image alone explains.
NULLS = {"gradcam": 0.02, "gradcam++": 0.31, "eigencam": 0.12, "fullgrad": 0.55, "sobel": 1.0,
         "scorecam(score=probability)": -0.0004}  # fmt: skip

Cell = float | None
Cells = tuple[tuple[Cell, ...], ...]


def interval(cells: Sequence[Sequence[Cell]], *, shift: float | None = 0.0) -> dict[str, Any]:
    """Mean of the defined cells; a normal-theory interval from six rows and images on."""
    known = [cell for row in cells for cell in row if cell is not None]
    found: dict[str, Any] = {"n": len(known), "mean": None, "ci_low": None, "ci_high": None,
                             "std": None}  # fmt: skip
    if not known or shift is None:
        return found
    mean = math.fsum(known) / len(known) - shift
    found["mean"] = mean
    if len(cells) >= 6 and len(cells[0]) >= 6:
        half = 1.96 * float(np.std(known)) / math.sqrt(len(cells))
        found |= {"ci_low": mean - half, "ci_high": mean + half}
    return found


def steps_of(
    order: str, layers: Sequence[str] = LAYERS, below: int = BELOW
) -> list[dict[str, Any]]:
    names = list(reversed(layers)) if order == "top-down" else list(layers)
    return [
        {"order": order, "number": number, "layer": name,
         "above": order != "bottom-up" and layers.index(name) >= below,
         "random": 1 if order == "independent" else number}
        for number, name in enumerate(names, start=1)
    ]  # fmt: skip


def level(method: str, order: str, step: int, count: int) -> float:
    """The similarity of a method at a step, before noise."""
    null = NULLS[method]
    if order == "independent":
        return 1 - (1 - null) * 0.5 * step / count
    speed = {"gradcam": 2.5, "fullgrad": 0.8}.get(method, 1.4)
    return null + (1 - null) * math.exp(-speed * step * 4 / count)


def cell(
    rng: np.random.Generator, method: str, similarity: str, base: float
) -> Cell:  # fmt: skip
    """A value around `base`; the uniform map has none, and the broken method none either."""
    if method in ("uniform", "broken"):
        return None
    if method == "sobel":
        return 1.0
    shrunk = {"spearman": 1.0, "spearman-abs": 0.9, "ssim": 0.5, "hog": 0.7}[similarity]
    low = 0.0 if similarity == "ssim" else -1.0
    return float(np.clip(shrunk * base + rng.normal(0, 0.05), low, 0.999))


class Builder:
    """Curves, nulls, effects, tables and remarks of one run, part by part."""

    def __init__(
        self,
        *,
        methods: Sequence[str],
        layers: Sequence[str],
        seeds: Sequence[int],
        images: int,
        similarities: Sequence[str],
    ) -> None:
        self.methods, self.layers, self.seeds = methods, list(layers), list(seeds)
        self.images, self.similarities = images, similarities
        self.rng = np.random.default_rng(11)
        self.below = min(BELOW, len(self.layers))
        self.steps: list[dict[str, Any]] = []
        self.curves: list[dict[str, Any]] = []
        self.nulls: list[dict[str, Any]] = []
        self.effects: list[dict[str, Any]] = []
        self.tables: list[dict[str, Any]] = []
        self.remarks: list[dict[str, Any]] = []

    def cascade(self, check: str, order: str) -> None:
        """Curves and effects of every method under one order."""
        steps = steps_of(order, self.layers, self.below)
        if not any(step["order"] == order for step in self.steps):
            self.steps += steps
        pairs = list(combinations(range(len(self.seeds)), 2))
        for method in self.methods:
            for name in self.similarities:
                values = [[self.row(order, method, name, step) for step in steps]
                          for _ in self.seeds]  # fmt: skip
                null = [[cell(self.rng, method, name, NULLS.get(method, 0.0))
                         for _ in range(self.images)] for _ in pairs]  # fmt: skip
                key = {"check": check, "method": method}
                self.curves.append({**key, "order": order, "similarity": name, "values": values})
                if not any(one["check"] == check and one["method"] == method
                           and one["similarity"] == name for one in self.nulls):  # fmt: skip
                    self.nulls.append({
                        **key, "similarity": name, "values": null,
                        "pairs": [[self.seeds[s], self.seeds[t]] for s, t in pairs],
                    })  # fmt: skip
                self.effects += self._effects(key, order, name, values, null)
            self._reasons(check, order, method, steps)

    def row(self, order: str, method: str, name: str, step: dict[str, Any]) -> list[Cell]:
        """One seed's images at one step."""
        if method == "eigencam" and step["above"]:
            return [None] * self.images
        base = level(method, order, step["number"], len(self.layers)) if method in NULLS else 0.0
        cells = [cell(self.rng, method, name, base) for _ in range(self.images)]
        if method.startswith("scorecam") and order == "top-down" and step["number"] == 4:
            cells[0] = None
        if method == "gradcam++" and order == "bottom-up" and step["number"] == 3:
            cells = [None] * self.images
        return cells

    def _effects(
        self,
        key: dict[str, Any],
        order: str,
        name: str,
        values: list[list[list[Cell]]],
        null: list[list[Cell]],
    ) -> Iterator[dict[str, Any]]:
        base = interval(null) if null else interval([[None]])
        for number in range(len(values[0])):
            cells = [rows[number] for rows in values]
            yield {**key, "order": order, "figure": name, "step": number + 1, "null": base,
                   "similarity": interval(cells),
                   "distance": interval(cells, shift=base["mean"])}  # fmt: skip

    def _reasons(self, check: str, order: str, method: str, steps: list[dict[str, Any]]) -> None:
        above = [step["number"] for step in steps if step["above"]]
        every = [step["number"] for step in steps]
        if method == "eigencam" and above:
            self.remark(check, order, method, above, "unchanged by construction",
                        "it reads the activations of layer 'features.14' and nothing after them, "
                        "and every layer randomised so far runs later")  # fmt: skip
        if method == "uniform":
            self.remark(check, order, method, every, "undefined", "the map is constant")
        if method == "broken":
            self.remark(check, order, method, every, "error", "RuntimeError: out of memory")
        if method.startswith("scorecam") and order == "top-down" and len(steps) >= 4:
            self.remark(check, order, method, [4], "undefined", "the map is not finite", images=[0])
        if method == "gradcam++" and order == "bottom-up" and len(steps) >= 3:
            self.remark(check, order, method, [3], "undefined", "the map is constant")

    def remark(
        self,
        check: str,
        order: str | None,
        method: str,
        steps: list[int],
        outcome: str,
        reason: str,
        *,
        images: list[int] | None = None,
        figures: Sequence[str] | None = None,
        rows: int | None = None,
    ) -> None:
        """A remark that counts every cell it covers."""
        shown = list(range(self.images)) if images is None else images
        names = list(figures or self.similarities)
        seeds = list(range(rows or len(self.seeds)))
        self.remarks.append({
            "reason": reason, "outcome": outcome, "check": check, "order": order,
            "method": method, "similarities": names, "seeds": seeds, "steps": steps,
            "images": shown, "layer": None,
            "count": len(names) * len(seeds) * len(steps) * len(shown),
        })  # fmt: skip

    def figure(self, check: str, method: str, name: str) -> Cell:
        """One cell of a table."""
        if check != "emprt":
            return cell(self.rng, method, name, 0.5 + 0.4 * NULLS.get(method, 0.0))
        if method not in NULLS:
            return None
        return 0.0 if method == "sobel" else 0.3 * NULLS[method] - 0.08 + 0.02 * self.rng.normal()

    def table(self, check: str) -> None:
        """A check without a cascade."""
        names = ("complexity rise",) if check == "emprt" else self.similarities
        rows = {"emprt": len(self.seeds), "random-logit": 5, "data-randomisation": 1}[check]
        kind = {"emprt": "seed", "random-logit": "draw", "data-randomisation": "model pair"}[check]
        for method in self.methods:
            blind = check == "random-logit" and method == "eigencam"
            for name in names:
                values = [[None if blind else self.figure(check, method, name)
                           for _ in range(self.images)] for _ in range(rows)]  # fmt: skip
                self.tables.append({"check": check, "method": method, "figure": name, "rows": kind,
                                    "values": values, "mean": interval(values)})  # fmt: skip
            for who, outcome, reason in (
                ("uniform", "undefined", "the map is constant"),
                ("broken", "error", "RuntimeError: out of memory"),
            ):
                if method == who:
                    self.remark(check, None, method, [1], outcome, reason, figures=names, rows=rows)
            if blind:
                self.remark(check, None, method, [1], "unchanged by construction",
                            "class-blind: it reads nothing of the class", rows=rows)  # fmt: skip


def make_sanity(
    *,
    checks: Sequence[str] = CHECKS,
    orders: Sequence[str] = ORDERS,
    methods: Sequence[str] = tuple(FAMILIES),
    layers: Sequence[str] = LAYERS,
    seeds: Sequence[int] = SEEDS,
    images: int = IMAGES,
    similarities: Sequence[str] = SIMILARITIES,
) -> dict[str, Any]:
    """`Results.sanity` of a run of `checks`."""
    built = Builder(methods=methods, layers=layers, seeds=seeds, images=images,
                    similarities=similarities)  # fmt: skip
    for check in checks:
        if check in ("mprt", "smprt"):
            for order in orders:
                built.cascade(check, order)
        else:
            built.table(check)
    notes = {"outcome": None, "check": None, "order": None, "method": None, "similarities": [],
             "seeds": [], "steps": [], "images": [], "count": 0}  # fmt: skip
    return {
        "settings": {
            "checks": list(checks), "orders": list(orders), "seeds": list(seeds), "scheme": "he",
            "similarities": list(similarities), "most_steps": None, "resolution": "image",
            "samples": 10, "noise": 0.1, "draws": 5, "batch_size": 8, "seed": 0,
            "layer": "features.14", "methods": list(methods),
        },
        "layers": list(layers),
        "steps": built.steps,
        "curves": built.curves,
        "nulls": built.nulls,
        "effects": built.effects,
        "tables": built.tables,
        "remarks": [
            *built.remarks,
            {**notes, "layer": "head.scale", "reason": "its weights are all 0 and stay 0"},
        ],
        "targets": list(range(images)),
        "families": {method: FAMILIES.get(method, "gradient") for method in methods},
    }  # fmt: skip


CLAIMS = (
    Claim("mprt", "GradCAM changes with the weights", ClaimOutcome.PASS, 0.02, "≤", 0.5,
          "Spearman at the last step of 6 seeds × 7 images; null 0.020."),
    Claim("mprt", "GradCAM++ changes with the weights", ClaimOutcome.PASS, 0.31, "≤", 0.5, "…"),
    Claim("mprt", "EigenCAM changes with the weights", ClaimOutcome.INCONCLUSIVE, None, "≤", 0.5,
          "The interval of the distance holds the bound."),
    Claim("mprt", "FullGrad changes with the weights", ClaimOutcome.FAIL, 0.57, "≤", 0.5,
          "Spearman at the last step of 6 seeds × 7 images; null 0.550."),
    Claim("mprt", "broken changes with the weights", ClaimOutcome.ERROR, None, "≤", None,
          "RuntimeError: out of memory"),
    Claim("mprt", "Sobel edges changes with the weights", ClaimOutcome.FAIL, 1.0, "≤", 0.5,
          "A control: it looks at the image alone."),
    Claim("random-logit", "GradCAM tells classes apart", ClaimOutcome.PASS, 0.5, "≤", 0.9, ""),
    Claim("random-logit", "EigenCAM tells classes apart", ClaimOutcome.NOT_APPLICABLE, None, "≤",
          None, "It reads nothing of the class."),
)  # fmt: skip


def make_sanity_results(**changes: Any) -> Results:
    """A run of the sanity checks alone."""
    sanity = changes.pop("sanity", None)
    values: dict[str, Any] = {
        "camaudit": "0.1.0",
        "provenance": Provenance(
            environment={"python": "3.11.9", "torch": "2.8.0", "device": "cpu", "threads": 2},
            subject={"model": "vgg16", "class": "VGG", "layer": "features.14",
                     "weights": "torchvision"},
            zone={}, settings={"seed": 0},
            images=[{"id": f"image {number}"} for number in range(IMAGES)],
        ),
        "records": [], "summary": [], "claims": list(CLAIMS), "timing": {"total_seconds": 9.5},
        "sanity": make_sanity() if sanity is None else sanity,
    }  # fmt: skip
    return Results(**(values | changes))


def photo(side: int = 64) -> NDArray[np.uint8]:
    """A disc on a gradient."""
    rows, columns = np.mgrid[0:side, 0:side] / side
    grey = 0.2 + 0.6 * rows
    grey[(rows - 0.5) ** 2 + (columns - 0.4) ** 2 < 0.06] = 0.9
    picture: NDArray[np.uint8] = np.repeat((255 * grey)[:, :, None], 3, axis=2).astype(np.uint8)
    return picture


def make_pictures(
    count: int = 1, *, order: str = "top-down", side: int = 64
) -> list[SanityPicture]:
    """Pictures of every method; EigenCAM stays, Sobel stays, `broken` has no map."""
    layers = [step["layer"] for step in steps_of(order)]
    rows, columns = np.mgrid[0:side, 0:side] / side
    maps: dict[str, tuple[NDArray[np.floating] | None, ...]] = {}
    for place, method in enumerate(FAMILIES):
        made: list[NDArray[np.floating] | None] = []
        for step in range(len(layers) + 1):
            moved = 0.0 if method in ("sobel", "eigencam") and step < 4 else 0.08 * step
            made.append(
                None if method == "broken" else np.ones((side, side), dtype=np.float32)
                if method == "uniform" else np.exp(
                    -((rows - 0.3 - moved / 2) ** 2 + (columns - 0.1 * place - moved) ** 2) * 9
                ).astype(np.float32)
            )  # fmt: skip
        maps[method] = tuple(made)
    return [
        SanityPicture(f"image {number}", f"Image {number}", photo(side), "mprt", order, 0,
                      ("trained", *layers), maps)
        for number in range(count)
    ]  # fmt: skip
