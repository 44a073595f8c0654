"""What kills each mutant, as `python -m tests.invariance.kill_table` has found it."""

from __future__ import annotations

#: Properties by mutant, the one first that kills the fewest; conformance last.
KILLED_BY: dict[str, tuple[str, ...]] = {}
