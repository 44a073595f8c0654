"""The command: options to settings, figures to stdout."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner

from camaudit.commands.train import train

TINY = ["--epochs", "1", "--batch-size", "12", "--widths", "3/4,4", "--hidden", "8"]


def test_it_trains_and_prints_the_last_epoch(digits: Path, tmp_path: Path) -> None:
    arguments = [str(digits), "--out", str(tmp_path / "a"), "--twin", "--no-amp", *TINY]
    done = CliRunner().invoke(train, arguments, standalone_mode=False)
    assert done.return_value == 0, done.output
    assert "masked: validation top-1" in done.stdout
    again = CliRunner().invoke(train, [*arguments, "--resume", "--json"], standalone_mode=False)
    assert set(json.loads(again.stdout)) == {"masked", "unmasked"}


def test_misspelt_options_are_refused(digits: Path) -> None:
    for arguments, message in (
        (["--widths", "3;4"], "32,32/64,64"),
        (["--preset", "large"], "small"),
        (["--epochs", "0"], "x>=1"),
    ):
        done = CliRunner().invoke(train, [str(digits), *arguments])
        assert done.exit_code == 2
        assert message in done.output


def test_help_names_every_option() -> None:
    text = CliRunner().invoke(train, ["--help"]).output
    for option in train.params:
        assert any(name in text for name in option.opts) or option.name == "data"
