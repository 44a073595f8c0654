"""What to do about the verdict: short instructions, each with the finding behind it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from camaudit.report import figures
from camaudit.report.names import CHECKS, INVARIANCE, check_title, title
from camaudit.report.verdict import CONTROL, Finding, finding
from camaudit.types import ClaimOutcome, Results, Summary

__all__ = ["Advice", "advice"]

FEW_IMAGES = 30  #: below this the order of methods is mostly open
DIFFERENT = 0.8  #: agreement below which the walled network is another classifier


@dataclass(frozen=True)
class Advice:
    """What to do, and why."""

    action: str
    why: str


def advice(results: Results, summary: Sequence[Summary]) -> tuple[Advice, ...]:
    """The instructions that follow from the run, the most important first."""
    found = [*_gate(results), *_zone(results, summary), *_claims(results)]
    return tuple(found)


def _gate(results: Results) -> Iterator[Advice]:
    decision = results.gate.get("decision")
    if decision == "fail":
        yield Advice(
            "Do not ship this change as it is.",
            "The policy's gate fails; its conditions below say which explainer and by how much.",
        )
    elif decision in ("inconclusive", "error"):
        yield Advice(
            "Do not take this gate for a pass.",
            "It could not decide; the conditions below say what is missing.",
        )


def _zone(results: Results, summary: Sequence[Summary]) -> Iterator[Advice]:
    methods = [entry for entry in summary if entry.family != CONTROL]
    if not methods or all(entry.uniform == 0 for entry in methods):
        return
    if results.provenance.zone.get("verified") is not True:
        yield Advice(
            "Do not quote these figures yet.",
            "The dead zone is not verified, so that a lit pixel may be one that the network sees.",
        )
    lit, zero, undefined = (
        [title(entry.method) for entry in methods if finding(entry) is kind]
        for kind in (Finding.LIT, Finding.ZERO, Finding.UNDEFINED)
    )
    if lit:
        yield Advice(
            f"Do not read {figures.joined(lit)} as showing what the network used.",
            "On these images they colour pixels that provably have no influence on the decision.",
        )
    if zero:
        other = " in place of those" if lit else ""
        yield Advice(
            f"Use {figures.joined(zero)}{other} where a map must not show what has no influence.",
            "They put exactly 0 in the dead zone on every image. Check them otherwise too: that "
            "rules out this one fault alone.",
        )
    if undefined:
        yield Advice(
            f"Find out why {figures.joined(undefined)} "
            f"{'has' if len(undefined) == 1 else 'have'} no figure.",
            "No figure is no pass. The reasons stand below the figures; methods that run the model "
            "many times an image take as many images as --perturbation-images allows.",
        )
    yield from _sample(results, methods)


def _sample(results: Results, methods: Sequence[Summary]) -> Iterator[Advice]:
    images = max(entry.n for entry in methods)
    if 0 < images < FEW_IMAGES:
        yield Advice(
            "Audit more images before you rank methods.",
            f"{figures.counted(images, 'image')} prove that a method lights the dead zone where it "
            "does, but intervals are wide: --num-images 200 narrows them.",
        )
    accuracy = results.provenance.subject.get("accuracy")
    agreement = accuracy.get("agreement") if isinstance(accuracy, dict) else None
    if isinstance(agreement, float) and agreement < DIFFERENT:
        yield Advice(
            "Take the figures as statements on the methods, less on your model.",
            f"With the wall the network decides as before on {100 * agreement:.1f} % of the images "
            "alone. Training it with its wall (camaudit train) brings the two closer.",
        )


def _claims(results: Results) -> Iterator[Advice]:
    failed = [claim for claim in results.claims if claim.outcome is ClaimOutcome.FAIL]
    for check in dict.fromkeys(claim.check for claim in failed):
        number = sum(claim.check == check for claim in failed)
        count = figures.counted(number, "claim")
        if check == INVARIANCE:
            yield Advice(
                "Mend or report the explainers that break their own definition.",
                f"{count} of the invariance check failed; each has a counterexample below.",
            )
        elif check in CHECKS and check != "dead-zone":
            yield Advice(
                f"Look at what failed in {check_title(check)}.",
                f"{count} failed: a map that does not follow the network cannot explain it.",
            )
