"""The view models of the metrics: what is marked best, what is missing, curves, scatter, ranks."""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Callable
from typing import Any

import pytest
from scipy.stats import kendalltau

from camaudit.report.metrics import MetricsView, metrics_view
from camaudit.report.metrics_best import leading
from camaudit.report.metrics_figures import metric_of, signed
from camaudit.report.metrics_plots import Dot, nice_scale, scatter
from camaudit.report.metrics_protocol import claim_counts, counts_text, protocol_view
from camaudit.report.metrics_scatter import tau_b
from camaudit.report.plots import style
from camaudit.types import Results
from tests.metric_results import COSTLY, IMAGES, make_metric_results, make_metrics, make_protocol


@pytest.fixture(scope="module")
def metrics() -> dict[str, Any]:
    return make_metrics(rivals=[("gradcam", "scorecam"), ("layercam", "eigencam", "cam")])


def seen(metrics: dict[str, Any], results: Results | None = None) -> MetricsView:
    found = results or make_metric_results(metrics=metrics)
    view = metrics_view(found, found.summary)
    assert view is not None
    return view


def verdict_text(view: MetricsView) -> str:
    return view.verdict.text


def test_nothing_without_rows(results: Results) -> None:
    assert metrics_view(results, results.summary) is None
    assert protocol_view(results) is None
    strange = dataclasses.replace(results, metrics={"key": "text"}, protocol={"key": "text"})
    assert metrics_view(strange, ()) is None
    assert protocol_view(strange) is None


def test_every_row_of_the_results_is_in_a_table(metrics: dict[str, Any]) -> None:
    view = seen(metrics)
    shown = sum(
        cell.text != "not run"
        for check in view.checks
        for table in check.tables
        for row in (*table.methods, *table.controls)
        for cell in row.cells
    )
    assert shown == len(metrics["rows"])
    assert [check.check for check in view.checks] == metrics["settings"]["checks"]
    assert sum(len(check.footnotes) for check in view.checks) == len(metrics["infos"])


def test_means_and_intervals_are_those_of_the_results(metrics: dict[str, Any]) -> None:
    table = seen(metrics).checks[0].tables[0]
    row = next(row for row in table.methods if row.method == "ScoreCAM")
    entry = next(
        one
        for one in metrics["rows"]
        if (one["metric"], one["method"]) == ("average-drop", "scorecam")
    )
    cell = row.cells[0]
    assert cell.value == entry["mean"]["mean"]
    assert cell.bounds == f"[{entry['mean']['ci_low']:.3g}, {entry['mean']['ci_high']:.3g}]"
    assert (row.n, row.missing) == (str(COSTLY), "2 not run")


def test_what_is_missing_is_said_by_reason(metrics: dict[str, Any]) -> None:
    view = seen(metrics)
    rows = {row.method: row for row in (*view.checks[0].tables[0].methods,
                                        *view.checks[0].tables[0].controls)}  # fmt: skip
    assert rows["CAM"].missing == "12 not applicable"
    assert rows["broken"].missing == "12 error"
    assert rows["Uniform"].missing == "12 constant map"
    assert rows["GradCAM"].missing == "none"
    assert rows["CAM"].cells[0].text == "no value"
    assert [(entry.method, entry.status) for entry in view.unscored] == [
        ("CAM", "not applicable"), ("broken", "error"),
    ]  # fmt: skip


def test_cells_that_differ_say_so_themselves(metrics: dict[str, Any]) -> None:
    changed = copy.deepcopy(metrics)
    for row in changed["rows"]:
        if (row["metric"], row["method"]) == ("average-drop", "gradcam"):
            row["missing"] = {"undefined": 1}
            row["mean"]["n"] = IMAGES - 1
    row = seen(changed).checks[0].tables[0].methods[0]
    assert (row.n, row.missing) == ("11–12", "by figure")
    assert [cell.note for cell in row.cells] == ["n = 11; 1 undefined", "n = 12", "n = 12"]


def test_win_has_a_table_for_each_group_of_rivals(metrics: dict[str, Any]) -> None:
    tables = seen(metrics).checks[0].tables[1:]
    assert [table.caption for table in tables] == [
        "Win % among 2 rivals: GradCAM and ScoreCAM",
        "Win % among 3 rivals: LayerCAM, EigenCAM and CAM",
    ]
    assert [len(table.methods) for table in tables] == [2, 3]
    assert not any(table.compared for table in tables)


def test_best_is_only_who_is_shown_better_than_all(metrics: dict[str, Any]) -> None:
    for check in seen(metrics).checks:
        for table in check.tables:
            for place, column in enumerate(table.columns):
                pairs = metrics["comparison"]["pairs"].get(column.metric.name, [])
                best = [
                    row.method for row in (*table.methods, *table.controls) if row.cells[place].best
                ]
                if best:
                    assert column.best == best[0]
                    own = [p for p in pairs if "scorecam" in (p["first"], p["second"])]
                    assert best == ["ScoreCAM"]
                    assert {
                        p["outcome"] if p["first"] == "scorecam" else
                        {"worse": "better"}.get(p["outcome"]) for p in own
                    } == {"better"}  # fmt: skip
                elif pairs:
                    assert column.best.startswith("not told apart")
                elif table.compared:
                    assert column.best == "neither direction is better"


@pytest.mark.parametrize(
    ("outcomes", "text", "best"),
    [
        (("better", "better", "better"), "A", "a"),
        (("worse", "worse", "better"), "B", "b"),
        (("inconclusive", "better", "better"), "not told apart: A and B", None),
        (("inconclusive", "better", "inconclusive"), "not told apart: A and B", None),
        (("inconclusive", "inconclusive", "better"), "not told apart: A and B", None),
        (("not applicable",) * 3, "too few images to compare", None),
        (("equal",) * 3, "not told apart: A, B and C", None),
    ],
)
def test_who_leads(outcomes: tuple[str, ...], text: str, best: str | None) -> None:
    pairs = [
        {"first": first, "second": second, "outcome": outcome}
        for (first, second), outcome in zip(("ab", "ac", "bc"), outcomes, strict=True)
    ]
    metric = metric_of({}, "m", "higher")
    found = leading({"pairs": {"m": pairs}}, metric)
    assert found.best == best
    assert found.text.upper() == text.upper()


def test_the_headline_counts_metrics_and_names_controls(metrics: dict[str, Any]) -> None:
    text = verdict_text(seen(metrics))
    assert re.match(r"7 of 10 metrics show one method to be best on these images\.", text)
    assert "ScoreCAM is best by Average Drop, Average Drop in Logit, Coherency, Comp" in text
    assert "Kendall's W = 0.95" in text
    control = copy.deepcopy(metrics)
    control["families"]["scorecam"] = "control"
    assert "ScoreCAM, a control that explains nothing, is best" in verdict_text(seen(control))
    alone = make_metrics(methods=("gradcam",), checks=("adcc",))
    assert verdict_text(seen(alone)) == "No method was compared with another by any metric."
    assert seen(alone).ranks is None


def test_curves_are_drawn_where_their_values_are(metrics: dict[str, Any]) -> None:
    curves = seen(metrics).curves
    assert curves is not None
    insertion = curves.plots[0]
    entry = next(one for one in metrics["curves"] if one["method"] == "gradcam")
    points = [
        tuple(map(float, point.split()))
        for point in re.findall(r"[\d.]+ [\d.]+", insertion.plot.curves[0].path)
    ]
    assert len(points) == len(entry["values"])
    top = 1.0
    for place, ((x, y), level) in enumerate(zip(points, entry["values"], strict=True)):
        assert x == pytest.approx(100 * place / 40, abs=0.01)
        assert y == pytest.approx(100 * (1 - level / top), abs=0.01)
    assert insertion.plot.curves[0].label.startswith("GradCAM, 0.")
    assert "(n = 10)" in next(c.label for c in insertion.plot.curves if "Score" in c.label)
    assert [row[0] for row in insertion.table.rows][:2] == ["0 %", "10 %"]
    assert any("With EigenCAM" in note or "with EigenCAM" in note for note in curves.notes)
    assert [image.title for image in curves.images] == ["cat-0.jpg", "cat-1.jpg", "cat-2.jpg"]
    assert curves.areas.rows[-1][-1] == "0 (exact)"


def test_long_curves_are_thinned_but_keep_their_ends(metrics: dict[str, Any]) -> None:
    changed = copy.deepcopy(metrics)
    for one in changed["curves"]:
        one["values"] = [number / 224 for number in range(225)]
    curves = seen(changed).curves
    assert curves is not None
    path = curves.plots[0].plot.curves[0].path
    assert path.count("L") <= 113
    assert path.startswith("M0 100")
    assert path.endswith("L100 0")


def test_the_scatter_has_who_has_both(
    metrics: dict[str, Any], build: Callable[..., Results]
) -> None:
    view = seen(metrics, build(metrics=metrics))
    assert view.scatter is not None
    assert [panel.title.split(" ↑")[0].split(" ↓")[0] for panel in view.scatter.panels] == [
        "Average Drop", "Increase in Confidence", "Average Drop in Logit", "ADCC",
        "Insertion AUC", "Deletion AUC",
    ]  # fmt: skip
    first = view.scatter.panels[0]
    assert {place.label for place in first.plot.places} == {
        "GradCAM", "GradCAM++", "LayerCAM", "EigenCAM", "ScoreCAM", "Sobel edges",
    }  # fmt: skip
    assert "over 5 methods" in first.caption
    assert first.tau is not None
    mass = {entry.method: entry.mu_l1.mean for entry in build().summary}
    audited = ("gradcam", "gradcam++", "layercam", "eigencam", "scorecam")
    means = {row["method"]: row["mean"]["mean"] for row in metrics["rows"]
             if row["metric"] == "average-drop"}  # fmt: skip
    expected = kendalltau([mass[m] for m in audited], [-means[m] for m in audited]).statistic
    assert first.tau == pytest.approx(expected)
    assert any("across two networks" in note for note in view.scatter.notes)
    walled = seen(metrics | {"on": "walled"}, build(metrics=metrics | {"on": "walled"}))
    assert walled.scatter is not None
    assert walled.scatter.notes[-1] == "Both axes are of the walled model."


def test_no_dead_zone_no_scatter(metrics: dict[str, Any]) -> None:
    assert seen(metrics).scatter is None


@pytest.mark.parametrize(("sign", "word"), [(1, "rewards"), (-1, "punishes")])
def test_the_caption_says_what_tau_means(
    build: Callable[..., Results], sign: int, word: str
) -> None:
    metrics = make_metrics(checks=("adcc",))
    mass = {entry.method: entry.mu_l1.mean or 0.0 for entry in build().summary}
    for row in metrics["rows"]:
        if row["mean"]["mean"] is not None:
            row["mean"]["mean"] = 0.5 + sign * mass[row["method"]]
    view = seen(metrics, build(metrics=metrics))
    assert view.scatter is not None
    (panel,) = view.scatter.panels
    assert panel.tau == sign
    assert word in panel.caption
    assert f"By {int(sign > 0)} of 1 metric" in verdict_text(view)


def test_names_beside_points_never_touch() -> None:
    dots = [
        Dot(f"method {number}", style(number), (0.1 + 0.001 * number, None, None),
            (0.5 + 0.01 * (number % 5), 0.4, 0.6))
        for number in range(20)
    ]  # fmt: skip
    drawn = scatter(dots, titles=("x", "y"), shown=[dot.label for dot in dots])
    boxes = []
    for place in drawn.places:
        assert 0 <= place.x <= 100
        assert 0 <= place.y <= 100
        if place.name:
            right, down, anchor = place.aside
            x, y = 2.3 * place.x + right, 2.3 * place.y + down
            size = 6.6 * len(place.name)
            left = x - {"start": 0, "middle": size / 2, "end": size}[anchor]
            boxes.append((left, y - 9, left + size, y + 3))
    assert 1 <= len(boxes) < 20
    for number, a in enumerate(boxes):
        for b in boxes[:number]:
            assert a[2] <= b[0] or b[2] <= a[0] or a[3] <= b[1] or b[3] <= a[1]


@pytest.mark.parametrize(
    "values",
    [[0.2053, 0.2147], [-3.0, 12.0], [88.0, 88.1], [1e-9, 5e-9], [0.08957711, 0.08957712]],
)
def test_scales_hold_their_values(values: list[float]) -> None:
    marks = nice_scale(values)
    assert marks[0] <= min(values)
    assert marks[-1] >= max(values)
    assert 2 <= len(set(marks)) == len(marks) <= 6


def test_ranks_and_agreement(metrics: dict[str, Any]) -> None:
    view = seen(metrics).ranks
    assert view is not None
    assert "win" not in [metric.name for metric in view.metrics]
    row = next(row for row in view.rows if row.method == "ScoreCAM")
    assert (row.cells[0].text, row.cells[0].bounds) == ("1", "[1–1]")
    assert row.cells[0].first == "first in 100 %"
    assert view.images[0] == "10, 2 excluded"
    assert {cell.text for row in view.rows for cell in row.cells if row.method == "CAM"} == {
        "no value"
    }
    found = view.agreement
    assert found is not None
    assert found.names[0] == "Average Drop"
    for place, (_, cells) in enumerate(found.rows):
        assert (cells[place].text, cells[place].tint) == ("–", None)
        assert all(cells[other].text == found.rows[other][1][place].text
                   for other in range(len(cells)))  # fmt: skip


def test_what_is_left_out_of_ranks_is_said(metrics: dict[str, Any]) -> None:
    changed = copy.deepcopy(metrics)
    for ranking in changed["comparison"]["ranks"].values():
        ranking["left_out"] = ["scorecam"]
        ranking["ranks"] = [rank for rank in ranking["ranks"] if rank["method"] != "scorecam"]
    agreement = changed["comparison"]["agreement"]
    agreement |= {"left_out": ["scorecam"], "metrics_left_out": ["iou"], "low": None,
                  "high": None, "reason": "5 images: too few"}  # fmt: skip
    view = seen(changed).ranks
    assert view is not None
    assert view.notes == (
        ("Every metric", "left out, with a value on fewer than half of the images: ScoreCAM"),
    )
    row = next(row for row in view.rows if row.method == "ScoreCAM")
    assert {cell.text for cell in row.cells} == {"left out"}
    assert view.agreement is not None
    assert len(view.agreement.notes) == 3
    agreement |= {"w": None, "p": None, "reason": "nothing to rank"}
    assert "W is undefined: nothing to rank." in verdict_text(seen(changed))


def test_a_protocol_beside_what_was_published() -> None:
    protocol = make_protocol("scorecam++:main")
    view = protocol_view(make_metric_results(protocol=protocol))
    assert view is not None
    (table,) = view.tables
    assert [source.name for source in table.sources] == [f"Table {n}" for n in (1, 2, 3, 4)]
    assert table.sources[0].measured_on == "ResNet-18, fine-tuned, Cats and Dogs (test), n = 4000"
    block = table.blocks[0]
    row = next(row for row in block.rows if row.method == "ScoreCAM++")
    printed = protocol["tables"][0]["published"]
    assert row.published[0] == f"{printed[0]['rows'][-1]['figures'][0]:.3g}"
    missing = next(row for row in block.rows if row.method == "LayerCAM")
    assert (missing.measured, missing.n) == ("no value", "0")
    claims = protocol["tables"][0]["claims"]
    assert len(table.claims) == len(claims)
    for line, claim in zip(table.claims, claims, strict=True):
        assert line.verdict == claim["verdict"]
        assert line.difference.endswith(" pp") == (claim["difference"] is not None)
    counts = claim_counts(claims)
    assert sum(counts.values()) == len(claims)
    assert view.verdict.text.startswith(f"{counts['holds']} of {len(claims)} published claims of")


def test_the_dead_zone_is_printed_in_per_cent() -> None:
    view = protocol_view(make_metric_results(metrics={}, protocol=make_protocol("walls")))
    assert view is not None
    (table,) = view.tables
    assert table.blocks[0].metric.head == "Dead-zone mass μ (L1) ↓"
    assert all(row.measured.endswith("%") for row in table.blocks[0].rows if row.n != "0")
    assert all(claim.difference.endswith(" pp") for claim in table.claims if claim.bounds)
    assert "not printed" in {text for row in table.blocks[0].rows for text in row.published}


def test_claims_are_counted_in_words() -> None:
    claims = [{"verdict": word} for word in ("holds", "reversed", "reversed", "no difference")]
    assert counts_text(claim_counts(claims)) == "1 holds, 2 are reversed and 1 meets no difference"
    assert counts_text(claim_counts([])) == "no claims"
    nothing = {"name": "p", "title": "P", "source": "s", "notes": [], "tables": []}
    view = protocol_view(make_metric_results(protocol=nothing))
    assert view is not None
    assert view.verdict.text == "The protocol P makes no claim."


@pytest.mark.parametrize("seed", range(8))
def test_tau_b_is_scipys(seed: int) -> None:
    import numpy as np

    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 4, size=(2, 7)).tolist()
    assert tau_b(first, second) == pytest.approx(kendalltau(first, second).statistic)


def test_figures_of_metrics() -> None:
    metric = metric_of({"infos": {"m": {"title": "M", "unit": "%", "direction": "lower",
                                        "low": 0.0, "high": None}}}, "m")  # fmt: skip
    assert (metric.head, metric.wish, metric.span) == ("M ↓ (%)", "lower is better", "0 % or more")
    assert metric.difference(-1.5) == "−1.5 pp"
    assert metric.difference_bounds(-2.0, 0.5) == "[−2, +0.5]"
    assert metric.difference(None) == "undefined"
    assert signed(0.0) == "0"
    plain = metric_of({}, "own")
    assert (plain.head, plain.span, plain.wish) == (
        "own",
        "unbounded",
        "neither direction is better",
    )


def test_the_same_note_on_several_tables_is_said_once() -> None:
    view = protocol_view(make_metric_results(protocol=make_protocol("scorecam++:main")))
    assert view is not None
    (table,) = view.tables
    said = [note.split(": ", 1)[1] for note in table.notes]
    assert len(said) == len(set(said))
    assert any(note.startswith("Table 1, Table 2, Table 3 and Table 4: ") for note in table.notes)
