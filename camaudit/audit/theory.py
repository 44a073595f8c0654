"""The paper on random initialisation, from settings to results: claims, figures, tables."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

import camaudit
from camaudit.audit.clock import Clock
from camaudit.audit.initialised import Measured, RandomNetwork, measure
from camaudit.audit.loop import Progress, Silent
from camaudit.audit.provenance import environment, image_entry, publishable
from camaudit.audit.random_networks import DEEP, SIZE, deep_network, simple_network
from camaudit.audit.theory_figures import column_through_wall, digit_tensor, digit_tile, series
from camaudit.audit.verifying import verified_zone
from camaudit.data.collecting import collect
from camaudit.data.digits import Digit, digits
from camaudit.data.embedded import eight_photos
from camaudit.data.preprocess import parse_preprocess
from camaudit.data.stack_mix import StackImage, plain_images
from camaudit.errors import UsageError
from camaudit.initialisation import LAWS, Scheme
from camaudit.methods import METHODS, STANDARD, method_call, select
from camaudit.metrics.statistics import LEVEL, MINIMUM, RESAMPLES
from camaudit.theory import Design, SimpleCNN
from camaudit.theory.catalogue import covered_designs, picture, simulation_work, sweeps
from camaudit.theory.claims import (
    agreement,
    bound_below,
    finds_wrong_constant,
    positive_behind_wall,
    proposition_2,
)
from camaudit.types import Claim, ClaimOutcome, Provenance, Record, Results, Status, Summary

__all__ = ["TheorySettings", "run_theory"]

SIMPLE = "theory/simple-cnn"
_SWEPT = ("gradcam", "gradcam++", "xgradcam", "scorecam", "ablationcam", "eigencam", "hirescam")
_EXACTLY_ZERO = ("hirescam", "layercam", "elementwise")
_SHOWN_DIGITS = 4
_SEVERAL_PASSES = ("refinecam", "augmentedgradcam++", "smoothgradcam++", "fullgrad")
#: One head pass a cell, which is 80 billion operations an image where the head flattens.
_BY_CELL = {"vgg16": ("reciprocam", "reciprocam-gaussian")}
_SIMPLE_WORK, _DEEP_WORK = 4, 150  # tenths of a second for one network of the tables


@dataclass(frozen=True, kw_only=True)
class TheorySettings:
    """Options of :func:`run_theory`; the command line has the same names.

    quick: fewer draws, networks and methods, and no deep networks.
    seed: of all networks, simulations, random methods and the bootstrap.
    filters: V of the simple CNN; None for 256 as in the paper, 64 when quick.
    draws: simulated networks for each expectation; None for 40 000, 20 000 when quick. (The
        wrong constant that must be found gets at least 40 000.)
    methods: registry names for the tables; None for all or, when quick, for the standard ones
        that do not run the model many times an image. On deep networks None leaves out those that
        do, except ScoreCAM.
    networks: deep networks, of :data:`camaudit.audit.random_networks.DEEP`; none when quick.
    initialisation: of the deep networks: he, glorot, default or gaussian.
    deep_seeds: networks of each kind.
    images: a folder of photographs for them; None for eight that come with the libraries.
    perturbation_cells: pairs of network and photograph, of each kind, for the methods that run
        the model several or many times an image.
    """

    quick: bool = False
    seed: int = 0
    filters: int | None = None
    draws: int | None = None
    methods: tuple[str, ...] | None = None
    networks: tuple[str, ...] = DEEP
    initialisation: Scheme = "he"
    deep_seeds: int = 10
    images: Path | None = None
    perturbation_cells: int = 1

    def __post_init__(self) -> None:
        unknown = [name for name in self.networks if name not in DEEP]
        if unknown:
            raise UsageError(f"expected networks among {', '.join(DEEP)}; got {unknown[0]!r}")
        if self.initialisation not in LAWS:
            raise UsageError(
                f"expected an initialisation among {', '.join(LAWS)}; got {self.initialisation!r}"
            )
        for name, least in (("deep_seeds", 1), ("perturbation_cells", 0)):
            if getattr(self, name) < least:
                raise UsageError(f"{name} must be at least {least}; got {getattr(self, name)}")
        if self.draws is not None and self.draws < 2:
            raise UsageError(f"draws must be at least 2; got {self.draws}")
        if self.filters is not None and self.filters < 1:
            raise UsageError(f"filters must be at least 1; got {self.filters}")

    @property
    def draw_count(self) -> int:
        """Simulated networks for each expectation."""
        return self.draws or (20_000 if self.quick else 40_000)

    @property
    def design(self) -> Design:
        """The simple CNN whose expectation is shown."""
        return Design(filters=self.filters or (64 if self.quick else 256))

    @property
    def labels(self) -> list[str]:
        """Methods of the tables, in canonical spelling."""
        if self.methods is not None:
            return [call.label for call in select(self.methods)]
        if self.quick:
            return [name for name in STANDARD if name not in _costly(STANDARD)]
        return _on_maps()

    @property
    def deep_labels(self) -> list[str]:
        """Methods of the deep networks' tables: of the costly ones ScoreCAM alone, by default."""
        if self.methods is not None:
            return self.labels
        names = _on_maps()
        return [name for name in names if name == "scorecam" or name not in _costly(names)]


def run_theory(settings: TheorySettings, *, progress: Progress | None = None) -> Results:
    """Every part of the paper's theory, checked: see :class:`TheorySettings`.

    The results hold claims with their figures, `theory` for the plots, and records and summaries
    of μ under the checks `theory/simple-cnn` and `theory/deep/NETWORK`. Raises the errors of
    :mod:`camaudit.errors`.
    """
    return _Run(settings, progress or Silent()).results()


class _Run:
    """One run: what it has found so far."""

    def __init__(self, settings: TheorySettings, progress: Progress) -> None:
        self.settings = settings
        self.progress = progress
        self.clock = Clock()
        self.claims: list[Claim] = []
        self.theory: dict[str, Any] = {}
        self.records: list[Record] = []
        self.summary: list[Summary] = []
        self.warnings: list[str] = []
        self.digits = digits(6 if settings.quick else 10)
        self.photos = [] if settings.quick else self._photos()

    def results(self) -> Results:
        """Run every part, in the paper's order."""
        self.progress.start(self._work())
        parts = {
            "proposition 2": self._proposition_2,
            "expectation": self._expectation,
            "digits": self._figure,
            "methods": self._methods,
            "sweeps": self._sweeps,
            "deep networks": self._deep,
        }
        for name, part in parts.items():
            self.progress.stage(name)
            with self.clock.measure(name):
                part()
        self.claims.append(self._exact_zeros())
        results = Results(
            camaudit=camaudit.__version__,
            provenance=self._provenance(),
            records=self.records,
            summary=self.summary,
            warnings=self.warnings,
            timing=self.clock.to_dict(),
            claims=self.claims,
            theory=self.theory,
        )
        return publishable(results)

    # --- the expectation ----------------------------------------------------------------------

    def _proposition_2(self) -> None:
        networks = self._proposition_networks
        self.claims.append(proposition_2(networks=networks, seed=self.settings.seed))
        self.progress.advance(networks // 40)

    def _expectation(self) -> None:
        settings, design = self.settings, self.settings.design
        image = digit_tensor(self.digits[3])
        claim, sample = agreement(
            design,
            image,
            draws=settings.draw_count,
            seed=settings.seed,
            advance=self._advancing(design),
        )
        self.claims.append(claim)
        self.theory["setup"] = {
            **design.describe(), "image_name": self.digits[3].id, "draws": settings.draw_count,
        }  # fmt: skip
        self.theory["column"] = column_through_wall(design, image, sample)
        for number, other in enumerate(covered_designs(), start=1):
            drawn = picture(other, settings.seed)
            self.progress.stage(f"expectation: {other.head} head, L = {other.layers}")
            claim, _ = agreement(
                other,
                drawn,
                draws=settings.draw_count,
                seed=settings.seed + number,
                advance=self._advancing(other),
            )
            self.claims.append(claim)
        small = covered_designs()[0]
        self.claims += [
            finds_wrong_constant(
                small,
                picture(small, settings.seed),
                draws=settings.draws or 40_000,
                seed=settings.seed,
            ),
            bound_below(image, [Design(filters=V) for V in (8, 21, 32, 64, 128, 256, 512, 1024)]),
            positive_behind_wall(design, image, sample),
        ]

    def _figure(self) -> None:
        """The paper's Figure 3: digits, and GradCAM of one network and in expectation."""
        design = self.settings.design
        model = SimpleCNN(design, seed=self.settings.seed)
        shown = self.digits[:_SHOWN_DIGITS]
        self.theory["digits"] = [digit_tile(design, model, digit) for digit in shown]

    # --- methods on the simple CNN ------------------------------------------------------------

    def _methods(self) -> None:
        quick = self.settings.quick
        design = Design(filters=16 if quick else 64, classes=10)
        network = self._simple(design, check=SIMPLE)
        found = measure(
            network,
            self.settings.labels,
            seeds=self._seeds(self._networks),
            seed=self.settings.seed,
            bounded=dict.fromkeys(_costly(self.settings.labels), MINIMUM**2),
            work=_SIMPLE_WORK,
            progress=self.progress,
        )
        self._keep(found)
        self.theory["simple"] = {
            "check": SIMPLE,
            "uniform": network.walled.zone.scored_fraction,
            "draws": len(found.logits),
            "images": len(self.digits),
            "filters": design.filters,
            "classes": design.classes,
        }

    def _sweeps(self) -> None:
        self.theory["sweeps"] = [self._sweep(**sweep) for sweep in sweeps(self.settings.quick)]

    def _sweep(
        self, name: str, title: str, x: list[Any], log: bool, designs: list[Design]
    ) -> dict[str, Any]:
        quick = self.settings.quick
        methods = [m for m in _SWEPT if not (quick and m in ("scorecam", "ablationcam"))]
        summaries: list[list[Summary]] = []
        uniform = []
        for design in designs:
            network = self._simple(design, check=f"theory/{name}")
            found = measure(
                network,
                methods,
                seeds=self._seeds(self._networks),
                seed=self.settings.seed,
                bounded=dict.fromkeys(_costly(methods), MINIMUM**2),
                work=_SIMPLE_WORK,
                progress=self.progress,
            )
            summaries.append(found.summary)
            uniform.append(network.walled.zone.scored_fraction)
        lines = [series(column) for column in zip(*summaries, strict=True)]
        return {
            "name": name, "title": title, "x": x, "log": log, "series": lines, "uniform": uniform,
        }  # fmt: skip

    def _simple(self, design: Design, *, check: str) -> RandomNetwork:
        images = torch.stack([digit_tensor(digit).float() for digit in self.digits])
        return simple_network(design, images, [digit.id for digit in self.digits], check=check)

    # --- deep networks ------------------------------------------------------------------------

    def _deep(self) -> None:
        if not self.photos:
            return
        settings = self.settings
        pixels = [photo.pixels for photo in self.photos]
        images = parse_preprocess("imagenet").to_tensor(pixels)
        described = []
        for name in settings.networks:
            costly = [*_costly(settings.deep_labels), *_SEVERAL_PASSES, *_BY_CELL.get(name, ())]
            check = f"theory/deep/{name}"
            self.progress.stage(check)
            network = deep_network(
                name,
                images,
                [photo.id for photo in self.photos],
                initialisation=settings.initialisation,
                check=check,
            )
            verified_zone(network.walled, network.images[:1], seed=settings.seed)
            found = measure(
                network,
                settings.deep_labels,
                seeds=self._seeds(settings.deep_seeds),
                seed=settings.seed,
                bounded=dict.fromkeys(costly, settings.perturbation_cells),
                work=_DEEP_WORK,
                progress=self.progress,
            )
            self._keep(found)
            described.append(self._described(name, network, found))
        self.theory["deep"] = described

    def _described(self, name: str, network: RandomNetwork, found: Measured) -> dict[str, Any]:
        walled = network.walled
        return {
            "network": name,
            "check": network.check,
            "layer": walled.description["layer"],
            "wall": f"{walled.zone.kind}, live {walled.description['live']}",
            "initialisation": self.settings.initialisation,
            "seeds": self.settings.deep_seeds,
            "images": len(network.names),
            "logit_variance": found.logit_variance(),
            "uniform": walled.zone.scored_fraction,
            "note": "",
        }

    # --- what belongs to all ------------------------------------------------------------------

    def _exact_zeros(self) -> Claim:
        """HiResCAM, LayerCAM and ElementWise are 0 behind the wall, at any initialisation."""
        scored = [
            record.mu_l1
            for record in self.records
            if record.method in _EXACTLY_ZERO and record.status is Status.OK
        ]
        values = [value for value in scored if value is not None]
        worst = max(values, default=None)
        holds = worst is not None and worst <= 0
        outcome = ClaimOutcome.PASS if holds else ClaimOutcome.FAIL
        detail = f"largest μ (L1) of {len(values)} maps, over all networks and images of the tables"
        if worst is None:
            outcome, detail = ClaimOutcome.NOT_APPLICABLE, "none of them was among the methods"
        return Claim(
            "theory/methods",
            "HiResCAM, LayerCAM and ElementWise are exactly 0 behind the wall",
            outcome,
            worst,
            "≤",
            None if worst is None else 0.0,
            detail,
        )

    def _keep(self, found: Measured) -> None:
        self.records += found.records
        self.summary += found.summary

    def _seeds(self, number: int) -> list[int]:
        return [self.settings.seed + place for place in range(number)]

    def _advancing(self, design: Design) -> Callable[[int], None]:
        """Tells the progress of every so many simulated networks."""
        each, owed = simulation_work(design), 0.0

        def advance(networks: int) -> None:
            nonlocal owed
            owed += networks * each
            self.progress.advance(int(owed))
            owed -= int(owed)

        return advance

    def _work(self) -> int:
        """Of all parts, in about tenths of a second on two cores."""
        settings, quick = self.settings, self.settings.quick
        simulated = [settings.design, *covered_designs()]
        work = sum(settings.draw_count * simulation_work(design) for design in simulated)
        work += self._proposition_networks / 40
        work += self._networks * _SIMPLE_WORK * (1 + sum(len(s["x"]) for s in sweeps(quick)))
        if self.photos:
            work += settings.deep_seeds * _DEEP_WORK * len(settings.networks)
        return int(work)

    @property
    def _proposition_networks(self) -> int:
        return 100 if self.settings.quick else 1000

    @property
    def _networks(self) -> int:
        """Simple CNNs of each kind in the tables and sweeps: enough for an interval."""
        return MINIMUM

    def _photos(self) -> list[StackImage]:
        folder = self.settings.images
        collection = eight_photos() if folder is None else collect(folder)
        found = plain_images(collection, size=SIZE, seed=self.settings.seed)
        self.warnings += found.warnings
        return list(found.images)

    def _provenance(self) -> Provenance:
        settings, design = self.settings, self.settings.design
        network = self._simple(replace(design, classes=10), check=SIMPLE)
        zone = verified_zone(network.walled, network.images[:1], seed=settings.seed)
        bootstrap = {
            "method": "pigeonhole", "resamples": RESAMPLES, "level": LEVEL,
            "unit": "network and image", "minimum": MINIMUM,
        }  # fmt: skip
        return Provenance(
            environment=environment(torch.device("cpu")),
            subject={"model": "simple CNN", **design.describe()},
            zone=zone.to_dict(),
            settings={
                "quick": settings.quick,
                "seed": settings.seed,
                "draws": settings.draw_count,
                "methods": settings.labels,
                "deep_methods": [] if settings.quick else settings.deep_labels,
                "networks": [] if settings.quick else list(settings.networks),
                "initialisation": settings.initialisation,
                "deep_seeds": settings.deep_seeds,
                "perturbation_cells": settings.perturbation_cells,
                "bootstrap": bootstrap,
            },
            images=[_digit_entry(digit) for digit in self.digits]
            + [image_entry(photo) for photo in self.photos],
        )


def _on_maps() -> list[str]:
    """The methods of convolutional networks, as they were registered."""
    return [name for name in METHODS if not METHODS[name].info.tokens]


def _costly(methods: Iterable[str]) -> list[str]:
    """Those that run the model many times an image."""
    return [name for name in methods if method_call(name).info.many_passes]


def _digit_entry(digit: Digit) -> dict[str, Any]:
    digest = hashlib.sha256(digit.pixels.tobytes()).hexdigest()
    return {"id": digit.id, "label": digit.label, "sha256": digest}
