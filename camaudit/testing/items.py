"""The conditions of a policy as tests: one for each explainer, and one for the whole."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from camaudit.errors import UsageError
from camaudit.gates.binding import bound
from camaudit.gates.policy import Condition, Policy
from camaudit.gates.reading import read_policy
from camaudit.report.gate import GateRow, GateView, gate_view
from camaudit.testing.explained import ruling_text, whole_text

if TYPE_CHECKING:
    from camaudit.testing.session import AuditSession

__all__ = ["WHOLE", "PolicyFile", "RulingTest", "WholeTest"]

WHOLE = "policy"  #: the test of what belongs to no condition


class PolicyFile(pytest.File):
    """A policy; its tests are its conditions."""

    def __init__(self, *, audits: AuditSession, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.audits = audits

    def collect(self) -> Iterator[pytest.Item]:
        """One test for each ruling to come, and one for the whole."""
        try:
            policy = read_policy(self.path, today=datetime.date.today())
        except UsageError as error:
            raise self.CollectError(str(error)) from error
        yield WholeTest.from_parent(self, name=WHOLE, audits=self.audits, policy=policy)
        for name, condition in rulings_of(policy):
            # as text, in which pytest finds the bracket as it does when it reads names again (--lf)
            yield RulingTest.from_parent(
                self, name=name, nodeid=f"{self.nodeid}::{name}", audits=self.audits,
                policy=policy, condition=condition,
            )  # fmt: skip


def rulings_of(policy: Policy) -> list[tuple[str, Condition]]:
    """The names of the rulings that a policy's verdict is going to have, with their conditions."""
    return [
        (f"{condition.name}[{explainer}]", condition)
        for condition in policy.conditions
        for explainer in dict.fromkeys(bound(policy, condition))
    ]


class PolicyTest(pytest.Item):
    """A test that rests on the policy's audit, which the first of them has made."""

    line = 1

    def __init__(self, *, audits: AuditSession, policy: Policy, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.audits = audits
        self.policy = policy
        self.run: dict[str, Any] = {}

    @property
    def view(self) -> GateView:
        """The verdict as the reports print it."""
        return gate_view(self.run["gate"])

    @property
    def report(self) -> str:
        """Where the report is going to be."""
        from camaudit.testing.written import REPORT

        folder = self.audits.options.report
        return "" if folder is None else os.path.relpath(folder / REPORT)

    def setup(self) -> None:
        """Make the audit, or take it; what went wrong there is no failure but an error."""
        from camaudit.testing.gated import gated

        self.run = self.audits.run(lambda: gated(self.policy, self.audits.options))
        if self.run["error"] is not None:
            pytest.fail(f"{self.place}: the audit went wrong\n{self.run['error']}", pytrace=False)

    @property
    def place(self) -> str:
        """File, line and name."""
        return f"{self._relative(self.path)}:{self.line}: {self.name}"

    def reportinfo(self) -> tuple[Path, int, str]:
        """The place of the condition in the policy."""
        return self.path, self.line - 1, self.name

    def _relative(self, path: Path) -> str:
        return os.path.relpath(path, self.config.rootpath)


class WholeTest(PolicyTest):
    """Whether the run is the one that the policy speaks of, and anything binds."""

    def setup(self) -> None:
        """As for every test of the policy; a run that is another is an error."""
        super().setup()
        if self.view.problems:
            pytest.fail(whole_text(self.place, self.view, self.report), pytrace=False)

    def runtest(self) -> None:
        """Fail where nothing binds, or a ruling is in the verdict that no test stands for."""
        known = {name for name, _ in rulings_of(self.policy)}
        other = [row for row in self.view.binding if row.name not in known]
        if [row for row in other if row.decision != "pass"] or not self.view.binding:
            pytest.fail(whole_text(self.place, self.view, self.report, other=other), pytrace=False)


class RulingTest(PolicyTest):
    """One condition of one explainer."""

    def __init__(self, *, condition: Condition, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.line = max(condition.line, 1)

    def setup(self) -> None:
        """As for every test of the policy; a ruling that went wrong is an error."""
        super().setup()
        row = self.row
        if row is None or row.decision == "error" or self.view.problems:
            pytest.fail(self.text, pytrace=False)

    def runtest(self) -> None:
        """Pass, or warn, or say that it is waived, or fail with all that is known."""
        row = self.row
        if row is None or row.decision == "pass":
            return
        if not row.binds and not row.waived:
            self.add_report_section("call", "camaudit", self.text)
            return
        if not row.binds:  # with --runxfail pytest goes on after this
            pytest.xfail(f"{row.decision}, waived: {row.excuse}")
        if row.decision == "inconclusive" and self.audits.options.quick:
            pytest.skip(f"inconclusive, as --camaudit-quick runs too little: {row.reason}")
        pytest.fail(self.text, pytrace=False)

    @property
    def text(self) -> str:
        """What is to be said where it does not pass."""
        causes = self.run["causes"].get(self.name, ())
        return ruling_text(self.place, self.row, self.view, self.report, causes=causes)

    @property
    def row(self) -> GateRow | None:
        """The ruling."""
        return next((row for row in self.view.rows if row.name == self.name), None)
