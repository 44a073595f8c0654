"""Published tables are typed as printed, and protocols ask for what exists."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import FrozenInstanceError, replace

import pytest

from camaudit.errors import DuplicateNameError, UsageError
from camaudit.evaluation import published
from camaudit.evaluation.protocols import PROTOCOLS, Ordering, Protocol, ProtocolTable, protocol
from camaudit.evaluation.published import PUBLISHED, PublishedRow, PublishedTable
from camaudit.methods import METHODS, method_call

TABLES = [
    pytest.param(table, id=f"{entry.name}:{table.key}")
    for entry in PROTOCOLS.values()
    for table in entry.tables
]
PAPERS = [pytest.param(table, id=f"{table.paper[:12]} {table.title[:30]}") for table in PUBLISHED]

#: The names under `--checks`, and the metrics that each computes.
CHECKS = {
    "confidence": {"average-drop", "increase-in-confidence", "win", "drop-in-logit"},
    "adcc": {"adcc", "coherency", "map-complexity", "average-drop"},
    "localisation": {"pointing-game", "energy-pointing-game", "iou", "box-iou"},
    "dead-zone": {"mu_l1", "mu_l2"},
}

#: The paper's names, in its tables' order of columns.
COLUMNS = {
    "GradCAM": "gradcam",
    "GradCAM++": "gradcam++",
    "XGradCAM": "xgradcam",
    "LayerCAM": "layercam",
    "ScoreCAM": "scorecam(align_corners=false, channel_softmax=false, score=probability)",
    "AugGradCAM++": "augmentedgradcam++",
    "ScoreCAM++": "scorecam++",
}

#: Tables 1, 3 and 8 row by row as the paper prints them.
PRINTED = {
    "Table 1": """
        GradCAM GradCAM++ XGradCAM LayerCAM ScoreCAM AugGradCAM++ ScoreCAM++
        8.62 8.55 8.62 8.48 6.89 9.22 3.29
        34.95 33.15 34.85 33.25 39.25 28.00 50.25
        10.05 3.20 4.60 1.50 14.75 7.70 58.20
    """,
    "Table 3": """
        GradCAM GradCAM++ XGradCAM LayerCAM ScoreCAM AugGradCAM++ ScoreCAM++
        9.77 9.98 9.75 9.87 8.48 10.46 4.17
        28.45 26.30 28.60 26.65 31.15 22.20 43.75
        5.65 2.15 9.00 1.70 9.50 9.85 62.15
    """,
    "Table 8": """
        GradCAM GradCAM++ XGradCAM LayerCAM ScoreCAM ScoreCAM++
        48.99 56.90 45.63 18.17 19.31 6.52
        9.85 7.30 7.75 18.50 29.75 36.35
        5.35 4.60 5.40 17.95 27.75 38.95
    """,
}


def of_scorecam_plus_plus(number: str) -> PublishedTable:
    """One table of the ScoreCAM++ paper."""
    (found,) = [t for t in PUBLISHED if t.table == number and "2404.19341" in t.paper]
    return found


def column(table: PublishedTable, metric: str) -> list[float]:
    """The figures of one metric, all of them printed."""
    figures = [table.figure(row.method, metric) for row in table.rows]
    assert None not in figures
    return [figure for figure in figures if figure is not None]


@pytest.mark.parametrize("number", PRINTED)
def test_the_figures_are_those_that_are_printed(number: str) -> None:
    table = of_scorecam_plus_plus(number)
    names, *lines = [line.split() for line in PRINTED[number].strip().splitlines()]
    metrics = ("average-drop", "increase-in-confidence", "win")
    assert table.metrics == metrics
    assert [row.method for row in table.rows] == [COLUMNS[name] for name in names]
    for metric, line in zip(metrics, lines, strict=True):
        assert column(table, metric) == [float(figure) for figure in line], metric


@pytest.mark.parametrize(
    ("number", "sums"),
    [
        ("Table 1", (53.67, 253.70, 100.00)),
        ("Table 2", (49.02, 344.50, 100.00)),
        ("Table 3", (62.48, 207.10, 100.00)),
        ("Table 4", (83.94, 194.55, 100.00)),
        ("Table 5", (35.96, 177.45, 99.98)),
        ("Table 6", (14.04, 71.20, 100.00)),
        ("Table 7", (58.38,)),
        ("Table 8", (195.52, 109.50, 100.00)),
    ],
)
def test_the_columns_add_up(number: str, sums: tuple[float, ...]) -> None:
    table = of_scorecam_plus_plus(number)
    found = [sum(column(table, metric)) for metric in table.metrics]
    assert found == pytest.approx(sums, abs=1e-9)


@pytest.mark.parametrize("table", [t for t in PUBLISHED if "win" in t.metrics])
def test_win_is_shared_out_up_to_rounding(table: PublishedTable) -> None:
    assert sum(column(table, "win")) == pytest.approx(100, abs=0.005 * len(table.rows))


@pytest.mark.parametrize("number", [f"Table {number}" for number in (1, 2, 3, 4, 5, 6, 8)])
def test_the_step_of_2000_images_is_where_the_notes_say(number: str) -> None:
    table = of_scorecam_plus_plus(number)
    shares = column(table, "increase-in-confidence") + column(table, "win")
    whole = all(round(share * 100) % 5 == 0 for share in shares)
    assert whole is (number not in ("Table 5", "Table 6"))


def test_the_contradictions_are_noted() -> None:
    same = [of_scorecam_plus_plus(f"Table {number}") for number in (4, 5, 6)]
    assert [t.figure("scorecam++", "average-drop") for t in same] == [7.28, 4.27, 4.28]
    for table in same:
        notes = " ".join(table.notes)
        for figure in ("7.28", "38.25", "4.27", "43.14", "4.28", "43.13"):
            assert figure in notes


def test_the_other_papers_figures() -> None:
    report = published.SCORE_CAM_REPORT
    assert column(report, "average-drop") == [47.8, 45.5, 31.5]
    assert column(report, "increase-in-confidence") == [19.6, 18.9, 30.6]
    percent = [figure * 100 for figure in column(report, "energy-pointing-game")]
    assert percent == pytest.approx([48.1, 49.3, 63.7])
    recipro = published.OVERVIEW_ADCC.figure("reciprocam", "adcc")
    assert recipro == pytest.approx(81.38 / 100)
    uniform = published.WALLS_UNIFORM
    assert uniform.figure("uniform", "mu_l1") == pytest.approx(54 / 224, abs=5e-4)
    assert uniform.figure("uniform", "mu_l2") == pytest.approx((54 / 224) ** 0.5, abs=5e-4)


@pytest.mark.parametrize("table", PAPERS)
def test_published_methods_are_ours(table: PublishedTable) -> None:
    for row in table.rows:
        assert method_call(row.method).label == row.method
    assert set(table.metrics) <= set().union(*CHECKS.values())
    assert all(note.endswith(".") for note in table.notes)


@pytest.mark.parametrize("table", TABLES)
def test_every_method_resolves_in_its_canonical_spelling(table: ProtocolTable) -> None:
    for spec in table.methods:
        assert method_call(spec).label == spec


@pytest.mark.parametrize("table", TABLES)
def test_the_checks_compute_the_metrics_and_none_is_idle(table: ProtocolTable) -> None:
    assert set(table.metrics) <= set().union(*(CHECKS[check] for check in table.checks))
    assert all(CHECKS[check] & set(table.metrics) for check in table.checks)


@pytest.mark.parametrize("table", TABLES)
def test_claims_hold_in_the_published_figures(table: ProtocolTable) -> None:
    lower = {"average-drop", "mu_l1", "mu_l2"}
    for order in table.orderings:
        for paper in table.published:
            better = paper.figure(order.better, order.metric)
            worse = paper.figure(order.worse, order.metric)
            if better is None or worse is None:
                continue
            assert better < worse if order.metric in lower else better > worse, (paper, order)


@pytest.mark.parametrize("table", TABLES)
def test_published_methods_are_run(table: ProtocolTable) -> None:
    for paper in table.published:
        if not paper.paper.startswith("camaudit"):
            assert {row.method for row in paper.rows} <= set(table.methods)
            assert set(paper.metrics) <= set(table.metrics)


def test_every_published_table_is_shown_once() -> None:
    shown = [
        paper for entry in PROTOCOLS.values() for table in entry.tables for paper in table.published
    ]
    assert len(shown) == len(PUBLISHED)
    assert all(paper in shown for paper in PUBLISHED)


def test_the_claims_of_a_table_are_all_there() -> None:
    counts = {
        (name, table.key): len(table.orderings)
        for name, entry in PROTOCOLS.items()
        for table in entry.tables
    }
    assert counts == {
        ("scorecam++", "main"): 18,
        ("scorecam++", "activations"): 12,
        ("scorecam++", "cases"): 3,
        ("scorecam++", "logit"): 6,
        ("scorecam++", "vit"): 15,
        ("score-cam", "main"): 6,
        ("adcc", "main"): 5,
        ("walls", "main"): 6,
    }


def test_a_protocol_has_the_tables_of_a_convolutional_network() -> None:
    entry = protocol("scorecam++")
    assert [table.key for table in entry.tables] == ["main", "activations", "cases", "logit"]
    assert [len(table.methods) for table in entry.tables] == [7, 5, 2, 7]
    assert entry.checks == ("confidence",)
    assert len(entry.methods) == 12
    assert entry.rivals == tuple(table.methods for table in entry.tables[:3])


def test_tables_are_chosen_in_the_protocols_order() -> None:
    assert [t.key for t in protocol("scorecam++:cases, main").tables] == ["main", "cases"]
    (vit,) = protocol(" scorecam++ : vit ").tables
    assert vit.transformer
    assert "augmentedgradcam++" not in vit.methods
    for name in ("score-cam", "adcc", "walls"):
        assert protocol(name) == protocol(f"{name}:main") == PROTOCOLS[name]


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("scorecam", "unknown protocol 'scorecam'; known are: scorecam++, score-cam, adcc, walls"),
        ("", "unknown protocol ''; known are: "),
        ("scorecam++:table1", "has no table 'table1'; known are: main, activations, cases, logit"),
        ("scorecam++:main,", "has no table ''; known are: "),
        ("scorecam++:", "has no table ''; known are: "),
        ("walls:vit", "has no table 'vit'; known are: main"),
        ("scorecam++:main,main", "every table once; got 'main' twice"),
    ],
)
def test_wrong_names_are_refused_with_the_known_ones(spec: str, message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        protocol(spec)


def test_duplicates_are_impossible() -> None:
    table = PROTOCOLS["walls"].tables[0]
    order = table.orderings[0]
    for change in (
        {"methods": (*table.methods, "gradcam")},
        {"metrics": ("mu_l1", "mu_l1")},
        {"checks": ("dead-zone", "dead-zone")},
        {"published": table.published[:1] * 2},
        {"orderings": (order, replace(order, claim="elsewhere"))},
    ):
        with pytest.raises(DuplicateNameError, match="once; got"):
            replace(table, **change)
    with pytest.raises(DuplicateNameError, match="every table once"):
        Protocol("twice", "", "", (table, table))
    row = PublishedRow("gradcam", (1.0,))
    for metrics, rows in ((("adcc", "adcc"), ()), (("adcc",), (row, row))):
        with pytest.raises(DuplicateNameError, match="once; got"):
            PublishedTable("a paper", "a table", None, None, None, metrics, rows)


@pytest.mark.parametrize(
    "order",
    [
        Ordering("hirescam", "layercam", "mu_l2", "no method of the table"),
        Ordering("hirescam", "gradcam", "adcc", "no metric of the table"),
        Ordering("hirescam", "hirescam", "mu_l2", "itself"),
    ],
)
def test_a_claim_is_about_its_table(order: Ordering) -> None:
    with pytest.raises(UsageError, match="expected two of its methods and one of its metrics"):
        replace(PROTOCOLS["walls"].tables[0], orderings=(order,))


def test_a_row_has_a_figure_for_each_metric() -> None:
    with pytest.raises(UsageError, match="expected a figure for each of adcc; got 2"):
        PublishedTable(
            "a paper", "a table", None, None, None, ("adcc",), (PublishedRow("cam", (1.0, 2.0)),)
        )


def test_what_is_not_printed_is_none_and_nothing_can_be_changed() -> None:
    table = published.SCORECAM_PP_7
    assert table.figure("gradcam", "drop-in-logit") == 7.81
    assert table.figure("gradcam", "win") is None
    assert table.figure("hirescam", "drop-in-logit") is None
    assert table.title == "Table 7, VGG-19, ImageNet (validation)"
    assert published.OVERVIEW_ADCC.title == "ADCC comparison"
    with pytest.raises(FrozenInstanceError):
        table.table = "Table 9"  # type: ignore[misc]


def test_every_name_is_a_registered_method() -> None:
    names = {spec.partition("(")[0] for entry in PROTOCOLS.values() for spec in entry.methods}
    assert names <= set(METHODS)


def test_protocols_load_no_torch() -> None:
    code = "import sys, camaudit.evaluation.protocols; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
