"""One figure of an audit of objects held against one bound."""

from __future__ import annotations

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from camaudit.gates.gate import judge
from camaudit.gates.policy import Bound, Condition, Policy, Relation
from camaudit.gates.verdict import Verdict
from camaudit.testing.asked import Asked

__all__ = ["demanded"]


def demanded(
    asked: Asked,
    results: Mapping[str, Any],
    figure: str,
    relation: Relation,
    bound: float,
    *,
    name: str,
) -> Verdict:
    """What a policy with this one condition, of every explainer asked for, says of the results."""
    condition = Condition(
        name=name, figure=figure, relation=relation, bound=Bound(offset=bound),
        explainers=asked.explainers.labels, text=f"{figure} {relation} {bound:g}",
    )  # fmt: skip
    policy = Policy(path=Path("this test"), conditions=(condition,))
    return judge(policy, results, today=datetime.date.today(), live=True)
