"""docs/metrics.md and docs/protocols.md: tables, commands, links and Python are what is there."""

from __future__ import annotations

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest

from camaudit.audit.settings import settings_with_protocol
from camaudit.cli import cli
from camaudit.evaluation.options import CHECKS
from camaudit.evaluation.outcomes import Missing
from camaudit.evaluation.protocols import PROTOCOLS
from tests.evaluation.metric_page import DOCS, with_tables

PAGES = ("metrics.md", "protocols.md")
README = (DOCS.parent / "README.md").read_text(encoding="utf-8")


def text(name: str) -> str:
    return (DOCS / name).read_text(encoding="utf-8")


def commands() -> list[str]:
    """What the pages, and the README's own section, tell a reader to run."""
    section = README.split("## Metrics and published protocols\n", 1)[1].split("\n## ", 1)[0]
    blocks = re.findall(r"```sh\n(.*?)```", "\n".join([*map(text, PAGES), section]), re.DOTALL)
    return [line for block in blocks for line in block.splitlines()]


@pytest.mark.parametrize("name", PAGES)
def test_the_tables_are_what_is_registered(name: str) -> None:
    assert with_tables(name) == text(name), "run python -m tests.evaluation.metric_page"


@pytest.mark.parametrize("command", commands())
def test_commands_parse_and_ask_for_what_can_be_done(command: str) -> None:
    program, name, *words = shlex.split(command)
    assert program == "camaudit"
    options = dict(cli.commands[name].make_context(name, words).params)
    if name == "run":
        apart = ("out", "as_json", "counterexamples", "resume", "report_images")
        for name in (*apart, "executor", "workers", "address"):
            options.pop(name)
        assert settings_with_protocol(**options)


def test_every_protocol_has_a_command_and_a_section() -> None:
    page = text("protocols.md")
    for entry in PROTOCOLS.values():
        assert any(f"--protocol {entry.name}" in line for line in commands())
        assert f"\n## {entry.name}\n" in page
        row = next(line for line in page.splitlines() if line.startswith(f"| `{entry.name}` |"))
        assert set(re.findall(r"`([^`]+)`", row)) == {
            entry.name, *(table.key for table in entry.tables), *entry.checks,
        }  # fmt: skip


@pytest.mark.parametrize("reason", Missing)
def test_every_reason_is_explained(reason: Missing) -> None:
    assert f"\n| {reason.value} | " in text("metrics.md")


@pytest.mark.parametrize("verdict", ["holds", "reversed", "inconclusive", "no difference",
                                     "not applicable"])  # fmt: skip
def test_every_verdict_is_explained(verdict: str) -> None:
    assert f"\n| {verdict} | " in text("protocols.md")


def test_every_check_of_metrics_is_named_where_checks_are_listed() -> None:
    row = next(line for line in README.splitlines() if line.startswith("| `--checks A,B` |"))
    assert all(f"`{name}`" in row for name in CHECKS)


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_to_files_and_headings(name: str) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", text(name)):
        if target.startswith("http"):
            continue
        page, _, heading = target.partition("#")
        assert (DOCS / page).is_file(), target
        headings = re.findall(r"^#+ (.+)$", (DOCS / page).read_text(), flags=re.MULTILINE)
        assert not heading or heading in [one.lower().replace(" ", "-") for one in headings], target


def test_headings_follow_each_other() -> None:
    for name in PAGES:
        levels = [len(marks) for marks in re.findall(r"^(#+) ", text(name), flags=re.MULTILINE)]
        assert levels[0] == 1
        assert all(after <= before + 1 for before, after in pairwise(levels))


def test_the_python_runs(capsys: pytest.CaptureFixture[str]) -> None:
    for block in re.findall(r"```python\n(.*?)```", text("metrics.md"), flags=re.DOTALL):
        exec(block, {})  # noqa: S102 - what a reader would run
    assert "adcc layercam" in capsys.readouterr().out


def test_what_the_pages_name_exists() -> None:
    for name in re.findall(r"`((?:tests|camaudit)/[\w/*.]+)`", text("metrics.md")):
        assert list(Path(DOCS.parent).glob(name)), name
