"""The view model: every printed figure, the verdict's rule, and the bars' geometry."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import pytest

from camaudit.errors import UsageError
from camaudit.report import figures
from camaudit.report.names import title
from camaudit.report.origin import describe
from camaudit.report.verdict import Finding, Kind
from camaudit.report.view import ReportView, Row, accuracy_text, report_view, select_check
from camaudit.types import Interval, Results, Summary

BuildResults = Callable[..., Results]


def entry(method: str, mean: float | None, **changes: Any) -> Summary:
    """A summary line with an interval of ±0.03 around `mean`."""
    if mean is None:
        share = Interval(0, None, None, None, None)
    else:
        share = Interval(40, mean, max(mean - 0.03, 0.0) if mean else 0.0,
                         mean + 0.04 if mean else 0.0, 0.1)  # fmt: skip
    line = Summary(
        check="dead-zone", method=method, family="gradient", n=share.n, degenerate=0,
        not_applicable=0, errors=0, mu_l1=share, mu_l2=share, mu_l1_minmax=share, uniform=0.357,
        uniform_l2=math.sqrt(0.357), unmasked=None, unmasked_l2=None,
        difference=None,
    )  # fmt: skip
    return dataclasses.replace(line, **changes)


def by_name(view: ReportView, name: str) -> Row:
    return next(row for row in (*view.methods, *view.controls) if row.name == name)


@pytest.mark.parametrize(
    ("share", "printed"),
    [
        (None, "undefined"), (math.nan, "undefined"), (math.inf, "undefined"),
        (0.0, "0 (exact)"), (-0.0, "0 (exact)"), (1e-300, "<0.1 %"), (0.0003, "<0.1 %"),
        (0.00099, "<0.1 %"), (0.001, "0.1 %"), (0.357142, "35.7 %"), (0.9994, "99.9 %"),
        (0.9997, ">99.9 %"), (1.0, "100.0 %"),
    ],
)  # fmt: skip
def test_percent(share: float | None, printed: str) -> None:
    assert figures.percent(share) == printed


@pytest.mark.parametrize(
    ("difference", "printed"),
    [(None, "undefined"), (math.nan, "undefined"), (0.0, "0 (exact)"), (0.0213, "+2.1 pp"),
     (-0.104, "−10.4 pp"), (0.0002, "<+0.1 pp"), (-0.0002, ">−0.1 pp")],
)  # fmt: skip
def test_points(difference: float | None, printed: str) -> None:
    assert figures.points(difference) == printed


def test_intervals() -> None:
    assert figures.interval(Interval(9, 0.31, 0.2801, 0.3512, 0.1)) == "[28.0–35.1 %]"
    assert figures.interval(Interval(9, 0.0, 0.0, 0.0, 0.0)) == "[0–0 %]"
    assert figures.interval(Interval(9, 0.0003, 0.0, 0.0004, 0.1)) == "[0–<0.1 %]"
    assert figures.interval(Interval(1, 0.31, None, None, None)) == ""
    assert figures.interval(Interval(9, 0.31, math.nan, 0.4, None)) == ""
    assert figures.interval(None) == figures.points_interval(None) == ""
    assert figures.points_interval(Interval(9, 0.01, -0.012, 0.04, 0.1)) == "[−1.2 to +4.0 pp]"


def test_joined_and_counted() -> None:
    assert figures.joined([]) == ""
    assert figures.joined(["A"]) == "A"
    assert figures.joined(["A", "B"]) == "A and B"
    assert figures.joined(list("ABCD"), limit=2) == "A, B and 2 more"
    assert figures.counted(1, "image") == "1 image"
    assert figures.counted(0, "image") == "0 images"


def test_verdict_in_full(build: BuildResults) -> None:
    summary = [entry("gradcam", 0.12), entry("hirescam", 0.0), entry("layercam", 0.0),
               entry("eigencam", 0.31), entry("uniform", 0.357, family="control")]  # fmt: skip
    verdict = report_view(build(summary=summary)).verdict
    assert verdict.kind is Kind.LIT
    assert verdict.text == (
        "2 of 4 methods light up what the network cannot see. Worst: EigenCAM puts 31.0 % "
        "[28.0–35.0 %] of its map in the dead zone, where a uniform map would put 35.7 %. "
        "HiResCAM and LayerCAM put exactly 0 there."
    )
    assert "above 0" in verdict.rule


def test_verdict_on_one_clean_method(build: BuildResults) -> None:
    verdict = report_view(build(summary=[entry("hirescam", 0.0)])).verdict
    assert verdict.kind is Kind.CLEAN
    assert verdict.text.startswith("The one method scored puts exactly 0 of the map in the dead ")


def test_verdict_when_all_are_clean(build: BuildResults) -> None:
    summary = [
        entry("hirescam", 0.0),
        entry("layercam", 0.0),
        entry("sobel", 0.4, family="control"),
    ]
    verdict = report_view(build(summary=summary)).verdict
    assert verdict.kind is Kind.CLEAN
    assert verdict.text == (
        "Both methods put exactly 0 of the map in the dead zone. That rules out this one fault; "
        "it does not prove the rest of a map right."
    )


def test_a_tiny_share_counts_as_lit(build: BuildResults) -> None:
    verdict = report_view(build(summary=[entry("gradcam", 1e-9)])).verdict
    assert verdict.kind is Kind.LIT
    assert verdict.text.startswith("1 of 1 method lights up what the network cannot see.")
    assert "puts <0.1 %" in verdict.text


def test_degenerate_methods_never_pass(build: BuildResults) -> None:
    verdict = report_view(build(summary=[entry("cam", None, degenerate=4)])).verdict
    assert verdict.kind is Kind.NONE
    assert verdict.text.endswith("Nothing passes.")
    some = report_view(build(summary=[entry("cam", None), entry("hirescam", 0.0)])).verdict
    assert some.kind is Kind.CLEAN
    assert "CAM has no defined figure on any image, which is not a pass." in some.text


@pytest.mark.parametrize(
    ("summary", "words"),
    [([], "only controls"), ([entry("uniform", 0.3, family="control")], "only controls"),
     ([entry("gradcam", 0.0, uniform=0.0, uniform_l2=0.0)], "scored zone is empty")],
)  # fmt: skip
def test_no_verdict(build: BuildResults, summary: list[Summary], words: str) -> None:
    verdict = report_view(build(summary=summary)).verdict
    assert verdict.kind is Kind.NONE
    assert words in verdict.text


def test_an_unverified_zone_makes_the_verdict_provisional(results: Results) -> None:
    results.provenance.zone["verified"] = False
    view = report_view(results)
    assert "provisional" in view.verdict.text
    assert not view.verified
    assert "proof is incomplete" in view.shows[0].detail
    assert view.facts[1].value == "no"


def test_bit_equality_is_claimed_only_where_it_was_found(results: Results) -> None:
    assert "equal to the last bit" in report_view(results).shows[0].detail
    results.provenance.zone["verification"]["bit_equal"] = False
    view = report_view(results)
    assert "within the stated bound" in view.shows[0].detail
    assert "last bit" not in view.facts[1].note


def test_rows_are_ranked_with_controls_apart(results: Results) -> None:
    view = report_view(results)
    assert [row.method for row in view.methods] == [
        "EigenCAM", "ScoreCAM", "GradCAM++", "GradCAM", "AblationCAM", "XGradCAM", "ScoreCAM++",
        "GradCAM-ElementWise", "HiResCAM", "LayerCAM", "CAM", "broken",
    ]  # fmt: skip
    assert [row.method for row in view.controls] == ["Sobel edges", "Random", "Uniform"]
    assert {row.control for row in view.controls} == {True}


def test_rows_carry_the_figures(results: Results) -> None:
    view = report_view(results)
    eigencam, source = by_name(view, "eigencam"), results.summary[6]
    assert source.method == "eigencam"
    assert eigencam.mu_l1.value == source.mu_l1.mean
    assert eigencam.mu_l1.text == f"{100 * (source.mu_l1.mean or 0):.1f} %"
    assert eigencam.difference.text.startswith("−")
    assert eigencam.difference.text.endswith(" pp")
    assert eigencam.uniform == "35.7 %"
    assert eigencam.n == 6
    layercam = by_name(view, "layercam")
    assert (layercam.mu_l1.text, layercam.finding) == ("0 (exact)", Finding.ZERO)
    tiny = by_name(view, "scorecam++")
    assert (tiny.mu_l1.text, tiny.mu_l1.bounds, tiny.n) == ("<0.1 %", "", 1)
    failed = by_name(view, "broken")
    assert (failed.mu_l1.text, failed.unmasked.text) == ("undefined", "not run")
    assert failed.unscored == "6 failed"
    assert by_name(view, "cam").unscored == "6 not applicable"
    assert by_name(view, "elementwise").unscored == "1 degenerate"
    assert by_name(view, "uniform").mu_l1_minmax.text == "undefined"


def test_bars_lie_on_the_axis(build: BuildResults) -> None:
    summary = [entry("gradcam", 0.31), entry("hirescam", 0.0), entry("cam", None)]
    view = report_view(build(summary=summary))
    assert view.axis.maximum == pytest.approx(0.4)
    assert [tick.label for tick in view.axis.ticks] == ["0 %", "10 %", "20 %", "30 %", "40 %"]
    assert [tick.position for tick in view.axis.ticks] == [0, 25, 50, 75, 100]
    assert view.axis.uniform is not None
    assert view.axis.uniform.label == "uniform map 35.7 %"
    assert (view.axis.uniform.position, view.axis.uniform.anchor) == (89.25, "end")
    bar = by_name(view, "gradcam").bar
    assert (bar.mean, bar.low, bar.high, bar.uniform) == (77.5, 70.0, 87.5, 89.25)
    assert by_name(view, "hirescam").bar.mean == 0
    undefined = by_name(view, "cam").bar
    assert (undefined.mean, undefined.low, undefined.high) == (None, None, None)


@pytest.mark.parametrize("share", [0.0, 0.004, 0.03, 0.12, 0.5, 0.97, 1.0])
def test_axis_holds_everything(build: BuildResults, share: float) -> None:
    line = entry("gradcam", share, mu_l1=Interval(9, share, share, share, 0.0), uniform=share)
    axis = report_view(build(summary=[line])).axis
    assert share <= axis.maximum <= 1
    assert 2 <= len(axis.ticks) <= 7
    assert axis.ticks[-1].position == 100
    assert all(0 <= tick.position <= 100 for tick in axis.ticks)


def test_unscored_reasons_are_counted(results: Results) -> None:
    listed = {(line.method, line.status): line for line in report_view(results).unscored}
    assert listed["broken", "error"].images == "6 images"
    assert listed["broken", "error"].message.startswith("RuntimeError")
    assert listed["GradCAM-ElementWise", "degenerate"].images == "1 image"


@pytest.mark.parametrize(
    ("accuracy", "text"),
    [
        (None, "Top-1 accuracy was not measured: the images carry no labels."),
        ({}, "Top-1 accuracy was not measured."),
        ({"n": 400, "walled": 0.79, "unwalled": 0.88, "agreement": 0.85},
         "Top-1 accuracy on 400 images: 79.0 % with the wall, 88.0 % without; same top-1 class "
         "on 85.0 % of all images."),
        ({"n": 1, "walled": 0.0, "unwalled": None, "agreement": None},
         "Top-1 accuracy on 1 image: 0.0 % with the wall."),
        ({"n": 0, "walled": None, "unwalled": None, "agreement": 0.8},
         "With and without the wall: same top-1 class on 80.0 % of all images. Top-1 accuracy was "
         "not measured: no image has a label that the model knows."),
    ],
)  # fmt: skip
def test_accuracy(accuracy: object, text: str) -> None:
    assert accuracy_text(accuracy) == text


def test_several_checks_need_a_choice(build: BuildResults) -> None:
    results = build(summary=[entry("gradcam", 0.1), entry("gradcam", 0.2, check="other")])
    with pytest.raises(UsageError, match="these results hold 2: dead-zone, other"):
        report_view(results)
    with pytest.raises(UsageError, match="no check 'mprt'"):
        select_check(results, "mprt")
    assert report_view(results, check="other").methods[0].mu_l1.text == "20.0 %"


def test_an_empty_run_has_a_view(build: BuildResults) -> None:
    view = report_view(build(summary=[], records=[], warnings=[]))
    assert view.verdict.kind is Kind.NONE
    assert view.uniform == "undefined"
    assert view.axis.uniform is None


def test_text_on_limits_is_complete(results: Results) -> None:
    claims = " ".join(part.claim for part in report_view(results).does_not_show)
    details = " ".join(part.detail for part in report_view(results).does_not_show)
    assert "does not prove that a method with μ = 0 is faithful" in claims
    assert "does not measure the original network" in claims
    assert "The wall changes the model" in claims
    assert "6 images" in claims
    assert "split trunk" in details
    assert "area fraction" in details


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "not given"), (True, "yes"), (0.123456789, "0.123457"), ("", "empty"),
        (list(range(170, 224)), "170–223"), ([1, 3, 4], "1, 3–4"), ([], "none"),
        ([[0, 0], [1, 1]], "2 × 2 matrix, 2 set"), ([[True], [False]], "2 × 1 matrix, 1 set"),
        ([[1, 2]], "1–2"), ({"a_b": 1, "c": None}, "a b: 1; c: not given"),
        ([{"name": "cat.png"}, {"name": "dog.png"}], "(1) name: cat.png; (2) name: dog.png"),
        (list(range(0, 60, 2)), "0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22 … (30 values)"),
        ([0.5] * 14, "0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5 and 2 more"),
    ],
)  # fmt: skip
def test_describe(value: Any, text: str) -> None:
    assert describe(value) == text


def test_provenance_is_listed_whole(results: Results) -> None:
    groups = {group.title: group for group in report_view(results).origin}
    assert list(groups) == ["Subject", "Dead zone", "Settings", "Environment", "Timing", "Images"]
    zone = {line.label: line.value for line in groups["Dead zone"].lines}
    assert zone["pixel dead rows"] == "144–223"
    assert zone["feature dead"] == "7 × 7 matrix, 21 set"
    assert [line.label for line in groups["Images"].lines][:2] == ["cat", "coffee"]
    assert "cat.png" in groups["Images"].lines[0].value


def test_unknown_names_stay_as_they_are() -> None:
    assert title("eigencam") == "EigenCAM"
    assert title("my plugin") == "my plugin"
