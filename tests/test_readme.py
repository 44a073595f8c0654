"""The README cannot drift: its options, its Python and its two commands are checked."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import torch
from click.testing import CliRunner

from camaudit.cli import cli
from camaudit.commands.options import names
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


def tables() -> str:
    """The README and the pages that it leads to."""
    linked = re.findall(r"\]\((docs/[a-z-]+\.md)\)", README)
    return "\n\n".join([README, *((ROOT / name).read_text() for name in dict.fromkeys(linked))])


def documented(command: str) -> set[str]:
    """The options in the table whose head names the command; that of `run` is the plain one."""
    head = "| option |" if command == "run" else f"| option of `{command}` |"
    assert tables().count(head) == 1, head
    table = tables().split(head, 1)[1].split("\n\n", 1)[0]
    return set(re.findall(r"^\| `(--[a-z0-9-]+)", table, flags=re.MULTILINE))


def leaves(group: click.Group, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command with the words that call it."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, f"{before}{name} ")
        else:
            yield before + name, command


@pytest.mark.parametrize(("name", "command"), list(leaves(cli)))
def test_every_option_stands_in_its_table_and_no_other(name: str, command: click.Command) -> None:
    options = {
        parameter.opts[0] for parameter in command.params if isinstance(parameter, click.Option)
    }
    if options:
        assert documented(name) == options | ({"--debug"} if name == "run" else set())


def test_commands_shown_parse() -> None:
    shown = [
        line
        for block in re.findall(r"```sh\n(.*?)```", tables(), flags=re.DOTALL)
        for line in block.splitlines()
    ]
    lines = [line.split() for line in shown if line.startswith("camaudit ")]
    assert any(words[1] == "run" for words in lines)
    for words in lines:
        command, rest = cli.commands[words[1]], words[2:]
        while isinstance(command, click.Group):
            command, rest = command.commands[rest[0]], rest[1:]
        options = {
            option
            for parameter in command.params
            for option in (*parameter.opts, *parameter.secondary_opts)
        }
        assert {word for word in words if word.startswith("--")} <= options


def test_methods_named_in_the_text_exist() -> None:
    listing = CliRunner().invoke(cli, ["methods"]).output
    named = re.findall(r"--methods ([a-z+,]+|'[^']+')", README)
    assert len(named) > 1
    for text in named:
        assert select(names(None, None, text.strip("'")))  # type: ignore[arg-type]
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
