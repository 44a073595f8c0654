"""The view model of a gate: what gate.json holds, as the text that every output prints.

The page, the terminal, the job summary, the badge and the model card all say it in these words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from camaudit.report import figures
from camaudit.report.claims import ClaimsKind, ClaimsVerdict, digits_apart
from camaudit.report.verdict import Segment

__all__ = ["DECISIONS", "RULE", "GateRow", "GateView", "gate_view"]

RULE = (
    "A ruling is one condition of the policy for one explainer. It passes only where the whole "
    "95 % interval keeps the bound, and fails only where all of it breaks the bound; p-values are "
    "adjusted by Holm's method over all rulings of the policy, passes and failures apart, and "
    "counts are taken as they are. What is inconclusive, does not apply, is degenerate or went "
    "wrong is never a pass."
)

#: Gravest first. Without "pass" they are what keeps a gate shut.
DECISIONS = ("fail", "error", "degenerate", "inconclusive", "not applicable", "pass")

_LABELS = {
    "fail": "Fail",
    "error": "Went wrong",
    "degenerate": "Degenerate",
    "inconclusive": "Inconclusive",
    "not applicable": "Do not apply",
}
_RELATIONS = {"<=": "≤", "<": "<", ">=": "≥", ">": ">", "==": "="}
_MOST_NAMED = 8  # rulings or problems that a sentence names

Entry = Mapping[str, Any]
Line = tuple[Segment, ...]


@dataclass(frozen=True)
class GateRow:
    """One ruling ready to print.

    `status` is the decision and, where it does not bind, why not: "fail, waived". `figure` is the
    mean, `interval` its bounds in brackets or empty; `what` is the figure's name, and `demand` the
    relation with the bound. `excuse` is the waiver's sentence. `details` are sentences beside the
    reason: more images, worst images, the waiver, the p-values.
    """

    name: str
    condition: str
    explainer: str
    decision: str
    status: str
    binds: bool
    warns: bool
    waived: bool
    figure: str
    interval: str
    what: str
    demand: str
    n: str
    reason: str
    excuse: str
    details: tuple[str, ...]
    line: int

    @property
    def demanded(self) -> str:
        """The whole condition."""
        return f"{self.what} {self.demand}"

    @property
    def slug(self) -> str:
        """The decision as a single word without spaces."""
        return self.decision.replace(" ", "-")

    @property
    def measured(self) -> str:
        """The figure with its interval."""
        return f"{self.figure} {self.interval}".rstrip()


@dataclass(frozen=True)
class GateView:
    """A verdict ready to print; `rows` stand gravest first, binding ones before others."""

    policy: str
    decision: str
    exit_code: int
    verdict: ClaimsVerdict
    rows: tuple[GateRow, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def headline(self) -> str:
        """The first sentence of the verdict."""
        return "".join(part.text for part in self.verdict.sentences[0])

    @property
    def binding(self) -> tuple[GateRow, ...]:
        """The rows that decide."""
        return tuple(row for row in self.rows if row.binds)


def gate_view(gate: Entry) -> GateView:
    """The view of what gate.json holds."""
    rows = sorted(map(_row, gate["rulings"]), key=_gravity)
    decision, problems = str(gate["decision"]), tuple(gate["problems"])
    return GateView(
        policy=str(gate["policy"]),
        decision=decision,
        exit_code=int(gate["exit_code"]),
        verdict=_verdict(decision, rows, problems, gate),
        rows=tuple(rows),
        problems=problems,
        notes=tuple(gate["notes"]),
    )


def _gravity(row: GateRow) -> tuple[bool, int]:
    return not row.binds, DECISIONS.index(row.decision)


def _row(ruling: Entry) -> GateRow:
    condition, waiver = ruling["condition"], ruling["waiver"]
    figure, interval, bound = _numbers(ruling)
    return GateRow(
        name=ruling["name"],
        condition=condition["name"],
        explainer=ruling["explainer"],
        decision=ruling["decision"],
        status=_status(ruling),
        binds=bool(ruling["binds"]),
        warns=condition["severity"] == "warn",
        waived=waiver is not None,
        figure=figure,
        interval=interval,
        what=condition["figure"],
        demand=f"{_RELATIONS[condition['relation']]} {_bound(condition, bound)}",
        n=figures.whole(ruling["n"]),
        reason=ruling["reason"],
        excuse=_excuse(waiver),
        details=tuple(_details(ruling)),
        line=condition["line"],
    )


def _status(ruling: Entry) -> str:
    if ruling["binds"]:
        return str(ruling["decision"])
    if ruling["waiver"] is not None:
        return f"{ruling['decision']}, waived"
    if ruling["decision"] != "pass":
        return f"{ruling['decision']}, warning only"
    return str(ruling["decision"])


def _numbers(ruling: Entry) -> tuple[str, str, str]:
    """Figure, interval and bound, with digits enough that none seems to be on the other side."""
    bound = ruling["bound"]
    parts = [ruling[key] for key in ("value", "low", "high")]
    digits = 3
    if figures.defined(bound):
        digits = max([3, *(digits_apart(part, bound) for part in parts if figures.defined(part))])
    value, low, high = (figures.quantity(part, digits) for part in parts)
    whole = figures.defined(parts[1]) and figures.defined(parts[2])
    return value, f"[{low} to {high}]" if whole else "", figures.quantity(bound, digits)


def _bound(condition: Entry, number: str) -> str:
    """The bound in words; where it has a reference, with what that came to in brackets."""
    bound = condition["bound"]
    reference, factor, offset = bound["reference"], bound["factor"], bound["offset"]
    if reference is None:
        return figures.quantity(offset, 6) if number == figures.UNDEFINED else number
    text = reference if factor == 1 else f"{reference} × {figures.quantity(factor, 6)}"
    if offset:
        text += f" {'+' if offset > 0 else '−'} {figures.quantity(abs(offset), 6)}"
    return f"{text} ({number})"


def _details(ruling: Entry) -> list[str]:
    """What is to be known besides the reason, in sentences."""
    said: list[str] = []
    if ruling["more"] is not None:
        said.append(f"About {figures.counted(ruling['more'], 'more image')} would decide.")
    if ruling["undefined"]:
        said.append(f"Without a figure: {figures.whole(ruling['undefined'])}.")
    if ruling["worst"] and ruling["decision"] != "pass":
        named = [f"{one['image']} ({figures.quantity(one['value'])})" for one in ruling["worst"]]
        said.append(f"Worst images: {figures.joined(named)}.")
    if ruling["waiver"] is not None:
        said.append(_excuse(ruling["waiver"]))
    p_pass, p_fail = ruling["p_pass"], ruling["p_fail"]
    if p_pass is not None and p_fail is not None:
        said.append(
            f"Adjusted p-values: {figures.quantity(p_pass)} for a pass, "
            f"{figures.quantity(p_fail)} for a failure."
        )
    return said


def _excuse(waiver: Entry | None) -> str:
    if waiver is None:
        return ""
    return f"Waived until {waiver['expires']}: {_stopped(waiver['reason'])}"


def _stopped(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else f"{text}."


def _verdict(
    decision: str, rows: Sequence[GateRow], problems: Sequence[str], gate: Entry
) -> ClaimsVerdict:
    kind = {"pass": ClaimsKind.PASS, "fail": ClaimsKind.FAIL, "error": ClaimsKind.FAIL}.get(
        decision, ClaimsKind.OPEN
    )
    lines = [_headline(decision, rows), *_problems(problems)]
    for which in DECISIONS[:-1]:
        lines += _named(_LABELS[which], [r for r in rows if r.binds and r.decision == which])
    lines += _named("Waived", [row for row in rows if row.waived])
    warned = [row for row in rows if row.warns and not row.waived and row.decision != "pass"]
    lines += _named("Only warned of", warned)
    lines.append(
        (
            Segment("Policy "),
            Segment(gate["policy"], "name"),
            Segment(f", exit code {gate['exit_code']}."),
        )
    )
    return ClaimsVerdict(kind, tuple(lines), RULE)


def _headline(decision: str, rows: Sequence[GateRow]) -> Line:
    bind = [row for row in rows if row.binds]
    which = "" if len(bind) == len(rows) else " that bind"
    if decision == "pass":
        if len(bind) == 1:
            whole = f"its one ruling{' that binds' if which else ''} passes"
        else:
            whole = f"all {len(bind)} rulings{which} pass"
        return (Segment("The gate passes: "), Segment(whole, "figure"), Segment("."))
    if decision == "fail":
        number = sum(row.decision == "fail" for row in bind)
        verb = "fails" if number == 1 else "fail"
        of = f"{number} of {figures.counted(len(bind), 'ruling')}{which} {verb}"
        return (Segment("The gate fails: "), Segment(of, "figure"), Segment("."))
    shut = Segment("The gate does not pass: ")
    if decision == "error":
        return (shut, Segment("the audit itself went wrong", "figure"), Segment("."))
    if not bind:
        return (shut, Segment("no ruling binds, so nothing was decided", "figure"), Segment("."))
    number = sum(row.decision != "pass" for row in bind)
    of = f"{number} of {figures.counted(len(bind), 'ruling')}{which} could not be decided"
    return (shut, Segment(of, "figure"), Segment("."))


def _problems(problems: Sequence[str]) -> list[Line]:
    lines: list[Line] = [
        (Segment("Problem: "), Segment(_stopped(text), "name")) for text in problems[:_MOST_NAMED]
    ]
    if len(problems) > _MOST_NAMED:
        rest = figures.counted(len(problems) - _MOST_NAMED, "more problem")
        lines.append((Segment(f"And {rest}; all stand in gate.json."),))
    return lines


def _named(label: str, rows: Sequence[GateRow]) -> list[Line]:
    """The names of rulings after a label; beyond the first the rest is counted."""
    if not rows:
        return []
    parts = [Segment(f"{label}: ")]
    for number, row in enumerate(rows[:_MOST_NAMED]):
        parts += [Segment("; ")] if number else []
        parts.append(Segment(row.name, "name"))
    more = len(rows) - _MOST_NAMED
    return [(*parts, Segment(f" and {more} more." if more > 0 else "."))]
