"""The long profile: `python -m tests.invariance.long_run` puts 10 000 examples to each property.

Examples are (network, images, method): what is drawn is put to every registered method that must
satisfy the property, until together they have judged `--examples` that say something, about as
many each. A method that violates it by its definition is asked until it does, and is not counted.
Nothing is shrunk: what refutes a method is written down as it was drawn. A property that is in
`--out` already, with the same settings, is left out.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from hypothesis import HealthCheck, Phase, given, reject, seed, settings
from torch import Tensor, nn

from camaudit.cut import Cut, Head, Trunk
from camaudit.invariance import PROPERTIES, Example, Registered, Situation, answers, hygiene
from camaudit.invariance.explainer import Cuts, light
from camaudit.invariance.guard import Guarded
from camaudit.invariance.run import RefutedError, Trial, cases
from camaudit.methods import method_call, method_names
from camaudit.sites import Site, Tracer

#: They watch what an explainer does to a model: none may find another's cut of it.
WATCHING = {hygiene.__name__, answers.__name__}
MOST = 4  # times as many draws as would do if all of them said something
MARGIN = 1.03  # more for each method, because few networks are for some of them
LEAST_DRAWS = 60
SHARED_MODELS = 4  # a network, and what a property makes of it
#: Methods that cost some ten times as much as the others are asked for a quarter as many examples.
COSTLY, COSTLY_SHARE = {"multi-layer", "augmentation"}, 0.25


#: Who can say nothing. A changed head is no pooled Linear one any more; and what is the same for
#: a score and its negative has no sign to be linear in.
NEVER = {
    "increasing-score": {"cam"},
    "linear-split": {"cam"},
    "linear-merge": {"cam"},
    "implementation": {"cam"},
    "score-linearity": {
        "eigencam", "segeigencam", "kpcacam", "fem", "lafam", "fullgrad", "uniform", "random",
        "gaussian", "sobel",
    },
}  # fmt: skip


class _EnoughError(BaseException):
    """All examples are there."""


@dataclass(eq=False)
class Count:
    """What became of the examples of one property; each method is asked for its quota of them."""

    name: str
    quotas: dict[str, int]
    trials: dict[str, Trial]
    draws: int = 0
    refuted: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def violated(self) -> set[str]:
        """The methods that violate the property by their definition."""
        return set(PROPERTIES[self.name].info.violated)

    @property
    def judged(self) -> int:
        """Examples that say something, of methods that must satisfy the property."""
        counted = (t.examples for method, t in self.trials.items() if method not in self.violated)
        return sum(counted)

    def waiting(self) -> dict[str, Trial]:
        """Who is asked about the next draw."""
        return {
            method: trial
            for method, trial in self.trials.items()
            if method not in self.refuted
            and trial.examples < self.quotas[method]
            and not trial.hopeless
        }

    def put(self, situation: Situation, parameters: dict[str, Any], example: Example) -> bool:
        """One draw to every method that is waiting: whether it said anything."""
        self.draws += 1
        told = False
        for method, trial in self.waiting().items():
            try:
                told |= trial.put(situation, parameters, example)
            except RefutedError as error:
                told = True
                found = error.found
                self.refuted[method] = {
                    "message": found.message, "trace": found.trace, "example": example.to_dict(),
                }  # fmt: skip
        if not self.waiting() or self.draws >= max(LEAST_DRAWS, MOST * max(self.quotas.values())):
            raise _EnoughError
        return told

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; `silent` methods said nothing about any draw."""
        trials, violated = self.trials.values(), sorted(self.violated)
        return {
            "examples": self.judged,
            "least": min((t.examples for t in trials if t.examples), default=0),
            "draws": self.draws,
            "degenerate": sum(trial.degenerate for trial in trials),
            "unstable": sum(trial.unstable for trial in trials),
            "passed_over": sum(trial.passed_over for trial in trials),
            "silent": [m for m, t in self.trials.items() if not t.examples],
            "confirmed": [m for m in violated if m in self.refuted],
            "not_confirmed": [m for m in violated if m not in self.refuted],
            "bugs": {m: found for m, found in self.refuted.items() if m not in violated},
        }


def counted(name: str, examples: int, number: int = 0) -> dict[str, Any]:
    """Put `examples` examples of the property `name`, drawn from the seed `number`."""
    info, function = PROPERTIES[name].info, PROPERTIES[name].function
    shared = None if function.__module__ in WATCHING else Cuts(SHARED_MODELS, cut=_quick_cut)
    trials = {
        method: Trial(name, _explainer(method, shared)) for method in method_names(tokens=False)
    }
    quotas = _quotas(examples, without={*info.violated, *NEVER.get(name, ())})
    count = Count(name, quotas, trials)

    @seed(number)
    @settings(
        max_examples=10 * MOST * max(quotas.values()) + LEAST_DRAWS, database=None, deadline=None,
        phases=(Phase.generate,), suppress_health_check=list(HealthCheck), print_blob=False,
    )  # fmt: skip
    @given(cases(info, None))
    def run(case: tuple[Situation, dict[str, Any], Example]) -> None:
        if not count.put(*case):
            reject()

    started = time.perf_counter()
    with suppress(_EnoughError):
        run()
    return {**count.to_dict(), "seconds": round(time.perf_counter() - started, 1)}


def _quotas(examples: int, *, without: set[str]) -> dict[str, int]:
    """How many examples each method is asked for: `examples` in all, of those not `without`."""
    shares = {
        method: COSTLY_SHARE if _costly(method) else 1.0 for method in method_names(tokens=False)
    }
    total = sum(share for method, share in shares.items() if method not in without)
    return {m: math.ceil(MARGIN * examples * share / total) for m, share in shares.items()}


def _costly(method: str) -> bool:
    info = method_call(method).info
    return info.many_passes or info.family in COSTLY


def _quick_cut(model: nn.Module, layer: str, example: Tensor) -> Cut:
    """What `cut_at` makes, without its nine passes of checks: a drawn network can be cut."""
    example = example[:1].detach()
    site = Site(layer, model.get_submodule(layer), 1, 1)
    tracer = Tracer(model, (site.module, 1), stop=True)
    with torch.no_grad():
        tracer.run(model, example.clone())
    head = Head(model, site, example, tracer.before_watch)
    trunk = Trunk(model, site)
    trunk.mutates_images = head.mutates_images = head.mutates_input = True  # copies cost little
    return Cut(trunk, head, layer=layer).eval()


def _explainer(method: str, cuts: Cuts | None) -> Guarded:
    return Guarded(Registered(light(method_call(method)), cuts=cuts))


def _task(task: tuple[str, int, int]) -> tuple[str, dict[str, Any]]:
    torch.set_num_threads(1)  # networks this small are slower on many
    return task[0], counted(*task)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what is not in the file yet; 1 where a method is refuted that should not be."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("properties", nargs="*", help="their names; all by default")
    parser.add_argument("--examples", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("long-run.json"))
    given = parser.parse_args(arguments)
    names = [PROPERTIES[name].name for name in given.properties or PROPERTIES]
    settings_ = {"examples": given.examples, "seed": given.seed}
    kept = json.loads(given.out.read_text()) if given.out.exists() else {**settings_, "found": {}}
    if {key: kept[key] for key in settings_} != settings_:
        parser.error(f"{given.out} holds a run of other settings: choose another --out")
    found = kept["found"]
    tasks = [(name, given.examples, given.seed) for name in names if name not in found]
    started = time.perf_counter()
    with multiprocessing.get_context("spawn").Pool(given.workers) as pool:
        for done, (name, result) in enumerate(pool.imap_unordered(_task, tasks), start=1):
            found[name] = result
            given.out.write_text(json.dumps(kept, indent=1))
            spent = time.perf_counter() - started
            left = spent / done * (len(tasks) - done)
            shown = {key: value for key, value in result.items() if key != "confirmed"}
            print(f"{done}/{len(tasks)} {name}: {shown}; {left:.0f} s left", flush=True)
    return 1 if any(found[name]["bugs"] for name in names) else 0


if __name__ == "__main__":
    sys.exit(main())
