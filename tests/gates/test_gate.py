"""A policy put to a run: every outcome, and that nothing passes by accident."""

from __future__ import annotations

import copy
import dataclasses
import datetime
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from camaudit.errors import UsageError
from camaudit.gates.gate import judge
from camaudit.gates.policy import Bound, Condition, Policy, Severity, Waiver
from camaudit.gates.verdict import Decision, Ruling, Verdict
from tests.gates.runs import (
    SHA,
    TODAY,
    cells,
    condition,
    dead_zone_run,
    invariance_run,
    policy,
    sanity_run,
)


def put(*conditions: Condition, run: Any = None, baseline: Any = None, **changes: Any) -> Verdict:
    """The verdict on a run, by default the small one."""
    return judge(
        policy(*conditions, **changes),
        dead_zone_run() if run is None else run,
        baseline,
        today=TODAY,
    )


def one(*conditions: Condition, **options: Any) -> Ruling:
    """The only ruling."""
    (ruling,) = put(*conditions, **options).rulings
    return ruling


def test_a_figure_that_clears_its_bound_passes() -> None:
    verdict = put(condition(bound=0.2))
    (ruling,) = verdict.rulings
    assert (verdict.decision, verdict.exit_code) == (Decision.PASS, 0)
    assert ruling.name == "dead_zone.mu_l1[gradcam]"
    assert ruling.value == pytest.approx(np.mean(cells()))
    assert ruling.low is not None
    assert ruling.high is not None
    assert 0.09 < ruling.low < ruling.value < ruling.high < 0.11  # type: ignore[operator]
    assert (ruling.bound, ruling.n, ruling.undefined, ruling.more) == (0.2, 50, 0, None)
    assert ruling.p_pass == pytest.approx(1e-4)
    assert ruling.p_fail == 1.0
    assert "clears the bound 0.2" in ruling.reason


def test_a_figure_beyond_its_bound_fails_and_names_the_worst_images() -> None:
    verdict = put(condition(bound=0.05))
    (ruling,) = verdict.rulings
    assert (verdict.decision, verdict.exit_code) == (Decision.FAIL, 1)
    order = sorted(range(50), key=lambda place: -cells()[place])[:5]
    assert ruling.worst == tuple((f"image-{place}", cells()[place]) for place in order)
    assert "lies beyond the bound 0.05" in ruling.reason


def test_at_least_turns_everything_round() -> None:
    assert one(condition(relation=">=", bound=0.05)).decision is Decision.PASS
    ruling = one(condition(relation=">", bound=0.2))
    assert ruling.decision is Decision.FAIL
    assert ruling.worst[0][1] == min(cells())


def test_an_interval_that_holds_the_bound_decides_nothing() -> None:
    verdict = put(condition(bound=0.101))
    (ruling,) = verdict.rulings
    assert (verdict.decision, verdict.exit_code) == (Decision.INCONCLUSIVE, 4)
    assert "holds the bound" in ruling.reason
    assert ruling.more is not None
    assert ruling.more > 100
    assert f"about {ruling.more} more images" in ruling.reason


def test_no_number_is_given_where_too_many_images_would_be_needed() -> None:
    ruling = one(condition(bound=float(np.mean(cells())) + 1e-6))
    assert (ruling.decision, ruling.more) == (Decision.INCONCLUSIVE, None)
    assert "no number of images up to 10000 more" in ruling.reason


@pytest.mark.parametrize("count", [1, 2, 5])
def test_fewer_than_six_images_decide_nothing(count: int) -> None:
    for value in (0.0, 0.1, 0.9):
        ruling = one(condition(bound=0.5), run=dead_zone_run({"gradcam": [value] * count}))
        assert ruling.decision is Decision.INCONCLUSIVE
        assert ruling.more == 6 - count


def test_fewer_than_six_random_models_decide_nothing() -> None:
    run = sanity_run(methods=("gradcam",), seeds=range(5), images=9)
    ruling = one(condition("mprt.similarity", bound=0.9), run=run)
    assert (ruling.decision, ruling.more) == (Decision.INCONCLUSIVE, None)
    assert ruling.reason.startswith("5 random models: ")
    run = sanity_run(methods=("gradcam",), seeds=range(4), images=4)
    ruling = one(condition("mprt.similarity", bound=0.9), run=run)
    assert (ruling.decision, ruling.more) == (Decision.INCONCLUSIVE, None)
    assert ruling.reason.startswith("4 images and 4 random models: ")
    run = sanity_run(methods=("gradcam",), images=4)
    assert one(condition("mprt.similarity", bound=0.9), run=run).more == 2


@pytest.mark.parametrize(
    ("relation", "bound", "decision"),
    [("<=", 0.0, "pass"), ("<", 0.0, "fail"), (">=", 0.0, "pass"), (">", 0.0, "fail"),
     ("<", 0.1, "pass"), (">", 0.1, "fail")],
)  # fmt: skip
def test_identical_values_are_decided_exactly(relation: Any, bound: float, decision: str) -> None:
    ruling = one(
        condition(relation=relation, bound=bound), run=dead_zone_run({"hirescam": [0.0] * 8})
    )
    assert ruling.decision == decision
    assert (ruling.low, ruling.high, ruling.p_pass) == (0.0, 0.0, None)


def test_a_flat_map_is_no_better_than_uniform() -> None:
    flat = Bound(reference="uniform")
    run = dead_zone_run({"flat": [0.1 + 0.3] * 5 + [0.4] * 5})
    assert one(condition(relation="<", bound=flat), run=run).decision is Decision.FAIL
    half = Bound(reference="uniform", factor=0.5)
    ruling = one(condition(bound=half))
    assert (ruling.decision, ruling.bound) == (Decision.PASS, pytest.approx(0.2))


def test_a_reference_is_paired_image_by_image() -> None:
    """Noise that both share does not count; their means alone would decide nothing."""
    shared = np.linspace(0.1, 0.9, 50)
    gap = np.random.default_rng(0).normal(0.01, 0.005, 50)
    run = dead_zone_run({"gradcam": shared.tolist(), "other": (shared + gap).tolist()})
    less = condition(bound=Bound(reference="other"), relation="<", explainers=("gradcam",))
    ruling = one(less, run=run)
    assert ruling.decision is Decision.PASS
    assert ruling.bound == pytest.approx(np.mean(shared + gap))
    assert ruling.value == pytest.approx(np.mean(shared))
    more = condition(bound=Bound(reference="gradcam", offset=0.005), explainers=("other",))
    assert one(more, run=run).decision is Decision.FAIL


def test_a_reference_that_is_wanting_decides_nothing() -> None:
    for name, decision in (("missing", "error"), ("gradcam", "error"), ("blank", "degenerate")):
        run = dead_zone_run({"gradcam": cells(), "blank": [None] * 50})
        bound = condition(bound=Bound(reference=name), explainers=("gradcam",))
        assert one(bound, run=run).decision == decision


def worse(run: dict[str, Any], by: float) -> dict[str, Any]:
    """The run with all of gradcam's figures raised."""
    made = copy.deepcopy(run)
    noise = np.random.default_rng(9).normal(0, 0.001, len(made["records"]))
    for entry, shift in zip(made["records"], noise, strict=True):
        if entry["method"] == "gradcam":
            entry["mu_l1"] += by + float(shift)
    return made


def test_a_baseline_is_held_against_image_by_image() -> None:
    ratchet = condition(bound=Bound(reference="baseline", factor=1.0, offset=0.002))
    base = dead_zone_run()
    assert one(ratchet, run=base, baseline=base).decision is Decision.PASS
    assert one(ratchet, run=worse(base, 0.005), baseline=base).decision is Decision.FAIL
    assert one(ratchet, run=worse(base, 0.002), baseline=base).decision is Decision.INCONCLUSIVE


@pytest.mark.parametrize(
    "change", ["none", "schema", "other images", "part", "other pixels", "layer", "zone", "method"]
)
def test_a_baseline_that_is_none_passes_nothing(change: str) -> None:
    base: Any = dead_zone_run()
    if change == "none":
        base = None
    elif change == "schema":
        base["schema"] = 0
    elif change == "other images":
        for number, image in enumerate(base["images"]):
            image["id"] = base["records"][number]["image"] = f"x{number}"
    elif change == "part":
        base["images"][0]["id"] = base["records"][0]["image"] = "x"
    elif change == "other pixels":
        base["images"][0]["sha256"] = "other"
    elif change == "layer":
        base["subject"]["layer"] = "conv"
    elif change == "zone":
        base["zone"]["scored_fraction"] = 0.3
    else:
        base["records"] = [one for one in base["records"] if one["method"] != "gradcam"]
    verdict = put(condition(bound=Bound(reference="baseline", factor=9.0)), baseline=base)
    assert (verdict.decision, verdict.exit_code) == (Decision.ERROR, 3)


def test_more_images_than_the_baseline_has_are_compared_on_those() -> None:
    base = dead_zone_run({"gradcam": cells(20)})
    run = worse(dead_zone_run({"gradcam": cells(20) + cells(30, seed=1)}), -0.01)
    ruling = one(condition(bound=Bound(reference="baseline")), run=run, baseline=base)
    assert (ruling.decision, ruling.n) == (Decision.PASS, 20)
    assert "30 images have no reference" in ruling.reason


def test_counts_are_exact() -> None:
    none = condition("invariance.bugs", "==", 0, explainers=("gradcam",))
    run = invariance_run()
    ruling = one(none, run=run)
    assert (ruling.decision, ruling.value, ruling.p_pass) == (Decision.PASS, 0.0, None)
    failed = one(dataclasses.replace(none, explainers=("mine",)), run=run)
    assert (failed.decision, failed.value, failed.bound) == (Decision.FAIL, 2.0, 0.0)
    assert (
        one(condition("invariance.bugs", bound=2, explainers=("mine",)), run=run).decision == "pass"
    )
    assert one(dataclasses.replace(none, explainers=("broken",)), run=run).decision == "error"


def test_counts_beside_untested_properties() -> None:
    run = invariance_run(methods=("gradcam",), foreign=())
    run["invariance"]["findings"][0] |= {"outcome": "fault", "fault": "too slow"}
    none = condition("invariance.bugs", "==", 0)
    assert one(none, run=run).decision is Decision.INCONCLUSIVE
    run["invariance"]["findings"][1] |= {"outcome": "bug"}
    assert one(none, run=run).decision is Decision.FAIL
    base = condition("invariance.bugs", bound=Bound(reference="baseline"))
    assert one(base, run=run, baseline=run).decision is Decision.INCONCLUSIVE


def test_equality_is_for_counts() -> None:
    assert one(condition(relation="==")).decision is Decision.ERROR


def test_sanity_figures_are_decided_over_seeds_and_images() -> None:
    run = sanity_run(methods=("gradcam", "fullgrad"), images=12)
    near, far = put(condition("mprt.similarity", bound=0.5), run=run).rulings
    assert (near.decision, near.n) == (Decision.PASS, 72)
    assert far.decision is Decision.FAIL
    assert "72 maps of random models and images" in near.reason


def test_holm_makes_the_same_figure_harder_to_pass_among_many() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=50)
    values = 0.5 + (values - values.mean()) / values.std(ddof=1) * 0.02
    bound = 0.5 + 2.3 * 0.02 / math.sqrt(50)  # p is about 0.013
    run = dead_zone_run({f"m{number}": values.tolist() for number in range(5)})
    alone = condition(bound=bound, explainers=("m0",))
    assert one(alone, run=run).decision is Decision.PASS
    rulings = put(condition(bound=bound), run=run).rulings
    assert {ruling.decision for ruling in rulings} == {Decision.INCONCLUSIVE}
    assert "Holm" in rulings[0].reason
    assert rulings[0].high is not None
    assert rulings[0].high < bound  # the interval itself is the plain one


def test_twenty_clear_passes_all_pass_with_holm() -> None:
    run = dead_zone_run({f"m{number}": cells(seed=number) for number in range(20)})
    verdict = put(condition(bound=0.2), run=run)
    assert verdict.exit_code == 0
    assert any("Holm over 20 rulings" in note for note in verdict.notes)
    assert any("seed 0" in note for note in verdict.notes)


def test_the_same_run_gets_the_same_verdict() -> None:
    rules = (condition(bound=0.101), condition("dead_zone.mu_l2", bound=0.2))
    assert put(*rules) == put(*rules)


def test_a_condition_that_warns_does_not_bind() -> None:
    warn = condition(bound=0.05, severity=Severity.WARN)
    assert put(warn, condition("dead_zone.mu_l2", bound=0.2)).exit_code == 0
    assert put(warn).exit_code == 4


WAIVER = Waiver(condition="dead_zone.mu_l1", reason="known", expires=datetime.date(2026, 1, 15))


def test_a_waiver_covers_a_failure_and_is_told() -> None:
    passing = condition("dead_zone.mu_l2", bound=0.2)
    verdict = put(condition(bound=0.05), passing, waivers=(WAIVER,))
    assert verdict.exit_code == 0
    assert verdict.rulings[0].waiver == WAIVER
    assert verdict.rulings[0].decision is Decision.FAIL
    assert any("known" in note for note in verdict.notes)
    assert put(condition(bound=0.05), waivers=(WAIVER,)).exit_code == 4
    other = dataclasses.replace(WAIVER, explainer="scorecam")
    assert put(condition(bound=0.05), passing, waivers=(other,)).exit_code == 1


def test_a_waiver_does_not_cover_an_error() -> None:
    run = dead_zone_run({"gradcam": [*cells(49), "error"]})
    verdict = put(condition(), run=run, waivers=(WAIVER,))
    assert (verdict.exit_code, verdict.rulings[0].waiver) == (3, None)


def test_a_waiver_that_is_not_needed_is_named() -> None:
    verdict = put(condition(), waivers=(WAIVER,))
    assert verdict.exit_code == 0
    assert any("not needed" in note for note in verdict.notes)


@pytest.mark.parametrize(
    "change", [{"expires": datetime.date(2026, 1, 14)}, {"condition": "other"}]
)
def test_an_expired_or_stray_waiver_is_refused(change: dict[str, Any]) -> None:
    waiver = dataclasses.replace(WAIVER, line=17, **change)
    with pytest.raises(UsageError, match=r"camaudit\.toml:17: the waiver"):
        put(condition(), waivers=(waiver,))


def test_without_a_condition_or_an_explainer_nothing_passes() -> None:
    assert put().exit_code == 3
    run = dead_zone_run({"uniform": [0.1] * 8})
    verdict = put(condition(), run=run)
    assert verdict.exit_code == 3
    assert "none but controls" in verdict.problems[0]
    # a control is bound where it is named
    assert put(condition(explainers=("uniform",)), run=run).exit_code == 0


PINNED = {
    "weights_sha256": SHA.upper(), "state_sha256": "cd" * 32, "images_sha256": "ef" * 32,
}  # fmt: skip
SETTINGS = {
    "model": "torchvision:vgg16", "layer": "features", "seed": 0, "checks": ("dead-zone",),
    "methods": ("gradcam",), "num_images": 50, "images": "photos", "image_size": 32,
    "preprocess": "imagenet", "device": "cuda", "batch_size": 3,
}  # fmt: skip


def test_the_run_that_the_policy_asks_for_passes() -> None:
    verdict = put(condition(), pins=PINNED, settings=SETTINGS)
    assert verdict.problems == ()
    assert verdict.exit_code == 0


@pytest.mark.parametrize("name", [*PINNED, "code_sha256"])
def test_another_hash_never_passes(name: str) -> None:
    verdict = put(condition(), pins=PINNED | {name: "0" * 64})
    assert (verdict.decision, verdict.exit_code) == (Decision.ERROR, 3)
    assert name in verdict.problems[0]


def test_a_hash_that_the_run_lacks_never_passes() -> None:
    run = dead_zone_run()
    run["subject"]["weights_sha256"] = None
    assert put(condition(), run=run, pins=PINNED).exit_code == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [("model", "torchvision:vgg19"), ("layer", "conv"), ("seed", 1), ("image_size", 64),
     ("checks", ("dead-zone", "mprt")), ("methods", ("gradcam", "scorecam")), ("wall", "split"),
     ("num_images", 60), ("num_images", 40), ("images", "pictures"), ("preprocess", "lite"),
     ("data", ("photos",)), ("weights", "w.safetensors"), ("explainers", ("mine.py:explain",)),
     ("sanity_seeds", 6), ("exact", True), ("head", "sigmoid"), ("output", "1"),
     ("something", 3), ("seed", False)],
)  # fmt: skip
def test_a_run_of_other_settings_never_passes(name: str, value: Any) -> None:
    verdict = put(condition(), settings=SETTINGS | {name: value})
    assert (verdict.decision, verdict.exit_code) == (Decision.ERROR, 3)
    assert len(verdict.problems) == 1


def test_settings_that_are_the_same_in_other_words() -> None:
    run = dead_zone_run()
    run["settings"] |= {
        "images": "/build/repo/photos", "methods": ["gradcam", "scorecam(score=probability)"],
        "explainers": [
            "/build/repo/lib/mine.py:explain=gradcam", "maps:/b/out/a(unwalled=/b/out/c)",
        ],
        "num_images": 120,
        "weights": "/build/repo/w.safetensors", "layer": None, "orders": ["top-down"],
        "properties": None,
    }  # fmt: skip
    alike = {
        "images": "./photos", "methods": ("scorecam( score = probability)", "standard"),
        "explainers": ("lib/mine.py:explain=gradcam", "gradcam", "maps:out/a(unwalled=out/c)"),
        "num_images": 50,
        "weights": "w.safetensors", "layer": "features", "orders": ("top-down",),
        "properties": ("flip",), "live_rows": None,
    }  # fmt: skip
    verdict = put(condition(explainers=("gradcam",)), run=run, settings=alike, escalate=200)
    assert verdict.problems == ()
    assert put(condition(), run=run, settings=alike, escalate=100).exit_code == 3
    for other in ("maps:out/b(unwalled=out/c)", "maps:out/a(unwalled=out/d)", "maps:out/a"):
        verdict = put(condition(), run=run, settings={"explainers": (other,)})
        assert verdict.exit_code == 3, other


def test_fewer_images_than_asked_for_are_told() -> None:
    run = dead_zone_run({"gradcam": cells(30)})
    run["settings"]["num_images"] = 50
    verdict = put(condition(), run=run, settings={"num_images": 50})
    assert any("30 of 50 images" in note for note in verdict.notes)


@pytest.mark.parametrize("run", [None, [], {}, {"schema": 1}, "x", 3])
def test_anything_but_a_run_is_an_error(run: Any) -> None:
    verdict = judge(policy(condition()), run, today=TODAY)
    assert verdict.exit_code == 3
    assert verdict.problems


def test_nan_anywhere_is_an_error() -> None:
    run = dead_zone_run()
    run["records"][70]["mu_l2"] = math.nan  # of a control, and another figure
    assert put(condition(), run=run).exit_code == 3


Path = tuple[Any, ...]


def places(value: Any, at: Path = ()) -> list[Path]:
    """Every place in a JSON value."""
    found = [at] if at else []
    if isinstance(value, (dict, list)):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            found += places(item, (*at, key))
    return found


def small(kind: str) -> tuple[dict[str, Any], Policy]:
    """A run that passes all it is asked for, and the policy."""
    if kind == "dead zone":
        run = dead_zone_run({"gradcam": cells(7)})
        return run, policy(condition(), settings={"layer": "features"}, pins=PINNED)
    if kind == "sanity":
        run = sanity_run(("gradcam",), checks=("mprt",), orders=("top-down",),
                         similarities=("spearman",), layers=("a", "b"))  # fmt: skip
        return run, policy(condition("mprt.effect", bound=0.9))
    run = invariance_run(methods=("gradcam",), foreign=(), properties=("flip", "dtype"))
    return run, policy(condition("invariance.bugs", "==", 0))


BASES = {kind: small(kind) for kind in ("dead zone", "sanity", "invariance")}
PLACES = {kind: places(run) for kind, (run, _) in BASES.items()}


@pytest.mark.parametrize("kind", BASES)
def test_the_runs_to_be_damaged_pass(kind: str) -> None:
    run, demand = BASES[kind]
    assert judge(demand, run, today=TODAY).exit_code == 0


@given(st.data(), st.sampled_from(list(BASES)))
@settings(max_examples=300, deadline=None)
def test_a_damaged_run_never_raises_and_lost_figures_never_pass(
    data: st.DataObject, kind: str
) -> None:
    run, demand = BASES[kind]
    run = copy.deepcopy(run)
    at = data.draw(st.sampled_from(PLACES[kind]) | st.sampled_from(sorted(NEEDED[kind], key=str)))
    holder: Any = run
    for key in at[:-1]:
        holder = holder[key]
    damage = data.draw(st.sampled_from(["delete", "twice", None, math.nan, "x", [], {}, -7, True]))
    if damage == "delete":
        del holder[at[-1]]
    elif damage == "twice" and isinstance(holder, list):
        holder.append(copy.deepcopy(holder[at[-1]]))
    else:
        holder[at[-1]] = damage
    verdict = judge(demand, run, today=TODAY)
    lost = damage in ("delete", "x", -7) or damage is None or damage in ([], {})
    if (lost and at in NEEDED[kind]) or damage is math.nan:
        assert verdict.exit_code != 0, (at, damage)


#: Where figures come from: without any of these there is no verdict.
NEEDED: dict[str, set[Path]] = {
    "dead zone": {
        ("records",), ("summary",), ("images",), ("zone",), ("subject",), ("settings",),
        ("zone", "verified"), ("subject", "weights_sha256"),
        *(("records", place) for place in range(7)),
        *(("records", place, key) for place in range(7)
          for key in ("check", "method", "image", "status", "mu_l1")),
        *(("images", place) for place in range(7)),
        *(("images", place, "id") for place in range(7)),
    },
    "sanity": {
        ("sanity",), ("images",), ("sanity", "settings"), ("sanity", "curves"), ("sanity", "nulls"),
        ("sanity", "curves", 0), ("sanity", "nulls", 0), ("sanity", "nulls", 0, "pairs"),
        ("sanity", "curves", 0, "values"),
        *(("sanity", "curves", 0, "values", seed) for seed in range(6)),
        *(("sanity", "curves", 0, "values", seed, 1) for seed in range(6)),
        *(("images", place) for place in range(7)),
    },
    "invariance": {
        ("invariance",), ("invariance", "findings"), ("invariance", "findings", 0),
        ("invariance", "findings", 0, "property"), ("invariance", "findings", 1, "on"),
        ("invariance", "findings", 0, "examples"),
    },
}  # fmt: skip


def test_the_places_that_are_needed_are_there() -> None:
    for kind, needed in NEEDED.items():
        assert needed <= set(PLACES[kind])
