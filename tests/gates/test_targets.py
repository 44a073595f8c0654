"""Runs that explain several classes of an image, as gates and comparisons take them."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest

from camaudit.gates.diff import Change, compare
from camaudit.gates.matching import mismatches
from camaudit.gates.samples import sample
from camaudit.gates.verdict import Decision
from tests.gates.runs import dead_zone_run, policy

FIRST = [0.1, 0.3, 0.5, 0.2, None, 0.4, 0.6, 0.0]
SECOND = [0.9, None, 0.7, 0.0, None, 0.2, 0.6, 1.0]
MEANS = [0.5, 0.3, 0.6, 0.1, np.nan, 0.3, 0.6, 0.5]


def several(
    first: list[float | None] = FIRST, second: list[float | None] = SECOND, asked: str = "3,17"
) -> dict[str, Any]:
    """A run of one method on two classes of every image."""
    made = dead_zone_run({"gradcam": first})
    other = dead_zone_run({"gradcam": second})
    for target, run in ((3, made), (17, other)):
        for one in run["records"]:
            one["target"] = target
    made["records"] += other["records"]
    statuses = [one["status"] for one in made["records"]]
    images = [
        "ok" if "ok" in (one["status"], two["status"]) else "degenerate"
        for one, two in zip(made["records"], other["records"], strict=False)
    ]
    names = {"n": "ok", "degenerate": "degenerate", "not_applicable": "not applicable",
             "errors": "error"}  # fmt: skip
    (line,) = made["summary"]
    line |= {name: images.count(status) for name, status in names.items()}
    line["targets"] = {name: statuses.count(status) for name, status in names.items()}
    made["settings"]["targets"] = asked
    return made


def test_an_images_figure_is_the_mean_over_its_targets() -> None:
    found = sample(several(), "dead_zone.mu_l1", "gradcam")
    assert found.state is None, found.reason
    assert found.values is not None
    np.testing.assert_allclose(found.values[0], MEANS)
    assert len(found.images) == len(FIRST)


def test_a_failure_on_one_target_is_one_of_the_run() -> None:
    made = several()
    made["records"][-1] |= {"status": "error", "mu_l1": None, "message": "broken"}
    found = sample(made, "dead_zone.mu_l1", "gradcam")
    assert found.state is Decision.ERROR
    assert "broken" in found.reason


@pytest.mark.parametrize("asked", [None, "top-1"])
def test_one_record_an_image_where_one_class_is_asked_for(asked: str | None) -> None:
    made = several()
    made["settings"]["targets"] = asked
    if asked is None:
        del made["settings"]["targets"]
    found = sample(made, "dead_zone.mu_l1", "gradcam")
    assert found.state is Decision.ERROR
    assert "has 2 records, expected one" in found.reason


def test_a_class_that_is_there_twice_is_refused() -> None:
    made = several()
    made["records"][0]["target"] = 17
    found = sample(made, "dead_zone.mu_l1", "gradcam")
    assert found.state is Decision.ERROR
    assert "has 2 records of one class, expected one" in found.reason


def test_records_that_the_summary_does_not_count_are_refused() -> None:
    made = several()
    del made["records"][-1]
    found = sample(made, "dead_zone.mu_l1", "gradcam")
    assert "counts [16] records of it, and there are 15" in found.reason
    made = several()
    made["summary"][0]["n"] += 1
    assert "counts [9] images of it" in sample(made, "dead_zone.mu_l1", "gradcam").reason


def test_runs_on_the_same_classes_are_compared_and_on_others_are_not() -> None:
    rng = np.random.default_rng(3)
    first, second = rng.uniform(0.2, 0.4, (2, 40)).tolist()
    run = several(first, second)
    worse = copy.deepcopy(run)
    for one in worse["records"]:
        one["mu_l1"] += float(rng.normal(0.02, 0.002))
    (found,) = [one for one in compare(run, worse).differences if one.figure == "dead_zone.mu_l1"]
    assert found.change is Change.WORSE
    assert found.difference == pytest.approx(0.02, abs=0.002)
    alone = dead_zone_run({"gradcam": first})
    (other,) = [one for one in compare(alone, run).differences if one.figure == "dead_zone.mu_l1"]
    assert other.change is Change.INCOMPARABLE
    assert "differ in targets" in other.reason


def test_a_policy_speaks_of_the_top_1_class() -> None:
    (told,) = mismatches(policy(), several(asked="labels"))
    assert told.startswith("the run explains other classes than the top-1 (--targets labels)")
    assert mismatches(policy(), dead_zone_run()) == []
    made = dead_zone_run()
    made["settings"]["pairs"] = "different"
    (told,) = mismatches(policy(), made)
    assert told.startswith("the run stacks other pairs (--pairs different)")
    assert mismatches(policy(), several(), live=True) == []
