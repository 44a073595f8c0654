"""The page on policies: its example is read, and every figure and key stands on it."""

from __future__ import annotations

import math
import re
from pathlib import Path

from camaudit.gates.conditions import CONDITION, WAIVER
from camaudit.gates.figures import FIGURES, Figure
from camaudit.gates.reading import KEYS
from tests.gates.policies import read

PAGE = Path(__file__).parents[2] / "docs" / "policy.md"
TEXT = PAGE.read_text(encoding="utf-8")
BEGIN, END = "<!-- figures -->\n", "<!-- /figures -->"
HEAD = "| figure | check | mean over | range | better | meaning |\n|---|---|---|---|---|---|\n"


def row(figure: Figure) -> str:
    high = "" if math.isinf(figure.high) else f"{figure.high:g}"
    span = f"{figure.low:g} … {high}".rstrip().replace("-", "−")
    unit = "counted" if figure.count else figure.unit
    return (
        f"| `{figure.name}` | `{figure.check}` | {unit} | {span} | {figure.better} | "
        f"{figure.meaning} |\n"
    )


def test_the_table_of_figures_is_that_of_the_registry() -> None:
    table = HEAD + "".join(map(row, FIGURES.values()))
    assert TEXT.split(BEGIN)[1].split(END)[0] == table, table


def test_the_example_is_a_sound_policy(tmp_path: Path) -> None:
    (example,) = re.findall(r"```toml\n(.*?)```", TEXT, flags=re.DOTALL)
    policy = read(example, tmp_path)
    assert len(policy.conditions) == 5
    assert policy.settings["checks"] == ("dead-zone", "invariance")


def test_every_key_stands_in_its_table_and_no_other() -> None:
    known = {f"[{name}]": set(keys) for name, keys in KEYS.items()}
    known |= {"[[condition]]": set(CONDITION), "[[waiver]]": set(WAIVER)}
    for table, keys in known.items():
        head = f"| key of `{table}` |"
        assert TEXT.count(head) == 1
        rows = TEXT.split(head)[1].split("\n\n")[0].split("\n")[2:]
        named = [name for line in rows for name in re.findall(r"`(\w+)`", line.split("|")[1])]
        assert sorted(named) == sorted(keys)
