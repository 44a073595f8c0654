"""What several commands share: options that are parsed, and a reader of stdout that may leave."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click

from camaudit.spelling import listed

__all__ = [
    "UNSAFE_PICKLE", "bytes_of", "executed", "explainers", "names", "pages_written",
    "reader_may_leave",
]  # fmt: skip


UNSAFE_PICKLE = click.option(
    "--unsafe-pickle",
    is_flag=True,
    help="Load weights files that are pickles with code, such as a whole model of "
    "torch.save(model). DANGER: such a file runs any code it likes, with your rights: it can read, "
    "change and send your files. Only for files that you or people you trust have made; "
    "results.json and the report say that it was used. Default: such files are refused.",
)


def executed(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options --executor, --workers and --address: where the work of an audit is done."""
    executor = click.option(
        "--executor",
        type=click.Choice(["serial", "processes", "ray"]),
        default="serial",
        show_default=True,
        help="Where dead-zone, metrics and sanity checks are computed: in this process, in "
        "processes of this machine (one a GPU with --device cuda), or in a Ray cluster (extra "
        "ray). The figures are the same.",
    )
    workers = click.option(
        "--workers",
        type=click.IntRange(min=1),
        metavar="N",
        help="Of processes or ray. Default: one a GPU, or as many as there are cores for their "
        "threads (OMP_NUM_THREADS).",
    )
    address = click.option(
        "--address",
        metavar="ADDRESS",
        help="Of the Ray cluster: auto for the one that runs here, ray://host:port, or host:port. "
        "Default: one is started on this machine.",
    )
    found: Callable[..., Any] = executor(workers(address(command)))
    return found


def names(_context: click.Context, _option: Any, value: str | None) -> tuple[str, ...] | None:
    """A list of names between commas; None where the option was not given."""
    if value is None:
        return None
    outside = re.split(r",(?![^(]*\))", value)  # a comma in brackets parts a method's own options
    return tuple(name.strip() for name in outside if name.strip())


def explainers(_context: click.Context, _option: Any, values: tuple[str, ...]) -> tuple[str, ...]:
    """The explainers of every list between commas, in order."""
    return tuple(one for value in values for one in listed(value))


def bytes_of(_context: click.Context, _option: Any, value: str | None) -> int | None:
    """A number of bytes such as 600M or 2G; None where the option was not given."""
    if value is None:
        return None
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)i?B?\s*", value, re.IGNORECASE)
    if found is None:
        raise click.BadParameter(f"expected a size such as 600M or 2G; got {value!r}")
    return int(float(found[1]) * 1024 ** " KMGT".index(found[2].upper() or " "))


def pages_written(written: Sequence[Path]) -> list[str]:
    """What is said of the pages beside a report that is too large for one file."""
    if not written:
        return []
    return [f"wrote {len(written)} pages of images in {written[0].parent}: keep them together"]


@contextlib.contextmanager
def reader_may_leave() -> Iterator[None]:
    """A closed stdout (`camaudit … | head`) ends the printing and nothing else."""
    try:
        yield
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
