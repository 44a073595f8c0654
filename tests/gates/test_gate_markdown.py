"""Job summary, comment and model card, rendered by a markdown reader and looked into."""

from __future__ import annotations

import datetime
import html
import json
import re
from html.parser import HTMLParser

import pytest
from hypothesis import given, settings
from markdown_it import MarkdownIt

from camaudit.gates.card import card, card_markdown
from camaudit.gates.markdown import MARKER, markdown
from camaudit.gates.text import markdown_text, one_line
from camaudit.gates.verdict import Verdict
from tests.gates.drawn import TEXTS, verdicts
from tests.gates.verdicts import HOSTILE, RESULTS, VERDICTS, failed, hostile, verdict

DATE = datetime.date(2026, 11, 21)
#: What the outputs themselves are made of; the span keeps a dollar from beginning a formula.
TAGS = {
    "h2", "h3", "p", "ul", "li", "strong", "code", "table", "thead", "tbody", "tr", "th", "td",
    "details", "summary", "span",
}  # fmt: skip
READER = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


class Rendered(HTMLParser):
    """Tags and words of the HTML that markdown becomes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.parts: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(READER.render(text))
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [one for one in attrs if one != ("style", "text-align:right")]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_data(self, data: str) -> None:
        self.parts.append(data)
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] = self.rows[-1][-1] + data.rstrip("\n")

    @property
    def text(self) -> str:
        return " ".join("".join(self.parts).split())


def test_the_verdict_stands_first_and_the_rest_is_folded() -> None:
    text = markdown(VERDICTS["everything"][0], RESULTS, report="reports/report.html")
    lines = [line for line in text.splitlines() if line]
    assert lines[0] == MARKER
    assert lines[1] == "## The gate does not pass: the audit itself went wrong."
    assert "exit code 3. Report: <code>reports/report.html</code>." in lines[2]
    assert lines[3].startswith("- Problem: weights\\_sha256")
    page = Rendered(text)
    assert page.tags.count("details") == page.tags.count("summary") == 3
    assert page.rows[1] == ["FAIL", "dead-zone[gradcam]", "0.131 [0.112 to 0.15]",
                            "dead_zone.mu_l1 ≤ 0.05", "50"]  # fmt: skip
    for said in ("Worst images: cat (0.312), rocket (0.244) and clock (0.191).",
                 "Waived until 2030-12-31: the new layer is trained next week.",
                 "About 140 more images would decide.", "ab" * 32, "cd" * 32, "ef" * 32,
                 "FAIL, waived", "FAIL, warning only", "Passed: 2", "Holm"):  # fmt: skip
        assert said in page.text


def test_a_pass_reads_as_one() -> None:
    page = Rendered(markdown(VERDICTS["pass"][0]))
    assert page.text.startswith("The gate passes: all 2 rulings pass.")
    assert "FAIL" not in page.text


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("kind", ["summary", "card"])
def test_text_of_others_stays_text(text: str, kind: str) -> None:
    found = hostile(text)
    results = RESULTS | {"subject": dict.fromkeys(RESULTS["subject"], text)}
    written = (
        markdown(found, results, report=text)
        if kind == "summary"
        else card_markdown(found, results, date=DATE)
    )
    page = Rendered(written)
    assert set(page.tags) <= TAGS
    assert page.attributes == []
    said = one_line(text)
    assert (f"{said}[{said}]" if kind == "summary" else f"Problem: {said} too") in page.text
    assert page.text.count(said) > 10
    columns = {len(row) for row in page.rows}
    assert columns == ({5} if kind == "summary" else {6})
    assert len(page.rows) == (7 if kind == "summary" else 6)
    assert not re.search(r"[@#]\w|://|www\.|[\x00-\x09\x0b-\x1f\x7f]", html.unescape(written))


@given(text=TEXTS)
@settings(max_examples=300, deadline=None)
def test_any_text_is_shown_as_it_is_wherever_it_stands(text: str) -> None:
    said = one_line(text)
    for frame in ("- {}", "| a |\n|---|\n| {} |", "before {} after", "## {}", "- <code>{}</code>"):
        page = Rendered(frame.format(markdown_text(text)))
        assert said in page.text
        assert set(page.tags) <= TAGS


@given(found=verdicts())
@settings(max_examples=40, deadline=None)
def test_any_verdict_says_pass_only_where_it_passes(found: Verdict) -> None:
    page = Rendered(markdown(found, RESULTS))
    assert page.text.startswith("The gate passes") == (found.exit_code == 0)
    assert set(page.tags) <= TAGS


def test_a_comment_is_never_longer_than_a_forge_takes() -> None:
    many = [failed(explainer=f"e{number}", reason="|" * 5000, worst=(("i" * 5000, 0.5),) * 3)
            for number in range(500)]  # fmt: skip
    text = markdown(verdict(*many, problems=("p" * 9000,) * 300), RESULTS)
    assert len(text.encode()) <= 60_000
    page = Rendered(text)
    assert page.text.startswith("The gate does not pass: the audit itself went wrong.")
    assert re.search(r"And \d+ more rulings; all stand in gate\.json\.", page.text)
    assert re.search(r"And \d+ more lines; all stand in gate\.json\.", page.text)


def test_card_holds_figures_hashes_date_scope_and_limits() -> None:
    found = VERDICTS["everything"][0]
    section = json.loads(json.dumps(card(found, RESULTS, date=DATE), allow_nan=False))
    assert section["date"] == "2026-11-21"
    assert section["decision"] == "error"
    assert section["subject"]["weights_sha256"] == "ab" * 32
    assert section["data"]["images_sha256"] == "ef" * 32
    assert section["rulings"] == found.to_dict()["rulings"]
    assert section["scope"]
    assert section["does_not_say"]
    page = Rendered(card_markdown(found, RESULTS, date=DATE))
    for said in ("The gate does not pass", "2026-11-21", "ab" * 32, "ef" * 32,
                 "What it does not say", "Waived until 2030-12-31", "0.131 [0.112 to 0.15]",
                 "fail, waived", "Scope", "rules out one fault"):  # fmt: skip
        assert said in page.text


def test_card_of_a_run_that_recorded_nothing_says_unknown() -> None:
    section = card(VERDICTS["nothing"][0], {}, date=DATE)
    assert set(section["subject"].values()) == {None}
    text = card_markdown(VERDICTS["nothing"][0], {}, date=DATE)
    assert "- SHA-256 of the weights file: unknown" in text
    assert "No condition was put to the test." in text
