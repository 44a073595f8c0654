"""What protocols gave on real images, in docs/protocols.md.

`python -m tests.evaluation.measured "LABEL=results.json" …` writes it; runs with one label are
shown together.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.evaluation.metric_page import DOCS

_BEGIN, _END = "<!-- measured -->\n", "<!-- /measured -->"
_ARROWS = {"higher": "↑", "lower": "↓", "none": "–"}

Json = Mapping[str, Any]


def text(runs: Sequence[tuple[str, Json]]) -> str:
    """The tables of every run, with the claims and what became of them."""
    blocks = []
    for label in dict.fromkeys(label for label, _ in runs):
        blocks.append(f"### {label}")
        for results in (found for name, found in runs if name == label):
            protocol = results["protocol"]
            for table in protocol["tables"]:
                blocks += _table(f"{protocol['name']}:{table['key']}", table)
    return "\n\n".join(blocks) + "\n"


def _table(name: str, table: Json) -> list[str]:
    means = {(row["metric"], row["method"]): row["mean"] for row in table["measured"]}
    metrics = [m for m in table["metrics"] if any(metric == m for metric, _ in means)]
    heads = [f"`{m}` {_ARROWS[table['directions'][m]]}" for m in metrics]
    lines = [_row(["method", *heads]), _row(["---"] * (len(metrics) + 1))]
    lines += [
        _row([f"`{method}`", *(_mean(means.get((m, method))) for m in metrics)])
        for method in table["methods"]
    ]
    count = max(mean["n"] for mean in means.values())
    blocks = [f"**`{name}`**, {table['title']}; {count} images.", "\n".join(lines)]
    return [*blocks, "\n".join(_claims(table["claims"]))] if table["claims"] else blocks


def _claims(claims: Sequence[Json]) -> list[str]:
    heads = ["claim", "metric", "verdict", "difference, 95 % interval", "p after Holm"]
    lines = [_row(heads), _row(["---"] * len(heads))]
    for one in claims:
        said = f"`{one['better']}` better than `{one['worse']}`"
        cells = [said, f"`{one['metric']}`", one["verdict"], _interval(one), _p(one["adjusted"])]
        lines.append(_row(cells))
    return lines


def _p(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}" if value >= 0.0005 else "< 0.001"


def _interval(claim: Json) -> str:
    if claim["difference"] is None:
        return "–"
    difference, low, high = (claim[key] for key in ("difference", "low", "high"))
    ends = "" if low is None or high is None else f" [{_signed(low)}, {_signed(high)}]"
    return f"{_signed(difference)}{ends}"


def _signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def _mean(mean: Json | None) -> str:
    if mean is None or mean["mean"] is None:
        return "–"
    low, high = mean["ci_low"], mean["ci_high"]
    ends = "" if low is None else f" [{low:.1f}, {high:.1f}]"
    return f"{mean['mean']:.1f}{ends}".replace("-", "−")


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def main(arguments: Sequence[str]) -> None:
    """Read the runs and put their tables between the marks of the page."""
    runs = []
    for argument in arguments:
        label, _, path = argument.rpartition("=")
        runs.append((label, json.loads(Path(path).read_text(encoding="utf-8"))))
    page = DOCS / "protocols.md"
    before, rest = page.read_text(encoding="utf-8").split(_BEGIN, 1)
    after = rest.split(_END, 1)[1]
    page.write_text(before + _BEGIN + text(runs) + _END + after, encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
