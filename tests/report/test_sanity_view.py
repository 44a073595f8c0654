"""The view model of the sanity checks: which cell is what, and where it is drawn."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest

from camaudit.errors import AuditError, ImageError
from camaudit.report.claims import ClaimsKind
from camaudit.report.names import title
from camaudit.report.plots import Curve
from camaudit.report.sanity import SanityView, sanity_view
from camaudit.report.sanity_bars import rankings
from camaudit.report.sanity_cells import Reasons, curve_cells
from camaudit.report.sanity_curves import CascadeView, Panel, cascade_views
from camaudit.report.sanity_pictures import SanityPicture, shown_steps, strips
from camaudit.report.sanity_steps import cascades, preferred, stretches
from camaudit.report.sanity_verdict import method_of, outcome_of, sanity_verdict
from camaudit.types import Claim, ClaimOutcome
from tests.sanity_results import (
    CLAIMS,
    IMAGES,
    LAYERS,
    SEEDS,
    make_pictures,
    make_sanity,
    make_sanity_results,
    photo,
)

MPRT = {"checks": ("mprt",), "similarities": ("spearman", "ssim")}


def cascade(order: str, **options: Any) -> CascadeView:
    sanity = make_sanity(**{**MPRT, "orders": (order,), **options})
    (view,) = cascade_views(sanity, "mprt", Reasons(sanity["remarks"]))
    return view


def panel(view: CascadeView, name: str, measure: int = 0) -> Panel:
    return next(one for one in view.measures[measure].panels if one.method == name)


def curves(found: Panel, label: str) -> list[Curve]:
    return [curve for curve in found.plot.curves if curve.label == label]


def value(y: float, low: float = -1.0) -> float:
    """The similarity that stands at a height."""
    return low + (1 - low) * (1 - y / 100)


def view(**changes: Any) -> SanityView:
    found = sanity_view(make_sanity_results(**changes))
    assert found is not None
    return found


def test_means_and_nulls_stand_at_their_heights() -> None:
    sanity = make_sanity(**{**MPRT, "orders": ("top-down",)})
    (shown,) = cascade_views(sanity, "mprt", Reasons(sanity["remarks"]))
    found = panel(shown, "GradCAM")
    (mean,) = curves(found, "mean over seeds and images")
    effects = [one for one in sanity["effects"]
               if (one["method"], one["figure"]) == ("gradcam", "spearman")]  # fmt: skip
    assert [value(point.y) for point in mean.points] == pytest.approx(
        [1.0, *(one["similarity"]["mean"] for one in effects)], abs=2e-4
    )
    assert [value(point.low or 0) for point in mean.points[1:]] == pytest.approx(
        [one["similarity"]["ci_low"] for one in effects], abs=2e-4
    )
    level = found.plot.level
    assert level is not None
    assert level.y is not None
    assert value(level.y) == pytest.approx(effects[0]["null"]["mean"], abs=2e-4)
    assert value(level.low or 0) == pytest.approx(effects[0]["null"]["ci_low"], abs=2e-4)


def test_thin_lines_are_the_means_of_single_seeds() -> None:
    sanity = make_sanity(**{**MPRT, "orders": ("top-down",)})
    (shown,) = cascade_views(sanity, "mprt", Reasons(sanity["remarks"]))
    seeds = curves(panel(shown, "GradCAM"), "one seed")
    assert len(seeds) == len(SEEDS)
    values = sanity["curves"][0]["values"]
    for curve, rows in zip(seeds, values, strict=True):
        assert curve.faint
        heights = [float(pair.split()[1]) for pair in curve.path[1:].split("L")]
        assert [value(y) for y in heights] == pytest.approx(
            [1.0, *(math.fsum(row) / len(row) for row in rows)], abs=2e-4
        )


def test_the_trained_point_starts_cascades_and_no_other_order() -> None:
    for order, starts in (("top-down", True), ("bottom-up", True), ("independent", False)):
        found = panel(cascade(order), "GradCAM")
        (trained,) = curves(found, "trained")
        assert len(trained.points) == starts
        assert len(found.plot.x_marks) == len(LAYERS) + starts
        assert trained.path == ""


def test_unchanged_steps_are_hollow_marks_and_no_scores() -> None:
    shown = cascade("top-down")
    found = panel(shown, "EigenCAM")
    (mean,) = curves(found, "mean over seeds and images")
    (same,) = curves(found, "unchanged by construction")
    assert [point.x for point in same.points] == [mark.position for mark in found.plot.x_marks[1:4]]
    assert {point.y for point in same.points} == {0.0}
    assert same.style is not None
    assert same.style.marker == "ring"
    assert same.path == ""
    assert len(mean.points) == 1 + len(LAYERS) - 3
    assert mean.path.count("M") == 1  # nothing leads from the trained model over the gap
    assert found.notes == ("Steps 1–3: unchanged by construction.",)
    row = next(row for row in shown.measures[0].last.rows if row[0] == "EigenCAM")
    assert row[-1] == f"{3 * len(SEEDS) * IMAGES} unchanged by construction"
    cells = [row[shown.measures[0].steps.columns.index("EigenCAM")]
             for row in shown.measures[0].steps.rows]  # fmt: skip
    assert cells[:3] == ["unchanged by construction"] * 3
    assert cells[3][0].isdigit()


def test_a_last_step_without_a_score_has_no_distance() -> None:
    shown = cascade("independent")
    row = next(row for row in shown.measures[0].last.rows if row[0] == "EigenCAM")
    assert row[1] == "unchanged by construction"
    assert row[3] == "no score"
    assert row[4] == "0"
    assert panel(shown, "EigenCAM").last == "unchanged by construction"


def test_undefined_steps_are_gaps_with_words() -> None:
    found = panel(cascade("bottom-up"), "GradCAM++")
    (mean,) = curves(found, "mean over seeds and images")
    assert mean.path.count("M") == 2
    assert found.notes == ("Step 3: undefined.",)
    partly = panel(cascade("top-down"), "scorecam(score=probability)")
    assert partly.notes == ("Step 4: undefined in some cells, which the mean leaves out.",)
    assert len(curves(partly, "mean over seeds and images")[0].points) == len(LAYERS) + 1


def test_a_method_without_any_score_says_why() -> None:
    shown = cascade("top-down")
    for name, word in (("broken", "error"), ("Uniform", "undefined")):
        found = panel(shown, name)
        assert found.last == word
        assert found.notes == (f"Steps 1–{len(LAYERS)}: {word}.", "The null is undefined.")
        assert found.plot.level is not None
        assert found.plot.level.y is None
        assert word in found.alternative


def test_a_control_that_stays_at_one_is_scored() -> None:
    found = panel(cascade("top-down"), "Sobel edges")
    assert found.control
    assert found.last == "1 [1, 1]"
    (mean,) = curves(found, "mean over seeds and images")
    assert {point.y for point in mean.points} == {0.0}
    assert not curves(found, "unchanged by construction")[0].points


def test_the_target_layer_stands_before_its_step() -> None:
    places = {order: panel(cascade(order, orders=(order,)), "GradCAM").plot
              for order in ("top-down", "independent")}  # fmt: skip
    assert places["top-down"].edge == pytest.approx(100 * 4 / 9, abs=0.01)
    assert places["top-down"].spans[0].start == 0
    assert places["top-down"].spans[0].width == places["top-down"].edge
    assert places["independent"].edge == pytest.approx(100 * 5 / 8, abs=0.01)
    assert places["independent"].spans[0].start == places["independent"].edge
    assert panel(cascade("bottom-up"), "GradCAM").plot.edge is None  # no order tells
    both = make_sanity(**{**MPRT, "orders": ("independent", "bottom-up")})
    known = cascades(both, "mprt")["bottom-up"]
    assert known.target == 5
    assert "from step 5 on" in known.target_text
    assert not any(known.above)


@pytest.mark.parametrize(
    ("least", "labels"),
    [
        (0.0, ["0", "0.25", "0.5", "0.75", "1"]),
        (-0.1, ["−0.25", "0", "0.25", "0.5", "0.75", "1"]),
        (-0.5, ["−0.5", "0", "0.5", "1"]),
        (-0.6, ["−1", "−0.5", "0", "0.5", "1"]),
    ],
)
def test_all_panels_of_ssim_share_an_axis_that_holds_everything(
    least: float, labels: list[str]
) -> None:
    sanity = make_sanity(**{**MPRT, "orders": ("top-down",), "seeds": (0, 1)})
    for entry in sanity["effects"]:
        entry["null"]["mean"] = abs(entry["null"]["mean"] or 0.0)
    curve = next(one for one in sanity["curves"] if one["similarity"] == "ssim")
    curve["values"][0][0] = [least] * IMAGES
    (shown,) = cascade_views(sanity, "mprt", Reasons(sanity["remarks"]))
    for found in shown.measures[1].panels:
        assert [mark.label for mark in found.plot.y_marks] == labels
    spearman = shown.measures[0].panels[0].plot.y_marks
    assert [mark.label for mark in spearman] == ["−1", "−0.5", "0", "0.5", "1"]


def test_few_seeds_have_no_intervals_and_one_seed_no_thin_lines() -> None:
    found = panel(cascade("top-down", seeds=(0, 1)), "GradCAM")
    (mean,) = curves(found, "mean over seeds and images")
    assert mean.band == ""
    assert found.plot.level is not None
    assert found.plot.level.low is None
    assert "[" not in found.last
    alone = panel(cascade("top-down", seeds=(0,)), "GradCAM")
    assert not curves(alone, "one seed")
    assert "The null is undefined." in alone.notes


@pytest.mark.parametrize("order", ["top-down", "bottom-up", "independent"])
def test_a_single_step(order: str) -> None:
    shown = cascade(order, layers=("fc",))
    found = panel(shown, "GradCAM")
    assert found.plot.x_marks[-1].label == "fc"
    assert len(shown.measures[0].steps.rows) == 1
    assert "after step 1 of 1" in found.alternative


def test_words_of_a_plot() -> None:
    text = panel(cascade("top-down"), "EigenCAM").alternative
    for part in (
        "EigenCAM: Spearman between the maps of the trained and the randomised model, from the "
        "logits down",
        "after step 1 of 8 unchanged by construction",
        "after step 4 of 8 0.",
        "null 0.",
        "Steps 1–3: unchanged by construction.",
    ):
        assert part in text


def test_exact_remarks_win_over_those_that_only_cover() -> None:
    remark = {"check": "mprt", "order": "top-down", "method": "m", "similarities": ["spearman"],
              "reason": "r"}  # fmt: skip
    loose = {**remark, "outcome": "undefined", "seeds": [0, 1], "steps": [1, 2], "images": [0, 1],
             "count": 3}  # fmt: skip
    exact = {**remark, "outcome": "error", "seeds": [1], "steps": [1], "images": [1], "count": 1}
    reasons = Reasons([loose, exact, {"outcome": None, "reason": "a note", "layer": "fc"}])
    key = ("mprt", "top-down", "m", "spearman")
    assert reasons.outcome(key, (1, 1, 1)) == "error"
    assert reasons.outcome(key, (0, 2, 0)) == "undefined"
    assert reasons.outcome(("mprt", "top-down", "m", "ssim"), (1, 1, 1)) == "undefined"
    assert reasons.outcome(("mprt", "top-down", "other", "ssim"), (0, 1, 0)) == "undefined"


def test_cells_are_counted_step_by_step() -> None:
    curve = {"check": "mprt", "order": "top-down", "method": "m", "similarity": "spearman",
             "values": [[[0.5, None], [None, None]], [[0.1, 0.3], [None, None]]]}  # fmt: skip
    cells = curve_cells(curve, Reasons([]), steps=2)
    assert cells.seeds == ((0.5, None), (0.2, None))
    assert cells.scored == (3, 0)
    assert [dict(counts) for counts in cells.missing] == [{"undefined": 1}, {"undefined": 4}]
    assert [cells.outcome(step) for step in (0, 1)] == [None, "undefined"]
    with pytest.raises(AuditError, match="expected 3 steps"):
        curve_cells(curve, Reasons([]), steps=3)


def test_names_of_steps() -> None:
    assert stretches([2]) == "Step 2"
    assert stretches([1, 3, 4, 5]) == "Steps 1, 3–5"
    assert preferred(["independent", "bottom-up", "top-down"]) == "top-down"
    assert preferred(["independent"]) == "independent"


def test_bars_stand_on_zero_and_are_ranked() -> None:
    sanity = make_sanity(checks=("emprt", "random-logit"))
    (rise,) = rankings(sanity, "emprt", Reasons(sanity["remarks"]))
    scored = [row for row in rise.methods if row.value is not None]
    assert [row.value for row in scored] == sorted((row.value or 0 for row in scored), reverse=True)
    for row in scored:
        assert row.mean is not None
        assert row.value is not None
        left, right = (rise.zero, row.mean) if row.value > 0 else (row.mean, rise.zero)
        assert (row.start, row.width) == (left, pytest.approx(right - left, abs=0.011))
    zero = next(tick for tick in rise.ticks if tick.label == "0")
    assert zero.position == pytest.approx(rise.zero, abs=0.01)
    assert rise.methods[-1].text == "no score"
    assert rise.methods[-1].missing == f"{len(SEEDS) * IMAGES} error"
    sobel, uniform = rise.controls
    assert (sobel.text, sobel.width) == ("0 (exact)", 0.0)
    assert (uniform.text, uniform.mean) == ("no score", None)
    logit = rankings(sanity, "random-logit", Reasons(sanity["remarks"]))[0]
    assert logit.zero == 0.0
    blind = next(row for row in logit.methods if row.method == "EigenCAM")
    assert blind.missing == f"{5 * IMAGES} unchanged by construction"


@pytest.mark.parametrize("scale", [1e-4, 0.02, 0.3, 7.0])
def test_axes_of_rises_hold_everything(scale: float) -> None:
    for signs in ((1,), (-1,), (-1, 1), (0,)):
        sanity = make_sanity(checks=("emprt",), methods=("gradcam", "eigencam"))
        for table, sign in zip(sanity["tables"], signs, strict=False):
            table["mean"] |= {"mean": sign * scale, "ci_low": sign * scale * 1.2,
                              "ci_high": sign * scale * 0.9}  # fmt: skip
        if len(signs) == 1:
            sanity["tables"] = sanity["tables"][:1]
        (rise,) = rankings(sanity, "emprt", Reasons([]))
        assert 0 <= rise.zero <= 100
        assert 2 <= len(rise.ticks) <= 9
        assert any(tick.label == "0" for tick in rise.ticks)
        assert len({tick.label for tick in rise.ticks}) == len(rise.ticks)
        for row in rise.methods:
            assert row.mean is not None
            assert (row.mean > rise.zero) == ((row.value or 0) > 0)


LABELS = ("gradcam", "gradcam++", "cam", "scorecam(score=probability)")


@pytest.mark.parametrize(
    ("statement", "method"),
    [
        ("GradCAM changes with the weights", "gradcam"),
        ("GradCAM++ changes with the weights", "gradcam++"),
        ("CAM: changes", "cam"),
        ("scorecam(score=probability) changes", "scorecam(score=probability)"),
        ("GradCAMs change", None),
        ("Nothing changes", None),
    ],
)
def test_claims_find_their_methods(statement: str, method: str | None) -> None:
    claim = Claim("mprt", statement, ClaimOutcome.PASS, 0.0, "≤", 1.0, "")
    assert method_of(claim, LABELS) == method
    assert outcome_of([claim], LABELS) == ({method: ClaimOutcome.PASS} if method else {})


def test_the_verdict_names_failures_and_sets_controls_apart() -> None:
    found = sanity_verdict(CLAIMS, make_sanity(checks=("mprt", "random-logit")))
    assert found.kind is ClaimsKind.FAIL
    assert found.text == (
        "1 of 5 methods fails a sanity check. 7 verdicts: 3 pass, 1 fails, 1 is inconclusive, "
        "1 does not apply, 1 could not be tested. Fails: FullGrad changes with the weights; "
        "0.57 ≤ 0.5 does not hold. Of the controls, Sobel edges fails."
    )


@pytest.mark.parametrize(
    ("kept", "kind", "headline"),
    [
        ((0, 1), ClaimsKind.PASS, "All 2 methods pass the sanity check."),
        ((0, 6), ClaimsKind.PASS, "The one method tested passes every sanity check."),
        ((0, 2), ClaimsKind.OPEN, "1 of 2 methods passes the sanity check, none fails."),
        ((0, 3), ClaimsKind.FAIL, "1 of 2 methods fails the sanity check."),
        ((2, 4), ClaimsKind.NONE, "No verdict."),
        ((7,), ClaimsKind.NONE, "No verdict."),
        ((5,), ClaimsKind.NONE, "No verdict."),
        ((), ClaimsKind.NONE, "No verdict."),
    ],
)
def test_headlines(kept: tuple[int, ...], kind: ClaimsKind, headline: str) -> None:
    found = sanity_verdict([CLAIMS[number] for number in kept], make_sanity(checks=("mprt",)))
    assert found.kind is kind
    assert "".join(part.text for part in found.sentences[0]) == headline


def test_without_claims_it_says_that_nothing_was_judged() -> None:
    assert "No method was judged in this run" in view(claims=[]).verdict.text


def test_the_whole_view() -> None:
    found = view()
    assert [check.name for check in found.checks] == [
        "mprt", "smprt", "emprt", "random-logit", "data-randomisation",
    ]  # fmt: skip
    assert [len(check.cascades) for check in found.checks] == [3, 3, 0, 0, 0]
    assert [len(check.rankings) for check in found.checks] == [0, 0, 1, 4, 4]
    assert [fact.value for fact in found.facts] == ["5", "6", "7", "8", "6"]
    assert found.notes == ("head.scale: its weights are all 0 and stay 0",)
    reasons = {(entry.method, entry.status) for entry in found.unscored}
    assert ("EigenCAM", "unchanged by construction") in reasons
    assert ("broken", "error") in reasons
    assert found.limits[0].claim == "Necessary, not sufficient."
    said = " ".join(paragraph.detail for paragraph in found.limits)
    for name in ("Adebayo et al. 2018", "Binder et al. 2023", "Hedström et al. 2024"):
        assert name in said


@pytest.mark.parametrize("check", ["emprt", "random-logit", "data-randomisation"])
def test_one_check_alone(check: str) -> None:
    found = view(sanity=make_sanity(checks=(check,)))
    assert [one.name for one in found.checks] == [check]
    assert len(found.limits) == (4 if check == "emprt" else 2)


def test_nothing_run_is_no_view() -> None:
    assert sanity_view(make_sanity_results(sanity={})) is None
    bare = sanity_view(make_sanity_results(sanity={"settings": {"checks": ["mprt"]}}))
    assert bare is not None
    assert bare.checks[0].cascades == ()


def test_curves_and_steps_must_agree() -> None:
    sanity = copy.deepcopy(make_sanity(checks=("mprt",)))
    sanity["curves"][0]["values"][0].pop()
    with pytest.raises(AuditError, match="expected 8 steps in every curve"):
        view(sanity=sanity)


def test_pictures_show_at_most_eight_steps_and_controls_last() -> None:
    sanity = make_sanity(checks=("mprt",), orders=("top-down",))
    (strip,) = strips(make_pictures(1), sanity)
    assert len(strip.steps) == 8
    assert (strip.steps[0], strip.steps[-1]) == ("trained", LAYERS[0])
    assert [row[0] for row in strip.methods[-2:]] == ["Sobel edges", "Uniform"]
    cells = {method: row for method, _, row in strip.methods}
    assert {cell.reason for cell in cells["broken"]} == {"no map"}
    assert all(cell.overlay for cell in cells["Uniform"])
    assert cells["GradCAM"][1].alternative == "GradCAM on Image 0, classifier.6"
    assert strip.note == "Model parameter randomisation (MPRT), from the logits down, seed 0"
    assert shown_steps(9) == (0, 1, 2, 3, 5, 6, 7, 8)
    assert shown_steps(1) == (0,)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pixels": photo().astype(float)}, "uint8 pixels"),
        ({"steps": ("trained",)}, "expected 1 maps of 'gradcam', one a step, got 2"),
        ({"maps": {"gradcam": (None, np.ones((2, 2)))}}, "upsample them first"),
    ],
)
def test_pictures_that_do_not_fit_are_refused(change: dict[str, Any], message: str) -> None:
    values: dict[str, Any] = {
        "id": "a", "title": "A", "pixels": photo(), "check": "mprt", "order": "top-down",
        "seed": 0, "steps": ("trained", "fc"), "maps": {"gradcam": (None, None)},
    }  # fmt: skip
    with pytest.raises(ImageError, match=message):
        SanityPicture(**(values | change))


def test_titles_are_those_of_the_literature() -> None:
    assert title("sobel") == "Sobel edges"
