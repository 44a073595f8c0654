"""What every registered metric says of itself."""

from __future__ import annotations

import math

import pytest

from camaudit.evaluation.options import CHECKS
from camaudit.metrics.catalogue import METRICS, MetricInfo

ENTRIES = [pytest.param(entry.info, id=name) for name, entry in METRICS.items()]


def test_every_check_has_metrics_and_every_metric_a_check() -> None:
    assert {entry.info.check for entry in METRICS.values()} == set(CHECKS)


@pytest.mark.parametrize("info", ENTRIES)
def test_what_a_metric_says(info: MetricInfo) -> None:
    assert info.title
    assert info.unit in ("", "%", "logit")
    assert info.low < info.high
    assert info.unit != "%" or (info.low, info.high) == (0, 100)
    assert info.paper
    assert info.formula
    assert info.cost
    assert not math.isnan(info.low)


def test_parts_and_controls_have_no_direction_by_themselves() -> None:
    undirected = {name for name, entry in METRICS.items() if entry.info.direction == "none"}
    assert undirected == {"sparseness", "entropy"}
