"""The invariance check of an audit: its methods and foreign explainers, put to every property."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from camaudit.audit.batches import batch_tensor
from camaudit.audit.progress import Progress
from camaudit.audit.settings import Settings
from camaudit.audit.subject import Subject, WalledSubject
from camaudit.data.stack_mix import StackImage
from camaudit.invariance.conformance import Conformance, Conformity
from camaudit.invariance.explainer import Registered, light
from camaudit.invariance.loading import ExplainerSpec
from camaudit.invariance.matrix import InvarianceResult, Row, Tested, run_invariance
from camaudit.invariance.run import Outcome
from camaudit.invariance.situation import Situation
from camaudit.invariance.snippet import EXPLAIN
from camaudit.invariance.store import Store
from camaudit.journal import Journal
from camaudit.methods import MethodCall, method_call
from camaudit.types import Claim, ClaimOutcome

__all__ = ["OWN_IMAGES", "InvarianceFindings", "audit_invariance", "foreign_explainers"]

OWN_IMAGES = 2  #: images of the subject that its explainers are tested on
_INVARIANCE = "invariance"
_WITHOUT_MAPS = ("failing-model", "hygiene-error")  # an explainer that only raises satisfies them


@dataclass(frozen=True, eq=False)
class InvarianceFindings:
    """What the invariance check found: results.json's part, claims, seconds an explainer."""

    invariance: dict[str, Any]
    claims: list[Claim]
    seconds: dict[str, float]
    warnings: tuple[str, ...]

    @property
    def empty(self) -> bool:
        """Whether no example of any explainer says anything."""
        return not any(found["examples"] for found in self.invariance["findings"])

    @property
    def failed(self) -> bool:
        """Whether an explainer never gave maps that could be compared."""
        findings = [f for f in self.invariance["findings"] if f["property"] not in _WITHOUT_MAPS]
        faulty = {f["explainer"] for f in findings if f["outcome"] == Outcome.FAULT.value}
        return bool(faulty - {f["explainer"] for f in findings if f["examples"]})


def foreign_explainers(settings: Settings) -> list[ExplainerSpec]:
    """The explainers that the settings name; raises what loading them raises."""
    return [ExplainerSpec.parse(spec) for spec in settings.explainers]


def audit_invariance(
    settings: Settings,
    subject: Subject,
    images: Sequence[StackImage],
    methods: Sequence[str],
    foreign: Sequence[ExplainerSpec],
    progress: Progress,
    *,
    counterexamples: Path | None = None,
    journal: Journal | None = None,
) -> InvarianceFindings:
    """Test the methods and the foreign explainers, on drawn networks and on the subject's model.

    The model is the walled one where there is a wall. Methods that run the model many times an
    image are left out on it unless `settings.costly_cascades`. Counterexamples are kept in the
    folder `counterexamples`, and tried first. What the `journal`, which is of the
    :data:`OWN_IMAGES` first images, knows is taken from it, and the rest is kept there. Raises
    :class:`camaudit.errors.UsageError` for a file of counterexamples that cannot be read.
    """
    calls = [method_call(name) for name in methods]
    fixed = [spec.name for spec in foreign if spec.maps is not None]
    tested = [_method(call, settings) for call in calls]
    tested += [_foreign(spec) for spec in foreign if spec.maps is None]
    found = run_invariance(
        tested, options=settings.invariance, own=lambda: _own(subject, images),
        store=None if counterexamples is None else Store(counterexamples), progress=progress,
        journal=journal,
    )  # fmt: skip
    return InvarianceFindings(
        found.to_dict(), invariance_claims(found), _seconds(found), _warnings(tested, fixed)
    )


def _method(call: MethodCall, settings: Settings) -> Tested:
    drawn = light(call)
    costly = call.info.many_passes and not settings.costly_cascades
    notes = []
    if drawn != call:
        notes.append(f"on drawn networks as {drawn.label}")
    if costly:
        notes.append("left out on the model itself: it runs the model many times an image")
    return Tested(
        name=call.label, explain=Registered(drawn, seed=settings.seed), claims=call.name,
        code=EXPLAIN.format(spec=drawn.label, seed=settings.seed), registered=True,
        own=None if costly else Registered(call, seed=settings.seed),
        note="; ".join(notes) or None,
    )  # fmt: skip


def _foreign(spec: ExplainerSpec) -> Tested:
    code = (
        "from camaudit.invariance import load_explainer\n\n"
        f"explain = load_explainer({spec.source!r})"
    )
    return Tested(
        name=spec.name, explain=spec.explain, own=spec.explain, claims=spec.claims, code=code
    )


def _own(subject: Subject, images: Sequence[StackImage]) -> Situation:
    batch = batch_tensor(subject, images[:OWN_IMAGES])
    walled = subject.walled if isinstance(subject, WalledSubject) else None
    model, layer = (subject.model, subject.layer) if walled is None else (walled, "trunk")
    asked = Situation(model, layer, batch, batch.new_zeros(len(batch)).long(), walled=walled)
    return asked.changed(targets=asked.logits().argmax(dim=1), walled=walled)


def _seconds(found: InvarianceResult) -> dict[str, float]:
    seconds: dict[str, float] = {}
    for row in found.rows:
        seconds[row.tested.name] = round(seconds.get(row.tested.name, 0.0) + row.seconds, 3)
    return seconds


def _warnings(tested: Sequence[Tested], fixed: Sequence[str]) -> tuple[str, ...]:
    left = [one.name for one in tested if one.own is None]
    told = []
    if left:
        told.append(
            f"{', '.join(left)}: tested on drawn networks alone, because that runs the model many "
            "times for every image; --costly-cascades has them tested on the model itself too"
        )
    if fixed:
        told.append(
            f"invariance is not applicable to {', '.join(fixed)}: precomputed maps cannot be made "
            "again for a changed model or image"
        )
    return tuple(told)


def invariance_claims(found: InvarianceResult) -> list[Claim]:
    """Of each explainer: none of its properties is violated but by its own definition.

    Of one that claims to be a method, also that it gives that method's maps, up to post-processing
    that has a name; the figure is the share of the examples on which it does.
    """
    names = dict.fromkeys(row.tested.name for row in found.rows)
    kept = [_claim(name, [row for row in found.rows if row.tested.name == name]) for name in names]
    return [*kept, *(_conforms(tested.name, compared) for tested, compared in found.claims)]


def _conforms(name: str, compared: Conformance) -> Claim:
    outcomes = {
        Conformity.EQUAL: ClaimOutcome.PASS,
        Conformity.PROCESSED: ClaimOutcome.PASS,
        Conformity.DIFFERENT: ClaimOutcome.FAIL,
        Conformity.FAULT: ClaimOutcome.FAIL,
    }
    share = compared.agreeing / compared.examples if compared.examples else None
    how = compared.processing if compared.outcome is Conformity.PROCESSED else ""
    return Claim(
        check=_INVARIANCE,
        statement=f"{name} gives the maps of {compared.claim}{', ' + how if how else ''}",
        outcome=outcomes.get(compared.outcome, ClaimOutcome.NOT_APPLICABLE),
        figure=share,
        relation="≥",
        bound=None if share is None else 1.0,
        detail=compared.reason or f"{compared.examples} examples",
    )


def _claim(name: str, rows: Sequence[Row]) -> Claim:
    findings = [finding for row in rows for finding in row.findings]
    bugs = [f for f in findings if f.outcome is Outcome.BUG]
    faults = [f for f in findings if f.outcome is Outcome.FAULT]
    tried = sum(f.examples for f in findings)
    if bugs or [f for f in faults if f.fault != "too slow"]:
        outcome = ClaimOutcome.FAIL
    elif faults:
        outcome = ClaimOutcome.INCONCLUSIVE
    else:
        outcome = ClaimOutcome.PASS if tried else ClaimOutcome.NOT_APPLICABLE
    wrong = [f"{f.property}: {f.reason}" for f in [*bugs, *faults]]
    return Claim(
        check=_INVARIANCE,
        statement=f"{name} keeps every property that its definition has",
        outcome=outcome,
        figure=float(len({f.property for f in [*bugs, *faults]})) if tried or wrong else None,
        relation="≤",
        bound=0.0 if tried or wrong else None,
        detail="; ".join(wrong[:5]) or f"{tried} examples",
    )
