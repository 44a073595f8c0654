"""What to do, the cards, the comparison of two runs, and what a notebook shows."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from camaudit.gates.diff import compare
from camaudit.report.advice import advice
from camaudit.report.cards import cards
from camaudit.report.comparison import comparison_view
from camaudit.report.html import render
from camaudit.report.notebook import results_block
from camaudit.types import Claim, ClaimOutcome, Results
from tests.report.page import Page

Build = Callable[..., Results]


def told(results: Results) -> list[str]:
    return [one.action for one in advice(results, results.summary)]


def changed(results: Results, **changes: Any) -> Results:
    return dataclasses.replace(
        results, provenance=dataclasses.replace(results.provenance, **changes)
    )


def test_the_advice_names_who_lights_and_who_does_not(results: Results) -> None:
    lit, zero, undefined, more = told(results)
    assert lit.startswith("Do not read ScoreCAM, EigenCAM, GradCAM++") or "EigenCAM" in lit
    assert zero == (
        "Use GradCAM-ElementWise, HiResCAM and LayerCAM in place of those where a map must not "
        "show what has no influence."
    ) or ("HiResCAM" in zero and "LayerCAM" in zero)
    assert undefined == "Find out why CAM and broken have no figure."
    assert more == "Audit more images before you rank methods."
    assert not any("Uniform" in text for text in (lit, zero))


def test_the_advice_follows_from_zone_claims_and_gate(results: Results) -> None:
    unverified = changed(results, zone={**results.provenance.zone, "verified": False})
    assert told(unverified)[0] == "Do not quote these figures yet."
    subject = {**results.provenance.subject, "accuracy": {"agreement": 0.5}}
    assert told(changed(results, subject=subject))[-1].startswith("Take the figures as statements")
    failed = [
        Claim(check, "s", ClaimOutcome.FAIL, 1.0, "<", 0.5, "")
        for check in ("mprt", "mprt", "invariance", "dead-zone")
    ]
    found = advice(dataclasses.replace(results, claims=failed), results.summary)
    assert [one.why.split(" failed")[0] for one in found[-2:]] == [
        "2 claims",
        "1 claim of the invariance check",
    ]
    gate = dataclasses.replace(results, gate={"decision": "fail"})
    assert told(gate)[0] == "Do not ship this change as it is."


def test_a_clean_run_is_not_told_to_replace_anything(build: Build) -> None:
    results = build()
    clean = [entry for entry in results.summary if entry.method in ("hirescam", "layercam")]
    texts = [one.action for one in advice(results, clean)]
    assert texts[0] == "Use HiResCAM and LayerCAM where a map must not show what has no influence."
    assert advice(results, [e for e in results.summary if e.family == "control"]) == ()


def test_a_card_has_figure_rank_meaning_and_paper(results: Results) -> None:
    paper = {"paper": "Selvaraju et al. 2017", "equation": "eqs. 1-2", "formula": "ReLU(Σ w A)",
             "family": "gradient"}  # fmt: skip
    settings = {**results.provenance.settings, "papers": {"gradcam": paper}}
    made = {card.method: card for card in cards(changed(results, settings=settings),
                                                results.summary)}  # fmt: skip
    gradcam = made["GradCAM"]
    assert gradcam.paper == "Selvaraju et al. 2017, eqs. 1-2"
    assert gradcam.formula == "ReLU(Σ w A)"
    assert gradcam.bounds.startswith("[")
    assert "of what a map that points nowhere would put there (35.7 %)" in gradcam.meaning
    assert made["HiResCAM"].rank == "rank 1–3 of 10, lowest μ first"
    assert made["EigenCAM"].rank == "rank 10 of 10, lowest μ first"
    assert (made["CAM"].rank, made["CAM"].paper) == ("no rank", "")
    assert "6 not applicable" in made["CAM"].meaning
    assert "1 map without a figure" in made["GradCAM-ElementWise"].meaning
    assert "Uniform" not in made


def test_papers_stand_in_the_cards_and_not_in_the_provenance(results: Results) -> None:
    paper = {"paper": "P 2020", "equation": "-", "formula": "f", "family": "gradient"}
    settings = {**results.provenance.settings, "papers": {"gradcam": paper}}
    assert Page(render(changed(results, settings=settings))).text.count("P 2020") == 1


def test_contents_lead_to_what_is_there(results: Results) -> None:
    page = Page(render(results))
    targets = {attributes.get("id") for _, attributes in page.tags}
    links = [a["href"] for tag, a in page.tags if tag == "a" and (a["href"] or "").startswith("#")]
    assert len(links) > 5
    assert {link[1:] for link in links if link} <= targets
    assert "#explorer" not in links


def pair(results: Results) -> tuple[Results, Results]:
    """A run and an earlier one: another torch, a method fewer, GradCAM worse in the later."""
    environment = {**results.provenance.environment, "torch": "2.7.0"}
    records = [
        dataclasses.replace(record, mu_l1=(record.mu_l1 or 0.0) / 2)
        if record.method == "gradcam"
        else record
        for record in results.records
        if record.method != "layercam"
    ]
    summary = [entry for entry in results.summary if entry.method != "layercam"]
    other = dataclasses.replace(
        changed(results, environment=environment), records=records, summary=summary
    )
    return results, other


def test_a_comparison_says_what_was_otherwise_and_what_became_of_it(results: Results) -> None:
    this, other = pair(results)
    found = compare(other.to_dict(), this.to_dict()).to_dict()
    view = comparison_view(this, other, found, name="before")
    assert [(row.label, row.this, row.other) for row in view.settings] == [
        ("environment: torch", "2.8.0", "2.7.0")
    ]
    assert (view.gained, view.lost) == ("LayerCAM", "")
    assert view.images.startswith("6 images in both runs; 0 in this one alone")
    row = next(row for row in view.changes if row.explainer == "GradCAM")
    assert float(row.this) == pytest.approx(2 * float(row.other), rel=0.01)
    assert (row.change, row.kind, row.n) == ("worse", "lit", "6")
    page = Page(render(this, comparison=view))
    assert "Compared with before" in page.text
    assert any("GradCAM" in cells[:1] for cells in page.rows)


def test_runs_that_cannot_be_paired_show_their_own_means(results: Results) -> None:
    subject = {**results.provenance.subject, "layer": "features.7"}
    other = changed(results, subject=subject)
    found = compare(other.to_dict(), results.to_dict()).to_dict()
    view = comparison_view(results, other, found, name="b")
    assert view.headline.startswith("These runs cannot be paired")
    row = view.changed[0]
    mean = next(one.mu_l1.mean for one in results.summary if one.method == "gradcam")
    assert (row.explainer, row.change, row.reason) == (
        "GradCAM", "not comparable", "they differ in layer",
    )  # fmt: skip
    assert float(row.this) == float(row.other) == pytest.approx(mean, rel=0.01)
    assert row.difference == "–"


def test_hostile_runs_can_be_compared(hostile_results: Results, results: Results) -> None:
    found = compare(results.to_dict(), results.to_dict()).to_dict()
    view = comparison_view(hostile_results, results, found, name="<script>alert(1)</script>")
    honest = render(results, comparison=comparison_view(results, results, found, name="b"))
    page = Page(render(hostile_results, comparison=view))
    assert len(page.raw["script"]) == len(Page(honest).raw["script"])


def test_a_notebook_shows_results(results: Results, hostile_results: Results, build: Build) -> None:
    block = results._repr_html_()
    assert block == results_block(results)
    page = Page(block)
    assert "light up what the network cannot see" in page.text
    assert ["HiResCAM", "0 (exact)"] in [row[:2] for row in page.rows]
    hostile = Page(results_block(hostile_results))
    assert {tag for tag, _ in hostile.tags} == {tag for tag, _ in page.tags}
    hostile.text.encode()
    alone = build(summary=[], records=[])
    assert "No dead zone was audited" in results_block(alone)
