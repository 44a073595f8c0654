"""Explainers of the user's own, of other libraries and from folders among an audit's methods."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from camaudit.adapters import Precomputed, differences, digest, traces, untouched
from camaudit.audit.batches import batch_tensor
from camaudit.audit.subject import Subject, WalledSubject
from camaudit.capture import Capture
from camaudit.data.stack_mix import StackImage
from camaudit.errors import AuditError, MethodError, UsageError
from camaudit.invariance.explainer import Explain
from camaudit.invariance.guard import FaultError, Guarded
from camaudit.invariance.loading import ExplainerSpec, Loaded
from camaudit.invariance.process import restored, seeded
from camaudit.methods import METHODS, MethodInfo
from camaudit.models.weights import file_sha256
from camaudit.sanity.originals import Originals
from camaudit.walls import WalledModel

__all__ = ["FIXED", "FOREIGN", "Foreign", "foreign_methods"]

FOREIGN = MethodInfo(
    paper="-",
    equation="-",
    formula="an explainer of the user's own",
    family="foreign",
    cost="unknown",
    seeded=True,
)
FIXED = MethodInfo(
    paper="-",
    equation="-",
    formula="maps that were made before",
    family="foreign",
    cost="none",
    fixed=True,
)
_TRUNK = "trunk"  # of a divided model: gives what its target layer gives, before a wall
_SHOWN = 5  #: missing maps that a warning names


@dataclass(eq=False)
class Foreign:
    """The foreign explainers of a run, and what they left on the model, by their names."""

    specs: Sequence[ExplainerSpec]
    left: dict[str, list[str]] = field(default_factory=dict)

    def bind(self, subject: Subject, images: Sequence[StackImage]) -> None:
        """Tell folders of maps which images the run has, one image at a time."""
        folders = [spec.maps for spec in self.specs if spec.maps is not None]
        if not folders:
            return
        known: dict[str, tuple[str, ...]] = {}
        for one in images:  # the same picture may be there twice
            place = digest(batch_tensor(subject, [one])[0])
            known[place] = (*known.get(place, ()), *_names(one))
        for folder in folders:
            folder.bind(known, walled=isinstance(subject, WalledSubject))

    def to_dict(self) -> list[dict[str, Any]]:
        """What results.json keeps of each: where it comes from and what was done to its maps."""
        return [_entry(spec) for spec in self.specs]

    def code(self, spec: ExplainerSpec) -> str | None:
        """What an explainer's maps depend on beside what it is given; None where nobody knows."""
        made = spec.adapter
        if isinstance(made, Precomputed):
            return None
        if made is not None:
            return f"{spec.source} {made.distribution} {made.version}"
        try:
            file = inspect.getsourcefile(inspect.unwrap(_function(spec.explain)))
        except TypeError:
            file = None
        if file is None or not Path(file).is_file():
            return None
        return f"{spec.source} {file_sha256(Path(file))}"

    @property
    def warnings(self) -> list[str]:
        """What a reader must know: maps that are missing, and models that were not left alone."""
        told = [
            f"{name} left on the model: {', '.join(kinds)}; it was put back after every call"
            for name, kinds in ((spec.name, self.left.get(spec.name)) for spec in self.specs)
            if kinds
        ]
        return [*told, *(text for spec in self.specs if spec.maps for text in _gaps(spec.maps))]


@contextmanager
def foreign_methods(found: Sequence[ExplainerSpec]) -> Iterator[Foreign]:
    """Within the context `method_call(name)` finds these explainers, by their names.

    Each is called with the model (with its wall, where there is one), the name of the target
    layer, images and targets; afterwards the model is what it was, and what an explainer left on
    it is noted. Folders of maps are asked for the images alone. Raises :class:`UsageError` for a
    name that a registered method, or another explainer, has.
    """
    foreign = Foreign(found)
    with ExitStack() as stack:
        for spec in found:
            if spec.name in METHODS:
                other = METHODS[spec.name].info in (FOREIGN, FIXED)
                raise UsageError(
                    f"the explainer {spec.source or spec.name!r} has the name of "
                    f"{'another one' if other else 'a method'}: "
                    f"expected a name of its own; got {spec.name!r}"
                )
            if spec.maps is not None:
                entry = METHODS.including(spec.name, FIXED, _from_folder(spec.maps))
            else:
                note = _noted(foreign.left, spec.name)
                entry = METHODS.including(spec.name, FOREIGN, _as_method(spec.explain, note))
            stack.enter_context(entry)
        yield foreign


def _as_method(explain: Explain, note: Callable[[list[str]], None]) -> Any:
    guarded = Guarded(explain)

    def maps(seen: Capture, *, seed: int = 0) -> Tensor:
        model, layer = _model_of(seen.divided)
        versions = [tensor._version for tensor in _tensors(model)]
        originals = Originals(model.modules())
        with originals, untouched(model), restored(), torch.enable_grad():
            before = traces(model)
            seeded(seed % 2**32)
            try:
                found = guarded(model, layer, seen.images.detach().clone(), seen.targets.clone())
            except FaultError as error:
                raise MethodError(error.trace or str(error)) from error
            finally:
                note(differences(before, traces(model)))
            changed = _changed(model, originals)
            written = [tensor._version for tensor in _tensors(model)] != versions
        if changed or written:
            raise MethodError(
                f"the explainer wrote into the model's weights or buffers ({changed or 'unnamed'}),"
                " which were put back: expected it to leave the model as it is"
            )
        return found

    return maps


def _function(explain: Explain) -> Any:
    """What was imported, under that which imports beside it."""
    return explain.explain if isinstance(explain, Loaded) else explain


def _from_folder(folder: Precomputed) -> Any:
    def maps(seen: Capture) -> Tensor:
        unwalled = folder.walled and not isinstance(seen.divided, WalledModel)
        return folder.of(seen.images, unwalled=unwalled)

    return maps


def _model_of(divided: Any) -> tuple[nn.Module, str]:
    """What an explainer is given for a divided model: a module, and its target layer's name.

    The model itself as long as it has no wall and the layer runs once: hooks cannot tell one run of
    a layer from another, and the trunk ends with the right one.
    """
    if isinstance(divided, WalledModel):
        return divided, _TRUNK
    try:
        model, layer = divided.trunk.model, divided.layer
        return (divided, _TRUNK) if "#" in layer else (model, layer)
    except AttributeError:
        raise AuditError(f"{type(divided).__name__} has no model to give to an explainer") from None


def _tensors(model: nn.Module) -> list[Tensor]:
    return [*model.parameters(), *model.buffers()]


def _changed(model: nn.Module, originals: Originals) -> str:
    """Parameters and buffers that are others or hold other values, in words; empty for none."""
    names = [
        name
        for name, value in (*model.named_parameters(), *model.named_buffers())
        if value not in originals or originals.moved(value) or not _same(value, originals)
    ]
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]}{more}" if names else ""


def _same(value: Tensor, originals: Originals) -> bool:
    kept = originals.value(value)
    return torch.equal(value, kept) or bool(
        ((value == kept) | (value.isnan() & kept.isnan())).all()
    )


def _noted(left: dict[str, list[str]], name: str) -> Callable[[list[str]], None]:
    def note(kinds: list[str]) -> None:
        if kinds:
            left.setdefault(name, kinds)

    return note


def _names(image: StackImage) -> tuple[str, ...]:
    """By which a map's file may go: the image's id, its hash, and a single photograph's name."""
    names = [image.id, image.sha256]
    if image.pairing == "single" and len(image.sources) == 1:
        photograph = image.sources[0].id
        names += [photograph, photograph.rpartition(".")[0]]
    return tuple(filter(None, dict.fromkeys(names)))


def _entry(spec: ExplainerSpec) -> dict[str, Any]:
    made = spec.adapter
    entry: dict[str, Any] = {
        "explainer": spec.name,
        "spec": spec.source or spec.name,
        "claims": spec.claims,
        "library": None,
        "version": None,
        "processing": None if made is None else list(made.processing),
    }
    if isinstance(made, Precomputed):
        entry["maps"] = made.inventory()
    elif made is not None:
        entry.update(library=made.distribution, version=made.version)
    return entry


def _gaps(folder: Precomputed) -> list[str]:
    """Maps that are missing, and files that belong to no image."""
    told = []
    inventory = folder.inventory()
    for what, counts in (("", inventory), (" without the wall", inventory.get("unwalled"))):
        if counts is None:
            continue
        missing = counts["missing"]
        if missing:
            more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
            told.append(
                f"{folder.label} has no map{what} of {len(missing)} of {counts['images']} images, "
                f"which count as not applicable: {', '.join(missing[:_SHOWN])}{more}"
            )
        if counts["extra"]:
            files = "1 file" if counts["extra"] == 1 else f"{counts['extra']} files"
            belong = "belongs" if counts["extra"] == 1 else "belong"
            told.append(
                f"{folder.label}: {files} in {counts['folder']} {belong} to no image of the run"
            )
    return told
