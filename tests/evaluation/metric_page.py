"""The tables in docs/metrics.md and docs/protocols.md.

`python -m tests.evaluation.metric_page` writes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from camaudit.evaluation.options import CHECKS
from camaudit.evaluation.protocols import PROTOCOLS, Protocol, ProtocolTable
from camaudit.evaluation.published import PublishedTable
from camaudit.metrics.catalogue import METRICS, MetricInfo

DOCS = Path(__file__).parents[2] / "docs"
_ARROWS = {"higher": "↑", "lower": "↓", "none": "–"}
_BAR = "\\|"  # within a cell


def with_tables(name: str) -> str:
    """The page with the present tables between their marks."""
    page = (DOCS / name).read_text(encoding="utf-8")
    parts = {"metrics": metrics()} if name == "metrics.md" else {
        f"protocol {entry.name}": published(entry) for entry in PROTOCOLS.values()
    }  # fmt: skip
    for mark, text in parts.items():
        begin, end = f"<!-- {mark} -->\n", f"<!-- /{mark} -->"
        before, rest = page.split(begin, 1)
        page = before + begin + text + end + rest.split(end, 1)[1]
    return page


def metrics() -> str:
    """One line a metric, by check."""
    lines = [
        "| check | metric | better | range | formula | passes for an image and a method | source |",
        "|---|---|---|---|---|---|---|",
    ]
    for check in CHECKS:
        for name, entry in METRICS.items():
            info = entry.info
            if info.check == check:
                cells = (f"`{check}`", f"`{name}`", _ARROWS[info.direction], _range(info),
                         info.formula, info.cost, info.paper)  # fmt: skip
                lines.append(f"| {' | '.join(cell.replace('|', _BAR) for cell in cells)} |")
    return "\n".join(lines) + "\n"


def _range(info: MetricInfo) -> str:
    low, high = (f"{end:g}".replace("-", "−").replace("inf", "∞") for end in (info.low, info.high))
    return f"{low} … {high} {info.unit}".rstrip()


def published(entry: Protocol) -> str:
    """The methods, claims and published rows of a protocol, and what is known of them."""
    blocks = [block for table in entry.tables for block in _table(entry, table)]
    notes = [f"- {text}" for text in entry.notes]
    return "\n\n".join([*blocks, "What is run:", "\n".join(notes)]) + "\n"


def _table(entry: Protocol, table: ProtocolTable) -> Iterator[str]:
    yield f"### `{entry.name}:{table.key}`"
    yield (
        f"{table.title}. Checks: {', '.join(f'`{name}`' for name in table.checks)}. Methods: "
        f"{', '.join(f'`{name}`' for name in table.methods)}."
    )
    yield _claims(table)
    with_rows = [one for one in table.published if one.rows]
    if with_rows:
        yield "\n".join(_rows(table, with_rows))
    yield "\n".join(_notes(table))


def _claims(table: ProtocolTable) -> str:
    winners = list(dict.fromkeys(one.better for one in table.orderings))
    said = []
    for better in winners:
        mine = [one for one in table.orderings if one.better == better]
        names = ", ".join(f"`{name}`" for name in dict.fromkeys(one.metric for one in mine))
        sources = "; ".join(dict.fromkeys(one.claim for one in mine))
        rest = len({one.worse for one in mine})
        others = "each of the others" if rest > 1 else f"`{mine[0].worse}`"
        said.append(f"`{better}` is better than {others} by {names} ({sources})")
    count = len(table.orderings)
    return f"Published {'claims' if count > 1 else 'claim'}, {count}: {'; '.join(said)}."


def _rows(table: ProtocolTable, with_rows: list[PublishedTable]) -> Iterator[str]:
    """Published figures: a row a method, a column a published table."""
    heads = [f"{one.title}{_images(one)}: {_columns(one)}" for one in with_rows]
    yield f"| method | {' | '.join(heads)} |"
    yield "|---" * (len(heads) + 1) + "|"
    listed = [row.method for one in with_rows for row in one.rows]
    known = [name for name in table.methods if name in listed]
    for name in dict.fromkeys([*known, *listed]):
        yield f"| `{name}` | {' | '.join(_cell(one, name) for one in with_rows)} |"


def _images(one: PublishedTable) -> str:
    return "" if one.images is None else f", {one.images} images"


def _columns(one: PublishedTable) -> str:
    return " / ".join(f"`{name}`" for name in one.metrics)


def _cell(one: PublishedTable, method: str) -> str:
    found = [one.figure(method, metric) for metric in one.metrics]
    if all(figure is None for figure in found):
        return "–"
    return " / ".join("–" if figure is None else f"{figure:g}" for figure in found)


def _notes(table: ProtocolTable) -> Iterator[str]:
    """Each note once, with the published tables that it is of."""
    of: dict[str, list[str]] = {}
    for one in table.published:
        for text in one.notes:
            of.setdefault(text, []).append(one.table)
    for text, tables in of.items():
        yield f"- {', '.join(tables)}: {text}" if len(table.published) > 1 else f"- {text}"


if __name__ == "__main__":
    for page in ("metrics.md", "protocols.md"):
        made = with_tables(page)
        (DOCS / page).write_text(made, encoding="utf-8")
