"""`python -m tests.benchmarks`: prints a table of ratios and saves every single time as JSON."""

from __future__ import annotations

from tests.benchmarks.command import main

if __name__ == "__main__":
    main(prog_name="python -m tests.benchmarks")
