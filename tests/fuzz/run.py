"""The loop: change a file, let it be read, and keep what neither succeeds nor says why not."""

from __future__ import annotations

import gc
import hashlib
import random
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from camaudit.errors import CamauditError
from tests.fuzz.mutation import Mutate

__all__ = ["SLOW", "Outcome", "Target", "fuzz"]

SLOW = 30.0  # seconds of this process that no small file may take
_LONGEST = 20_000  # characters of a message that somebody is to read


@dataclass(frozen=True)
class Target:
    """What is read: seeds by the endings of their names, how they are changed, and the reader."""

    seeds: dict[str, Sequence[bytes]]
    mutate: Mutate
    read: Callable[[Path], object]


@dataclass
class Outcome:
    """Inputs that were read, that were refused, and findings: a place in our code, and a file."""

    read: int = 0
    refused: int = 0
    findings: dict[str, Path] = field(default_factory=dict)

    @property
    def tried(self) -> int:
        """All inputs."""
        return self.read + self.refused


def fuzz(
    name: str, target: Target, *, seconds: float, seed: int, folder: Path, most: int | None = None
) -> Outcome:
    """Read changed files for some time (or `most` of them) and write down the findings.

    The input at hand always lies in `folder` as NAME-current.*, for the case that it ends the
    process. A finding is kept with the traceback beside it, once for each place it comes from.
    """
    found, end, number = Outcome(), time.monotonic() + seconds, 0
    while time.monotonic() < end and (most is None or number < most):
        rng = random.Random(f"{name}/{seed}/{number}")  # noqa: S311 - nothing is to be kept secret
        ending = rng.choice(sorted(target.seeds))
        data = target.mutate(rng, target.seeds[ending])
        path = folder / f"{name}-current{ending}"
        path.write_bytes(data)
        told = _tried(target, path, found)
        if told is not None and told[0] not in found.findings:
            kept = folder / f"{name}-{hashlib.sha256(data).hexdigest()[:12]}{ending}"
            kept.write_bytes(data)
            kept.with_name(f"{kept.name}.txt").write_text(told[1], "utf-8", "backslashreplace")
            found.findings[told[0]] = kept
        number += 1
        path.unlink()
    return found


def _tried(target: Target, path: Path, found: Outcome) -> tuple[str, str] | None:
    """A finding as its place and its story; None where all is well, which is counted."""
    began, left = time.process_time(), []
    try:
        with warnings.catch_warnings(), _unraisable(left):
            warnings.simplefilter("error")
            target.read(path)
            gc.collect(0)
    except CamauditError as error:
        message = str(error)
        if not message.strip() or len(message) > _LONGEST or "crashed" in message:
            return f"{type(error).__name__}: {message[:60]}", traceback.format_exc()
        found.refused += 1
    except (Exception, SystemExit) as error:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [one for one in frames if "camaudit" in Path(one.filename).parts] or frames
        place = f"{type(error).__name__} at {Path(ours[-1].filename).name}:{ours[-1].lineno}"
        return place, traceback.format_exc()
    else:
        found.read += 1
    if left:  # such as a file that was left open
        return f"left behind: {left[0][:60]}", "\n".join(left)
    if time.process_time() - began > SLOW:
        return "slow", f"{time.process_time() - began:.0f} seconds"
    return None


@contextmanager
def _unraisable(left: list[str]) -> Iterator[None]:
    """Gather what goes wrong where nobody can catch it, as warnings of files that stay open do."""
    before = sys.unraisablehook
    sys.unraisablehook = lambda told: left.append(f"{told.exc_value!r} in {told.object!r}")
    try:
        yield
    finally:
        sys.unraisablehook = before
