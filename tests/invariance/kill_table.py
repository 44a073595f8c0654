"""Which property kills which mutant, all of them: `python -m tests.invariance.kill_table`.

Writes `tests/invariance/killed_by.py`, which the tests read, and `docs/invariance-mutants.md`; with
names of mutants their rows alone are made again. `--workers` processes share the mutants; every
search is of `--examples` examples from `--seed`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from camaudit.invariance import PROPERTIES, Search
from tests.invariance.killed_by import KILLED_BY
from tests.invariance.killing import CONFORMANCE, killed, killers, spared
from tests.invariance.mutants import MUTANTS

Row = tuple[str, tuple[str, ...]]
Table = dict[str, tuple[str, ...]]

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / "tests" / "invariance" / "killed_by.py"
PAGE = ROOT / "docs" / "invariance-mutants.md"


def row(task: tuple[str, tuple[str, ...], Search]) -> Row:
    """A mutant's name and all that kill it, and spare the right explainer."""
    name, columns, search = task
    torch.set_num_threads(1)
    mutant = MUTANTS[name]
    found = [column for column in columns if killed(mutant, column, search) is not None]
    return name, tuple(each for each in found if spared(mutant.claims, each, search) is None)


def made(asked: Table, search: Search, workers: int) -> Table:
    """What kills each mutant among what is asked; a line to standard error for each row."""
    tasks = [(name, columns, search) for name, columns in asked.items()]
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        return dict(_told(pool.imap_unordered(row, tasks), len(tasks)))


def _told(rows: Iterator[Row], total: int) -> Iterator[Row]:
    for count, (name, found) in enumerate(rows, start=1):
        print(f"{count}/{total} {name}: {', '.join(found)}", file=sys.stderr, flush=True)
        yield name, found


def ordered(found: Table) -> Table:
    """Rows as the mutants are, and in each the property first that kills the fewest mutants.

    Conformance, which sees nearly everything, comes last.
    """
    kills = Counter(column for columns in found.values() for column in columns)
    places = {column: place for place, column in enumerate(killers())}

    def rank(column: str) -> tuple[bool, int, int]:
        return column == CONFORMANCE, kills[column], places[column]

    return {name: tuple(sorted(found[name], key=rank)) for name in MUTANTS if name in found}


def python(found: Table) -> str:
    """The module `killed_by`."""
    return "\n".join([_HEAD, *(_wrapped(name, found[name]) for name in found), "}", ""])


def _wrapped(name: str, columns: tuple[str, ...]) -> str:
    """One entry: a property a line, or all of it on one."""
    if len(columns) == 1:
        return f"    {_quoted(name)}: ({_quoted(columns[0])},),"
    lines = [f"        {_quoted(column)}," for column in columns]
    return "\n".join([f"    {_quoted(name)}: (", *lines, "    ),"])


def _quoted(text: str) -> str:
    return f'"{text}"'


_HEAD = '''"""What kills each mutant, as `python -m tests.invariance.kill_table` has found it."""

from __future__ import annotations

#: Properties by mutant, the one first that kills the fewest; conformance last.
KILLED_BY: dict[str, tuple[str, ...]] = {'''

_INTRO = """\
# Planted faults, and what finds them

Each mutant is a short, literal explainer that is right but for one thing; the right one conforms
to the registered method of its name (`tests/invariance/literal.py`). A property kills a mutant
where it finds a bug or a fault in it, and none in the right explainer; a violation that the method
has by its definition does not count. Conformance kills it where the maps differ from the method's,
or are equal up to just the post-processing that the fault is.

The tests put every mutant to the first of its row. The rows come from several runs, and not every
mutant was put to every property in them: one that is not in a row may still find the fault.
`python -m tests.invariance.kill_table` puts all to all, and writes these tables anew."""


def page(found: Table) -> str:
    """The page `docs/invariance-mutants.md`."""
    rows = [
        f"| {name} | {MUTANTS[name].fault} | {', '.join(by) or '**nothing**'} |"
        for name, by in found.items()
    ]
    lines = [_INTRO, "", "## By property", "", "| property | kills | alone | first of its row |"]
    lines += ["|---|---|---|---|", *(_summary(column, found) for column in killers())]
    lines += ["", "## By mutant", "", "| mutant | fault | killed by |", "|---|---|---|", *rows, ""]
    return "\n".join(lines)


def _summary(column: str, found: Table) -> str:
    names = [name for name, by in found.items() if column in by]
    alone = sum(found[name] == (column,) for name in names)
    first = [name for name in names if found[name][0] == column]
    return f"| {column} | {len(names)} | {alone} | {', '.join(first[:3]) or '–'} |"


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the rows and write both files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mutants", nargs="*", help="their names; all by default")
    parser.add_argument("--properties", nargs="*", help="these alone, added to what is known")
    parser.add_argument("--known", action="store_true", help="only what is in the table already")
    parser.add_argument("--examples", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args(arguments)
    columns = tuple(given.properties or killers())
    for column in columns:
        if column != CONFORMANCE:
            PROPERTIES[column]  # an unknown name is refused, with the near ones
    known = {
        name: tuple(by for by in KILLED_BY.get(name, ()) if by in killers()) for name in MUTANTS
    }
    asked = dict.fromkeys(given.mutants or MUTANTS, columns)
    if given.known:
        asked = {name: tuple(by for by in known[name] if by in columns) for name in asked}
    search = Search(examples=given.examples, seed=given.seed, shrink=False)
    for name, found in made(asked, search, given.workers).items():
        known[name] = (*(by for by in known[name] if by not in columns), *found)
    rows = ordered(known)
    PYTHON.write_text(python(rows), encoding="utf-8")
    PAGE.write_text(page(rows), encoding="utf-8")


if __name__ == "__main__":
    main()
