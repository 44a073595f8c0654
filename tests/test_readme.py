"""The README cannot drift: its options, its Python and its two commands are checked."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from camaudit.cli import _names, cli
from camaudit.methods import select

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.DOTALL)


def marked(name: str) -> str:
    found = re.search(rf"<!-- {name} -->\n```sh\n(.*?)```", README, flags=re.DOTALL)
    assert found, name
    return found.group(1).strip()


@pytest.mark.parametrize(
    ("name", "ending"), [("main-command", "camaudit run"), ("test-command", "pytest")]
)
def test_the_two_commands_are_one_line_each(name: str, ending: str) -> None:
    command = marked(name)
    assert "\n" not in command
    assert command.endswith(ending)


def test_ci_runs_the_marked_commands() -> None:
    script = (ROOT / ".ci" / "run").read_text()
    assert "command_marked test-command" in script
    assert "command_marked main-command" in script


def documented(command: str) -> set[str]:
    """The options in the table whose head names the command; that of `run` is the plain one."""
    head = "| option |" if command == "run" else f"| option of `{command}` |"
    assert README.count(head) == 1
    table = README.split(head, 1)[1].split("\n\n", 1)[0]
    return set(re.findall(r"^\| `(--[a-z-]+)", table, flags=re.MULTILINE))


def test_every_option_stands_in_its_table_and_no_other() -> None:
    for name, command in cli.commands.items():
        options = {parameter.opts[0] for parameter in command.params}
        if options:
            assert documented(name) == options | ({"--debug"} if name == "run" else set()), name


def test_commands_shown_parse() -> None:
    shown = [line for block in blocks("sh") for line in block.splitlines()]
    lines = [line.split() for line in shown if line.startswith("camaudit ")]
    assert any(words[1] == "run" for words in lines)
    for words in lines:
        command = cli.commands[words[1]]
        options = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= options


def test_methods_named_in_the_text_exist() -> None:
    listing = CliRunner().invoke(cli, ["methods"]).output
    named = re.findall(r"--methods ([a-z+,]+|'[^']+')", README)
    assert len(named) > 1
    for text in named:
        assert select(_names(None, None, text.strip("'")))  # type: ignore[arg-type]
    assert "gradcam" in listing


def test_the_python_examples_run(capsys: pytest.CaptureFixture[str]) -> None:
    namespaces: list[dict[str, object]] = []
    for example in blocks("python"):
        namespaces.append({})
        exec(example, namespaces[-1])  # noqa: S102 - our own text
    assert "Pixel (row 200, column 10) is dead and scored" in capsys.readouterr().out
    fused = namespaces[1]["both"]
    assert isinstance(fused, torch.Tensor)
    assert fused.shape == (2, 224, 224)


def test_every_link_and_picture_of_ours_exists() -> None:
    for target in re.findall(r"\]\(([^)]+)\)", README):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), target
