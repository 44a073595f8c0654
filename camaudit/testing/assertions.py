"""Assertions on explainers that stand alone: in any test, with or without pytest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from camaudit.audit.progress import Silent
from camaudit.audit.sanity_claims import ALIKE
from camaudit.audit.settings import DEAD_ZONE
from camaudit.errors import UsageError
from camaudit.gates.policy import Relation
from camaudit.gates.verdict import Decision
from camaudit.invariance import Conformity, Explain, Outcome, load_explainer, registered
from camaudit.invariance.conformance import Conformance
from camaudit.invariance.explainer import Registered, light
from camaudit.invariance.matrix import InvarianceResult, Options, Tested, run_invariance
from camaudit.invariance.property import PROPERTIES
from camaudit.methods import method_call
from camaudit.testing.asked import asked
from camaudit.testing.explained import verdict_text
from camaudit.testing.held import demanded
from camaudit.testing.options import Options as Asking

__all__ = ["assert_blind_to_dead_zone", "assert_depends_on_parameters", "assert_invariant"]

_MOST = 8  # violations that a message names


def assert_blind_to_dead_zone(
    explainer: str | Explain,
    model: nn.Module,
    layer: str | None,
    images: Tensor | str | Path,
    *,
    bound: float = 0.05,
    seed: int = 0,
    **settings: Any,
) -> None:
    """A wall is built into the model; of the map at most `bound` may lie where nothing is seen.

    The mean over the images (at least six) of μ = |map| in the dead zone ÷ |map|, in [0, 1], must
    be shown to be at most `bound`: the upper end of its 95 % interval is. explainer: a registered
    method's name or a callable of (model, layer, images, targets). layer: None for the last map
    before the head. settings: such as wall="split" or live_rows=4.

    Raises AssertionError, also where too few images decide nothing or no map has a figure, and
    :class:`camaudit.errors.UsageError` for what cannot be audited.
    """
    __tracebackhide__ = True
    _hold(
        explainer, model, layer, images, check=DEAD_ZONE, figure="dead_zone.mu_l1", relation="<=",
        bound=bound, seed=seed, **settings,
    )  # fmt: skip


def assert_depends_on_parameters(
    explainer: str | Explain,
    model: nn.Module,
    layer: str | None,
    images: Tensor | str | Path,
    *,
    bound: float = ALIKE,
    seed: int = 0,
    **settings: Any,
) -> None:
    """The map must change when the model's parameters become random (MPRT, Adebayo et al. 2018).

    Spearman's correlation of the maps of the model and of the model with random parameters, its
    mean over images (at least six) × random models (six), must be shown to be at most `bound`.
    Arguments and errors as those of :func:`assert_blind_to_dead_zone`; settings: such as
    sanity_seeds=10.
    """
    __tracebackhide__ = True
    _hold(
        explainer, model, layer, images, check="mprt", figure="mprt.similarity", relation="<=",
        bound=bound, seed=seed, **settings,
    )  # fmt: skip


def assert_invariant(
    explainer: str | Explain,
    *,
    properties: Sequence[str] | str | None = None,
    examples: int = 30,
    method: str | None = None,
    seed: int = 0,
    budget: float | None = 300.0,
) -> None:
    """Changes of model, image or score whose effect on the map is known must have that effect.

    `examples` small networks are drawn for each of `properties` (names in docs/invariance.md; None:
    all). method: the registered one that a callable claims to be; what that violates by definition
    is then no bug, and the maps must be its own. A registered method claims to be itself. budget:
    seconds; what is left then counts as not tested.

    Raises AssertionError for a violation, for maps that cannot be compared, and where nothing was
    tested; :class:`camaudit.errors.UsageError` for unknown names.
    """
    __tracebackhide__ = True
    listed = (properties,) if isinstance(properties, str) else properties
    if listed is not None and not listed:
        raise UsageError("properties is empty: name at least one, or leave it out for all")
    options = Options(
        properties=None if listed is None else tuple(listed), examples=examples, seed=seed,
        budget=budget,
    )  # fmt: skip
    tested = _tested(explainer, method, seed)
    found = run_invariance([tested], options=options, progress=Silent())
    wrong = [*_violations(found), *_claims(found)]
    if not wrong and not any(one.examples for row in found.rows for one in row.findings):
        wrong = ["nothing was tested: no example said anything of the explainer"]
    if wrong:
        more = f"\n  and {len(wrong) - _MOST} more" if len(wrong) > _MOST else ""
        shown = "\n  ".join(wrong[:_MOST])
        raise AssertionError(f"{tested.name} is not invariant:\n  {shown}{more}")


def _hold(
    explainer: str | Explain, model: nn.Module, layer: str | None, images: Tensor | str | Path, *,
    check: str, figure: str, relation: Relation, bound: float, seed: int, **settings: Any,
) -> None:  # fmt: skip
    __tracebackhide__ = True
    wanted = asked(
        model, explainer=explainer, images=images, layer=layer, checks=(check,), seed=seed,
        **settings,
    )  # fmt: skip
    outcome = wanted.run(wanted.under(None, Asking(root=Path.cwd())))
    verdict = demanded(wanted, outcome.results.to_dict(), figure, relation, bound, name=check)
    if verdict.decision is not Decision.PASS:
        raise AssertionError(verdict_text(verdict.to_dict(), {}))


def _tested(explainer: str | Explain, method: str | None, seed: int) -> Tested:
    if not isinstance(explainer, str):
        name = getattr(explainer, "__name__", type(explainer).__name__)
        if not callable(explainer):
            raise UsageError(f"expected an explainer: a name or a callable; got {explainer!r}")
        return Tested(name=name, explain=explainer, claims=_label(method))
    if ":" in explainer:
        explain = load_explainer(explainer)
        return Tested(name=explainer, explain=explain, claims=_label(method))
    if method is not None:
        return Tested(
            name=explainer, explain=registered(explainer, seed=seed), claims=_label(method)
        )
    call = method_call(explainer)
    return Tested(
        name=call.label, explain=Registered(light(call), seed=seed), claims=call.name,
        registered=True,
    )  # fmt: skip


def _label(method: str | None) -> str | None:
    return None if method is None else method_call(method).label


def _violations(found: InvarianceResult) -> Iterator[str]:
    for _, _, one in found.bugs:
        shown = one.counterexample.message if one.counterexample is not None else ""
        said = "; ".join(dict.fromkeys(text for text in (one.reason, shown) if text))
        statement = PROPERTIES[one.property].info.statement
        broken = "bug" if one.outcome is Outcome.BUG else "could not be tested"
        yield f"{one.property} ({statement}): {broken}: {said}"


def _claims(found: InvarianceResult) -> Iterator[str]:
    for tested, compared in found.claims:
        if compared.outcome not in (Conformity.EQUAL, Conformity.PROCESSED):
            yield f"it is not shown to be {tested.claims}: {_compared(compared)}"


def _compared(compared: Conformance) -> str:
    shown = compared.mismatch.message if compared.mismatch is not None else ""
    said = "; ".join(text for text in (compared.reason, shown) if text)
    return f"{compared.outcome.value}: {said}" if said else compared.outcome.value
