"""Figures taken from the records, and every way in which there are none."""

from __future__ import annotations

import copy
import json
import math
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from camaudit.errors import AuditError, UsageError
from camaudit.gates.figures import FIGURES
from camaudit.gates.records import defects, read_results
from camaudit.gates.samples import TAKES, explainers_of, sample, uniform
from camaudit.gates.verdict import Decision
from tests.gates.runs import cells, dead_zone_run, invariance_run, record, sanity_run


def test_every_figure_is_taken_and_the_other_way_round() -> None:
    assert list(TAKES) == list(FIGURES)


def test_gates_load_no_torch() -> None:
    code = "import sys, camaudit.gates.gate, camaudit.gates.diff; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["mu_l1", "mu_l2", "mu_l1_minmax"])
def test_the_dead_zone_by_image(name: str) -> None:
    run = dead_zone_run()
    found = sample(run, f"dead_zone.{name}", "gradcam")
    assert found.values is not None
    assert found.values.tolist() == [cells()]
    assert found.images == tuple(one["id"] for one in run["images"])
    assert (found.state, found.undefined, found.crossed) == (None, 0, False)


def twins(values: list[float], others: list[Any]) -> dict[str, Any]:
    run = dead_zone_run({"gradcam": values})
    for entry, other in zip(run["records"], others, strict=True):
        status = "ok" if isinstance(other, float) else other
        value = other if isinstance(other, float) else None
        entry["unmasked"] = {"mu_l1": value, "mu_l2": value, "mu_l1_minmax": value,
                             "status": status}  # fmt: skip
    return run


def test_the_twin_and_the_paired_difference() -> None:
    run = twins([0.1] * 8, [0.3] * 7 + ["degenerate"])
    twin = sample(run, "dead_zone.unmasked", "gradcam")
    gap = sample(run, "dead_zone.difference", "gradcam")
    assert twin.values is not None
    assert gap.values is not None
    np.testing.assert_allclose(twin.values, [[0.3] * 7 + [math.nan]])
    np.testing.assert_allclose(gap.values, [[-0.2] * 7 + [math.nan]])
    assert gap.undefined == twin.undefined == 1


def test_without_a_twin_its_figures_do_not_apply() -> None:
    run = dead_zone_run()
    for name in ("dead_zone.unmasked", "dead_zone.difference"):
        assert sample(run, name, "gradcam").state is Decision.NOT_APPLICABLE


def test_an_error_of_the_twin_is_an_error() -> None:
    run = twins([0.1] * 8, [0.3] * 7 + ["error"])
    found = sample(run, "dead_zone.mu_l1", "gradcam")
    assert found.state is Decision.ERROR
    assert "failed on 1 of 8 images" in found.reason


@pytest.mark.parametrize(
    ("scores", "state"),
    [
        ([0.1] * 4 + [None] * 4, None),
        ([0.1] * 3 + [None] * 5, Decision.DEGENERATE),
        (["not applicable"] * 8, Decision.NOT_APPLICABLE),
        (["not applicable"] * 5 + [None] * 3, Decision.DEGENERATE),
        ([0.1] * 7 + ["error"], Decision.ERROR),
    ],
)
def test_undefined_images_have_states_of_their_own(
    scores: list[Any], state: Decision | None
) -> None:
    assert sample(dead_zone_run({"gradcam": scores}), "dead_zone.mu_l1", "gradcam").state is state


def test_a_constant_map_has_no_minmax_form() -> None:
    run = dead_zone_run({"gradcam": cells(8)})
    run["records"][2]["mu_l1_minmax"] = None
    found = sample(run, "dead_zone.mu_l1_minmax", "gradcam")
    assert (found.state, found.undefined) == (None, 1)


def broken(change: str) -> dict[str, Any]:
    """A run in which one thing is wrong with the records of gradcam."""
    run = dead_zone_run()
    records = run["records"]
    if change == "image twice":
        records[1]["image"] = records[0]["image"]
    elif change == "record twice":
        records.insert(1, copy.deepcopy(records[0]))
    elif change == "records missing":
        del records[20:30]
    elif change == "records and images cut":
        del records[2:50]
    elif change == "strange image":
        records[3]["image"] = "other"
    elif change == "NaN":
        records[3]["mu_l1"] = math.nan
    elif change == "ok without value":
        records[3]["mu_l1"] = None
    elif change == "text":
        records[3]["mu_l1"] = "0.1"
    elif change == "true":
        records[3]["mu_l1"] = True
    elif change == "more than one":
        records[3]["mu_l1"] = 1.5
    elif change == "no status":
        del records[3]["status"]
    elif change == "unknown status":
        records[3]["status"] = "fine"
    elif change == "degenerate with a value":
        records[3]["status"] = "degenerate"
    elif change == "not verified":
        run["zone"]["verified"] = False
    elif change == "no zone":
        run["zone"] = {}
    elif change == "no summary":
        run["summary"] = []
    elif change == "no records":
        run["records"] = []
    return run


@pytest.mark.parametrize(
    "change",
    ["image twice", "record twice", "records missing", "records and images cut", "strange image",
     "NaN", "ok without value", "text", "true", "more than one", "no status", "unknown status",
     "degenerate with a value", "not verified",
     "no zone", "no summary", "no records"],
)  # fmt: skip
def test_records_that_cannot_be_relied_on_are_errors(change: str) -> None:
    found = sample(broken(change), "dead_zone.mu_l1", "gradcam")
    assert found.state is Decision.ERROR
    assert found.reason


def test_an_explainer_without_records_is_an_error() -> None:
    found = sample(dead_zone_run(), "dead_zone.mu_l1", "scorecam")
    assert found.state is Decision.ERROR
    assert "'scorecam'" in found.reason


def test_methods_that_run_the_model_many_times_take_the_first_images() -> None:
    run = dead_zone_run({"gradcam": cells(), "scorecam": cells(8)})
    found = sample(run, "dead_zone.mu_l1", "scorecam")
    assert found.state is None
    assert len(found.images) == 8
    assert "42 images were left out" in found.remark
    run["settings"]["perturbation_images"] = 7
    assert sample(run, "dead_zone.mu_l1", "scorecam").state is Decision.ERROR


def test_cascades_are_seeds_crossed_with_images() -> None:
    run = sanity_run()
    curve = next(c for c in run["sanity"]["curves"] if c["method"] == "gradcam")
    found = sample(run, "mprt.similarity", "gradcam")
    assert found.values is not None
    assert found.values.tolist() == [steps[-1] for steps in curve["values"]]
    assert found.crossed
    assert found.rows == ("0", "1", "2", "3", "4", "5")


def test_effects_have_the_mean_that_the_results_have() -> None:
    run = sanity_run(images=9)
    for check in ("mprt", "smprt"):
        effects = [e for e in run["sanity"]["effects"]
                   if (e["check"], e["order"], e["method"], e["figure"])
                   == (check, "top-down", "gradcam", "spearman")]  # fmt: skip
        found = sample(run, f"{check}.effect", "gradcam")
        assert found.values is not None
        assert found.values.mean() == pytest.approx(effects[-1]["distance"]["mean"])


def test_effects_vary_as_the_distance_from_the_null_does() -> None:
    """Over many runs, the standard error by seeds is the spread of the distance."""
    from camaudit.metrics.estimates import estimate

    distances, errors = [], []
    run = sanity_run(
        methods=("gradcam",), images=7, checks=("mprt",), orders=("top-down",),
        similarities=("spearman",), seeds=range(8),
    )  # fmt: skip
    for seed in range(300):
        rng = np.random.default_rng(seed)
        own = rng.normal(0, 0.1, 8)  # what each random model has in common with all others
        for null in run["sanity"]["nulls"]:
            null["values"] = [[own[s] + own[t]] * 7 for s, t in null["pairs"]]
        for curve in run["sanity"]["curves"]:
            for row in curve["values"]:
                row[-1] = list(rng.normal(0, 0.001, 7))
        found = estimate(sample(run, "mprt.effect", "gradcam").values, seed=0, resamples=39)
        distances.append(found.mean)
        errors.append(found.row_error)
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(np.std(distances), rel=0.15)


def test_an_undefined_pair_of_the_null_leaves_the_mean_as_recorded() -> None:
    run = sanity_run(methods=("gradcam",), checks=("mprt",))
    null = next(n for n in run["sanity"]["nulls"] if n["similarity"] == "spearman")
    null["values"][0][0] = None
    found = sample(run, "mprt.effect", "gradcam")
    known = [x for row in null["values"] for x in row if x is not None]
    curve = next(c for c in run["sanity"]["curves"] if c["similarity"] == "spearman")
    last = [x for steps in curve["values"] for x in steps[-1]]
    assert found.values is not None
    assert found.values.mean() == pytest.approx(np.mean(last) - np.mean(known))


def test_a_single_random_model_has_no_null() -> None:
    run = sanity_run(methods=("gradcam",), checks=("mprt",), seeds=(0,))
    assert sample(run, "mprt.effect", "gradcam").state is Decision.INCONCLUSIVE
    assert sample(run, "mprt.similarity", "gradcam").state is None


def test_only_the_independent_order_gives_no_figure() -> None:
    run = sanity_run(orders=("independent",))
    assert sample(run, "mprt.similarity", "gradcam").state is Decision.NOT_APPLICABLE


def test_random_logit_is_by_image_and_emprt_by_seed_too() -> None:
    run = sanity_run()
    logit = sample(run, "random_logit.similarity", "gradcam")
    table = next(t for t in run["sanity"]["tables"]
                 if (t["check"], t["method"], t["figure"])
                 == ("random-logit", "gradcam", "spearman"))  # fmt: skip
    assert logit.values is not None
    np.testing.assert_allclose(logit.values, [np.mean(table["values"], axis=0)])
    rise = sample(run, "emprt.rise", "gradcam")
    assert rise.values is not None
    assert rise.values.shape == (6, 7)
    assert not sample(run, "data_randomisation.similarity", "gradcam").crossed


@pytest.mark.parametrize(
    ("method", "figure", "state"),
    [
        ("broken", "mprt.similarity", Decision.ERROR),
        ("broken", "emprt.rise", Decision.ERROR),
        ("uniform", "mprt.effect", Decision.DEGENERATE),
        ("sobel", "mprt.effect", Decision.DEGENERATE),  # as far from any model as from any other
        ("sobel", "mprt.similarity", None),
        ("uniform", "emprt.rise", Decision.DEGENERATE),
        ("eigencam", "random_logit.similarity", Decision.NOT_APPLICABLE),
        ("eigencam", "mprt.similarity", None),
        ("layercam", "mprt.similarity", Decision.ERROR),
    ],
)
def test_cells_without_a_value(method: str, figure: str, state: Decision | None) -> None:
    run = sanity_run(methods=("gradcam", "broken", "uniform", "eigencam", "sobel"))
    assert sample(run, figure, method).state is state


def test_a_method_that_took_no_part_is_not_applicable() -> None:
    run = sanity_run()
    run["settings"]["methods"].append("scorecam")
    assert sample(run, "mprt.similarity", "scorecam").state is Decision.NOT_APPLICABLE


@pytest.mark.parametrize("figure", [name for name in FIGURES if not name.startswith("dead_zone")])
def test_a_check_that_was_not_made_is_an_error(figure: str) -> None:
    assert sample(dead_zone_run(), figure, "gradcam").state is Decision.ERROR


def test_cells_that_vanished_without_a_reason_are_an_error() -> None:
    run = sanity_run(methods=("gradcam",))
    run["sanity"]["curves"][0]["values"][0][-1][0] = None
    assert sample(run, "mprt.similarity", "gradcam").state is Decision.ERROR
    run = sanity_run(methods=("gradcam",))
    for curve in run["sanity"]["curves"]:
        del curve["values"][0]
    assert sample(run, "mprt.similarity", "gradcam").state is Decision.ERROR


def test_bugs_and_faults_are_counted_by_property() -> None:
    run = invariance_run()
    assert sample(run, "invariance.bugs", "gradcam").count == 0
    assert sample(run, "invariance.bugs", "mine").count == 2
    assert sample(run, "invariance.faults", "mine").count == 0
    assert sample(run, "invariance.faults", "broken").count == 25


def test_an_explainer_without_maps_has_no_count_of_bugs() -> None:
    assert sample(invariance_run(), "invariance.bugs", "broken").state is Decision.ERROR


def test_counts_of_what_was_not_tested() -> None:
    run = invariance_run(methods=("gradcam",), foreign=())
    for one in run["invariance"]["findings"]:
        one |= {"outcome": "not applicable", "examples": 0}
    assert sample(run, "invariance.bugs", "gradcam").state is Decision.NOT_APPLICABLE
    run["invariance"]["findings"][0]["outcome"] = "undefined"
    assert sample(run, "invariance.bugs", "gradcam").state is Decision.DEGENERATE
    run["invariance"]["findings"][1] |= {"examples": 30, "outcome": "holds"}
    assert sample(run, "invariance.bugs", "gradcam").state is None
    run["invariance"]["findings"][2] |= {"fault": "too slow", "outcome": "fault"}
    assert sample(run, "invariance.bugs", "gradcam").state is Decision.INCONCLUSIVE
    assert sample(run, "invariance.faults", "gradcam").count == 1
    name = run["invariance"]["findings"][3]["property"]
    run["invariance"]["findings"] = [
        one for one in run["invariance"]["findings"] if one["property"] != name
    ]
    assert sample(run, "invariance.bugs", "gradcam").state is Decision.ERROR
    run["invariance"]["findings"] = []
    assert sample(run, "invariance.bugs", "gradcam").state is Decision.ERROR


def test_the_explainers_of_a_run_are_all_but_controls() -> None:
    assert explainers_of(dead_zone_run(), "dead-zone") == ["gradcam"]
    assert explainers_of(sanity_run(), "mprt") == ["gradcam"]
    run = invariance_run()
    assert "mine" in explainers_of(run, "invariance")
    assert "mine" not in explainers_of(run, "dead-zone")


def test_what_a_flat_map_scores() -> None:
    run = dead_zone_run()
    assert uniform(run, "dead_zone.mu_l1") == 0.4
    assert uniform(run, "dead_zone.mu_l2") == pytest.approx(math.sqrt(0.4))
    assert uniform(run, "mprt.similarity") is None
    assert uniform(sanity_run(), "dead_zone.mu_l1") is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": 2}, "schema 2"),
        ({"schema": True}, "schema True"),
        ({"schema": None}, "schema None"),
        ({"settings": {}}, "seed None"),
        ({"settings": {"seed": False}}, "seed False"),
        ({"records": None}, "lacks records"),
        ({"zone": []}, "lacks zone"),
        ({"environment": [None]}, "environment that is no dict"),
        ({"images": []}, "no image"),
        ({"images": [{"id": 3}]}, "without an id"),
        ({"images": [{"id": "a"}, {"id": "a"}]}, "'a' more than once"),
        ({"images": [{"id": "a", "sha256": "x"}, {"id": "b", "sha256": "x"}]}, "same pixels"),
        ({"timing": {"total": math.nan}}, "timing.total is NaN"),
        (
            {"records": [record("gradcam", "a", math.inf)]},
            r"records\[0\].mu_l1 is NaN, infinite or",
        ),
        (
            {"records": [record("gradcam", "a", 10**30)]},
            r"mu_l1 is NaN, infinite or beyond 64 bits",
        ),
    ],
)
def test_defects_of_a_run(change: dict[str, Any], words: str) -> None:
    import re

    found = defects(dead_zone_run() | change)
    assert found
    assert re.search(words, "; ".join(found)), found


def test_a_sound_run_has_no_defect() -> None:
    for run in (dead_zone_run(), sanity_run(), invariance_run()):
        assert defects(run) == []
    assert defects([]) == ["results.json must hold an object, not list"]


def test_reading_a_file(tmp_path: Any) -> None:
    path = tmp_path / "results.json"
    with pytest.raises(UsageError, match="is no file"):
        read_results(path)
    path.write_text("{")
    with pytest.raises(AuditError, match="cannot be read as JSON"):
        read_results(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(AuditError, match="cannot be read as JSON"):
        read_results(path)
    run = dead_zone_run()
    path.write_text(json.dumps(run))
    assert read_results(path) == run
    run["records"][0]["mu_l1"] = math.nan
    path.write_text(json.dumps(run))
    with pytest.raises(AuditError, match="NaN"):
        read_results(path)
