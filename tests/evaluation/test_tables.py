"""A protocol's tables: what is measured, what was published, and the verdicts on its claims."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from camaudit.evaluation.protocols import Ordering, Protocol, ProtocolTable, protocol
from camaudit.evaluation.tables import protocol_tables
from tests.evaluation import measured

LOWER, HIGHER = "average-drop", "increase-in-confidence"


def table(*orderings: Ordering, metrics: tuple[str, ...] = (LOWER, HIGHER)) -> Protocol:
    made = ProtocolTable(
        "main", "made up", ("a", "b", "c"), metrics, ("confidence",), orderings=orderings
    )
    return Protocol("made", "Made up", "nobody", (made,))


def judged(drops: dict[str, Sequence[float | None]], *orderings: Ordering) -> list[dict[str, Any]]:
    def values(metric: str, method: str, group: tuple[str, ...]) -> Sequence[float | None] | None:
        assert group == ("a", "b", "c")
        row = drops.get(method)
        if row is None or metric == LOWER:
            return row
        return [None if value is None else 100 - value for value in row]

    (found,) = protocol_tables(table(*orderings), values, seed=0)["tables"]
    claims: list[dict[str, Any]] = found["claims"]
    return claims


def noisy(mean: float, seed: int, n: int = 30) -> list[float]:
    return (mean + np.random.default_rng(seed).normal(0, 2, n)).tolist()


DROPS = {"a": noisy(10, 0), "b": noisy(30, 1), "c": noisy(10.2, 2)}


@pytest.mark.parametrize("metric", [LOWER, HIGHER])
def test_a_claim_holds_or_is_reversed_by_the_direction_of_its_metric(metric: str) -> None:
    first, second, third = judged(
        DROPS,
        Ordering("a", "b", metric, "there"),
        Ordering("b", "a", metric, "nowhere"),
        Ordering("c", "a", metric, "perhaps"),
    )
    assert [one["verdict"] for one in (first, second, third)] == [
        "holds", "reversed", "inconclusive",
    ]  # fmt: skip
    sign = -1 if metric == LOWER else 1
    difference = sign * np.mean(np.subtract(DROPS["b"], DROPS["a"]))
    assert first["difference"] == pytest.approx(difference)
    assert second["difference"] == pytest.approx(-difference)
    assert first["low"] < first["difference"] < first["high"]
    assert (second["low"], second["high"]) == (-first["high"], -first["low"])


def test_claims_are_corrected_for_each_other_and_not_for_other_pairs() -> None:
    (alone,) = judged(DROPS, Ordering("a", "b", LOWER, "x"))
    both = judged(DROPS, Ordering("a", "b", LOWER, "x"), Ordering("c", "b", LOWER, "x"))
    assert [one["adjusted"] for one in both] == [2 * alone["adjusted"]] * 2
    other = judged(DROPS, Ordering("a", "b", LOWER, "x"), Ordering("a", "b", HIGHER, "x"))
    assert [one["adjusted"] for one in other] == [alone["adjusted"]] * 2


def test_equal_undefined_and_missing() -> None:
    drops: dict[str, Sequence[float | None]] = {"a": [1.0] * 9, "b": [1.0] * 9}
    claims = judged(drops, Ordering("a", "b", LOWER, "x"), Ordering("a", "c", LOWER, "x"))
    assert [one["verdict"] for one in claims] == ["no difference", "not applicable"]
    assert (claims[1]["n"], claims[1]["difference"]) == (0, None)
    few = judged({"a": [1.0, 2.0], "b": [9.0, 8.0]}, Ordering("a", "b", LOWER, "x"))
    assert few[0]["verdict"] == "not applicable"
    nothing = judged({"a": [None] * 9, "b": [1.0] * 9}, Ordering("a", "b", LOWER, "x"))
    assert nothing[0]["verdict"] == "not applicable"


def test_published_rows_stand_beside_the_measured_ones() -> None:
    asked = protocol("scorecam++:main")
    names = asked.methods

    def values(metric: str, method: str, group: tuple[str, ...]) -> list[float | None] | None:
        assert method in group == names
        return None if metric == "win" else [1.0, 2.0, None]

    found = protocol_tables(asked, values, seed=0)
    (main,) = found["tables"]
    assert {row["metric"] for row in main["measured"]} == {LOWER, HIGHER}
    assert main["measured"][0]["mean"] == {
        "n": 2, "mean": 1.5, "ci_low": None, "ci_high": None, "std": pytest.approx(0.7071067811865),
    }  # fmt: skip
    assert main["directions"] == {LOWER: "lower", HIGHER: "higher", "win": "higher"}
    assert [one["architecture"] for one in main["published"]] == [
        "ResNet-18, fine-tuned", "VGG-19, fine-tuned", "ResNet-18", "VGG-19",
    ]  # fmt: skip


def test_the_page_of_measured_tables_says_what_was_found() -> None:
    def values(metric: str, method: str, _group: tuple[str, ...]) -> Sequence[float] | None:
        return None if method == "c" or metric == HIGHER else DROPS[method]

    made = table(Ordering("a", "b", LOWER, "x"), Ordering("a", "c", LOWER, "x"))
    results = {"protocol": protocol_tables(made, values, seed=0)}
    page = measured.text([("On made-up images", results)])
    (row,) = (line for line in page.splitlines() if line.startswith("| `a` |"))
    mean, low, high = (float(number) for number in re.findall(r"\d+\.\d", row))
    assert mean == pytest.approx(np.mean(DROPS["a"]), abs=0.05)
    assert low < mean < high
    assert "| `c` | – |" in page
    assert "30 images" in page
    assert f"`{HIGHER}`" not in page
    assert re.search(r"\| `a` better than `b` \| `average-drop` \| holds \| −\d+\.\d\d \[", page)
    assert "| `a` better than `c` | `average-drop` | not applicable | – | – |" in page
