"""The properties in docs/invariance.md; `python -m tests.invariance.property_page` writes them."""

from __future__ import annotations

from pathlib import Path

from camaudit.invariance import PROPERTIES

PAGE = Path(__file__).parent.parent.parent / "docs" / "invariance.md"
_BEGIN, _END = "<!-- properties -->\n", "<!-- /properties -->"


def table() -> str:
    """One line a property: what must hold, and which methods violate it by their definition."""
    lines = ["| property | what must hold | violated by definition |", "|---|---|---|"]
    for name, entry in PROPERTIES.items():
        violated = ", ".join(sorted(entry.info.violated)) or "–"
        statement = entry.info.statement.replace("|", "\\|")
        lines.append(f"| `{name}` | {statement} | {violated} |")
    return "\n".join(lines) + "\n"


def with_table(page: str) -> str:
    """The page with the present table between its marks."""
    before, rest = page.split(_BEGIN, 1)
    return before + _BEGIN + table() + _END + rest.split(_END, 1)[1]


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
