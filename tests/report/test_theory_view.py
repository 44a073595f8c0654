"""The theory page's view model: verdicts, figures in words, and everything that may be missing."""

from __future__ import annotations

import copy
import dataclasses
import re
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from camaudit.errors import AuditError
from camaudit.report.claims import ClaimsKind, claim_groups, claims_verdict, comparison
from camaudit.report.expectation import column_view, digits_view
from camaudit.report.networks import at_a_glance, network_views
from camaudit.report.sweeps import sweep_views
from camaudit.report.theory import theory_view
from camaudit.types import Claim, ClaimOutcome, Results
from tests.theory_results import (
    CLAIMS,
    FILTERS,
    claim,
    dead_cells,
    expectation,
    kappa,
    make_theory,
    make_theory_results,
    picture,
    summary,
)

OUTCOMES = list(ClaimOutcome)
OPEN = (ClaimOutcome.INCONCLUSIVE, ClaimOutcome.ERROR)


def test_all_pass() -> None:
    found = claims_verdict(CLAIMS)
    assert found.kind is ClaimsKind.PASS
    assert found.text == "All 7 claims pass."


@pytest.mark.parametrize(
    ("outcomes", "kind", "headline"),
    [
        ("pass", "pass", "The one claim that applies passes."),
        ("pass pass", "pass", "All 2 claims pass."),
        ("pass pass not-applicable", "pass", "All 2 claims that apply pass."),
        ("pass fail", "fail", "1 of 2 claims fails."),
        ("pass fail fail inconclusive", "fail", "2 of 4 claims fail."),
        ("fail not-applicable not-applicable", "fail", "1 of 1 claim fails."),
        ("pass pass inconclusive", "open", "2 of 3 claims pass, none fails."),
        ("pass error not-applicable", "open", "1 of 2 claims that apply passes, none fails."),
        ("inconclusive", "none", "No verdict."),
        ("error inconclusive", "none", "No verdict."),
        ("not-applicable", "none", "No verdict."),
        ("", "none", "No verdict."),
    ],
)
def test_headlines(outcomes: str, kind: str, headline: str) -> None:
    claims = [claim(ClaimOutcome(word.replace("-", " "))) for word in outcomes.split()]
    found = claims_verdict(claims)
    assert found.kind.value == kind
    assert "".join(part.text for part in found.sentences[0]) == headline


@given(st.lists(st.sampled_from(OUTCOMES), max_size=8))
def test_only_passes_make_a_pass_and_every_other_claim_is_named(
    outcomes: list[ClaimOutcome],
) -> None:
    claims = [claim(one, statement=f"claim {number}") for number, one in enumerate(outcomes)]
    found = claims_verdict(claims)
    if found.kind is ClaimsKind.PASS:
        assert ClaimOutcome.PASS in outcomes
        assert not {*OPEN, ClaimOutcome.FAIL} & set(outcomes)
    assert (found.kind is ClaimsKind.FAIL) == (ClaimOutcome.FAIL in outcomes)
    named = [part.text for line in found.sentences for part in line if part.role == "name"]
    assert sorted(named) == sorted(
        one.statement for one in claims if one.outcome is not ClaimOutcome.PASS
    )


SUPERSCRIPTS = "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"


def number(text: str) -> float:
    """The number that a printed quantity says."""
    sign = -1 if text.startswith("−") else 1
    found = re.fullmatch(rf"(?:([\d.]+)(?: × |$))?(?:10([{SUPERSCRIPTS}]+))?", text.lstrip("−"))
    if found is None:
        return sign * float(text.lstrip("−").replace("\u202f", ""))
    power = (found[2] or "⁰").translate(str.maketrans(SUPERSCRIPTS, "-0123456789"))
    return sign * float(f"{found[1] or 1}e{power}")


@given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from([1e-12, 1.0, 4.42]))
def test_printed_figures_stand_to_their_bounds_as_the_numbers_do(
    figure: float, other: float
) -> None:
    for bound in (other, figure, float(np.nextafter(figure, 0))):
        text = comparison(Claim("c", "s", ClaimOutcome.FAIL, figure, "≤", bound, ""))
        left, right = map(number, text.split(" ≤ "))
        assert (left < right, left > right) == (figure < bound, figure > bound)


@pytest.mark.parametrize(
    ("figure", "bound", "text"),
    [
        (None, None, "undefined"),
        (None, 0.5, "undefined ≤ 0.5"),
        (0.5, None, "0.5 ≤ undefined"),
        (float("nan"), 0.5, "undefined ≤ 0.5"),
        (0.0, 0.0, "0 ≤ 0"),
        (0.05, 0.05, "0.05 ≤ 0.05"),
        (0.050004, 0.05, "0.050004 ≤ 0.05"),
        (3.1e-16, 1e-12, "3.1 × 10⁻¹⁶ ≤ 10⁻¹²"),
    ],
)
def test_comparisons(figure: float | None, bound: float | None, text: str) -> None:
    assert comparison(Claim("c", "s", ClaimOutcome.ERROR, figure, "≤", bound, "")) == text


def test_claims_are_grouped_by_check_in_order() -> None:
    strange = claim(ClaimOutcome.PASS, check="theory/unheard-of")
    groups = claim_groups([strange, *CLAIMS, strange])
    assert [group.title for group in groups][:3] == [
        "theory/unheard-of",
        "Proposition 2: the channel weights",
        "Theorem 3: the expectation",
    ]
    assert [len(group.rows) for group in groups] == [2, 2, 1, 1, 1, 1, 1]


@pytest.mark.parametrize(
    ("detail", "shown"), [("largest of 9", "Largest of 9"), ("σ is known", "σ is known"), ("", "")]
)
def test_details_begin_like_sentences_but_symbols_stay(detail: str, shown: str) -> None:
    (group,) = claim_groups([claim(ClaimOutcome.PASS, detail=detail)])
    assert group.rows[0].detail == shown


# --- the expectation ------------------------------------------------------------------------


def test_column() -> None:
    view = column_view(make_theory())
    assert view is not None
    assert (view.exact, view.bound) == (True, True)
    assert [curve.label for curve in view.plot.curves] == [
        "Lower bound", "Closed form", "Simulated, ±2 standard errors",
    ]  # fmt: skip
    assert [(span.start, span.width) for span in view.plot.spans] == [(50.0, 50.0)]
    assert len(view.table.rows) == 28
    assert view.table.rows[20][:2] == ("20", "dead")
    exact = expectation(picture(3))[:, 14]
    share = 100 * exact[14:].max() / exact[:14].max()
    assert f"{share:.0f} % of its peak in the live ones" in view.finding.replace("\u00a0", " ")
    assert "rows 14 to 27 are dead" in view.alternative


def test_the_example_is_the_formula() -> None:
    """The fixture's closed form agrees with draws, so that the page shows something true."""
    rng = np.random.default_rng(0)
    filters = rng.normal(size=(4000, FILTERS))
    root = np.sqrt((np.maximum(filters, 0) ** 2).sum(axis=1))
    assert root.mean() == pytest.approx(kappa(FILTERS), abs=5 * root.std() / 4000**0.5)


@pytest.mark.parametrize("missing", [("bound",), ("exact",), ("bound", "exact")])
def test_column_without_formulas(missing: tuple[str, ...]) -> None:
    theory = make_theory()
    for name in missing:
        theory["column"][name] = None
    view = column_view(theory)
    assert view is not None
    assert (view.exact, view.bound) == ("exact" not in missing, "bound" not in missing)
    assert len(view.plot.curves) == 3 - len(missing)
    simulated = view.plot.curves[-1]
    assert bool(simulated.path) == ("exact" in missing)
    assert len(view.table.columns) == 6 - len(missing)


def test_column_of_undefined_values() -> None:
    theory = make_theory()
    theory["column"] |= {"bound": None, "exact": None, "simulated": [None] * 28}
    theory["column"]["standard_error"] = [None] * 28
    view = column_view(theory)
    assert view is not None
    assert view.finding == "In the dead rows the expectation is undefined."
    assert {row[2] for row in view.table.rows} == {"undefined"}
    assert view.plot.curves[0].points == ()


def test_column_that_is_zero_where_dead() -> None:
    theory = make_theory()
    theory["column"]["exact"][14:] = [0.0] * 14
    view = column_view(theory)
    assert view is not None
    assert view.finding == "In the dead rows the expectation is exactly 0."


def test_lists_that_do_not_belong_together() -> None:
    theory = make_theory()
    theory["column"]["dead"].pop()
    with pytest.raises(AuditError, match=r"in theory\.column, got rows 28, dead 27, bound 28"):
        column_view(theory)
    theory["sweeps"][1]["series"][0]["n"].append(3)
    with pytest.raises(AuditError, match=r"the sweep 'layers', got x 4, .*gradcam\.n 5"):
        sweep_views(theory)


def test_digits() -> None:
    view = digits_view(make_theory())
    assert view is not None
    assert view.uniform == "50.0 %"
    names = [name for name, _ in view.digits]
    assert names == [f"digit {number}" for number in range(10)]
    for number, (_, pictures) in enumerate(view.digits):
        assert [one.title for one in pictures] == ["Image", "One network", "Expectation"]
        assert all(one.map.picture for one in pictures)
        exact = expectation(picture(number))
        share = exact[dead_cells()].sum() / exact.sum()
        assert pictures[2].share == f"{100 * share:.1f} %"
        assert pictures[2].share in pictures[2].map.alternative
    assert view.digits[0][1][0].map.wall is not None


def test_digits_without_expectation_or_figures() -> None:
    theory = make_theory()
    first, second = theory["digits"][:2]
    first |= {"exact": None, "mu_single": None, "mu_expected": None}
    first["single"] = [[0.0] * 28] * 28
    second |= {"exact": None, "simulated": second["exact"]}
    view = digits_view(theory)
    assert view is not None
    shown = view.digits[0][1]
    assert [one.title for one in shown] == ["Image", "One network"]
    assert (shown[1].map.reason, shown[1].share) == ("The map is zero everywhere.", "undefined")
    assert view.table.rows[0] == ("digit 0", "undefined", "undefined", "undefined", "undefined")
    assert view.digits[1][1][2].title == "Simulated mean"


# --- sweeps ---------------------------------------------------------------------------------


def test_sweeps() -> None:
    filters, _, masked, names = sweep_views(make_theory())
    assert filters.undefined == ("GradCAM has no defined figure at 8.",)
    assert filters.table.rows[0][:3] == ("8", "50.0 %", "undefined\nn = 0, 600 undefined")
    assert filters.table.rows[1][2].startswith("50.7 %\n[49.2–52.2 %]\nn = 600")
    assert "0 (exact)" in filters.table.rows[1][5]
    assert "GradCAM undefined to" in filters.alternative
    assert len(filters.plot.curves[1].points) == 7
    assert masked.table.rows[0][1] == "10.0 %"
    assert names.plot.categories
    styles = [
        {curve.label: curve.style for curve in one.plot.curves} for one in (filters, masked, names)
    ]
    assert styles[0] == styles[1] == styles[2]


def test_a_method_keeps_its_style_where_others_are_missing() -> None:
    theory = make_theory()
    del theory["sweeps"][1]["series"][0]
    whole, part, *_ = sweep_views(theory)
    find = {curve.label: curve.style for curve in whole.plot.curves}
    assert all(find[curve.label] == curve.style for curve in part.plot.curves)


def test_empty_sweeps_are_left_out() -> None:
    theory = make_theory()
    theory["sweeps"][0]["series"] = []
    theory["sweeps"][1] |= {"x": [], "uniform": []}
    assert [one.title for one in sweep_views(theory)] == [
        "Masked fraction of the cells", "Initialisation",
    ]  # fmt: skip


# --- networks -------------------------------------------------------------------------------


def test_networks() -> None:
    results = make_theory_results()
    simple, deep = network_views(results)
    assert simple is not None
    assert dict(simple.facts) == {"Draws": "200", "Images": "3"}
    assert not simple.looks
    assert [entry.name for entry in deep] == ["resnet18", "vgg16", "efficientnet_b0"]
    assert [entry.between for entry in deep] == ["62.0 %", "<0.1 %", "undefined"]
    assert [entry.place for entry in deep] == [62.0, 0.04, None]
    assert deep[2].relative == "undefined"
    assert dict(deep[0].facts)["Seeds × images"] == "10 × 8"
    assert [row.method for row in simple.controls] == ["Random", "Uniform"]
    assert [(one.method, one.status, one.images) for one in simple.unscored] == [
        ("CAM", "not applicable", "1 map"), ("GradCAM", "degenerate", "1 map"),
    ]  # fmt: skip


def test_all_networks_at_a_glance() -> None:
    simple, deep = network_views(make_theory_results())
    assert simple is not None
    assert at_a_glance([simple]) is None
    glance = at_a_glance([simple, *deep])
    assert glance is not None
    found = dict(glance.rows)
    assert [entry.text for entry in found["HiResCAM"]] == ["0 (exact)"] * 4
    assert [entry.kind for entry in found["CAM"]] == ["undefined"] * 4
    assert [entry.place for entry in found["CAM"]] == [None] * 4
    assert (found["Random"][3].text, found["Random"][3].kind) == ("not run", "not-run")
    assert [entry.kind for entry in found["Uniform"]][:2] == ["control", "control"]
    assert list(found)[-2:] == ["Random", "Uniform"]
    assert [entry.text for entry in glance.uniform] == ["50.0 %", "42.9 %", "50.0 %", "42.9 %"]
    shares = [0.49, 0.39, 0.29, 0.19]
    places = [entry.place for entry in found["GradCAM"]]
    assert places == pytest.approx([100 * share / 0.6 for share in shares], abs=0.01)
    ticks = [entry.place for entry in glance.uniform]
    assert ticks == pytest.approx([100 * u / 0.6 for u in (0.5, 3 / 7, 0.5, 3 / 7)], abs=0.02)


def test_summaries_that_nothing_describes_are_shown_under_their_check() -> None:
    results = make_theory_results()
    stray = summary("theory/elsewhere", "gradcam", "gradient", 0.3, 0.4)
    results = dataclasses.replace(results, summary=[*results.summary, stray])
    _, networks = network_views(results)
    assert (networks[-1].name, networks[-1].uniform) == ("theory/elsewhere", "40.0 %")
    assert not networks[-1].looks


# --- the whole ------------------------------------------------------------------------------


def words(value: Any) -> list[str]:
    """Every string of a view."""
    if isinstance(value, str):
        return [value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return [w for entry in dataclasses.fields(value) for w in words(getattr(value, entry.name))]
    if isinstance(value, (list, tuple)):
        return [w for item in value for w in words(item)]
    return []


def test_facts_and_setting() -> None:
    view = theory_view(make_theory_results(claims=[*CLAIMS, claim(ClaimOutcome.NOT_APPLICABLE)]))
    assert view.setting == (
        "64 filters of 2 × 2; 28 × 28 cells; flatten head and 1 linear layer; "
        "weights gaussian, τ = 1"
    )
    facts = {fact.label: (fact.value, fact.note) for fact in view.facts}
    assert facts["Claims passed"] == ("7 of 7", "1 not applicable")
    assert facts["Live cells"][0] == "98 of 196"
    assert facts["Networks drawn"][0] == "20\u202f000"
    assert facts["Filters"] == ("64", "on images of 1 × 29 × 29")
    assert view.draws == "20\u202f000"
    assert "Theory" in [group.title for group in view.origin]


@pytest.mark.parametrize("part", ["setup", "column", "digits", "sweeps", "deep", "simple"])
def test_each_part_may_be_missing_or_empty(part: str) -> None:
    full = make_theory_results()
    for theory in (full.theory | {part: None}, {k: v for k, v in full.theory.items() if k != part}):
        view = theory_view(dataclasses.replace(full, theory=theory))
        assert "None" not in " ".join(words(view))


def test_nothing_at_all() -> None:
    view = theory_view(make_theory_results(theory={}, claims=[], summary=[], records=[]))
    assert view.verdict.kind is ClaimsKind.NONE
    assert (view.column, view.digits, view.simple, view.glance) == (None, None, None, None)
    assert (view.sweeps, view.networks, view.claims) == ((), (), ())
    assert view.facts[0].value == "none tested"


def undefined_everywhere() -> Results:
    """Every figure that may be undefined is."""
    theory = copy.deepcopy(make_theory())
    theory["column"] |= {"bound": None, "exact": None}
    for name in ("simulated", "standard_error"):
        theory["column"][name] = [None] * 28
    for entry in theory["digits"]:
        entry |= {"exact": None, "mu_single": None, "mu_expected": None}
        entry["single"] = [[None] * 28] * 28
    for sweep in theory["sweeps"]:
        for series in sweep["series"]:
            for name in ("mean", "ci_low", "ci_high"):
                series[name] = [None] * len(sweep["x"])
    for entry in theory["deep"]:
        entry |= {"logit_variance": {"between_images": None, "relative": None}, "uniform": None}
    theory["simple"]["uniform"] = None
    full = make_theory_results(claims=[claim(one) for one in OUTCOMES])
    empty = [summary(one.check, one.method, one.family, None, one.uniform) for one in full.summary]
    return dataclasses.replace(full, summary=empty, theory=theory)


def test_undefined_everywhere_reads_as_undefined() -> None:
    view = theory_view(undefined_everywhere())
    text = " ".join(words(view))
    assert not re.search(r"\b(None|nan)\b|(?<!\d)0\.0 %|0 \(exact\)", text)
    assert text.count("undefined") > 100
    assert all(point == () for sweep in view.sweeps for point in [sweep.plot.curves[1].points])
