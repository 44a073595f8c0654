"""What papers have published of these metrics: their tables as frozen data, by our names.

The figures were measured on other weights and other images than a reader's own, so they stand
beside a run and are never a bound on it. A metric has its registry name and our unit: shares that
a paper prints in percent, and that are plain numbers here, are divided by 100 (the notes say so).
`mu_l1` and `mu_l2` are the dead-zone mass of a record. Nothing here imports torch.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from camaudit.errors import DuplicateNameError, UsageError

__all__ = ["AUTHORS_SCORECAM", "PUBLISHED", "PublishedRow", "PublishedTable", "each_once"]

#: ScoreCAM as its authors' code has it: class probabilities as weights, no softmax over channels.
AUTHORS_SCORECAM = "scorecam(align_corners=false, channel_softmax=false, score=probability)"


def each_once(what: str, names: Iterable[str]) -> None:
    """Raise :class:`DuplicateNameError` where one of `names` occurs twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise DuplicateNameError(f"expected every {what} once; got {name!r} twice")
        seen.add(name)


@dataclass(frozen=True)
class PublishedRow:
    """A method, as the specification of ours that it is, with its figures; None: not printed."""

    method: str
    figures: tuple[float | None, ...]


@dataclass(frozen=True)
class PublishedTable:
    """One table of a paper, for one architecture and one data set.

    `architecture`, `data` and `images` (how many) are None where the source does not say.
    `metrics` name the columns of `rows`; `notes` say what a reader must know before comparing.
    Raises :class:`DuplicateNameError` for a method or metric that occurs twice, and
    :class:`UsageError` for a row of another length than the metrics.
    """

    paper: str
    table: str
    architecture: str | None
    data: str | None
    images: int | None
    metrics: tuple[str, ...]
    rows: tuple[PublishedRow, ...]
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        each_once("metric", self.metrics)
        each_once("method", (row.method for row in self.rows))
        for row in self.rows:
            if len(row.figures) != len(self.metrics):
                raise UsageError(
                    f"{self.table}, {row.method}: expected a figure for each of "
                    f"{', '.join(self.metrics)}; got {len(row.figures)}"
                )

    @property
    def title(self) -> str:
        """The table with what it was measured on."""
        return ", ".join(part for part in (self.table, self.architecture, self.data) if part)

    def figure(self, method: str, metric: str) -> float | None:
        """What the table prints of `method` on `metric`; None where it prints nothing."""
        if metric not in self.metrics:
            return None
        place = self.metrics.index(metric)
        return next((row.figures[place] for row in self.rows if row.method == method), None)


def _rows(*rows: tuple[str, *tuple[float | None, ...]]) -> tuple[PublishedRow, ...]:
    return tuple(PublishedRow(method, tuple(figures)) for method, *figures in rows)


_SCORECAM_PP = "Mitra et al. 2024, ScoreCAM++ (arXiv 2404.19341)"
_REPORT = "Miró López-Feliu and Gonzalez Vidal 2024, report on Score-CAM (Wang et al. 2020)"
_OVERVIEW = "Overview of Class Activation Maps for Visualization Explainability (arXiv 2309.14304)"
_WALLS = "Taimeskhanov et al. 2024, CAM-Based Methods Can See through Walls (arXiv 2404.01964)"
_OURS = "camaudit's definitions, section 1"

_CATS_DOGS, _IMAGENET = "Cats and Dogs (test)", "ImageNet (validation)"
_CONFIDENCE = ("average-drop", "increase-in-confidence", "win")

_POOLED = (
    "Where a pooled linear head follows the explained layer, GradCAM and XGradCAM are proportional "
    "and their min-max maps equal. Their drops here differ by at most 0.02 and their increases by "
    "at most 0.15, but their Win % by several points: that tells how ties and rounding were "
    "decided, not which method is better."
)
_HALF = (
    "The text names 4000 images, but all shares are whole multiples of 0.05 %, the step of 2000 "
    "images; of 4000, about half would fall between."
)
_FORM = (
    "The printed weight subtracts the score of the whole image, the authors' code subtracts "
    "nothing; which one gave these figures is not said."
)
_ABLATION = (
    "The same method, network and data set as ScoreCAM++ in Table 4 (average drop 7.28, increase "
    "38.25), but Table 5 prints 4.27 and 43.14, and Table 6 prints 4.28 and 43.13. The three "
    "contradict each other; Win % is taken among other methods in each and cannot be compared."
)
_STEP = (
    "These shares are no whole multiples of 0.05 %, the step of 2000 images, which the text names "
    "for ImageNet: another number of images was used here."
)

SCORECAM_PP_1 = PublishedTable(
    _SCORECAM_PP, "Table 1", "ResNet-18, fine-tuned", _CATS_DOGS, 4000, _CONFIDENCE,
    _rows(
        ("gradcam", 8.62, 34.95, 10.05),
        ("gradcam++", 8.55, 33.15, 3.20),
        ("xgradcam", 8.62, 34.85, 4.60),
        ("layercam", 8.48, 33.25, 1.50),
        (AUTHORS_SCORECAM, 6.89, 39.25, 14.75),
        ("augmentedgradcam++", 9.22, 28.00, 7.70),
        ("scorecam++", 3.29, 50.25, 58.20),
    ),
    (_FORM, _HALF, _POOLED),
)  # fmt: skip
SCORECAM_PP_2 = PublishedTable(
    _SCORECAM_PP, "Table 2", "VGG-19, fine-tuned", _CATS_DOGS, 4000, _CONFIDENCE,
    _rows(
        ("gradcam", 8.92, 48.30, 12.85),
        ("gradcam++", 7.22, 47.05, 6.15),
        ("xgradcam", 7.08, 52.70, 16.65),
        ("layercam", 7.64, 46.00, 6.40),
        (AUTHORS_SCORECAM, 7.33, 47.05, 13.50),
        ("augmentedgradcam++", 7.59, 42.45, 7.15),
        ("scorecam++", 3.24, 60.95, 37.30),
    ),
    (_FORM, _HALF),
)  # fmt: skip
SCORECAM_PP_3 = PublishedTable(
    _SCORECAM_PP, "Table 3", "ResNet-18", _IMAGENET, 2000, _CONFIDENCE,
    _rows(
        ("gradcam", 9.77, 28.45, 5.65),
        ("gradcam++", 9.98, 26.30, 2.15),
        ("xgradcam", 9.75, 28.60, 9.00),
        ("layercam", 9.87, 26.65, 1.70),
        (AUTHORS_SCORECAM, 8.48, 31.15, 9.50),
        ("augmentedgradcam++", 10.46, 22.20, 9.85),
        ("scorecam++", 4.17, 43.75, 62.15),
    ),
    (_FORM, _POOLED),
)  # fmt: skip
SCORECAM_PP_4 = PublishedTable(
    _SCORECAM_PP, "Table 4", "VGG-19", _IMAGENET, 2000, _CONFIDENCE,
    _rows(
        ("gradcam", 12.51, 28.85, 12.50),
        ("gradcam++", 13.87, 23.95, 4.25),
        ("xgradcam", 11.43, 30.95, 17.35),
        ("layercam", 13.17, 24.40, 5.05),
        (AUTHORS_SCORECAM, 12.75, 26.75, 9.05),
        ("augmentedgradcam++", 12.93, 21.40, 10.65),
        ("scorecam++", 7.28, 38.25, 41.15),
    ),
    (_FORM, _ABLATION),
)  # fmt: skip
SCORECAM_PP_5 = PublishedTable(
    _SCORECAM_PP, "Table 5", "VGG-19", _IMAGENET, None, _CONFIDENCE,
    _rows(
        ("scorecam++", 4.27, 43.14, 51.65),
        ("scorecam++(activation=relu)", 7.97, 34.79, 15.28),
        ("scorecam++(activation=sigmoid)", 6.04, 34.43, 15.05),
        ("scorecam++(activation=mish)", 8.71, 32.95, 6.16),
        ("scorecam++(activation=swish)", 8.97, 32.14, 11.84),
    ),
    (_FORM, _ABLATION, _STEP, "Win % adds up to 99.98."),
)  # fmt: skip
SCORECAM_PP_6 = PublishedTable(
    _SCORECAM_PP, "Table 6", "VGG-19", _IMAGENET, None, _CONFIDENCE,
    _rows(
        ("scorecam++", 4.28, 43.13, 79.86),
        ("scorecam++(gate_map=false)", 9.76, 28.07, 20.14),
    ),
    (_FORM, _ABLATION, _STEP),
)  # fmt: skip
SCORECAM_PP_7 = PublishedTable(
    _SCORECAM_PP, "Table 7", "VGG-19", _IMAGENET, 2000, ("drop-in-logit",),
    _rows(
        ("gradcam", 7.81),
        ("gradcam++", 8.04),
        ("xgradcam", 7.92),
        ("layercam", 7.99),
        (AUTHORS_SCORECAM, 7.89),
        ("augmentedgradcam++", 9.08),
        ("scorecam++", 9.65),
    ),
    (
        _FORM,
        "Augmented GradCAM++ comes second here, and has the lowest increase in confidence of all "
        "in Table 4: taking away what a map lights rewards maps that light much.",
    ),
)  # fmt: skip
SCORECAM_PP_8 = PublishedTable(
    _SCORECAM_PP, "Table 8", "ViT-B/16", _IMAGENET, None, _CONFIDENCE,
    _rows(
        ("gradcam", 48.99, 9.85, 5.35),
        ("gradcam++", 56.90, 7.30, 4.60),
        ("xgradcam", 45.63, 7.75, 5.40),
        ("layercam", 18.17, 18.50, 17.95),
        (AUTHORS_SCORECAM, 19.31, 29.75, 27.75),
        ("scorecam++", 6.52, 36.35, 38.95),
    ),
    (
        _FORM,
        "The text calls ScoreCAM the second best, but on average drop LayerCAM is (18.17 against "
        "19.31).",
        "Which layer was explained, and how tokens became a grid, is not said.",
    ),
)  # fmt: skip

SCORE_CAM_REPORT = PublishedTable(
    _REPORT, "Table 1", None, None, None,
    ("average-drop", "increase-in-confidence", "energy-pointing-game"),
    _rows(
        ("gradcam", 47.8, 19.6, 0.481),
        ("gradcam++", 45.5, 18.9, 0.493),
        (AUTHORS_SCORECAM, 31.5, 30.6, 0.637),
    ),
    (
        "Localisation is printed in percent: 48.1, 49.3 and 63.7.",
        "The report says that highlighted regions are removed for the average drop, yet that lower "
        "is better; that fits only an image that keeps them, as in the metric here.",
        "The report writes the weights as a softmax over channels; the authors' code has none. "
        "Network, data set and number of images are not said.",
        "Its average drops are several times those of the ScoreCAM++ paper's convolutional "
        "networks (6.89 to 13.87 for the same methods): levels do not carry over from one setting "
        "to another, at most orders do.",
    ),
)  # fmt: skip

OVERVIEW_ADCC = PublishedTable(
    _OVERVIEW, "ADCC comparison", None, None, None, ("adcc",),
    _rows(("reciprocam", 0.8138)),
    (
        "Printed as 81.38 %; the figures of the other methods, the network and the images are not "
        "in the summary that this was read from.",
        "Whether the mean is of each image's ADCC, or the ADCC of means, is not said.",
    ),
)  # fmt: skip

WALLS_1 = PublishedTable(
    _WALLS, "Table 1", "VGG16 without its last pooling, lower 9 of 14 rows masked",
    "STACK-MIX and STACK-GEN", 100, ("mu_l2",), (),
    (
        "The figures are not in the text that this was read from, so none are given; they are "
        "shares of the L2 norm, of 100 images for each data set.",
    ),
)  # fmt: skip
WALLS_UNIFORM = PublishedTable(
    _OURS, "A flat map", "VGG16 without its last pooling, lower 9 of 14 rows masked", None, None,
    ("mu_l1", "mu_l2"),
    _rows(("uniform", 0.241, 0.491)),
    ("No measurement: 54 of 224 pixel rows are dead, and the L2 share is the root of that.",),
)  # fmt: skip
WALLS_LITE0 = PublishedTable(
    _OURS, "Generic wall", "EfficientNet-Lite0, 4 of 7 rows live", "ImageNet", 400, ("mu_l1",),
    _rows(("gradcam", 0.17), ("hirescam", 0.0), ("layercam", 0.0)),
    ("The wall lowers top-1 from 88 % to 79 %.",),
)  # fmt: skip

#: Every table, by paper and number.
PUBLISHED = (
    SCORECAM_PP_1, SCORECAM_PP_2, SCORECAM_PP_3, SCORECAM_PP_4, SCORECAM_PP_5, SCORECAM_PP_6,
    SCORECAM_PP_7, SCORECAM_PP_8, SCORE_CAM_REPORT, OVERVIEW_ADCC, WALLS_1, WALLS_UNIFORM,
    WALLS_LITE0,
)  # fmt: skip
