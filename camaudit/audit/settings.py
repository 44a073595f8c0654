"""What an audit is asked to do, as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from camaudit.audit.targets import Asked, asked_targets
from camaudit.data.stack_mix import Pairs
from camaudit.engine import Engine, Precision
from camaudit.errors import UsageError
from camaudit.evaluation.options import CHECKS as METRIC_CHECKS
from camaudit.evaluation.options import Baseline
from camaudit.evaluation.options import Check as MetricCheck
from camaudit.evaluation.options import Options as MetricOptions
from camaudit.evaluation.protocols import protocol
from camaudit.invariance.matrix import Options as InvarianceOptions
from camaudit.methods import method_call, select
from camaudit.probability import Link
from camaudit.sanity import CHECKS, Check, Options, OrderName, Scheme
from camaudit.spelling import is_named

__all__ = ["DEAD_ZONE", "INVARIANCE", "Settings", "WallKind", "settings_with_protocol"]

DEAD_ZONE = "dead-zone"  #: the check that needs a wall
INVARIANCE = "invariance"  #: the metamorphic tests; the others are metrics and sanity checks
WallKind = Literal["auto", "split", "insert", "vgg16"]
MetricsOn = Literal["model", "walled"]


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Options of :func:`camaudit.audit.run.run_audit`; the command line has the same names.

    model: spec for :func:`camaudit.models.loading.load_model`, or `trained:DIR` for what
        `camaudit train` wrote there, with its own wall; ignored by the wall "vgg16".
    weights: a weights file, or None for what the spec brings.
    unmasked_weights: for the wall "vgg16", weights of the network without the wall.
    output: key, attribute or place of the logits in what the model returns; None for the rule of
        :mod:`camaudit.models.classifier`.
    head: "softmax" (one class of many) or "sigmoid" (each class for itself, multi-label); None for
        sigmoid where the model has a single logit, else softmax.
    layer: target layer, None for the spec's own or the last map before the head.
    wall: "split" (exact in any architecture), "insert" (zone by receptive fields), "vgg16" (the
        paper's network) or "auto": insert where receptive fields leave a tenth of the image
        scored, else split.
    live_rows: rows of the target layer that stay live, None for 4 of every 7 (paper: 5 of 14).
    methods: registry names, with options as in `scorecam(score=probability)`; `standard` (also
        None) and `all` stand for lists of them.
    images: a folder of images or of one sub-folder a class, None for the embedded photographs.
    data: data sets instead, used as they are: folders with a manifest, or plain folders; the names
        stack-mix and stack-gen stand for the folders that the data commands write by default.
    pairs: of which classes two photographs of `images` are stacked, "same" or "different".
    targets: which classes of an image the check dead-zone explains: "top-K" (the K highest logits
        of the walled model), "labels" (the image's own; of two stacked classes both) or a list of
        numbers and names. See :mod:`camaudit.audit.targets`.
    num_images: how many images (of each data set), None for every embedded photograph, every one
        of the data sets, or 20 of a folder.
    perturbation_images: how many of them (of each data set) the methods take that run the model
        many times an image; None for 2 of the embedded photographs or 8 of a folder.
    preprocess: "imagenet", "lite" or MEAN/STD; None for the spec's or the model's own, else
        imagenet.
    image_size: height and width in pixels; None for that of the trained network, of the data sets
        or of the model's own configuration, else 224.
    seed: seeds weights without a file, image pairs, crops, random methods and the bootstrap.
    batch_size: images in one pass.
    memory: bytes that a pass of masked images may take; None for no bound but batch_size.
    precision: of masked images' passes; below float32 the error is measured and recorded.
    exact: masked images run without Winograd's algorithm, folded batch norm and fused activations,
        bit for bit as in the model.
    compile: masked images run through torch.compile.
    checks: "dead-zone", "invariance", the metrics of :data:`camaudit.evaluation.options.CHECKS`
        and the sanity checks of :data:`camaudit.sanity.CHECKS`.
    protocol: a published comparison to repeat, by name: its tables are made of `methods` and
        `checks`, which must hold what it needs.
    metrics_on: whether metrics are taken on the model itself or on the walled one.
    mask_baseline: what masked pixels become in the confidence metrics and ADCC, "mean" or "black".
    pixels_per_step: of insertion and deletion.
    regions: a file or folder of labelled regions, for the check localisation, see
        :func:`camaudit.data.regions.read_regions`; region_origin: what its Pascal VOC files call
        the upper left pixel, 1 or (ImageNet's) 0; region_boxes: of a COCO file its boxes alone;
        region_labels: of a photograph the objects alone that have its own class name.
    orders: of the cascades of MPRT and sMPRT.
    sanity_seeds: how many random models, with the seeds 0, 1, …; from six on there are intervals.
    scheme: how their weights are drawn.
    cascade_steps: at how many layers of a cascade maps are compared at most, evenly spaced; None
        for all.
    costly_cascades: whether methods that run the model many times an image take part in the
        sanity checks, on all images, and in the invariance check on the model itself.
    permuted: the model trained on permuted labels, for data randomisation: `trained:DIR`, or a
        weights file for the subject's architecture.
    explainers: explainers that are no registered methods, beside these in every check, each
        `package.module:function`, `path/file.py:function`, `pytorch_grad_cam:CLASS(options)`,
        `torchcam:CLASS(options)` or `captum:CLASS(options)`, with `=METHOD` behind it where it
        claims to be a registered method, or `maps:FOLDER(options)` for maps that were made before.
    properties: of the invariance check, by name; None for all.
    examples: of every property on drawn networks, for each explainer.
    explainer_budget: seconds that the invariance check may spend on one explainer.
    """

    model: str = "lite0"
    weights: Path | None = None
    unmasked_weights: Path | None = None
    output: str | None = None
    head: Link | None = None
    layer: str | None = None
    wall: WallKind = "auto"
    live_rows: int | None = None
    methods: tuple[str, ...] | None = None
    images: Path | None = None
    data: tuple[Path, ...] = ()
    pairs: Pairs = "same"
    targets: str = "top-1"
    num_images: int | None = None
    perturbation_images: int | None = None
    preprocess: str | None = None
    image_size: int | None = None
    seed: int = 0
    device: str = "cpu"
    batch_size: int = 16
    memory: int | None = None
    precision: Precision = "float32"
    exact: bool = False
    compile: bool = False
    checks: tuple[str, ...] = (DEAD_ZONE,)
    protocol: str | None = None
    metrics_on: MetricsOn = "model"
    mask_baseline: Baseline = "mean"
    pixels_per_step: int = 224
    regions: Path | None = None
    region_origin: Literal[0, 1] = 1
    region_boxes: bool = False
    region_labels: bool = False
    orders: tuple[OrderName, ...] = ("top-down",)
    sanity_seeds: int = 6
    scheme: Scheme = "he"
    cascade_steps: int | None = 16
    costly_cascades: bool = False
    permuted: str | None = None
    explainers: tuple[str, ...] = ()
    properties: tuple[str, ...] | None = None
    examples: int = 30
    explainer_budget: float = 300.0

    def __post_init__(self) -> None:
        if self.wall not in get_args(WallKind):
            raise UsageError(
                f"wall must be one of {', '.join(get_args(WallKind))}; got {self.wall!r}"
            )
        if self.head not in (None, *get_args(Link)):
            raise UsageError(f"head must be softmax or sigmoid; got {self.head!r}")
        minimum = {"live_rows": 1, "num_images": 1, "perturbation_images": 0, "image_size": 8}
        for name, least in {**minimum, "seed": 0, "batch_size": 1, "sanity_seeds": 1}.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise UsageError(f"{name} must be at least {least}; got {value}")
        if self.images is not None and self.data:
            raise UsageError("--images and --data both say what to audit on: give one of them")
        if self.unmasked_weights is not None and self.wall != "vgg16":
            raise UsageError(
                "unmasked weights belong to the paper's VGG16 (--wall vgg16): other models are "
                "their own twin, and a trained one has its twin in its folder"
            )
        if (self.output or self.head) and (self.wall == "vgg16" or self.trained is not None):
            raise UsageError(
                "--output and --head are of models that are named or given: the paper's VGG16 and "
                "trained networks return the logits of a softmax"
            )
        if self.trained is not None:
            self._check_trained()
        if self.seed >= 2**63:
            raise UsageError(f"seed must be below 2**63; got {self.seed}")
        if self.methods is not None and not self.methods:
            raise UsageError(
                "methods is empty: name at least one, or leave it out for the standard ones"
            )
        self.engine  # noqa: B018 - an engine that cannot be is refused now
        self._check_pairs()
        self._check_checks()

    def _check_trained(self) -> None:
        given = {
            "--wall": self.wall != "auto", "--weights": self.weights, "--layer": self.layer,
            "--live-rows": self.live_rows,
        }  # fmt: skip
        wrong = [name for name, value in given.items() if value]
        if wrong:
            raise UsageError(
                f"a trained network brings its own wall, layer and weights: leave "
                f"{', '.join(wrong)} out"
            )

    def _check_checks(self) -> None:
        known = (DEAD_ZONE, *METRIC_CHECKS, *CHECKS, INVARIANCE)
        wrong = [name for name in self.checks if name not in known]
        if wrong or not self.checks or len(set(self.checks)) < len(self.checks):
            raise UsageError(
                f"expected checks among {', '.join(known)}, each once; got "
                f"{', '.join(map(repr, self.checks)) or 'none'}"
            )
        if ("data-randomisation" in self.checks) is not (self.permuted is not None):
            raise UsageError(
                "the check data-randomisation and --permuted belong together: it compares the "
                "model with one trained on permuted labels (camaudit train --permute-labels makes "
                "it)"
            )
        if self.properties and INVARIANCE not in self.checks:
            raise UsageError("--properties: of the check invariance; add invariance to --checks")
        self._check_metrics()
        self._check_targets()
        self.sanity  # noqa: B018 - options that cannot be are refused now
        self.invariance  # noqa: B018 - the same
        if not self.walled:
            self._check_no_wall()

    def _check_pairs(self) -> None:
        if self.pairs not in get_args(Pairs):
            raise UsageError(f"pairs must be same or different; got {self.pairs!r}")
        if self.pairs == "different" and (self.data or not self.walled):
            why = (
                "a data set is used as it is" if self.data else "without dead-zone none is stacked"
            )
            raise UsageError(
                f"--pairs different stacks photographs of class folders at the wall, and {why}: "
                "leave it out, or build the data set with camaudit data stack-mix --pairs different"
            )

    def _check_targets(self) -> None:
        if self.asked_targets.plain:
            return
        others = [name for name in self.checks if name != DEAD_ZONE]
        if others or self.protocol is not None:
            raise UsageError(
                f"--targets {self.targets} is of the check dead-zone, and "
                f"{', '.join(others) or 'a protocol'} explains the top-1 class alone: leave "
                "--targets out, or run the others by themselves"
            )

    def _check_metrics(self) -> None:
        self.metrics  # noqa: B018 - options that cannot be are refused now
        if self.metrics_on not in get_args(MetricsOn):
            raise UsageError(
                f"metrics_on must be one of {', '.join(get_args(MetricsOn))}; got "
                f"{self.metrics_on!r}"
            )
        if self.metrics_on == "walled" and not self.walled:
            raise UsageError(
                "--metrics-on walled takes metrics on the walled model, which the check dead-zone "
                "builds: add dead-zone to --checks"
            )
        localised = "localisation" in self.checks
        labels = self.asked_targets.kind == "labels"
        if (localised and self.regions is None) or (self.regions and not (localised or labels)):
            raise UsageError(
                "the check localisation and --regions belong together: it compares maps with "
                "labelled boxes or masks of the objects (--targets labels reads their class names)"
            )
        self._check_unused()
        if self.protocol is not None:
            self._check_protocol(self.protocol)

    def _check_unused(self) -> None:
        """Options of metrics that nothing asked for would read."""
        masked = {"confidence", "adcc"} & set(self.checks)
        lacking = {
            "--metrics-on walled": self.metrics_on == "walled" and not self.metric_checks,
            "--mask-baseline black": self.mask_baseline == "black" and not masked,
            f"--pixels-per-step {self.pixels_per_step}": (
                self.pixels_per_step != MetricOptions.pixels_per_step
                and "insertion-deletion" not in self.checks
            ),
            "--region-origin 0": self.region_origin == 0 and self.regions is None,
            "--region-boxes": self.region_boxes and self.regions is None,
            "--region-labels": self.region_labels and "localisation" not in self.checks,
        }
        wrong = [name for name, unused in lacking.items() if unused]
        if wrong:
            raise UsageError(
                f"{', '.join(wrong)}: no check reads that here; leave it out, or add the check "
                "that does (a metric, confidence or adcc, insertion-deletion, localisation)"
            )

    def _check_protocol(self, name: str) -> None:
        wanted = protocol(name)
        labels = {call.label for call in select(self.methods)}
        needed = [method_call(spec).label for spec in wanted.methods]
        lacking = [label for label in needed if label not in labels]
        lacking += [check for check in wanted.checks if check not in self.checks]
        if lacking:
            raise UsageError(
                f"the protocol {name} needs {', '.join(lacking)}: leave --methods and --checks "
                "out, which it brings itself, or name these too"
            )

    def _check_no_wall(self) -> None:
        given = {
            "--wall": self.wall in ("split", "insert"),
            "--live-rows": self.live_rows is not None and self.wall != "vgg16",
            "--perturbation-images": self.perturbation_images is not None
            and not self.metric_checks,
        }
        wrong = [name for name, value in given.items() if value]
        if wrong:
            raise UsageError(
                f"without the check dead-zone no wall is built: leave {', '.join(wrong)} out, or "
                "add dead-zone to --checks"
            )

    @property
    def walled(self) -> bool:
        """Whether a wall is needed."""
        return DEAD_ZONE in self.checks

    @property
    def asked_targets(self) -> Asked:
        """Which classes of an image are explained."""
        return asked_targets(self.targets)

    @property
    def metric_checks(self) -> tuple[MetricCheck, ...]:
        """The metric checks to run, in their own order."""
        return tuple(name for name in METRIC_CHECKS if name in self.checks)

    @property
    def metrics(self) -> MetricOptions:
        """How metrics are taken; where none is asked for, how one would be."""
        return MetricOptions(
            checks=self.metric_checks or METRIC_CHECKS[:1],
            baseline=self.mask_baseline,
            pixels_per_step=self.pixels_per_step,
            seed=self.seed,
        )

    @property
    def sanity_checks(self) -> tuple[Check, ...]:
        """The sanity checks to run, in their own order."""
        return tuple(name for name in CHECKS if name in self.checks)

    @property
    def sanity(self) -> Options:
        """How the sanity checks are run; where none is asked for, how one would be."""
        return Options(
            checks=self.sanity_checks or CHECKS[:1],
            orders=self.orders,
            seeds=tuple(range(self.sanity_seeds)),
            scheme=self.scheme,
            most_steps=self.cascade_steps,
            batch_size=self.batch_size,
            seed=self.seed,
        )

    @property
    def invariance(self) -> InvarianceOptions:
        """How the invariance check is run."""
        return InvarianceOptions(
            properties=self.properties,
            examples=self.examples,
            budget=self.explainer_budget,
            seed=self.seed,
        )

    @property
    def trained(self) -> Path | None:
        """The folder of a trained network, if that is what `model` names."""
        kind, _, folder = self.model.partition(":")
        return Path(folder) if kind == "trained" and folder else None

    @property
    def engine(self) -> Engine:
        """How masked images are run."""
        return Engine(
            batch_size=self.batch_size,
            memory=self.memory,
            precision=self.precision,
            rounding=not self.exact,
            compile=self.compile,
        )

    @property
    def subject_name(self) -> str:
        """What is audited, in short: the model spec, or the paper's network."""
        return "vgg16" if self.wall == "vgg16" else self.model

    @property
    def image_count(self) -> int | None:
        """How many images to take (of each data set); None takes every one there is."""
        return self.num_images or (None if self.images is None else 20)

    @property
    def perturbation_count(self) -> int:
        """How many images (of each data set) the perturbation methods take at most."""
        if self.perturbation_images is not None:
            return self.perturbation_images
        return 2 if self.images is None and not self.data else 8

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; paths as they were given."""
        plain = dict(vars(self))
        paths = ("weights", "unmasked_weights", "images", "regions")
        plain.update({key: str(plain[key]) for key in paths if plain[key]})
        return {**plain, "data": [str(folder) for folder in self.data]}


def settings_with_protocol(
    *, checks: tuple[str, ...] | None, methods: tuple[str, ...] | None, **options: Any
) -> Settings:
    """The settings of a command: a protocol brings the methods and checks that are not named.

    An explainer without a colon is a method: it is added to `methods` (or to the protocol's) and,
    where there are none, takes the place of the standard ones.
    """
    name = options.get("protocol")
    wanted = None if name is None else protocol(name)
    if checks is None:
        checks = (DEAD_ZONE,) if wanted is None else wanted.checks
    if methods is None and wanted is not None:
        methods = wanted.methods
    given = options.pop("explainers", ())
    named = tuple(one for one in given if is_named(one))
    options["explainers"] = tuple(one for one in given if not is_named(one))
    if named:
        methods = (*(methods or ()), *named)
    return Settings(checks=checks, methods=methods, **options)
