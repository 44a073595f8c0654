"""The small language of conditions: `dead_zone.mu_l1 <= baseline * 1.1`."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import cast, get_args

from camaudit.errors import UsageError
from camaudit.gates.policy import Bound, Relation

__all__ = ["FORM", "Expression", "parse"]

FORM = (
    "FIGURE RELATION BOUND, where the relation is <=, <, >=, > or == and the bound a number, "
    "baseline, uniform or another explainer, each of these as it is, * NUMBER, or + or - NUMBER"
)

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<relation><=|>=|==|<|>)
    |(?P<number>(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?)(?![\w.])
    |(?P<quoted>"[^"]*"|'[^']*')
    |(?P<word>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)
    |(?P<sign>[-+*])
    )""",
    re.VERBOSE | re.ASCII,
)


@dataclass(frozen=True)
class Expression:
    """A condition's three parts; what their names mean is not known here."""

    figure: str
    relation: Relation
    bound: Bound


def parse(text: str) -> Expression:
    """The condition that `text` states.

    Names that are no plain words stand in quotes: `dead_zone.mu_l1 <= "gradcam++" * 0.9`. Raises
    :class:`UsageError`, which says at which character it no longer understood.

    >>> parse("dead_zone.mu_l1 <= uniform * 0.5 + 0.01").bound
    Bound(reference='uniform', factor=0.5, offset=0.01)
    """
    tokens = _Tokens(text)
    figure = tokens.take("word", "a figure such as dead_zone.mu_l1")
    relation = tokens.take("relation", f"one of {' '.join(get_args(Relation))}")
    bound = _bound(tokens)
    tokens.end()
    return Expression(figure, cast(Relation, relation), bound)


def _bound(tokens: _Tokens) -> Bound:
    if tokens.kind in ("sign", "number"):
        number = tokens.number()
        if tokens.text_of("sign") != "*":
            return Bound(offset=number)
        tokens.step()
        return Bound(reference=_reference(tokens), factor=number, offset=_offset(tokens))
    reference = _reference(tokens)
    factor = 1.0
    if tokens.text_of("sign") == "*":
        tokens.step()
        factor = tokens.number()
    return Bound(reference=reference, factor=factor, offset=_offset(tokens))


def _reference(tokens: _Tokens) -> str:
    if tokens.kind == "quoted":
        name = tokens.step()[1:-1].strip()
        if not name:
            raise tokens.wrong("the name of an explainer within the quotes")
        return name
    return tokens.take("word", "a number, baseline, uniform or an explainer")


def _offset(tokens: _Tokens) -> float:
    sign = tokens.text_of("sign")
    if sign not in ("+", "-"):
        return 0.0
    tokens.step()
    number = tokens.number(signed=False)
    return number if sign == "+" else -number


class _Tokens:
    def __init__(self, text: str) -> None:
        self.text = text
        self.found: list[tuple[str, str, int]] = []  # kind, text, place
        at, end = 0, len(text.rstrip())
        while at < end:
            match = _TOKEN.match(text, at)
            if match is None:
                at += len(text[at:]) - len(text[at:].lstrip())
                self.found.append(("unknown", text[at:].split()[0], at))
                break
            kind = str(match.lastgroup)
            self.found.append((kind, match[kind], match.start(kind)))
            at = match.end()
        self.at = 0

    @property
    def kind(self) -> str:
        """Kind of the next token; empty at the end."""
        return self.found[self.at][0] if self.at < len(self.found) else ""

    def text_of(self, kind: str) -> str:
        """The next token if it is of that kind, else nothing."""
        return self.found[self.at][1] if self.kind == kind else ""

    def step(self) -> str:
        self.at += 1
        return self.found[self.at - 1][1]

    def take(self, kind: str, expected: str) -> str:
        if self.kind != kind:
            raise self.wrong(expected)
        return self.step()

    def number(self, *, signed: bool = True) -> float:
        sign = self.text_of("sign") if signed else ""
        if sign in ("+", "-"):
            self.step()
        number = float(self.take("number", "a number"))
        if not math.isfinite(number):
            self.at -= 1
            raise self.wrong("a finite number")
        return -number if sign == "-" else number

    def end(self) -> None:
        if self.kind:
            raise self.wrong("the end of the condition")

    def wrong(self, expected: str) -> UsageError:
        """What was expected at the present place, what came, and how it is written."""
        if self.at < len(self.found):
            _, given, place = self.found[self.at]
            came = f"{given!r} at character {place + 1}"
            before = self.found[self.at - 1][0] if self.at else ""
            if before in ("word", "sign") and given in ("+", "-", "*"):
                came += " (names with such characters stand in quotes)"
        else:
            came = "its end"
        return UsageError(
            f"cannot read the condition {self.text!r}: expected {expected}, got {came}. A "
            f"condition is written {FORM}"
        )
