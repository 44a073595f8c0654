"""The view model: results as the plain text and geometry that a page shows.

Pure functions from :class:`~camaudit.types.Results` to frozen dataclasses. No template decides
anything, and nothing here knows of HTML.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from camaudit.errors import UsageError
from camaudit.report import figures, origin, prose
from camaudit.report.axis import Axis, Bar, axis, bar
from camaudit.report.explainers import ExplainerLine, explainer_lines, processing_of
from camaudit.report.names import title
from camaudit.report.verdict import CONTROL, Finding, Verdict, finding, verdict
from camaudit.types import Interval, Record, Results, Status, Summary

__all__ = [
    "Fact",
    "Figure",
    "ReportView",
    "Row",
    "Unscored",
    "accuracy_text",
    "ranked",
    "report_view",
    "rows",
    "select_check",
    "unscored",
]


@dataclass(frozen=True)
class Figure:
    """A figure ready to print; `value` is for sorting and None where undefined."""

    text: str
    bounds: str
    value: float | None


@dataclass(frozen=True)
class Row:
    """One method in the tables; `name` is its registry name, `method` its usual spelling.

    `note` says what another library did to its maps; empty for registered methods.
    """

    name: str
    method: str
    family: str
    finding: Finding
    mu_l1: Figure
    mu_l2: Figure
    mu_l1_minmax: Figure
    unmasked: Figure
    difference: Figure
    uniform: str
    bar: Bar
    n: int
    degenerate: int
    not_applicable: int
    errors: int
    note: str = ""

    @property
    def control(self) -> bool:
        """Whether this is a control rather than a method under audit."""
        return self.family == CONTROL

    @property
    def unscored(self) -> str:
        """The images without a figure, by reason; empty where there are none."""
        counts = (
            (self.degenerate, "degenerate"),
            (self.not_applicable, "not applicable"),
            (self.errors, "failed"),
        )
        return ", ".join(f"{number} {reason}" for number, reason in counts if number)


@dataclass(frozen=True)
class Fact:
    """A key figure with its label and a short note."""

    label: str
    value: str
    note: str


@dataclass(frozen=True)
class Unscored:
    """Images on which a method has no figure, for one and the same reason."""

    method: str
    status: str
    message: str
    images: str


@dataclass(frozen=True)
class ReportView:
    """Everything that the page says, apart from its pictures."""

    subject: str
    setting: str
    version: str
    verdict: Verdict
    verified: bool
    warnings: tuple[str, ...]
    facts: tuple[Fact, ...]
    axis: Axis
    methods: tuple[Row, ...]
    controls: tuple[Row, ...]
    unscored: tuple[Unscored, ...]
    uniform: str
    uniform_l2: str
    accuracy: str
    zone_reason: str
    reading: tuple[prose.Paragraph, ...]
    shows: tuple[prose.Paragraph, ...]
    does_not_show: tuple[prose.Paragraph, ...]
    origin: tuple[origin.OriginGroup, ...]
    explainers: tuple[ExplainerLine, ...]


def select_check(results: Results, check: str | None = None) -> list[Summary]:
    """The summary of one check; `check` may be left out where there is only one.

    Raises
    ------
    UsageError
        if the results hold several checks and none is named, or the named one is missing.
    """
    names = list(dict.fromkeys(entry.check for entry in results.summary))
    if check is None:
        if len(names) > 1:
            raise UsageError(
                f"a report shows one check, these results hold {len(names)}: "
                f"{', '.join(names)}; say which"
            )
        return list(results.summary)
    if check not in names:
        raise UsageError(f"no check {check!r} in these results; there is {', '.join(names)}")
    return [entry for entry in results.summary if entry.check == check]


def report_view(results: Results, *, check: str | None = None) -> ReportView:
    """The view model of one check; raises as :func:`select_check` does."""
    summary = select_check(results, check)
    zone, subject = results.provenance.zone, results.provenance.subject
    uniform = summary[0].uniform if summary else None
    uniform_l2 = summary[0].uniform_l2 if summary else None
    notes = processing_of(results)
    listed = [replace(row, note=notes.get(row.name, "")) for row in rows(summary)]
    images = max((entry.n for entry in summary), default=0)
    verified = zone.get("verified") is True
    return ReportView(
        subject=_subject(results),
        setting=_setting(results),
        version=results.camaudit,
        verdict=verdict(results, summary),
        verified=verified,
        warnings=tuple(results.warnings),
        facts=_facts(results, summary),
        axis=axis(summary),
        methods=tuple(row for row in listed if not row.control),
        controls=tuple(row for row in listed if row.control),
        unscored=unscored(
            results, summary, noun="map" if any(one.targets for one in summary) else "image"
        ),
        uniform=figures.percent(uniform),
        uniform_l2=figures.percent(uniform_l2),
        accuracy=accuracy_text(subject.get("accuracy")),
        zone_reason=_sentence(str(zone.get("why") or "")),
        reading=prose.reading(uniform, uniform_l2),
        shows=prose.shows(verified=verified, bit_equal=_bit_equal(zone.get("verification"))),
        does_not_show=prose.does_not_show(
            images=images, split_trunk=zone.get("kind") == "split trunk"
        ),
        origin=origin.origin(results),
        explainers=explainer_lines(results),
    )


def ranked(summary: Sequence[Summary]) -> list[Summary]:
    """Highest mean μ first, undefined ones last, equals by name."""

    def key(entry: Summary) -> tuple[bool, float, str]:
        undefined = finding(entry) is Finding.UNDEFINED
        return undefined, 0.0 if undefined else -(entry.mu_l1.mean or 0.0), title(entry.method)

    return sorted(summary, key=key)


def rows(summary: Sequence[Summary]) -> list[Row]:
    """One row a method, in the order of :func:`ranked`."""
    maximum = axis(summary).maximum
    return [_row(entry, maximum) for entry in ranked(summary)]


def accuracy_text(accuracy: object) -> str:
    """Top-1 accuracy with and without the wall in a sentence.

    `accuracy` is `{"n", "walled", "unwalled", "agreement"}` with shares or None; anything else
    reads as not measured.
    """
    if not isinstance(accuracy, dict):
        return "Top-1 accuracy was not measured: the images carry no labels."
    parts = [
        f"{100 * accuracy[key]:.1f} % {label}"
        for key, label in (("walled", "with the wall"), ("unwalled", "without"))
        if accuracy.get(key) is not None
    ]
    number = accuracy.get("n")
    over = f" on {figures.counted(number, 'image')}" if isinstance(number, int) and number else ""
    agreement = accuracy.get("agreement")
    if not parts and agreement is None:
        return "Top-1 accuracy was not measured."
    agree = (
        "" if agreement is None else f"same top-1 class on {100 * agreement:.1f} % of all images"
    )
    if not parts:
        return (
            f"With and without the wall: {agree}. Top-1 accuracy was not measured: no image has a "
            "label that the model knows."
        )
    return f"Top-1 accuracy{over}: {', '.join(parts)}{'; ' + agree if agree else ''}."


def unscored(
    results: Results, summary: Sequence[Summary], *, noun: str = "image"
) -> tuple[Unscored, ...]:
    """Records without a figure, equal reasons drawn together and counted by `noun`."""
    checks = {entry.check for entry in summary}
    missing = [
        record
        for record in results.records
        if record.status is not Status.OK and record.check in checks
    ]
    counts = Counter(_reason(record) for record in missing)
    return tuple(
        Unscored(title(method), status, message, figures.counted(number, noun))
        for (method, status, message), number in sorted(counts.items())
    )


def _row(entry: Summary, maximum: float) -> Row:
    unmasked = entry.unmasked
    return Row(
        name=entry.method,
        method=title(entry.method),
        family=entry.family,
        finding=finding(entry),
        mu_l1=_figure(entry.mu_l1),
        mu_l2=_figure(entry.mu_l2),
        mu_l1_minmax=_figure(entry.mu_l1_minmax),
        unmasked=_figure(unmasked) if unmasked else Figure("not run", "", None),
        difference=_difference(entry.difference),
        uniform=figures.percent(entry.uniform),
        bar=bar(entry, maximum),
        n=entry.n,
        degenerate=entry.degenerate,
        not_applicable=entry.not_applicable,
        errors=entry.errors,
    )


def _figure(value: Interval) -> Figure:
    mean = value.mean if figures.defined(value.mean) else None
    return Figure(figures.percent(mean), figures.interval(value), mean)


def _difference(value: Interval | None) -> Figure:
    if value is None:
        return Figure("not run", "", None)
    mean = value.mean if figures.defined(value.mean) else None
    return Figure(figures.points(mean), figures.points_interval(value), mean)


def _facts(results: Results, summary: Sequence[Summary]) -> tuple[Fact, ...]:
    controls = sum(entry.family == CONTROL for entry in summary)
    checks = {entry.check for entry in summary}
    images = len({record.image for record in results.records if record.check in checks})
    verification = results.provenance.zone.get("verification")
    verified = results.provenance.zone.get("verified") is True
    uniform = summary[0].uniform if summary else None
    uniform_l2 = summary[0].uniform_l2 if summary else None
    return (
        Fact(
            "Scored zone",
            figures.percent(uniform),
            "of the image area, so also the L1 share of a uniform map; its L2 share is "
            f"{figures.percent(uniform_l2)}",
        ),
        Fact("Zone verified", "yes" if verified else "no", _verification(verified, verification)),
        Fact(
            "Images",
            str(images),
            "costly methods may run on fewer; see n",
        ),
        Fact(
            "Methods", str(len(summary) - controls), f"and {figures.counted(controls, 'control')}"
        ),
        _accuracy_fact(results.provenance.subject.get("accuracy")),
    )


def _verification(verified: bool, verification: object) -> str:
    if not verified:
        return "the claim was not checked, or the check did not pass"
    if not isinstance(verification, dict):
        return "changing dead pixels leaves the logits as they are"
    number = verification.get("perturbations")
    times = f" in {figures.counted(number, 'perturbation')}" if isinstance(number, int) else ""
    if _bit_equal(verification):
        return f"logits equal to the last bit{times} of the dead pixels"
    return f"logits equal within the stated bound{times} of the dead pixels"


def _bit_equal(verification: object) -> bool:
    return isinstance(verification, dict) and verification.get("bit_equal") is True


def _accuracy_fact(accuracy: object) -> Fact:
    known = accuracy if isinstance(accuracy, dict) else {}
    walled, unwalled = known.get("walled"), known.get("unwalled")
    if walled is None and unwalled is None:
        agreement = known.get("agreement")
        if agreement is not None:
            return Fact(
                "Same decision", figures.percent(agreement), "top-1 with and without the wall"
            )
        return Fact("Top-1 accuracy", "not measured", "the images carry no labels")
    without = "not measured" if unwalled is None else figures.percent(unwalled)
    value = "not measured" if walled is None else figures.percent(walled)
    return Fact("Top-1 accuracy", value, f"with the wall; {without} without it")


def _subject(results: Results) -> str:
    subject = results.provenance.subject
    names = [subject.get("model"), subject.get("class"), subject.get("name")]
    return next((str(name) for name in names if name), "unnamed model")


def _setting(results: Results) -> str:
    """Layer, wall and weights on a line; empty where nothing is known."""
    subject, zone = results.provenance.subject, results.provenance.zone
    parts = [
        f"{label} {value}"
        for label, value in (
            ("target layer", subject.get("layer")),
            ("zone by", zone.get("kind")),
            ("weights", subject.get("weights")),
        )
        if isinstance(value, str) and value
    ]
    return ", ".join(parts)


def _sentence(text: str) -> str:
    """`text` with a capital first letter and a full stop."""
    text = text.strip()
    if not text:
        return "No reason was recorded."
    return text[0].upper() + text[1:] + ("" if text[-1] in ".!?" else ".")


def _reason(record: Record) -> tuple[str, str, str]:
    default = {
        Status.DEGENERATE: "the map is zero everywhere or not finite",
        Status.NOT_APPLICABLE: "the method is not defined on this model",
    }
    message = record.message or default.get(record.status, "no reason was recorded")
    return record.method, record.status.value, message
