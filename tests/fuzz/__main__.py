"""`python -m tests.fuzz --minutes N [--only NAME] [--seed S] [--out DIR]`."""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

from tests.fuzz.run import fuzz
from tests.fuzz.targets import TARGETS, made

_MEMORY = 16 << 30


def main() -> int:
    """Fuzz each reader for its share of the time; 1 if anything was found."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="for all readers together")
    parser.add_argument("--only", choices=sorted(TARGETS), action="append", help="this reader")
    parser.add_argument("--seed", type=int, default=0, help="of the changes")
    parser.add_argument("--out", type=Path, default=Path("fuzz-findings"), help="for findings")
    given = parser.parse_args()
    names = given.only or sorted(TARGETS)
    given.out.mkdir(parents=True, exist_ok=True)
    failed = False
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource  # a reader that asks for all memory is a finding, not the machine's end

        resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, resource.RLIM_INFINITY))
    with tempfile.TemporaryDirectory() as work:
        for name in names:
            seconds = given.minutes * 60 / len(names)
            found = fuzz(
                name, made(name, Path(work)), seconds=seconds, seed=given.seed, folder=given.out
            )
            print(
                f"{name}: {found.tried} inputs, {found.read} read, {found.refused} refused, "
                f"{len(found.findings)} findings", flush=True,
            )  # fmt: skip
            for place, path in found.findings.items():
                failed = True
                print(f"  {place}: {path}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
