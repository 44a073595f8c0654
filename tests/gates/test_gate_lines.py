"""What a CI reads from a job's log: annotations, and a table that gives no commands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings

from camaudit.gates.annotations import ci_annotations
from camaudit.gates.text import one_line
from camaudit.gates.verdict import Verdict
from camaudit.report.gate_table import print_gate
from tests.gates.drawn import verdicts
from tests.gates.verdicts import HOSTILE, VERDICTS, errored, failed, hostile, passed, verdict

CI = {"GITHUB_ACTIONS": "true"}
#: As the runner reads a line: command, properties, message.
LINE = re.compile(r"::(error|warning|notice) ([^:]*)::(.*)")


def unescaped(text: str) -> str:
    for code, plain in (("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
        text = text.replace(code, plain)
    return text


def read(text: str) -> list[tuple[str, dict[str, str], str]]:
    """The commands as a runner takes them."""
    found = []
    for line in text.splitlines():
        match = LINE.fullmatch(line)
        assert match, line
        kind, properties, message = match.groups()
        pairs = dict(part.split("=", 1) for part in properties.split(","))
        found.append((kind, {k: unescaped(v) for k, v in pairs.items()}, unescaped(message)))
    return found


@pytest.mark.parametrize("environment", [{}, {"CI": "true"}, {"GITHUB_ACTIONS": "false"}])
def test_elsewhere_there_are_none(environment: dict[str, str]) -> None:
    assert ci_annotations(VERDICTS["fail"][0], environment) == ""


def test_a_failure_points_at_its_condition() -> None:
    (first, _) = read(ci_annotations(VERDICTS["fail"][0], CI))
    kind, properties, message = first
    assert kind == "error"
    assert properties == {"file": "camaudit.toml", "line": "12", "title": "dead-zone[gradcam]"}
    assert message.startswith("fail: dead_zone.mu_l1 ≤ 0.05, came 0.131 [0.112 to 0.15]: ")
    assert "Worst images: cat (0.312)" in message


def test_warned_and_waived_ones_are_no_errors() -> None:
    kinds = [kind for kind, _, _ in read(ci_annotations(VERDICTS["everything"][0], CI))]
    assert kinds == ["error"] * 6 + ["warning"] * 2 + ["notice"]
    assert [kind for kind, *_ in read(ci_annotations(VERDICTS["fail, waived"][0], CI))] == [
        "notice"
    ]
    assert ci_annotations(VERDICTS["pass"][0], CI) == ""


@given(found=verdicts())
@settings(max_examples=60, deadline=None)
def test_there_is_an_error_exactly_where_the_gate_is_shut(found: Verdict) -> None:
    kinds = [kind for kind, _, _ in read(ci_annotations(found, CI))]
    assert ("error" in kinds) == (found.exit_code != 0)


@pytest.mark.parametrize("text", HOSTILE)
def test_text_of_others_gives_no_commands(text: str) -> None:
    found = read(ci_annotations(hostile(text), CI))
    said = one_line(text)
    assert [kind for kind, _, _ in found] == ["error"] * 4 + ["warning", "notice"]
    assert {properties["file"] for _, properties, _ in found} == {said}
    assert found[2][1]["title"] == f"{said}[{said}]"
    assert all(said in message for _, _, message in found)


def test_what_the_forge_would_drop_is_counted() -> None:
    many = verdict(*(failed(explainer=f"e{number}") for number in range(25)))
    found = read(ci_annotations(many, CI))
    assert len(found) == 10
    assert found[-1][2].startswith("16 more; ")


def test_paths_are_those_of_the_checkout(tmp_path: Path) -> None:
    inside = verdict(failed(), policy=str(tmp_path / "conf" / "camaudit.toml"))
    found = read(ci_annotations(inside, CI | {"GITHUB_WORKSPACE": str(tmp_path)}))
    assert found[0][1]["file"] == "conf/camaudit.toml"
    found = read(ci_annotations(inside, CI | {"GITHUB_WORKSPACE": str(tmp_path / "other")}))
    assert found[0][1]["file"] == str(tmp_path / "conf" / "camaudit.toml")


@pytest.mark.parametrize("name", VERDICTS)
def test_the_table_fits_80_columns_and_names_every_ruling(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    found, _ = VERDICTS[name]
    print_gate(found.to_dict())
    said = capsys.readouterr().out
    assert max(map(len, said.splitlines())) <= 80
    squeezed = re.sub(r"\s", "", said)
    assert all(ruling.name in squeezed for ruling in found.rulings)
    assert ("The gate passes" in said) == (found.exit_code == 0)


def test_the_table_says_why_and_what_does_not_bind(capsys: pytest.CaptureFixture[str]) -> None:
    print_gate(VERDICTS["everything"][0].to_dict())
    said = capsys.readouterr().out
    for part in ("FAIL", "INCONCLUSIVE", "DEGENERATE", "NOT APPLICABLE", "ERROR", "PASS", "waived",
                 "warning only", "0.131 [0.112 to 0.15]", "≤ 0.05", "ZeroDivisionError",
                 "Note: the waiver", "weights_sha256"):  # fmt: skip
        assert part in said


@pytest.mark.parametrize(
    "text", [*HOSTILE, "::::error::x", ":::", "####[x]", "a" * 30 + "::error::"]
)
def test_no_line_of_the_table_is_a_command(
    text: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    print_gate(hostile(text).to_dict())
    said = capsys.readouterr().out
    assert not re.search(r"^\s*::", said, re.MULTILINE)
    assert "##" not in said
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]", said)


def test_markup_of_the_terminal_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    print_gate(verdict(passed(), errored(reason="[bold]x[/bold] [/]")).to_dict())
    assert "[bold]x[/bold] [/]" in capsys.readouterr().out
