"""A verdict as a badge: a small SVG that loads nothing and reads without its colours."""

from __future__ import annotations

from xml.sax.saxutils import escape, quoteattr

from camaudit.gates.verdict import Decision, Verdict

__all__ = ["badge"]

_LABEL = "explanations"
_HEIGHT, _PADDING, _MARK = 20, 8, 12
#: White on each of these has a contrast of at least 4.5 to 1.
_COLOURS = {
    Decision.PASS: "#1f6f5c",
    Decision.FAIL: "#a8321f",
    Decision.ERROR: "#a8321f",
    Decision.INCONCLUSIVE: "#7d6100",
    Decision.DEGENERATE: "#7d6100",
    Decision.NOT_APPLICABLE: "#5a574f",
}
_MARKS = {  # paths in a square of 10
    Decision.PASS: "M1.500 5.500L4 8L8.500 2",
    Decision.FAIL: "M2 2L8 8M8 2L2 8",
    Decision.ERROR: "M5 1V6M5 8.800V9",
    Decision.INCONCLUSIVE: "M1 6C2.500 3.500 3.800 3.500 5 5S7.500 6.500 9 4",
    Decision.DEGENERATE: "M5 1.500A3.500 3.500 0 1 0 5 8.500A3.500 3.500 0 1 0 5 1.500M3 7L7 3",
    Decision.NOT_APPLICABLE: "M2 5H8",
}  # fmt: skip
#: Widths of a sans-serif's letters in hundredths of its size; the text is fitted to their sum.
_NARROW, _WIDE = (
    {"i": 26, "l": 26, "t": 37, "f": 34, "r": 39, " ": 31, "/": 34, "s": 53},
    {"m": 92, "w": 77},
)
_SIZE = 11
_FONTS = "system-ui,'Segoe UI','Helvetica Neue','Liberation Sans',Arial,sans-serif"


def badge(verdict: Verdict) -> str:
    """The text of the SVG: `explanations | pass 6/6`, with the same as title for screen readers.

    Of the rulings that bind it counts those that pass, fail or could not be decided.
    """
    message = _message(verdict)
    title = f"{_LABEL}: {message}"
    left, right = _width(_LABEL) + 2 * _PADDING, _width(message) + _MARK + 2 * _PADDING + 2
    colour, mark = _COLOURS[verdict.decision], _MARKS[verdict.decision]
    at, end, foot = left + _PADDING, left + right, _HEIGHT - 4
    return f"""<svg xmlns="http://www.w3.org/2000/svg" width="{end}" height="{_HEIGHT}" \
viewBox="0 0 {end} {_HEIGHT}" role="img" aria-label={quoteattr(title)}>
<title>{escape(title)}</title>
<path d="M{left} 0H4A4 4 0 0 0 0 4V{foot}A4 4 0 0 0 4 {_HEIGHT}H{left}Z" fill="#3a3936"/>
<path d="M{left} 0H{end - 4}A4 4 0 0 1 {end} 4V{foot}A4 4 0 0 1 {end - 4} {_HEIGHT}H{left}Z" \
fill="{colour}"/>
<path d="{mark}" transform="translate({at} 5)" fill="none" stroke="#fff" stroke-width="1.8" \
stroke-linecap="round" stroke-linejoin="round"/>
<g fill="#fff" font-size="{_SIZE}" font-family="{_FONTS}">
<text x="{_PADDING}" y="14" textLength="{_width(_LABEL)}">{_LABEL}</text>
<text x="{at + _MARK + 2}" y="14" textLength="{_width(message)}">{escape(message)}</text>
</g>
</svg>
"""


def _message(verdict: Verdict) -> str:
    bind = verdict.binding
    number = sum(ruling.decision is verdict.decision for ruling in bind)
    count = f" {number}/{len(bind)}" if number else ""
    return f"{verdict.decision.value}{count}"


def _width(text: str) -> int:
    """About how wide `text` is, in pixels."""
    hundredths = sum(_NARROW.get(letter, _WIDE.get(letter, 59)) for letter in text)
    return round(hundredths * _SIZE / 100)
