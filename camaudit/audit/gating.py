"""From a policy to a verdict: the audit that it asks for, and more images where these decide."""

from __future__ import annotations

import datetime
import tempfile
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from camaudit.audit.leaving import staying
from camaudit.audit.placing import Place
from camaudit.audit.progress import Progress
from camaudit.audit.run import Outcome, run_audit
from camaudit.audit.settings import Settings
from camaudit.data.collecting import placed_in
from camaudit.errors import UsageError
from camaudit.gates.gate import judge
from camaudit.gates.policy import Policy
from camaudit.gates.verdict import Decision, Verdict
from camaudit.importing import importable
from camaudit.spelling import placed

__all__ = ["KEPT", "Gated", "adjusted", "audited", "gate", "settings_of"]

KEPT = ".camaudit"  #: folder beside the policy where counterexamples are kept
_PATHS = ("weights", "unmasked_weights")
_TUPLES = ("data", "checks", "methods", "explainers", "properties", "orders")
_QUICK = {"num_images": 8, "perturbation_images": 2, "examples": 5, "sanity_seeds": 1}


@dataclass(frozen=True, eq=False)
class Gated:
    """A verdict, the object of results.json with it, and the audit where one was run here."""

    verdict: Verdict
    results: dict[str, Any]
    outcome: Outcome | None


def settings_of(policy: Policy, *, images: int | None = None) -> Settings:
    """The audit that a policy asks for; paths are taken from the policy's folder.

    images: how many, in place of the policy's number. Raises what :class:`Settings` raises.
    """
    given = dict(policy.settings)
    for name in _PATHS:
        if given.get(name) is not None:
            given[name] = _path(policy, given[name])
    for name in _TUPLES:
        if given.get(name) is not None:
            given[name] = tuple(given[name])
    if given.get("images") is not None:
        given["images"] = placed_in(policy.folder, given["images"])
    if "data" in given:
        given["data"] = tuple(_path(policy, folder) for folder in given["data"])
    for name in ("model", "permuted"):
        if given.get(name) is not None:
            given[name] = _spec(policy, given[name])
    if "explainers" in given:
        given["explainers"] = tuple(_spec(policy, spec) for spec in given["explainers"])
    if images is not None:
        given["num_images"] = images
    return Settings(**given)


def adjusted(policy: Policy, *, seed: int | None = None, quick: bool = False) -> Policy:
    """The policy with another seed, or with the fewest images, seeds and examples.

    A quick run decides little: what statistics decide is mostly inconclusive.
    """
    given = dict(policy.settings)
    if seed is not None:
        given["seed"] = seed
    if quick:
        given |= {name: min(given.get(name) or few, few) for name, few in _QUICK.items()}
        if "dead-zone" not in given.get("checks", ()):
            given.pop("perturbation_images")
    return replace(policy, settings=given)


def audited(
    policy: Policy,
    *,
    images: int | None = None,
    progress: Progress | None = None,
    unsafe_pickle: bool = False,
    records: Path | None = None,
    place: Place | None = None,
) -> Outcome:
    """Run the audit that a policy asks for; modules in its folder can be imported.

    unsafe_pickle: weights files may run code, which no policy can allow by itself. records: where
    findings are kept, and taken from, if anywhere. place: where the work is done, here by default.
    Raises the errors of :func:`camaudit.audit.run.run_audit`.
    """
    settings = replace(settings_of(policy, images=images), unsafe_pickle=unsafe_pickle)
    with importable(policy.folder.resolve()), staying():
        return run_audit(
            settings, progress=progress, counterexamples=policy.folder / KEPT, records=records,
            place=place,
        )  # fmt: skip


def gate(
    policy: Policy,
    *,
    today: datetime.date,
    results: Mapping[str, Any] | None = None,
    baseline: Mapping[str, Any] | None = None,
    escalate: bool = False,
    progress: Progress | None = None,
    unsafe_pickle: bool = False,
    records: Path | None = None,
    place: Place | None = None,
) -> Gated:
    """Judge `results` by `policy`, or run the audit first where there are none.

    baseline: the object of an earlier results.json, for conditions that refer to it. escalate:
    where rulings are inconclusive, run as many more images as may decide, up to the policy's
    `escalate`; :class:`UsageError` where it has none. The images of the first run are among those
    of a larger one, so that a pinned hash of the images is held against the first alone.
    unsafe_pickle, records, place: see :func:`audited`; without `records` a run with more images
    takes what it can from the one before, and nothing stays.
    """
    if escalate and policy.escalate is None:
        raise UsageError(
            f"{policy.path}: escalate = N is missing in [run]: it says how many images may be run"
        )
    with ExitStack() as stack:
        if records is None and escalate:
            records = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        run = partial(
            audited, progress=progress, unsafe_pickle=unsafe_pickle, records=records, place=place
        )
        return _decided(policy, run, today, results, baseline, escalate=escalate)


def _decided(
    policy: Policy, run: Callable[..., Outcome], today: datetime.date,
    results: Mapping[str, Any] | None, baseline: Mapping[str, Any] | None, *, escalate: bool,
) -> Gated:  # fmt: skip
    """The verdict on `results`, or on what `run` gives for the policy."""
    outcome: Outcome | None = None
    if results is None:
        outcome = run(policy)
        results = outcome.results.to_dict()
    verdict = judge(policy, results, baseline, today=today)
    while escalate and (count := _next(policy, verdict, results)) is not None:
        policy = replace(
            policy, pins={key: pin for key, pin in policy.pins.items() if key != "images_sha256"}
        )
        outcome = run(policy, images=count)
        before, results = len(results["images"]), outcome.results.to_dict()
        verdict = judge(policy, results, baseline, today=today)
        if len(results["images"]) <= before:
            break  # there are no more
    return Gated(verdict, {**results, "gate": verdict.to_dict()}, outcome)


def _next(policy: Policy, verdict: Verdict, results: Mapping[str, Any]) -> int | None:
    """How many images (of each data set) to run next; None where more would not help."""
    cap = policy.escalate
    wanted = [
        ruling.more
        for ruling in verdict.binding
        if ruling.decision is Decision.INCONCLUSIVE and ruling.more
    ]
    now = len(results["images"]) // max(1, len(results.get("data") or ()))
    if cap is None or not wanted or verdict.decision is not Decision.INCONCLUSIVE or now >= cap:
        return None
    return min(cap, now + max(wanted))


def _path(policy: Policy, given: str | Path) -> Path:
    return policy.folder / given


def _spec(policy: Policy, spec: str) -> str:
    """A model, trained folder or explainer, its file taken from the policy's folder."""
    kind, _, folder = spec.partition(":")
    if kind == "trained" or (
        kind in ("hf", "transformers") and _path(policy, folder).is_dir()  # no name in the cache
    ):
        return f"{kind}:{_path(policy, folder)}"
    return placed(spec, policy.folder)
