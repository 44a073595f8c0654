"""Every property of every explainer: on drawn networks, and on a user's own model."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

from camaudit.errors import UsageError
from camaudit.invariance.conformance import Conformance, conformance
from camaudit.invariance.explainer import Explain
from camaudit.invariance.property import PROPERTIES
from camaudit.invariance.run import Counterexample, Finding, Outcome, Search, examine
from camaudit.invariance.situation import Situation
from camaudit.invariance.snippet import program
from camaudit.invariance.store import Store

__all__ = ["DETERMINISM", "InvarianceResult", "Options", "Progress", "Tested", "run_invariance"]

#: The property that is tested first: without it no two maps can be compared.
DETERMINISM = "determinism"
NONDETERMINISTIC = "nondeterministic"


class Progress(Protocol):
    """What is told of a run as it goes on."""

    def start(self, work: int) -> None:
        """`work` units lie ahead."""

    def stage(self, text: str) -> None:
        """What is being done."""

    def advance(self, work: int) -> None:
        """`work` units are done."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Tested:
    """An explainer with its name, the registered method that it is or claims to be, and its code.

    `code` is what defines `explain` in a program that repeats a counterexample. `own` explains the
    user's own model (None: the same; False: it is left out there, and `note` says why).
    `registered` methods are not put to conformance: they are the reference.
    """

    name: str
    explain: Explain
    claims: str | None = None
    code: str = ""
    own: Explain | None | bool = None
    note: str | None = None
    registered: bool = False


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is tested, and for how long.

    properties: names, None for all. examples: of each property on drawn networks, counting those
    that say something. own_examples: the same on the user's own model. budget: seconds that one
    explainer may take in all, None without bound. seed: of everything drawn.
    """

    properties: tuple[str, ...] | None = None
    examples: int = 30
    own_examples: int = 1
    budget: float | None = 300.0
    seed: int = 0

    def __post_init__(self) -> None:
        if min(self.examples, self.own_examples) < 1 or self.seed < 0:
            raise UsageError(
                "expected at least one example, one on the own model, and a seed from 0 on; got "
                f"{self}"
            )
        if self.budget is not None and self.budget <= 0:
            raise UsageError(f"expected a budget above 0 s; got {self.budget:g}")
        for name in self.properties or ():
            PROPERTIES[name]

    @property
    def names(self) -> tuple[str, ...]:
        """The properties to test, determinism first."""
        listed = tuple(PROPERTIES) if self.properties is None else self.properties
        return tuple(sorted(dict.fromkeys(listed), key=lambda name: name != DETERMINISM))


@dataclass(frozen=True, eq=False)
class Row:
    """What was found about one explainer on drawn networks ("drawn") or on "own"."""

    tested: Tested
    on: str
    findings: tuple[Finding, ...]
    conformance: Conformance | None
    seconds: float


@dataclass(frozen=True, eq=False)
class InvarianceResult:
    """All rows, and the programs that repeat the counterexamples by (explainer, property)."""

    options: Options
    rows: tuple[Row, ...]
    programs: dict[tuple[str, str], str] = field(default_factory=dict)
    files: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def bugs(self) -> list[tuple[Tested, str, Finding]]:
        """Every bug and fault: explainer, "drawn" or "own", finding."""
        wrong = (Outcome.BUG, Outcome.FAULT)
        return [(row.tested, row.on, f) for row in self.rows for f in row.findings
                if f.outcome in wrong]  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """The part "invariance" of results.json, without timings."""
        testeds = dict.fromkeys(row.tested for row in self.rows)
        return {
            "settings": {
                "examples": self.options.examples,
                "own_examples": self.options.own_examples,
                "seed": self.options.seed,
                "budget": self.options.budget,
            },
            "properties": [_property(name) for name in self.options.names],
            "explainers": [_explainer(tested) for tested in testeds],
            "findings": [self._finding(row, found) for row in self.rows for found in row.findings],
            "conformance": [
                self._conformance(row, row.conformance) for row in self.rows if row.conformance
            ],
        }

    def _finding(self, row: Row, found: Finding) -> dict[str, Any]:
        key = (row.tested.name, found.property)
        plain = asdict(replace(found, counterexample=None))
        del plain["seconds"], plain["counterexample"]
        plain["outcome"] = found.outcome.value
        shown = None if found.counterexample is None else self._shown(found.counterexample, key)
        return {"explainer": row.tested.name, "on": row.on, **plain, "counterexample": shown}

    def _shown(self, found: Counterexample, key: tuple[str, str]) -> dict[str, Any]:
        drawn = found.example is not None
        difference = found.difference
        finite = difference is not None and difference < float("inf")
        return {
            "message": found.message,
            "difference": difference if finite else None,
            "trace": found.trace,
            "code": self.programs.get(key) if drawn else None,
            "file": self.files.get(key) if drawn else None,
        }

    def _conformance(self, row: Row, found: Conformance) -> dict[str, Any]:
        return {"explainer": row.tested.name, "claims": row.tested.claims, "on": row.on}


def _property(name: str) -> dict[str, Any]:
    info = PROPERTIES[name].info
    bound = info.tolerance
    tolerance = {"float64": bound.double, "float32": bound.single, "reason": bound.reason}
    return {
        "name": name, "statement": info.statement, "source": info.source, "tolerance": tolerance,
    }  # fmt: skip


def _explainer(tested: Tested) -> dict[str, Any]:
    kind = "registered" if tested.registered else "callable"
    return {"name": tested.name, "claims": tested.claims, "kind": kind, "note": tested.note}


def run_invariance(
    explainers: Sequence[Tested],
    *,
    options: Options,
    own: Situation | None = None,
    store: Store | None = None,
    progress: Progress,
) -> InvarianceResult:
    """Test all properties of all explainers; one that fails in whatever way does not end the run.

    own: the user's model, layer and images. store: where counterexamples are kept; those that it
    holds are tried first. Raises the store's errors.
    """
    names = [tested.name for tested in explainers]
    if len(set(names)) < len(names):
        raise UsageError(f"expected explainers of different names; got {', '.join(names)}")
    run = _Run(options, own, store, progress)
    progress.start(len(explainers) * len(options.names) * (1 if own is None else 2))
    for tested in explainers:
        run.test(tested)
    return InvarianceResult(options, tuple(run.rows), run.programs, run.files)


class _Run:
    """A run over explainers, one row after the other."""

    def __init__(
        self, options: Options, own: Situation | None, store: Store | None, progress: Progress
    ) -> None:
        self.options = options
        self.own = own
        self.store = store
        self.progress = progress
        self.rows: list[Row] = []
        self.programs: dict[tuple[str, str], str] = {}
        self.files: dict[tuple[str, str], str] = {}

    def test(self, tested: Tested) -> None:
        """All properties of one explainer, on drawn networks and on the own model."""
        self._row(tested, "drawn", tested.explain, None)
        if self.own is None:
            return
        if tested.own is False:
            self.progress.advance(len(self.options.names))
            return
        explain = tested.explain if tested.own in (None, True) else tested.own
        self._row(tested, "own", explain, self.own)  # type: ignore[arg-type]

    def _row(self, tested: Tested, on: str, explain: Explain, own: Situation | None) -> None:
        started = time.perf_counter()
        where = "drawn networks" if own is None else "the model itself"
        findings: list[Finding] = []
        for name in self.options.names:
            self.progress.stage(f"{tested.name} on {where}: {name}")
            findings.append(self._finding(tested, name, explain, own, findings, started))
            self.progress.advance(1)
        found = None
        if tested.claims is not None and not tested.registered:
            self.progress.stage(f"{tested.name} on {where}: compared with {tested.claims}")
            search = self._search(started, own)
            found = conformance(explain, tested.claims, search=search, own=own)
        seconds = time.perf_counter() - started
        self.rows.append(Row(tested, on, tuple(findings), found, seconds))

    def _search(self, started: float, own: Situation | None) -> Search:
        """A search for what is left of the explainer's budget."""
        options = self.options
        spent = time.perf_counter() - started
        left = None if options.budget is None else max(options.budget - spent, 1e-9)
        examples = options.examples if own is None else options.own_examples
        return Search(examples=examples, seed=options.seed, budget=left)

    def _finding(
        self, tested: Tested, name: str, explain: Explain, own: Situation | None,
        earlier: Sequence[Finding], started: float,
    ) -> Finding:  # fmt: skip
        if any(f.property == DETERMINISM and f.outcome is Outcome.BUG for f in earlier):
            return _untested(name)
        if own is not None and not PROPERTIES[name].info.own:
            return _not_own(name)
        known = self.store.known(tested.name, name) if self.store and own is None else []
        search = self._search(started, own)
        found = examine(
            name, explain, method=tested.claims, search=search, own=own, known=known
        )
        self._keep(tested, name, found)
        return found

    def _keep(self, tested: Tested, name: str, found: Finding) -> None:
        if found.counterexample is None or found.counterexample.example is None:
            return
        code = program(name, found.counterexample, tested.code, title=tested.name)
        if code is None:
            return
        self.programs[tested.name, name] = code
        wrong = found.outcome in (Outcome.BUG, Outcome.FAULT)
        if self.store is not None and wrong:
            path = self.store.keep(tested.name, name, found.counterexample.example, code)
            self.files[tested.name, name] = path.name


def _untested(name: str) -> Finding:
    return Finding(
        property=name, outcome=Outcome.FAULT, examples=0, degenerate=0, unstable=0, passed_over=0,
        fault=NONDETERMINISTIC,
        reason="its maps differ from run to run, so no two maps can be compared",
    )  # fmt: skip


def _not_own(name: str) -> Finding:
    return Finding(
        property=name, outcome=Outcome.NOT_APPLICABLE, examples=0, degenerate=0, unstable=0,
        passed_over=0, reason="the property needs a network that is drawn for it",
    )  # fmt: skip
