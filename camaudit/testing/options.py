"""The plugin's options, as flags and in the configuration file; nothing else of ours is needed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

__all__ = ["OPTIONS", "Option", "Options", "add_options", "read_options"]


@dataclass(frozen=True)
class Option:
    """A flag `--camaudit-NAME`, and the same as `camaudit_NAME` in the configuration file.

    `value` is what stands for its value in the help; None: it has none.
    """

    name: str
    help: str
    value: str | None = None

    @property
    def flag(self) -> str:
        """As on the command line."""
        return f"--{self.key.replace('_', '-')}"

    @property
    def key(self) -> str:
        """As in the configuration file."""
        return f"camaudit_{self.name}" if self.name else "camaudit"


OPTIONS = (
    Option("", "make the conditions of the policy tests, and run its audit"),
    Option(
        "policy",
        "the policy: camaudit.toml, or a pyproject.toml with [tool.camaudit]; default: the one in "
        "the rootdir. On the command line it implies --camaudit",
        "FILE",
    ),
    Option("report", "write results, report and verdicts into this folder", "DIR"),
    Option(
        "update_baseline",
        "make this run the policy's baseline, and judge it as such; not where it went wrong",
    ),
    Option(
        "quick",
        "fewest images, seeds and examples; what is then inconclusive is skipped, not passed",
    ),
    Option("seed", "the seed of every audit, in place of the policy's", "N"),
)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a run of pytest was asked for.

    gated: whether the policy's conditions are tests. named: where the policy is, if that was said.
    root: the folder that relative paths of the configuration file begin at.
    """

    root: Path
    gated: bool = False
    named: Path | None = None
    report: Path | None = None
    update_baseline: bool = False
    quick: bool = False
    seed: int | None = None

    @property
    def idle(self) -> bool:
        """Whether there is nothing to do until a test asks for it."""
        return not self.gated and self.report is None


def add_options(parser: pytest.Parser) -> None:
    """Declare all of :data:`OPTIONS`."""
    group = parser.getgroup("camaudit", "tests of explanations (camaudit)")
    for option in OPTIONS:
        if option.value is None:
            group.addoption(option.flag, action="store_true", default=None, help=option.help)
        else:
            group.addoption(option.flag, metavar=option.value, help=option.help)
        kind: Any = "bool" if option.value is None else "string"
        default = False if option.value is None else ""
        parser.addini(option.key, f"{option.flag}: {option.help}", type=kind, default=default)


def read_options(config: pytest.Config) -> Options:
    """The options of a run; raises :class:`pytest.UsageError` for what cannot be."""
    flags: dict[str, Any] = {option.name: config.getoption(option.key) for option in OPTIONS}
    found = {
        option.name: config.getini(option.key) if flags[option.name] is None else flags[option.name]
        for option in OPTIONS
    }
    made = Options(
        root=config.rootpath,
        gated=bool(found[""]) or flags["policy"] is not None,
        named=_path(config, found["policy"], given=flags["policy"]),
        report=_path(config, found["report"], given=flags["report"]),
        update_baseline=bool(found["update_baseline"]),
        quick=bool(found["quick"]),
        seed=_seed(found["seed"]),
    )
    if made.update_baseline and not made.gated and flags["update_baseline"]:
        raise pytest.UsageError(
            "--camaudit-update-baseline: the baseline is the policy's run, which is made with "
            "--camaudit alone: give both"
        )
    if made.update_baseline and made.quick:
        raise pytest.UsageError(
            "--camaudit-quick runs too few images for a baseline: leave it out, or "
            "--camaudit-update-baseline"
        )
    return made


def _path(config: pytest.Config, text: str, *, given: str | None) -> Path | None:
    """A path of the command line begins at the working folder, one of the file at its own."""
    if given is not None and not given:
        raise pytest.UsageError("an option of camaudit that names a path has an empty one")
    if not text:
        return None
    start = config.rootpath if given is None else config.invocation_params.dir
    return start / text


def _seed(text: str) -> int | None:
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or int(text) >= 2**63:
        raise pytest.UsageError(
            f"--camaudit-seed must be a whole number from 0 to 2**63 - 1; got {text!r}"
        )
    return int(text)
