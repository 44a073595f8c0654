"""The classes and properties in docs/conformance.md, as libraries.json has them.

`python -m tests.invariance.libraries_page` writes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from camaudit.invariance import Outcome
from tests.invariance.__main__ import DOCS, put
from tests.invariance.explained import PROCESSING, STATED
from tests.invariance.libraries import LEFT_OUT, SUBJECTS, Subject, stored

__all__ = ["PARTS", "TOO_SLOW", "cause_of", "parts"]

#: Each stands in the page between `<!-- name:begin -->` and `<!-- name:end -->`.
PARTS = ("libraries", "causes", "left-out")

HEADER = (
    "library", "class", "method", "holds", "violated by the method's definition",
    "violated besides", "no verdict", "examples",
)  # fmt: skip
TOO_SLOW = "too slow"
_SILENT = (Outcome.NOT_APPLICABLE, Outcome.UNDEFINED)
_WITHOUT_MAPS = {
    "failing-model",
    "hygiene-error",
    "hygiene-input",
}  #: a class that only raises satisfies them

Json = dict[str, Any]


def cause_of(subject: Subject, name: str, found: Json) -> str | None:
    """Why a class violates a property that its method satisfies; None where nothing is known."""
    cause: str | None = found.get("cause")
    if cause is not None:
        return cause
    label = f"{subject.package}:{subject.name}"
    return next((one.title for one in STATED if one.covers(label, name)), None)


def parts() -> dict[str, str]:
    """The text of each part."""
    kept = stored()
    rows = [list(HEADER), ["---"] * len(HEADER)]
    rows += [_cells(one, kept[one.spec]["findings"]) for one in SUBJECTS]
    return {
        "libraries": "\n".join("| " + " | ".join(row) + " |" for row in rows),
        "causes": "\n".join(f"- **{one.title}.** {one.text}" for one in STATED),
        "left-out": "\n".join(f"- `{name}`: {why}." for name, why in LEFT_OUT.items()),
    }


def _cells(subject: Subject, findings: dict[str, Json]) -> list[str]:
    first = [
        subject.package.replace("_", "-"),
        f"`{subject.spec.partition(':')[2]}`",
        f"`{subject.claims}`" if subject.claims else "-",
    ]
    if not any(found["examples"] for name, found in findings.items() if name not in _WITHOUT_MAPS):
        why = next(filter(None, (found.get("reason") for found in findings.values())))
        return [
            *first,
            "-",
            "-",
            "-",
            f"not applicable: `{why.split('. ')[0].replace('`', '')}`",
            "0",
        ]
    outcomes: dict[str, list[str]] = {}
    for name, found in findings.items():
        slow = found.get("fault") == TOO_SLOW
        outcomes.setdefault(TOO_SLOW if slow else found["outcome"], []).append(name)
    confirmed = _names(outcomes.get(Outcome.VIOLATED, []))
    open_ = _names(outcomes.get(Outcome.NOT_CONFIRMED, []))
    defined = [confirmed] if confirmed else []
    defined += [f"not confirmed: {open_}"] if open_ else []
    silent = [(what, outcomes.get(what, [])) for what in (*_SILENT, TOO_SLOW)]
    return [
        *first,
        str(len(outcomes.get(Outcome.HOLDS, []))),
        "; ".join(defined) or "-",
        "; ".join(_besides(subject, findings)) or "-",
        "; ".join(f"{what}: {_some(names)}" for what, names in silent if names) or "-",
        str(sum(found["examples"] for found in findings.values())),
    ]


def _besides(subject: Subject, findings: dict[str, Json]) -> Iterator[str]:
    """What is violated without the method's definition, by cause."""
    causes: dict[str, list[str]] = {}
    for name, found in findings.items():
        wrong = found["outcome"] in (Outcome.BUG, Outcome.FAULT)
        if wrong and found.get("fault") != TOO_SLOW:
            causes.setdefault(cause_of(subject, name, found) or "unexplained", []).append(name)
    for cause in sorted(causes, key=lambda cause: cause != PROCESSING):
        yield f"{_names(causes[cause])} (*{cause}*)"


def _names(names: list[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _some(names: list[str]) -> str:
    """The names, or their number where they are all or nearly all."""
    return _names(names) if len(names) <= 5 else str(len(names))


def main() -> None:
    """Write the parts into the page."""
    text = DOCS.read_text(encoding="utf-8")
    for name, part in parts().items():
        text = put(text, name, part)
    DOCS.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
