"""The frozen values that pass between the layers: records, summaries, provenance.

Nothing here imports torch, so the report and the command line can read results without it.
`None` always means *undefined* (never zero, never a pass).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import Enum, StrEnum
from typing import Any

__all__ = [
    "SCHEMA_VERSION",
    "Claim",
    "ClaimOutcome",
    "DataSummary",
    "DeadZoneFigures",
    "Interval",
    "Provenance",
    "Record",
    "Results",
    "Status",
    "Summary",
    "TargetCounts",
    "plain",
]

SCHEMA_VERSION = 1


class Status(StrEnum):
    """Outcome of one method on one image."""

    OK = "ok"
    DEGENERATE = "degenerate"
    NOT_APPLICABLE = "not applicable"
    ERROR = "error"


class ClaimOutcome(StrEnum):
    """What became of a claim that was put to the test."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    NOT_APPLICABLE = "not applicable"
    ERROR = "error"


@dataclass(frozen=True)
class Claim:
    """A statement and the figure that decides on it: it passes where `figure relation bound`.

    `figure` and `bound` are None where the claim does not apply, or could not be tested; `detail`
    says why, and otherwise what was compared with what.
    """

    check: str
    statement: str
    outcome: ClaimOutcome
    figure: float | None
    relation: str
    bound: float | None
    detail: str


@dataclass(frozen=True)
class Interval:
    """A mean with its bootstrap interval; the ends are None where n is too small for one.

    `mean` and the ends are in the unit of the figure (a share between 0 and 1 for μ); `std` is
    the sample standard deviation over images.
    """

    n: int
    mean: float | None
    ci_low: float | None
    ci_high: float | None
    std: float | None


@dataclass(frozen=True)
class DeadZoneFigures:
    """μ of one map: shares of its L1 and L2 norm in the scored zone, each in [0, 1]."""

    mu_l1: float | None
    mu_l2: float | None
    mu_l1_minmax: float | None
    status: Status


@dataclass(frozen=True)
class Record:
    """One method on one image and class: figures on the walled model, and on its unmasked twin.

    Where several classes of an image may be explained, `role` says why this one is (predicted,
    label, seen, unseen or asked; see :mod:`camaudit.audit.targets`) and `rank` is the place of its
    logit among the walled model's, 1 for the highest. Both are None where it is the top-1 class
    and nothing else was asked for.

    `seed` is that of the network's weights where a check draws several networks.

    `target` is None where the model had no finite logits. `message` says what went wrong, on the
    walled model or, named so, on the twin.
    """

    check: str
    method: str
    image: str
    target: int | None
    target_name: str | None
    mu_l1: float | None
    mu_l2: float | None
    mu_l1_minmax: float | None
    status: Status
    message: str | None = None
    unmasked: DeadZoneFigures | None = None
    seed: int | None = None
    role: str | None = None
    rank: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """The record as results.json has it; what was not asked for is left out."""
        found: dict[str, Any] = plain(asdict(self))
        for name in ("seed", "role", "rank"):
            if found[name] is None:
                del found[name]
        return found


@dataclass(frozen=True)
class TargetCounts:
    """How many maps there are, by outcome, where images have several targets; `n` have a μ."""

    n: int
    degenerate: int
    not_applicable: int
    errors: int


@dataclass(frozen=True)
class Summary:
    """One method over all images.

    `n` counts the images with a defined μ; degenerate, not applicable and failed ones are counted
    beside it and never enter a mean. `uniform` and `uniform_l2` are what a flat map scores: the
    area fraction of the scored zone and its square root. `unmasked` and `unmasked_l2` (the twin's
    `mu_l1` and `mu_l2`) and the paired `difference` walled − unmasked (L1) are over the images
    where both are defined.

    Where images have several targets, `targets` counts their maps. The unit remains the image: its
    figure is the mean over its targets that have one, and an image without any is counted by the
    worst of its outcomes (failed, degenerate, not applicable).
    """

    check: str
    method: str
    family: str
    n: int
    degenerate: int
    not_applicable: int
    errors: int
    mu_l1: Interval
    mu_l2: Interval
    mu_l1_minmax: Interval
    uniform: float
    uniform_l2: float
    unmasked: Interval | None
    unmasked_l2: Interval | None
    difference: Interval | None
    targets: TargetCounts | None = None


@dataclass(frozen=True)
class DataSummary:
    """Every method over the images of one data set.

    `kind` is stack-mix or stack-gen, and `sha256` the hash of the manifest; None for a folder
    without one. `images` counts all images of the set that were audited.
    """

    name: str
    folder: str
    kind: str | None
    sha256: str | None
    images: int
    summary: list[Summary]


@dataclass(frozen=True)
class Provenance:
    """Where the numbers come from: versions, subject, zone and seeds, as plain JSON values."""

    environment: dict[str, Any]
    subject: dict[str, Any]
    zone: dict[str, Any]
    settings: dict[str, Any]
    images: list[dict[str, Any]]


@dataclass(frozen=True)
class Results:
    """Everything that results.json holds; parts from `claims` on only where there are any.

    `summary` is over all images, `data` over those of each data set. `targets` compares the classes
    of images that show two, of which the model sees one. `metrics` is what the metric
    checks found, `protocol` a published comparison repeated, `sanity` what the sanity checks found,
    and `families` of the methods' labels, `invariance` what the invariance check found, `gate` what
    a policy's gate decided; the schema of results.json describes them.
    """

    camaudit: str
    provenance: Provenance
    records: list[Record]
    summary: list[Summary]
    warnings: list[str] = field(default_factory=list)
    timing: dict[str, Any] = field(default_factory=dict)
    claims: list[Claim] = field(default_factory=list)
    theory: dict[str, Any] = field(default_factory=dict)
    data: list[DataSummary] = field(default_factory=list)
    targets: dict[str, Any] = field(default_factory=dict)
    metrics: dict[str, Any] = field(default_factory=dict)
    protocol: dict[str, Any] = field(default_factory=dict)
    sanity: dict[str, Any] = field(default_factory=dict)
    invariance: dict[str, Any] = field(default_factory=dict)
    gate: dict[str, Any] = field(default_factory=dict)
    schema: int = SCHEMA_VERSION

    def _repr_html_(self) -> str:
        """The verdict and a table, as a notebook shows them."""
        from camaudit.report.notebook import results_block

        return results_block(self)

    def to_dict(self) -> dict[str, Any]:
        """The JSON object of results.json (enums as their values, undefined as null)."""
        provenance = asdict(self.provenance)
        extra: dict[str, Any] = {
            "claims": [plain(asdict(claim)) for claim in self.claims],
            "theory": plain(self.theory),
            "data": [_data(entry) for entry in self.data],
            "targets": plain(self.targets),
            "metrics": plain(self.metrics),
            "protocol": plain(self.protocol),
            "sanity": plain(self.sanity),
            "invariance": plain(self.invariance),
            "gate": plain(self.gate),
        }
        return {
            "schema": self.schema,
            "camaudit": self.camaudit,
            **provenance,
            "warnings": list(self.warnings),
            "records": [record.to_dict() for record in self.records],
            "summary": [_summary(entry) for entry in self.summary],
            **{name: value for name, value in extra.items() if value},
            "timing": dict(self.timing),
        }


def _summary(entry: Summary) -> dict[str, Any]:
    found: dict[str, Any] = plain(asdict(entry))
    if entry.targets is None:
        del found["targets"]
    return found


def _data(entry: DataSummary) -> dict[str, Any]:
    return {**plain(asdict(entry)), "summary": [_summary(line) for line in entry.summary]}


def plain(value: Any) -> Any:
    """JSON values: enums as their values, tuples as lists, recursively."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
