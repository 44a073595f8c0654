"""The fixture camaudit: audits of what a test holds, and what can be asked of them."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor, nn

from camaudit.audit.run import Outcome
from camaudit.audit.settings import DEAD_ZONE, Settings
from camaudit.errors import UsageError
from camaudit.gates.gate import judge
from camaudit.gates.policy import Policy
from camaudit.gates.verdict import Decision, Verdict
from camaudit.testing.asked import Asked, asked
from camaudit.testing.explained import causes, verdict_text
from camaudit.testing.gated import baseline_of, changed, report_files
from camaudit.testing.held import demanded
from camaudit.testing.marker import MARKER, Marked, marked
from camaudit.testing.session import AuditSession
from camaudit.types import plain

__all__ = ["Audited", "Auditor", "auditor"]


@dataclass(eq=False)
class _Made:
    """One audit that was run, and the last verdict on it."""

    settings: Settings
    outcome: Outcome
    results: dict[str, Any]
    gate: dict[str, Any] | None = None


@dataclass(frozen=True, eq=False, repr=False)
class Audited:
    """What an audit found. It is run when something is first asked of it.

    A policy says how (checks, seeds, examples, wall, …) where the test did not: audits under
    different policies are different runs.
    """

    asked: Asked
    _session: AuditSession
    _marked: Marked
    _made: list[_Made] = field(default_factory=list)

    @property
    def results(self) -> dict[str, Any]:
        """The object of results.json, under the policy of the marker or of the rootdir, if any."""
        return self._run(self._default()).results

    def verdict(self, policy: str | Path | Policy | None = None) -> Verdict:
        """What a policy says of it; None: that of the marker, of the options or of the rootdir.

        The policy's own subject and images are not compared with the test's, but for the pin
        state_sha256. Raises :class:`camaudit.errors.UsageError` for a policy that is broken or
        not there.
        """
        return self._judged(policy)[1]

    def assert_passes(self, policy: str | Path | Policy | None = None) -> None:
        """Fail unless every condition of the policy is shown to hold."""
        __tracebackhide__ = True
        made, verdict = self._judged(policy)
        self._require(made, verdict)

    def assert_blind(self, bound: float) -> None:
        """Fail unless every explainer is shown to give the dead zone at most `bound` of its map."""
        __tracebackhide__ = True
        made = self._run(self._default(), needed=(DEAD_ZONE,))
        verdict = demanded(self.asked, made.results, "dead_zone.mu_l1", "<=", bound, name="blind")
        made.gate = verdict.to_dict()
        self._require(made, verdict)

    def records(self, test: str, first: int) -> Iterator[dict[str, Any]]:
        """What the report is to hold of each run, numbered from `first`."""
        for number, made in enumerate(self._made, first):
            files = report_files(made.outcome, made.results, made.gate)
            yield {"test": test, "number": number, "gate": made.gate, "files": files}

    def _judged(self, given: str | Path | Policy | None) -> tuple[_Made, Verdict]:
        policy = self._session.policy(self._marked.policy if given is None else given)
        made = self._run(policy)
        verdict = judge(
            changed(policy, self._session.options), made.results, baseline_of(policy),
            today=datetime.date.today(), live=True,
        )  # fmt: skip
        made.gate = verdict.to_dict()
        return made, verdict

    def _require(self, made: _Made, verdict: Verdict) -> None:
        __tracebackhide__ = True
        if verdict.decision is Decision.PASS:
            return
        gate = verdict.to_dict()
        text = verdict_text(gate, causes(gate, made.results))
        if verdict.decision is Decision.INCONCLUSIVE and self._session.options.quick:
            pytest.skip(f"inconclusive, as --camaudit-quick runs too little: {text}")
        raise AssertionError(text)

    def _default(self) -> Policy | None:
        if self._marked.policy is not None:
            return self._session.policy(self._marked.policy)
        return self._session.default_policy()

    def _run(self, policy: Policy | None, *, needed: tuple[str, ...] = ()) -> _Made:
        settings = self.asked.under(policy, self._session.options, needed=needed)
        for made in self._made:
            if made.settings == settings:
                return made
        outcome = self.asked.run(settings)
        self._made.append(_Made(settings, outcome, plain(outcome.results.to_dict())))
        return self._made[-1]


@dataclass(frozen=True, eq=False, repr=False)
class Auditor:
    """What the fixture gives: it audits what the test hands it."""

    _session: AuditSession
    _marked: Marked
    _audits: list[Audited] = field(default_factory=list)

    def audit(
        self,
        model: nn.Module,
        *,
        explainer: Any = "gradcam",
        images: Tensor | str | Path | None = None,
        layer: str | None = None,
        checks: Sequence[str] | str | None = None,
        methods: Sequence[str] | str = (),
        claims: Mapping[str, str] | None = None,
        objective: Callable[[Any], Tensor] | None = None,
        **settings: Any,
    ) -> Audited:
        """An audit of explainers on a model, which is left as it is.

        model: in eval mode, images N×C×H×W to logits (docs/models.md says how they are found in
        what it returns). explainer: a method's name, a callable of (model, layer, images, targets),
        `FILE.py:FUNCTION=METHOD`, a mapping of names to callables, or a list of these. images:
        N×C×H×H, standardised as the model reads them, or a folder (relative to the rootdir). layer:
        None for the last map before the head. checks: None for the marker's, else the policy's,
        else the dead zone. methods: registered ones beside the explainers, such as controls.
        claims: what callables claim to be, by their names. objective: what the model returns to
        scores N×C, where that is no logits. settings: any other of
        :class:`camaudit.audit.settings.Settings`, in place of the policy's.

        Raises :class:`camaudit.errors.UsageError` for what cannot be audited.
        """
        __tracebackhide__ = True
        made = Audited(
            asked(
                model, explainer=explainer, images=images, layer=layer,
                checks=self._marked.checks if checks is None else checks, methods=methods,
                claims=claims, objective=objective, **settings,
            ),
            self._session, self._marked,
        )  # fmt: skip
        self._audits.append(made)
        return made

    def keep(self, test: str) -> None:
        """Hand the audits to the report, where one is asked for."""
        if self._session.options.report is None:
            return
        number = 0
        for audited in self._audits:
            for record in audited.records(test, number):
                self._session.shared.add(record)
                number += 1


@contextmanager
def auditor(session: AuditSession, node: pytest.Item) -> Iterator[Auditor]:
    """The fixture for one test; what it audited goes into the report afterwards."""
    try:
        made = Auditor(session, marked(node.iter_markers(MARKER)))
    except UsageError as error:
        pytest.fail(str(error), pytrace=False)
    yield made
    made.keep(node.nodeid)
