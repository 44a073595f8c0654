"""Every property of every explainer: on drawn networks, and on a user's own model."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from typing import Any, Protocol

from camaudit.errors import UsageError
from camaudit.invariance.choice import Gap
from camaudit.invariance.conformance import Conformance, Mismatch, conformance
from camaudit.invariance.example import Example
from camaudit.invariance.explainer import Explain
from camaudit.invariance.guard import Fault
from camaudit.invariance.property import PROPERTIES
from camaudit.invariance.recall import Key, Recall
from camaudit.invariance.run import Counterexample, Finding, Outcome, Search, examine
from camaudit.invariance.situation import Situation
from camaudit.invariance.snippet import program
from camaudit.invariance.store import Store
from camaudit.journal import Journal
from camaudit.methods import method_call

__all__ = ["DETERMINISM", "InvarianceResult", "Options", "Progress", "Tested", "run_invariance"]

#: The property that is tested first: without it no two maps can be compared.
DETERMINISM = "determinism"
CONFORMANCE = "conformance"  #: what a program is called that repeats a mismatch


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

    `claims` may have options, as in `scorecam(score=probability)`. `code` is what defines `explain`
    in a program that repeats a counterexample. `own` explains the user's own model; where it is
    None the explainer is left out there, and `note` says why. `registered` methods are not put to
    conformance: they are the reference.
    """

    name: str
    explain: Explain
    claims: str | None = None
    code: str = ""
    own: Explain | None = None
    note: str | None = None
    registered: bool = False

    @property
    def method(self) -> str | None:
        """The registry name of the method that it is or claims to be."""
        return None if self.claims is None else method_call(self.claims).name


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
    seconds: float


@dataclass(frozen=True, eq=False)
class InvarianceResult:
    """All rows, and what the explainers that claim to be a method are compared with it.

    `programs` repeat the counterexamples, `files` are where they were kept; both by explainer and
    property.
    """

    options: Options
    rows: tuple[Row, ...]
    claims: tuple[tuple[Tested, Conformance], ...] = ()
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
                entry for tested, found in self.claims for entry in self._conformance(tested, found)
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

    def _conformance(self, tested: Tested, found: Conformance) -> list[dict[str, Any]]:
        shown = None
        if found.mismatch is not None:
            key = (tested.name, CONFORMANCE)
            shown = self._shown(_as_counterexample(found.mismatch), key)
        common = {"explainer": tested.name, "claims": tested.claims}
        about = {"outcome": found.outcome.value, "processing": found.processing or None,
                 "reason": found.reason}  # fmt: skip
        drawn = {**common, "on": "drawn", **about, "examples": found.examples,
                 **_gap(found.gap), "counterexample": shown}  # fmt: skip
        if not found.own:
            return [drawn]
        own = {**common, "on": "own", **about, "examples": len(found.own),
               **_gap(_widest(found.own)), "counterexample": None}  # fmt: skip
        return [drawn, own]


def _as_counterexample(found: Mismatch) -> Counterexample:
    difference = None if found.gap is None else found.gap.difference
    return Counterexample(found.example, {}, difference, found.message, found.trace)


def _gap(gap: Gap | None) -> dict[str, float | None]:
    """Difference and Pearson's correlation, as JSON has them."""
    difference = None if gap is None else gap.difference
    finite = difference is not None and difference < float("inf")
    correlation = None if gap is None else gap.pearson
    return {"difference": difference if finite else None, "correlation": correlation}


def _widest(gaps: Sequence[Gap]) -> Gap | None:
    known = [gap for gap in gaps if gap.difference is not None]
    return max(known, key=lambda gap: gap.difference or 0.0, default=None)


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
    own: Situation | Callable[[], Situation] | None = None,
    store: Store | None = None,
    progress: Progress,
    journal: Journal | None = None,
) -> InvarianceResult:
    """Test all properties of all explainers; one that fails in whatever way does not end the run.

    own: the user's model, layer and images, or what gives them when they are first needed. store:
    where counterexamples are kept; those that it holds are tried first. journal: findings without
    a counterexample are taken from it, and kept there as they come, see
    :mod:`camaudit.invariance.recall`; its images are those of `own`. What a known one took when
    it was looked for counts for its explainer's budget. Raises the store's errors.
    """
    names = [tested.name for tested in explainers]
    if len(set(names)) < len(names):
        raise UsageError(f"expected explainers of different names; got {', '.join(names)}")
    run = _Run(options, own, store, progress, Recall(journal))
    progress.start(len(explainers) * len(options.names) * (1 if own is None else 2))
    for tested in explainers:
        run.test(tested)
    return InvarianceResult(options, tuple(run.rows), tuple(run.claims), run.programs, run.files)


class _Run:
    """A run over explainers, one row after the other."""

    def __init__(
        self, options: Options, own: Situation | Callable[[], Situation] | None,
        store: Store | None, progress: Progress, recall: Recall,
    ) -> None:  # fmt: skip
        self.options = options
        self.given = own
        self.store = store
        self.progress = progress
        self.recall = recall
        self.rows: list[Row] = []
        self.claims: list[tuple[Tested, Conformance]] = []
        self.programs: dict[tuple[str, str], str] = {}
        self.files: dict[tuple[str, str], str] = {}

    @cached_property
    def own(self) -> Situation | None:
        """The user's own model, if there is one."""
        return self.given() if callable(self.given) else self.given

    def test(self, tested: Tested) -> None:
        """All properties of one explainer, on drawn networks and on the own model."""
        self._row(tested, "drawn", tested.explain)
        if self.given is not None and tested.own is None:
            self.progress.advance(len(self.options.names))
        elif self.given is not None and tested.own is not None:
            self._row(tested, "own", tested.own)
        if tested.claims is not None and not tested.registered:
            self._claim(tested, tested.claims)

    def _row(self, tested: Tested, on: str, explain: Explain) -> None:
        began = started = time.perf_counter()
        where = "drawn networks" if on == "drawn" else "the model itself"
        names = self.options.names
        firsts = [self._first(tested, name, on) for name in names]
        keys = [
            self._key(tested, "finding", on == "own", on=on, property=name, first=_plain(first))
            for name, first in zip(names, firsts, strict=True)
        ]
        findings: list[Finding] = []
        found = self.recall.findings(keys)
        for name, first, key, known in zip(names, firsts, keys, found, strict=True):
            self.progress.stage(f"{tested.name} on {where}: {name}")
            finding = _foregone(name, on, findings) or known
            if finding is None:
                search = self._search(started, on)
                finding = self._finding(tested, name, explain, on, first, search)
                self.recall.keep_finding(tested.name, key, finding, search)
            elif finding is known:
                started -= known.seconds
            findings.append(finding)
            self.progress.advance(1)
        self.rows.append(Row(tested, on, tuple(findings), time.perf_counter() - began))

    def _claim(self, tested: Tested, claims: str) -> None:
        self.progress.stage(f"{tested.name} compared with {claims}")
        key = self._key(tested, "conformance", self.given is not None)
        found = self.recall.conformance(key)
        if found is None:
            search = self._search(time.perf_counter(), "drawn")
            found = conformance(tested.explain, claims, search=search, own=self.own)
            self.recall.keep_conformance(tested.name, key, found, search)
        self.claims.append((tested, found))
        if found.mismatch is not None:
            shown = _as_counterexample(found.mismatch)
            self._store(tested, CONFORMANCE, shown, wrong=True)

    def _key(self, tested: Tested, part: str, own: bool, **known: Any) -> Key | None:
        search = self._search(time.perf_counter(), str(known.get("on", "drawn")))
        about = {"code": tested.code, "claims": tested.claims, "registered": tested.registered}
        return self.recall.key(tested.name, part, search, own=own, **about, **known)

    def _first(self, tested: Tested, name: str, on: str) -> list[Example]:
        """Counterexamples that are known, which are tried first."""
        if self.store is None or on == "own":
            return []
        return self.store.known(tested.name, name)

    def _search(self, started: float, on: str) -> Search:
        """A search for what is left of the explainer's budget."""
        options = self.options
        spent = time.perf_counter() - started
        left = None if options.budget is None else max(options.budget - spent, 1e-9)
        examples = options.examples if on == "drawn" else options.own_examples
        return Search(examples=examples, seed=options.seed, budget=left)

    def _finding(
        self, tested: Tested, name: str, explain: Explain, on: str, first: Sequence[Example],
        search: Search,
    ) -> Finding:  # fmt: skip
        own = self.own if on == "own" else None
        found = examine(name, explain, method=tested.method, search=search, own=own, known=first)
        if found.counterexample is not None:
            wrong = found.outcome in (Outcome.BUG, Outcome.FAULT)
            self._store(tested, name, found.counterexample, wrong=wrong)
        return found

    def _store(self, tested: Tested, name: str, found: Counterexample, *, wrong: bool) -> None:
        """Keep the program of a drawn counterexample, on disk too where something is `wrong`."""
        if found.example is None:
            return
        code = program(name, found, tested.code, title=tested.name, claims=tested.claims)
        self.programs[tested.name, name] = code
        if self.store is not None and wrong:
            path = self.store.keep(tested.name, name, found.example, code)
            self.files[tested.name, name] = path.name


def _foregone(name: str, on: str, earlier: Sequence[Finding]) -> Finding | None:
    """What needs no search: nothing can be compared, or the property is of drawn networks."""
    if any(f.property == DETERMINISM and f.outcome is Outcome.BUG for f in earlier):
        return _untested(name)
    return _not_own(name) if on == "own" and not PROPERTIES[name].info.own else None


def _plain(first: Sequence[Example]) -> list[dict[str, Any]]:
    return [example.to_dict() for example in first]


def _untested(name: str) -> Finding:
    return Finding(
        property=name, outcome=Outcome.FAULT, examples=0, degenerate=0, unstable=0, passed_over=0,
        fault=Fault.NONDETERMINISTIC,
        reason="its maps differ from run to run, so no two maps can be compared",
    )  # fmt: skip


def _not_own(name: str) -> Finding:
    return Finding(
        property=name, outcome=Outcome.NOT_APPLICABLE, examples=0, degenerate=0, unstable=0,
        passed_over=0, reason="the property needs a network that is drawn for it",
    )  # fmt: skip
