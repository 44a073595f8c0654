"""What the terminal shows beside the results: progress with an ETA, methods and metrics."""

from __future__ import annotations

import time
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    SpinnerColumn,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)  # fmt: skip
from rich.table import Table

from camaudit.evaluation.options import CHECKS
from camaudit.evaluation.protocols import PROTOCOLS
from camaudit.methods import METHODS, STANDARD, method_names, options_listing
from camaudit.metrics.catalogue import METRICS, MetricInfo
from camaudit.report.data_sets import data_tables
from camaudit.report.explainers_table import explainers_table
from camaudit.report.invariance_table import invariance_tables
from camaudit.report.metrics_terminal import metrics_tables
from camaudit.report.sanity_table import sanity_tables
from camaudit.report.table import print_tables, terminal_table
from camaudit.report.theory_tables import claims_table, mu_tables
from camaudit.report.two_classes import two_class_tables
from camaudit.types import Results

__all__ = [
    "ConsoleProgress",
    "methods_listing",
    "metrics_listing",
    "print_claims",
    "print_table",
]

_SECONDS_BETWEEN_LINES = 30.0


class ConsoleProgress:
    """The progress of one audit on stderr; a context manager that cleans up its bar."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),  # a server's words may stand in it
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=None)
        self._stage = ""
        self._spoke = time.monotonic()

    def __enter__(self) -> ConsoleProgress:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def start(self, work: int) -> None:
        """A part of the run begins: `work` units lie ahead, and the time that they take counts."""
        self._bar.reset(self._task, total=work)

    def stage(self, text: str) -> None:
        """Show `text` beside the bar; without a terminal it is a line of its own."""
        self._bar.update(self._task, description=text)
        if not self._console.is_terminal and text != self._stage:
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)
        self._stage = text

    def advance(self, work: int) -> None:
        """`work` units are done; without a terminal a line says so every half minute."""
        self._bar.advance(self._task, work)
        task = self._bar.tasks[0]
        if self._console.is_terminal or time.monotonic() - self._spoke < _SECONDS_BETWEEN_LINES:
            return
        self._spoke = time.monotonic()
        share = task.completed / task.total if task.total else 0.0
        left = f"{(task.elapsed or 0) * (1 - share) / share:.0f} s" if share else "unknown"
        self._console.print(
            f"{self._stage}: {task.percentage:.0f} % done, ETA {left}",
            highlight=False, markup=False, soft_wrap=True,
        )  # fmt: skip


def print_table(results: Results) -> None:
    """The results' table on stdout; a terminal narrower than 80 columns wraps its lines.

    Where images show two classes, or data sets were audited, tables of these follow, then those of
    the metrics and of a protocol's claims, one for each sanity check and those of the invariance
    check; where only such checks were run there is no other. Explainers that are no registered
    methods come last, with what was done to their maps.
    Raises BrokenPipeError where nobody reads stdout any more.
    """
    print_tables(lambda width: _tables(results, width))


def _tables(results: Results, width: int) -> list[Table]:
    checks = [
        *metrics_tables(results, width=width),
        *sanity_tables(results, width=width),
        *invariance_tables(results),
    ]
    zone = [terminal_table(results, width=width)] if results.summary or not checks else []
    two = two_class_tables(results, width=width)
    return [*zone, *two, *data_tables(results, width=width), *checks, *explainers_table(results)]


def print_claims(results: Results) -> None:
    """Every claim with its figure, and μ for every random network, as :func:`print_table` does."""
    print_tables(lambda width: [*mu_tables(results, width=width), claims_table(results)])


def methods_listing() -> str:
    """Every registered method with formula, family, cost, options and paper, as plain text."""
    width = max(map(len, METHODS)) + 3
    lines = [
        "Saliency methods. K: channels of the target layer; cost is beyond the shared capture.",
        "* runs by default. Options go in brackets: 'scorecam(score=probability)'.",
    ]
    for name in method_names():
        info = METHODS[name].info
        paper = info.paper if info.equation == "-" else f"{info.paper}, {info.equation}"
        lines += [
            "",
            f"{name + ('*' if name in STANDARD else ''):<{width}}{info.formula}",
            f"{'':<{width}}{info.family}; cost an image: {info.cost}",
            *(f"{'':<{width}}options: {text}" for text in [options_listing(name)] if text),
            f"{'':<{width}}{paper}",
        ]
    return "\n".join(lines)


def metrics_listing() -> str:
    """Every registered metric by check, then the protocols with their tables, as plain text."""
    width = max(map(len, METRICS)) + 4
    lines = [
        "Metrics by the check under --checks that computes them. m: the min-max map; Y, O: the "
        "class's",
        "probability for the image and for x⊙m. Cost: passes of the model for an image and a "
        "method.",
    ]
    for check in CHECKS:
        lines += ["", check]
        for name, entry in METRICS.items():
            if entry.info.check == check:
                lines += [
                    f"{'  ' + name:<{width}}{entry.info.formula}",
                    f"{'':<{width}}{_range(entry.info)}; cost: {entry.info.cost}",
                    f"{'':<{width}}{entry.info.paper}",
                ]
    lines += ["", "protocols: --protocol NAME runs all tables but a transformer's, NAME:TABLE one"]
    lines += [
        f"  {entry.name}:{table.key}  {table.title} ({len(table.methods)} methods; "
        f"{', '.join(table.checks)})"
        for entry in PROTOCOLS.values()
        for table in entry.tables
    ]
    return "\n".join(lines)


def _range(info: MetricInfo) -> str:
    """Which way is better, the ends of the range and the unit."""
    better = {"none": "neither way is better"}.get(info.direction, f"{info.direction} is better")
    low, high = (f"{end:g}".replace("-", "−").replace("inf", "∞") for end in (info.low, info.high))
    return f"{better}, {low} to {high}{' ' * bool(info.unit)}{info.unit}"
