"""A verdict as JUnit XML, in which what keeps the gate shut is a failure or an error.

The file is green (no failure, no error) exactly where the gate passes: a ruling that fails is a
`<failure>`, one that was not decided or went wrong an `<error>`, and one that does not bind, since
it is waived or only warns, is `<skipped>` with the reason. Where nothing binds at all, or the
audit has a problem, a test case of its own says so.
"""

from __future__ import annotations

import datetime
from xml.etree import ElementTree

from camaudit.gates.text import one_line, printable
from camaudit.gates.verdict import Verdict
from camaudit.report.gate import GateRow, GateView, gate_view

__all__ = ["junit"]

_SUITE = "camaudit gate"


def junit(verdict: Verdict, *, seconds: float = 0.0, date: datetime.datetime | None = None) -> str:
    """The text of the file.

    seconds: how long the gate took, for the suite. date: when it ran; no timestamp without one.
    Raises :class:`AuditError` where a figure is NaN or infinite.
    """
    view = gate_view(verdict.to_dict())
    cases = [_problem(number, text, view) for number, text in enumerate(view.problems, 1)]
    cases += [_case(row, view) for row in view.rows]
    if verdict.exit_code != 0 and not any(_red(case) for case in cases):
        cases.append(_undecided(view))
    suite = _counted("testsuite", cases, seconds)
    if date is not None:
        suite.set("timestamp", date.isoformat(timespec="seconds"))
    suite.append(_properties(view))
    suite.extend(cases)
    root = _counted("testsuites", cases, seconds)
    root.append(suite)
    ElementTree.indent(root)
    text = ElementTree.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n'


def _counted(tag: str, cases: list[ElementTree.Element], seconds: float) -> ElementTree.Element:
    """A suite, or the suites, with how many cases have each outcome."""
    element = ElementTree.Element(tag, name=_SUITE, tests=str(len(cases)))
    for name, child in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        element.set(name, str(sum(case.find(child) is not None for case in cases)))
    element.set("time", f"{seconds:.3f}")
    return element


def _properties(view: GateView) -> ElementTree.Element:
    """The whole verdict, and the notes, as properties of the suite."""
    listed = ElementTree.Element("properties")
    said = [("decision", view.decision), ("exit code", str(view.exit_code)),
            ("verdict", view.verdict.text), ("rule", view.verdict.rule)]  # fmt: skip
    said += [("note", text) for text in view.notes]
    for name, value in said:
        ElementTree.SubElement(listed, "property", name=name, value=one_line(value))
    return listed


def _element(name: str, view: GateView, line: int = 0) -> ElementTree.Element:
    case = ElementTree.Element(
        "testcase", classname=one_line(view.policy), name=one_line(name), time="0.000"
    )
    if line:  # as pytest's own files have it
        case.set("file", one_line(view.policy))
        case.set("line", str(line))
    return case


def _case(row: GateRow, view: GateView) -> ElementTree.Element:
    case = _element(row.name, view, row.line)
    if row.decision == "pass":
        return case
    tag = "skipped" if not row.binds else "failure" if row.decision == "fail" else "error"
    message = f"{row.status}: {row.demanded}, came {row.measured}"
    found = ElementTree.SubElement(case, tag, message=one_line(message))
    if tag != "skipped":  # some readers refuse a type there
        found.set("type", row.status)
    found.text = printable("\n".join(part for part in (row.reason, *row.details) if part))
    return case


def _problem(number: int, text: str, view: GateView) -> ElementTree.Element:
    case = _element(f"problem[{number}]", view)
    ElementTree.SubElement(case, "error", message=one_line(text), type="problem")
    return case


def _undecided(view: GateView) -> ElementTree.Element:
    """The verdict as a case, where no other case says that the gate is shut."""
    case = _element("verdict", view)
    ElementTree.SubElement(case, "error", message=one_line(view.headline), type=view.decision)
    return case


def _red(case: ElementTree.Element) -> bool:
    return case.find("failure") is not None or case.find("error") is not None
