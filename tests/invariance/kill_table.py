"""Which property kills which mutant, all of them: `python -m tests.invariance.kill_table`.

Prints Markdown, or with `--python` the table that the tests read. `--workers` processes share the
mutants; every search is of `--examples` examples from `--seed`.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from collections.abc import Iterator, Sequence

import torch

from camaudit.invariance import PROPERTIES, Search
from tests.invariance.killing import CONFORMANCE, killed, killers, spared
from tests.invariance.mutants import MUTANTS

Table = dict[str, tuple[str, ...]]


def row(task: tuple[str, tuple[str, ...], Search]) -> tuple[str, tuple[str, ...]]:
    """A mutant's name and all that kill it, and spare the right explainer."""
    name, columns, search = task
    torch.set_num_threads(1)
    mutant = MUTANTS[name]
    found = [column for column in columns if killed(mutant, column, search) is not None]
    return name, tuple(each for each in found if spared(mutant.claims, each, search) is None)


def table(names: Sequence[str], columns: Sequence[str], search: Search, workers: int) -> Table:
    """All rows; a line to standard error for each that is done."""
    tasks = [(name, tuple(columns), search) for name in names]
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers) as pool:
        return dict(_told(pool.imap_unordered(row, tasks), len(tasks)))


def _told(
    rows: Iterator[tuple[str, tuple[str, ...]]], total: int
) -> Iterator[tuple[str, tuple[str, ...]]]:
    for count, (name, found) in enumerate(rows, start=1):
        print(f"{count}/{total} {name}: {', '.join(found)}", file=sys.stderr, flush=True)
        yield name, found


def markdown(found: Table) -> str:
    """Both tables: what kills each mutant, and how many each property kills."""
    lines = ["| mutant | fault | killed by |", "|---|---|---|"]
    for name, mutant in MUTANTS.items():
        if name in found:
            lines.append(f"| {name} | {mutant.fault} | {', '.join(found[name]) or '**nothing**'} |")
    lines += ["", "| property | mutants killed | alone | for example |", "|---|---|---|---|"]
    for column in killers():
        names = [name for name, by in found.items() if column in by]
        alone = sum(found[name] == (column,) for name in names)
        lines.append(f"| {column} | {len(names)} | {alone} | {', '.join(names[:3]) or '–'} |")
    return "\n".join(lines)


def python(found: Table) -> str:
    """The table as a dict, in the order of the mutants."""
    rows = [f"    {name!r}: {found[name]!r}," for name in MUTANTS if name in found]
    return "\n".join(["{", *rows, "}"])


def main(arguments: Sequence[str] | None = None) -> None:
    """Make the table and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mutants", nargs="*", help="their names; all by default")
    parser.add_argument("--properties", nargs="*", help="all, and conformance, by default")
    parser.add_argument("--examples", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--python", action="store_true")
    given = parser.parse_args(arguments)
    columns = given.properties or killers()
    for column in columns:
        if column != CONFORMANCE:
            PROPERTIES[column]  # an unknown name is refused, with the near ones
    search = Search(examples=given.examples, seed=given.seed, shrink=False)
    found = table(given.mutants or list(MUTANTS), columns, search, given.workers)
    print(python(found) if given.python else markdown(found))


if __name__ == "__main__":
    main()
