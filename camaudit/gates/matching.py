"""Whether a run is the one that a policy speaks of: its hashes and its settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from camaudit.gates.policy import Policy
from camaudit.spelling import MAPS, Spelled, spelled

__all__ = ["mismatches"]

_STATE = "state_sha256"
_PINS = ("weights_sha256", _STATE, "images_sha256")
_EQUAL = (
    "wall", "live_rows", "image_size", "seed", "orders", "sanity_seeds", "scheme",
    "cascade_steps", "costly_cascades", "precision", "exact", "examples", "perturbation_images",
)  # fmt: skip
_CHOSEN = ("layer", "preprocess", "output", "head")  # by the run itself where none is named
_PLACES = ("model", "weights", "unmasked_weights", "images", "data", "permuted")
_WHOLE = ("checks", "properties")  # of which the run may have more
#: What is no part of a figure: where and how fast it is computed.
_FREE = (
    "device", "batch_size", "memory", "compile", "explainer_budget", "counterexamples", "out",
)  # fmt: skip
_LISTS = ("standard", "all")  # stand for methods; a run lists these one by one


def mismatches(policy: Policy, results: Mapping[str, Any], *, live: bool = False) -> list[str]:
    """What the run has otherwise than the policy asks for, in words.

    Settings that the policy leaves out are not compared, nor are those that change no figure
    (device, batch_size, …). More images than asked for are right up to `escalate`, more checks,
    explainers and properties always. A setting that cannot be compared is a mismatch, and so are
    `targets` other than the top-1 and `pairs` of two classes. Of a `live` run nothing but the hash
    of its model's state is.
    """
    if live:
        pins = {name: value for name, value in policy.pins.items() if name == _STATE}
        return _pins(replace(policy, pins=pins), results["subject"])
    settings = [*_settings(policy, results), *_targets(results["settings"])]
    return [*_pins(policy, results["subject"]), *settings]


def _pins(policy: Policy, subject: Mapping[str, Any]) -> list[str]:
    found = []
    for name, wanted in policy.pins.items():
        has = subject.get(name)
        if name not in _PINS:
            found.append(f"the policy pins {name}, which no run has: pin one of {', '.join(_PINS)}")
        elif not isinstance(has, str) or has.lower() != wanted.lower():
            found.append(
                f"{name} of the run is {has or 'unknown'}, and the policy pins {wanted}: audit the "
                "pinned files, or change the pin"
            )
    return found


def _targets(settings: Mapping[str, Any]) -> list[str]:
    """A policy speaks of the maps of the top-1 class, on photographs of one class."""
    targets, pairs = settings.get("targets", "top-1"), settings.get("pairs", "same")
    found = []
    if targets != "top-1":
        found.append(
            f"the run explains other classes than the top-1 (--targets {targets}), which policies "
            "speak of: run the audit without --targets"
        )
    if pairs != "same":
        found.append(
            f"the run stacks other pairs (--pairs {pairs}) than a policy's run does: run the audit "
            "without --pairs, or name a data set of such pairs in the policy"
        )
    return found


def _settings(policy: Policy, results: Mapping[str, Any]) -> list[str]:
    found = []
    for name, wanted in policy.settings.items():
        if name in _FREE or wanted is None:
            continue
        has = _of_run(results, name)
        if name in ("methods", "explainers"):
            lost = _lost(_listed(wanted), results["settings"], policy.folder)
            found += [
                f"the policy asks for the explainer {one}, which the run lacks" for one in lost
            ]
        elif not _fits(policy, name, wanted, has):
            found.append(
                f"{name} is {_said(wanted)} in the policy, and {_said(has)} in the run: run the "
                "audit with the policy's settings"
            )
    return found


def _of_run(results: Mapping[str, Any], name: str) -> Any:
    """The run's setting; what it chose by itself of :data:`_CHOSEN` is the subject's."""
    has = results["settings"].get(name)
    if has is not None or name not in _CHOSEN:
        return has
    subject = results["subject"]
    if name in ("output", "head"):
        return (subject.get("reading") or {}).get(name)
    chosen = subject.get(name)
    return chosen.get("name") if isinstance(chosen, dict) else chosen


def _fits(policy: Policy, name: str, wanted: Any, has: Any) -> bool:
    if name == "num_images":
        return _enough(wanted, has, policy.escalate)
    if name in _WHOLE:
        # properties: none named are all of them
        return (has is None and name == "properties") or set(_listed(wanted)) <= set(_listed(has))
    if name in _PLACES:
        ours, theirs = _listed(wanted), _listed(has)
        return len(ours) == len(theirs) and all(
            _same_place(one, other, policy.folder) for one, other in zip(ours, theirs, strict=True)
        )
    if name in _EQUAL or name in _CHOSEN:
        return bool(_plain(wanted) == _plain(has)) and isinstance(wanted, bool) == isinstance(
            has, bool
        )
    return False


def _enough(wanted: Any, has: Any, escalate: int | None) -> bool:
    if not isinstance(has, int) or isinstance(has, bool):
        return False
    return bool(has == wanted or (escalate is not None and wanted <= has <= escalate))


def _lost(wanted: Sequence[str], settings: Mapping[str, Any], folder: Path) -> list[str]:
    """Explainers of the policy that the run does not have."""
    methods = {_squeezed(name) for name in _listed(settings.get("methods"))}
    foreign = _listed(settings.get("explainers"))
    return [
        one
        for one in wanted
        if one not in _LISTS
        and _squeezed(one) not in methods
        and not any(_same_place(one, other, folder) for other in foreign)
    ]


def _same_place(wanted: str, has: str, folder: Path) -> bool:
    """Whether two paths, or specs with a path in them, can be the same.

    A policy's paths are relative to its folder, those of a run to where it was started, maybe on
    another machine: then the run's must end as the policy's. Hashes are what settles it.
    """
    if wanted == has:
        return True
    if wanted.startswith(f"{MAPS}:") and has.startswith(f"{MAPS}:"):
        return _same_maps(spelled(wanted), spelled(has), folder)
    (kind, ours), (other, theirs) = _folder(wanted), _folder(has)
    if kind != other:
        return False
    if (folder / ours).resolve() == Path(theirs).resolve():
        return True
    parts = [part for part in PurePosixPath(ours).parts if part not in (".", "..", "/")]
    return bool(parts) and list(PurePosixPath(theirs).parts[-len(parts) :]) == parts


def _same_maps(wanted: Spelled, has: Spelled, folder: Path) -> bool:
    """Whether two specs of folders of maps can name the same folders, with the same options."""
    ours, theirs = dict(wanted.options), dict(has.options)
    pairs = [(wanted.source, has.source)]
    if "unwalled" in ours and "unwalled" in theirs:
        pairs.append((ours.pop("unwalled"), theirs.pop("unwalled")))
    return ours == theirs and all(_same_place(one, other, folder) for one, other in pairs)


def _folder(spec: str) -> tuple[str, str]:
    """The kind of a spec that names a folder (empty for a path), and the path."""
    kind, _, path = spec.partition(":")
    return (kind, path) if kind in ("trained", "hf", "transformers") else ("", spec)


def _listed(value: Any) -> list[str]:
    if value is None:
        return []
    return [str(one) for one in value] if isinstance(value, (list, tuple)) else [str(value)]


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, (list, tuple)) else value


def _squeezed(name: str) -> str:
    return "".join(name.split())


def _said(value: Any) -> str:
    if value is None or value == []:
        return "not said"
    return ", ".join(_listed(value))
