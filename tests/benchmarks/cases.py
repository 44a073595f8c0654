"""Everything that is measured, by name, with what it is held to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isnan
from typing import Literal, Protocol

from tests.benchmarks import card, contests, memory, metrics, reduced, sanity
from tests.benchmarks.timing import Outcome, Setting

__all__ = ["CASES", "Case", "Target", "Trial"]

Place = Literal["cpu", "cuda"]


class Trial(Protocol):
    """A case that has been built."""

    def run(self, setting: Setting) -> Outcome:
        """Measure it."""


@dataclass(frozen=True)
class Target:
    """What a figure must be: at least or at most `bound`, in `unit`."""

    figure: str
    sense: Literal["at least", "at most"]
    bound: float
    unit: str = ""

    @property
    def text(self) -> str:
        """In short, as in `≥ 100×`."""
        sign = {"at least": "≥", "at most": "≤"}[self.sense]
        return f"{sign} {self.bound:g}{self.unit}"

    def reached(self, value: float | None) -> bool | None:
        """Whether `value` is good enough; None where it was not measured."""
        if value is None:
            return None
        if isnan(value):
            return False
        return value >= self.bound if self.sense == "at least" else value <= self.bound


@dataclass(frozen=True)
class Case:
    """One comparison or measurement.

    what: in a few words, for the table.
    targets: the first one is that of the table's result column.
    build: the networks and both sides, untimed.
    aim: more than the target, where there is something to aim at.
    places: the devices that it is for.
    fixed, a_round: seconds that it takes, once and for each round, on two cores; for the ETA.
    """

    name: str
    what: str
    targets: tuple[Target, ...]
    build: Callable[[Setting], Trial]
    aim: float | None = None
    places: tuple[Place, ...] = ("cpu", "cuda")
    fixed: float = 10
    a_round: float = 0

    def expected(self, rounds: int) -> float:
        """Seconds that the case takes on two cores, roughly; the warm-up is a round too."""
        return self.fixed + self.a_round * (rounds + 1)


def _faster(bound: float) -> tuple[Target, ...]:
    return Target("ratio", "at least", bound, "×"), Target("map_difference", "at most", 1e-4)


EQUAL_WEIGHTS = Target("weight_difference", "at most", 1e-5)

CASES: tuple[Case, ...] = (
    Case(
        "ablationcam-vgg16",
        "AblationCAM, the paper's VGG16, pytorch-grad-cam",
        _faster(100),
        contests.ablation_vgg16,
        a_round=32,
    ),
    Case(
        "ablationcam-resnet18",
        "AblationCAM, ResNet-18 `layer4`, pytorch-grad-cam",
        _faster(200),
        contests.ablation_resnet18,
        a_round=12,
    ),
    Case(
        "scorecam-vgg16-pgc",
        "ScoreCAM, the paper's VGG16, pytorch-grad-cam",
        (*_faster(2.2), EQUAL_WEIGHTS),
        contests.score_vgg16,
        aim=2.5,
        a_round=42,
    ),
    Case(
        "scorecam-vgg16-torchcam",
        "ScoreCAM, the paper's VGG16, torchcam",
        (*_faster(2.2), EQUAL_WEIGHTS),
        contests.score_vgg16_torchcam,
        aim=2.5,
        a_round=42,
    ),
    Case(
        "scorecam-vgg16-bf16",
        "ScoreCAM in bfloat16, the paper's VGG16, pytorch-grad-cam in float32",
        (Target("ratio", "at least", 4.3, "×"),),
        reduced.score_vgg16_bfloat16,
        aim=5.0,
        fixed=130,
    ),
    Case(
        "gradient-eigen",
        "eight gradient and eigen methods, the paper's VGG16, pytorch-grad-cam running each",
        _faster(6),
        contests.gradient_and_eigen,
        a_round=5,
    ),
    Case(
        "seven-methods",
        "the paper's seven methods, the paper's VGG16, pytorch-grad-cam running each",
        _faster(4),
        contests.seven_methods,
        a_round=78,
    ),
    Case(
        "scorecam-resnet50-memory",
        "peak memory of ScoreCAM above the loaded model, ResNet-50 `layer4`, pytorch-grad-cam",
        (Target("peak_mb", "at most", 600, " MB"),),
        memory.scorecam_memory,
        places=("cpu",),
        fixed=170,
    ),
    Case(
        "flat-cost",
        "six gradient methods, ResNet-18: an image of 1000 beside one of 10",
        (
            Target("ratio", "at most", 1.15, "×"),
            Target("ratio", "at least", 0.85, "×"),
            Target("growth_mb", "at most", 50, " MB"),
        ),
        memory.flat_cost,
        places=("cpu",),
        fixed=0,
        a_round=50,
    ),
    Case(
        "mprt-vgg16",
        "MPRT of GradCAM, the paper's VGG16, 16 layers, 4 images, Quantus",
        (Target("ratio", "at least", 5, "×"), Target("map_difference", "at most", 1e-4)),
        sanity.mprt_vgg16,
        a_round=60,
    ),
    Case(
        "mprt-ten-methods",
        "the same MPRT of ten methods by all similarities, beside GradCAM's",
        (Target("ratio", "at most", 1.5, "×"), Target("map_difference", "at most", 0)),
        sanity.mprt_ten_methods,
        a_round=40,
    ),
    Case(
        "metrics-lite0",
        "AD, IC, Win, ADCC, insertion and deletion of the ScoreCAM++ paper's seven methods (two of "
        "them as given maps, metrics alone), EfficientNet-Lite0, 2 images, pytorch-grad-cam and "
        "Quantus",
        (Target("ratio", "at least", 3, "×"), Target("map_difference", "at most", 1e-3)),
        metrics.metrics_lite0,
        fixed=150,
        a_round=620,
    ),
    Case(
        "metrics-vgg16",
        "the same figures of three gradient methods, the paper's VGG16, 1 image",
        (Target("ratio", "at least", 3, "×"), Target("map_difference", "at most", 1e-3)),
        metrics.metrics_vgg16,
        a_round=230,
    ),
    Case(
        "gpu-seven",
        "the paper's seven methods on a GPU, float32 and bfloat16",
        (),
        card.gpu_seven,
        places=("cuda",),
        fixed=30,
        a_round=2,
    ),
)
