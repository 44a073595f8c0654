"""False alarms: `python -m tests.invariance.default_profile` runs the default profile many times.

What `camaudit run --checks invariance` puts to a registered method on drawn networks is run with
the seeds 0, 1, …, each on the next method in turn: every property, with as many examples as is the
default. Anything that is called a bug or a fault of a registered method is a false alarm (or a bug
of ours). A seed that is in `--out` already is left out.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

from camaudit.audit.progress import Silent
from camaudit.invariance import Registered
from camaudit.invariance.explainer import light
from camaudit.invariance.matrix import Options, Tested, run_invariance
from camaudit.methods import method_call, method_names


def alarms(seed: int) -> dict[str, Any]:
    """What the default profile with this seed says of one method."""
    torch.set_num_threads(1)
    names = method_names(tokens=False)
    call = method_call(names[seed % len(names)])
    tested = Tested(
        name=call.label, explain=Registered(light(call), seed=seed), claims=call.name,
        registered=True,
    )  # fmt: skip
    started = time.perf_counter()
    found = run_invariance([tested], options=Options(seed=seed, budget=None), progress=Silent())
    (row,) = found.rows
    return {
        "seed": seed,
        "method": call.label,
        "examples": sum(finding.examples for finding in row.findings),
        "alarms": [[finding.property, finding.reason] for _, _, finding in found.bugs],
        "programs": {name: code for (_, name), code in found.programs.items()}
        if found.bugs
        else {},
        "seconds": round(time.perf_counter() - started, 1),
    }


def main(arguments: list[str] | None = None) -> int:
    """Run and write down; 1 where there is any alarm."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=50)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("default-profile.json"))
    given = parser.parse_args(arguments)
    kept = json.loads(given.out.read_text()) if given.out.is_file() else []
    left = [seed for seed in range(given.seeds) if seed not in {one["seed"] for one in kept}]
    with get_context("spawn").Pool(given.workers) as pool:
        for one in pool.imap_unordered(alarms, left):
            kept.append(one)
            given.out.write_text(json.dumps(sorted(kept, key=lambda run: run["seed"]), indent=1))
            print(one["seed"], one["method"], one["alarms"], f"{one['seconds']} s", flush=True)
    wrong = [one for one in kept if one["alarms"]]
    print(
        f"{len(kept)} seeds, {sum(one['examples'] for one in kept)} examples, {len(wrong)} alarms"
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
