"""The view model of the invariance check: what is counted, marked and told in full."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from camaudit.report.claims import ClaimsKind
from camaudit.report.invariance import InvarianceView, invariance_view
from camaudit.report.invariance_cells import Cell, Matrix, examples_text, seconds_text
from camaudit.report.sanity_verdict import sanity_claims
from camaudit.types import Claim, ClaimOutcome
from tests.invariance_results import (
    CODE,
    METHODS,
    PROPERTIES,
    TRACE,
    comparison,
    counterexample,
    finding,
    make_invariance,
    make_invariance_results,
)
from tests.sanity_results import CLAIMS, make_sanity


def view(**changes: Any) -> InvarianceView:
    found = invariance_view(make_invariance_results(**changes))
    assert found is not None
    return found


def of(*findings: dict[str, Any], conformance: tuple[dict[str, Any], ...] = ()) -> InvarianceView:
    """The view of those findings alone."""
    names = dict.fromkeys(one["explainer"] for one in (*findings, *conformance))
    return view(
        invariance=make_invariance(methods=tuple(names), foreign=())
        | {"findings": list(findings), "conformance": list(conformance)}
    )


def cell(matrix: Matrix, explainer: str, name: str) -> Cell:
    place = [column.name for column in matrix.columns].index(name)
    rows = (row for _, rows in matrix.groups for row in rows)
    return next(row for row in rows if row.explainer == explainer).cells[place]


def test_not_run_is_no_view() -> None:
    assert invariance_view(make_invariance_results(invariance={})) is None
    assert invariance_view(make_invariance_results(invariance={"settings": {}})) is None


def test_the_matrix_has_a_cell_for_every_property_of_every_explainer() -> None:
    drawn, own = view().matrices
    assert [column.name for column in drawn.columns] == list(PROPERTIES)
    assert [column.target for column in drawn.columns[:2]] == ["property-1", "property-2"]
    assert [column.name for column in own.columns] == [n for n, both in PROPERTIES.items() if both]
    assert own.columns[-1].target == f"property-{len(PROPERTIES)}"
    assert [(kind, len(rows)) for kind, rows in drawn.groups] == [
        ("Registered methods", len(METHODS)), ("Callables", 3),
    ]  # fmt: skip
    assert (drawn.place, own.place) == ("drawn networks", "the audited model")
    for matrix in (drawn, own):
        for _, rows in matrix.groups:
            assert all(len(row.cells) == len(matrix.columns) for row in rows)


@pytest.mark.parametrize(
    ("explainer", "name", "outcome"),
    [
        ("GradCAM", "flip", "holds"),
        ("GradCAM++", "logit-scale", "violated by definition"),
        ("mine", "batch-order", "bug"),
        ("broken", "hygiene", "fault"),
        ("EigenCAM", "completeness", "undefined"),
        ("rise(samples=8)", "translation", "not applicable"),
    ],
)
def test_marks_say_what_was_found(explainer: str, name: str, outcome: str) -> None:
    found = cell(view().matrices[0], explainer, name)
    assert found.mark is not None
    assert found.mark.outcome == outcome
    assert found.words.startswith(f"{outcome}, ")
    assert found.tooltip.startswith(f"{explainer}, {name}: {found.words}")


def test_marks_differ_without_their_colour() -> None:
    shapes = [(mark.sign, mark.text) for mark in view().legend]
    assert len(shapes) == len(set(shapes)) == 7
    assert all(sign or text for sign, text in shapes)


def test_words_count_the_examples_that_say_nothing() -> None:
    drawn = view().matrices[0]
    assert cell(drawn, "GradCAM", "flip").words == "holds, 50 examples; 3 degenerate"
    tip = cell(drawn, "rise(samples=8)", "translation").tooltip
    assert tip.endswith("0 examples; 40 passed over; seeded masks do not move with the image")
    counts = {"examples": 20000, "degenerate": 0, "unstable": 1, "passed_over": 2}
    assert examples_text(counts) == "20\u202f000 examples; 1 moved by rounding, 2 passed over"
    assert examples_text({"examples": 1}) == "1 example"


def test_cells_lead_to_what_is_told_in_full() -> None:
    found = view()
    told = {case.identifier for case in found.cases}
    told |= {case.identifier for one in found.violators for group in one.violations
             for case in group.cases}  # fmt: skip
    targets = {
        one.target
        for matrix in found.matrices
        for _, rows in matrix.groups
        for row in rows
        for one in row.cells
        if one.target
    }
    assert targets == told
    case = next(case for case in found.cases if case.identifier
                == cell(found.matrices[0], "mine", "hygiene").target)  # fmt: skip
    assert (case.explainer, case.subject) == ("mine", "hygiene")
    assert cell(found.matrices[0], "GradCAM", "hygiene").target == ""


def test_a_bug_is_told_with_everything_that_is_known_of_it() -> None:
    bug = view().cases[0]
    assert (bug.mark.outcome, bug.place) == ("bug", "drawn networks")
    assert bug.headline == "differs by 0.313, allowed 1e-06"
    lines = {line.label: line.value for line in bug.lines}
    assert lines == {
        "What must hold": "what batch-order changes leaves the same map up to a factor",
        "Difference": "0.313", "Tried": "7 examples",
    }  # fmt: skip
    assert bug.code == CODE.rstrip()
    assert bug.file == "counterexamples/mine-batch-order-5f1c.json"
    own = next(case for case in view().cases if case.place == "the audited model")
    assert (own.code, own.file) == ("", "")


def test_faults_that_say_the_same_are_one() -> None:
    faults = [case for case in view().cases if case.mark.outcome == "fault"]
    assert [(case.subject, case.place) for case in faults] == [
        ("25 properties", "drawn networks"), ("18 properties", "the audited model"),
    ]  # fmt: skip
    assert faults[0].trace == TRACE.rstrip()
    lines = {line.label: line.value for line in faults[0].lines}
    assert lines["Fault"] == "raised"
    assert lines["Properties"] == ", ".join(PROPERTIES)
    first, second = (
        finding("mine", "drawn", name, "fault", fault="raised", reason=f"because of {name}")
        for name in ("flip", "dtype")
    )
    assert [case.subject for case in of(first, second).cases] == ["flip", "dtype"]


def test_published_violations_stand_by_method_and_reason() -> None:
    by_method = {one.explainer: one.violations for one in view().violators}
    assert list(by_method) == ["GradCAM++", "AblationCAM", "ScoreCAM", "EigenCAM"]
    first, second = by_method["ScoreCAM"]
    assert first.reason == "a softmax over the classes is no linear function of the logits"
    assert [(case.subject, case.place, case.confirmed) for case in second.cases] == [
        ("channel-rescale", "drawn networks", True),
        ("channel-duplicate", "drawn networks", True),
        ("channel-rescale", "the audited model", True),
        ("channel-duplicate", "the audited model", False),
    ]


def test_comparisons_with_more_to_say_have_a_case() -> None:
    found = view().comparisons
    assert [one.mark.outcome for one in found] == [
        "different", "equal", "equal up to post-processing", "fault",
    ]  # fmt: skip
    assert [one.case is not None for one in found] == [True, False, False, True]
    assert (found[2].processing, found[2].difference) == ("min-max to 0…1", "2 × 10⁻¹²")
    assert (found[3].difference, found[3].correlation) == ("undefined", "undefined")
    assert found[0].case is not None
    lines = {line.label: line.value for line in found[0].case.lines}
    assert lines["Reason"] == "no post-processing explains it"
    assert (lines["Largest difference"], lines["Correlation there"]) == ("0.812", "0.41")


def test_properties_have_both_bounds_and_their_reason() -> None:
    listed = {one.name: one for one in view().properties}
    assert listed["flip"].tolerance == (
        "10⁻⁶ in float64, 0.002 in float32: rounding, enlarged by sums that cancel"
    )
    assert listed["hygiene"].tolerance == "0, equal to the last bit: the same operations"
    assert listed["flip"].source == "camaudit's definitions, metamorphic properties"


def test_what_says_nothing_is_drawn_together_by_reason() -> None:
    listed = view().untested
    assert [(one.method, one.status, one.images) for one in listed] == [
        ("ScoreCAM", "undefined", "1 property on drawn networks"),
        ("EigenCAM", "undefined", "1 property on drawn networks"),
        ("rise(samples=8)", "undefined", "1 property on drawn networks"),
        ("rise(samples=8)", "not applicable", "1 property on drawn networks"),
        ("CAM", "not applicable", "17 properties on the audited model"),
    ]
    assert listed[0].message == (
        "no example counts: 12 degenerate, 28 moved by rounding (completeness)"
    )
    assert listed[-1].message.startswith("the head is no pooled linear layer (logit-scale, ")


def test_verdict_names_explainers_and_properties() -> None:
    found = view().verdict
    assert found.kind is ClaimsKind.FAIL
    for sentence in (
        "1 of 12 explainers has a bug.",
        "559 findings, one for each property of each explainer: 472 hold, 19 are violated by "
        "definition, 1 is published as violated, but not confirmed, 3 are bugs, 43 are faults, "
        "3 are undefined, 18 do not apply.",
        "Bugs: mine in batch-order and hygiene on drawn networks; batch-order on the audited model",
        "Faults: broken in 25 properties (raised) on drawn networks; 18 properties (raised) on "
        "the audited model.",
        "Published as violated, but not confirmed: ScoreCAM in channel-duplicate on the audited",
        "mine differs from GradCAM on drawn networks.",
        "twin could not be compared with LayerCAM on the audited model.",
        "Of 4 comparisons with a method that is claimed: 1 equal, 1 equal up to post-processing.",
    ):
        assert sentence in found.text, sentence


HOLDS = finding("gradcam", "drawn", "flip", "holds")
FAULT = finding("mine", "drawn", "flip", "fault", fault="not finite")
SILENT = finding("cam", "drawn", "flip", "undefined")


@pytest.mark.parametrize(
    ("findings", "conformance", "kind", "headline"),
    [
        ((HOLDS,), (), ClaimsKind.PASS, "No bug found in GradCAM."),
        ((HOLDS, SILENT), (), ClaimsKind.PASS, "No bug found in GradCAM."),
        ((HOLDS, FAULT), (), ClaimsKind.OPEN, "No bug found in GradCAM."),
        ((HOLDS,), (comparison("gradcam", "cam", "different"),), ClaimsKind.OPEN,
         "No bug found in GradCAM."),
        ((FAULT,), (), ClaimsKind.NONE, "No verdict."),
        ((SILENT,), (), ClaimsKind.NONE, "No verdict."),
        ((), (comparison("gradcam", "cam", "equal"),), ClaimsKind.NONE, "No verdict."),
        ((HOLDS, finding("hirescam", "drawn", "flip", "not confirmed")), (), ClaimsKind.OPEN,
         "No bug found in 2 explainers."),
        ((finding("gradcam", "own", "flip", "bug", counterexample=counterexample()),), (),
         ClaimsKind.FAIL, "GradCAM has a bug."),
        ((finding("gradcam", "own", "flip", "something new"),), (), ClaimsKind.NONE,
         "No verdict."),
    ],
)  # fmt: skip
def test_what_says_nothing_is_never_a_pass(
    findings: tuple[dict[str, Any], ...],
    conformance: tuple[dict[str, Any], ...],
    kind: ClaimsKind,
    headline: str,
) -> None:
    found = of(*findings, conformance=conformance).verdict
    assert found.kind is kind
    assert found.text.startswith(headline)


def test_many_buggy_explainers_are_shortened_in_the_verdict_and_whole_below() -> None:
    bugs = [
        finding(f"explainer {n}", "drawn", "flip", "bug", counterexample=counterexample())
        for n in range(20)
    ]
    found = of(*bugs)
    assert "20 of 20 explainers have a bug." in found.verdict.text
    assert found.verdict.text.count("Bug: ") == 8
    assert "And 12 more explainers; all stand below." in found.verdict.text
    assert len(found.cases) == 20


def test_facts_are_those_of_the_findings() -> None:
    facts = {fact.label: (fact.value, fact.note) for fact in view().facts}
    assert facts == {
        "Explainers": ("13", "10 registered, 3 callables"),
        "Properties": ("25", "each with its source and its tolerance"),
        "Examples": ("16\u202f695", "that say something, in 3 min; 224 more say nothing"),
        "Bugs": ("3", "in 1 explainer; and 43 faults"),
        "Published violations": ("19 of 20", "confirmed by an example"),
    }
    alone = {fact.label: (fact.value, fact.note) for fact in of(HOLDS).facts}
    assert alone["Explainers"] == ("1", "all of them registered methods")
    assert alone["Bugs"] == ("0", "found")
    assert alone["Published violations"] == ("none", "is known of these explainers")


def test_setting_and_durations() -> None:
    assert view().setting == (
        "50 examples a property on drawn networks; 10 examples on the audited model; seed 0; "
        "time budget 60 s"
    )
    assert of(HOLDS).setting.count("audited model") == 0
    assert [seconds_text(value) for value in (0.01, 4.2, 59.6, 125.0, None)] == [
        "<0.1 s", "4.2 s", "60 s", "2 min", "",
    ]  # fmt: skip


def test_explainers_and_properties_that_are_not_described_are_shown_all_the_same() -> None:
    strange = finding("stray", "drawn", "unheard-of", "bug", counterexample=counterexample())
    invariance = make_invariance(own=False)
    invariance["findings"].append(strange)
    (matrix,) = view(invariance=invariance).matrices
    assert (matrix.columns[-1].name, matrix.columns[-1].target) == ("unheard-of", "")
    assert cell(matrix, "stray", "unheard-of").mark is not None
    missing = cell(matrix, "GradCAM", "unheard-of")
    assert (missing.mark, missing.words) == (None, "not run")


def test_claims_of_invariance_are_none_of_the_sanity_checks() -> None:
    own = Claim("invariance", "GradCAM keeps what must hold", ClaimOutcome.PASS, 0.0, "≤", 0.0, "")
    sanity = make_sanity(checks=("mprt",), orders=("top-down",))
    sanity["settings"]["checks"].append("invariance")
    assert sanity_claims([*CLAIMS, own], sanity) == list(CLAIMS)
    results = dataclasses.replace(make_invariance_results(), claims=[*CLAIMS, own])
    found = invariance_view(results)
    assert found is not None
    (group,) = found.claims
    assert group.title == "Invariance"
    assert [row.statement for row in group.rows] == ["GradCAM keeps what must hold"]
