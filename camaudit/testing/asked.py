"""What a test asks to be audited: a model, explainers and images that it holds itself."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from camaudit.audit.gating import adjusted, settings_of
from camaudit.audit.live import Live
from camaudit.audit.run import Outcome, run_audit
from camaudit.audit.settings import DEAD_ZONE, Settings
from camaudit.errors import UsageError
from camaudit.gates.labels import explainer as parsed
from camaudit.gates.policy import Policy
from camaudit.invariance import Explain
from camaudit.spelling import placed
from camaudit.testing.options import Options

__all__ = ["Asked", "Explainers", "asked", "explainers"]

#: Of a policy's settings: what it says of its own subject, which is another than the test's.
_SUBJECT = ("model", "weights", "unmasked_weights", "layer", "methods", "explainers")
_IMAGES = ("images", "data")
_WALL = ("wall", "live_rows", "perturbation_images")
_RESERVED = (*_SUBJECT, *_IMAGES, "checks", "compile")


@dataclass(frozen=True, eq=False, kw_only=True)
class Explainers:
    """Registered methods, functions by their specs, and callables by name with their claims."""

    methods: tuple[str, ...] = ()
    specs: tuple[str, ...] = ()
    callables: Mapping[str, Explain] = field(default_factory=dict)
    claims: Mapping[str, str] = field(default_factory=dict)

    @property
    def labels(self) -> tuple[str, ...]:
        """Their names in results.json."""
        named = (*self.methods, *self.specs)
        return (*(parsed(text).label for text in named), *self.callables)


@dataclass(frozen=True, eq=False, kw_only=True)
class Asked:
    """An audit of objects; checks and settings that are not said are the policy's.

    images: N×3×H×H, standardised as the model reads them, or a folder; None for the policy's, or
    the embedded photographs.
    """

    model: nn.Module
    explainers: Explainers
    images: Tensor | Path | None = None
    layer: str | None = None
    checks: tuple[str, ...] | None = None
    methods: tuple[str, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    objective: Callable[[Any], Tensor] | None = None

    def under(
        self, policy: Policy | None, options: Options, *, needed: tuple[str, ...] = ()
    ) -> Settings:
        """The settings of the audit; `needed` are checks that must be among those of the policy.

        Raises :class:`UsageError`.
        """
        own = {} if policy is None else dict(policy.settings)
        for name in (*_SUBJECT, *(_IMAGES if self.images is not None else ())):
            own.pop(name, None)
        if isinstance(self.images, Tensor):
            own.pop("num_images", None)  # all that were given
        checks = self.checks or tuple(dict.fromkeys([*own.get("checks", ()), *needed]))
        checks = checks or (DEAD_ZONE,)
        _without(own, checks)
        own |= {**self.settings, "checks": checks, "layer": self.layer}
        own["model"] = type(self.model).__name__
        own["methods"] = (*self.explainers.methods, *self.methods) or ("uniform",)
        own["explainers"] = tuple(placed(spec, options.root) for spec in self.explainers.specs)
        if isinstance(self.images, Path):
            own["images"] = options.root / self.images
        path = options.root / "tests" if policy is None else policy.path
        made = Policy(path=path, conditions=(), settings=own)
        made = adjusted(made, seed=options.seed, quick=options.quick)
        _without(made.settings, checks, but=self.settings)
        return settings_of(made)

    def run(self, settings: Settings) -> Outcome:
        """The audit; raises the errors of :func:`camaudit.audit.run.run_audit`."""
        live = Live(
            model=self.model,
            images=self.images if isinstance(self.images, Tensor) else None,
            objective=self.objective,
            explainers=self.explainers.callables,
            claims=self.explainers.claims,
        )
        return run_audit(settings, live=live)


def asked(
    model: nn.Module,
    *,
    explainer: Any,
    images: Any = None,
    layer: str | None = None,
    checks: Sequence[str] | str | None = None,
    methods: Sequence[str] | str = (),
    claims: Mapping[str, str] | None = None,
    objective: Callable[[Any], Tensor] | None = None,
    **settings: Any,
) -> Asked:
    """What the arguments of `camaudit.audit` ask for; raises :class:`UsageError`."""
    __tracebackhide__ = True
    known = [one.name for one in fields(Settings) if one.name not in _RESERVED]
    wrong = [name for name in settings if name not in known]
    if wrong:
        raise UsageError(
            f"an audit has no setting {', '.join(wrong)}; beside model, layer, explainer, images, "
            f"checks, methods, claims and objective it takes {', '.join(known)}"
        )
    if isinstance(images, str):
        images = Path(images)
    if not isinstance(images, Path | Tensor | None):
        raise UsageError(
            "expected images as a tensor N×C×H×H, standardised as the model reads them, or a "
            f"folder; got {type(images).__name__}"
        )
    found = explainers(explainer, claims=claims)
    Live(  # refuses what is no model
        model=model, objective=objective, explainers=found.callables, claims=found.claims
    )
    return Asked(
        model=model, explainers=found, images=images, layer=layer,
        checks=_tuple(checks) or None, methods=_tuple(methods), settings=settings,
        objective=objective,
    )  # fmt: skip


def explainers(given: Any, *, claims: Mapping[str, str] | None = None) -> Explainers:
    """A name, a spec, a callable, a mapping of names to callables, or a sequence of the former.

    claims: the registered methods that some of the callables claim to be, by their names. Raises
    :class:`UsageError`.
    """
    __tracebackhide__ = True
    if isinstance(given, Mapping):
        found = Explainers(callables=dict(given))
    else:
        listed = [given] if isinstance(given, str) or callable(given) else given
        if not isinstance(listed, Sequence) or not listed:
            raise UsageError(
                "expected an explainer: the name of a method, FILE.py:FUNCTION, a callable, a "
                f"mapping of names to callables, or a list of them; got {given!r}"
            )
        found = Explainers()
        for one in listed:
            found = _with(found, one)
    if not found.labels:
        raise UsageError("expected at least one explainer; got an empty mapping")
    return replace(found, claims=dict(claims or {}))


def _with(found: Explainers, one: Any) -> Explainers:
    if not isinstance(one, str):
        name = getattr(one, "__name__", type(one).__name__)
        name = name if name.isidentifier() else "explainer"
        if name in found.callables:
            raise UsageError(
                f"two explainers are called {name!r}: give a mapping of names to callables"
            )
        return replace(found, callables={**found.callables, name: one})
    if parsed(one).own:
        return replace(found, specs=(*found.specs, one))
    return replace(found, methods=(*found.methods, one))


def _tuple(given: Sequence[str] | str | None) -> tuple[str, ...]:
    if given is None:
        return ()
    return (given,) if isinstance(given, str) else tuple(given)


def _without(own: dict[str, Any], checks: Sequence[str], *, but: Collection[str] = ()) -> None:
    """Take out what belongs to checks that are not run."""
    drop = [] if DEAD_ZONE in checks else list(_WALL)
    drop += [] if "invariance" in checks else ["properties"]
    drop += [] if "data-randomisation" in checks else ["permuted"]
    for name in drop:
        if name not in but:
            own.pop(name, None)
