"""Every value of `run_sanity` against the naive reference, on drawn networks in float64."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from camaudit.capture import Capture
from camaudit.methods import method_call
from camaudit.objective import contrastive, counterfactual
from camaudit.sanity import Options, Randomiser, SanityResult, execution_order, run_sanity
from tests.references import sanity as reference
from tests.references.sanity import Setting, Value
from tests.sanity.drawn import Subject, chains, residual, settle, subjects

# Both sides compute the same float64 formula, in other orders and in other batches: what is left
# is rounding. The absolute part is for values that cancel to about 0. Spearman and HOG jump where
# cells are tied, or gradients lie between two bins, but for rounding: there, and only where the
# tight bound is missed, the bound is what rounding does to the reference (`reference.slack`).
# scikit-image adds up the cells of a HOG in float32.
RELATIVE, ABSOLUTE = 1e-9, 1e-11
HOG = 1e-6
SLOW = settings(
    max_examples=12,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


class Signed:
    """`Σ_k G_k ⊙ A_k` without rectification: values of both signs."""

    label = "signed"

    def __call__(self, capture: Capture, *, seed: int) -> Tensor:  # noqa: ARG002 (the protocol's)
        return (capture.gradients * capture.activations).sum(dim=1)


class Steep:
    """The mean magnitude of the gradient: the activations are not read."""

    label = "steep"

    def __call__(self, capture: Capture, *, seed: int) -> Tensor:  # noqa: ARG002 (the protocol's)
        return capture.gradients.abs().mean(dim=1)


#: What each explainer reads of its capture, from its formula.
READS = {
    "gradcam": {"gradients", "activations"},
    "layercam": {"gradients", "activations"},
    "cam": {"objective", "logits", "linear_weight", "activations"},
    "lafam": {"activations"},
    "eigencam": {"activations"},
    "scorecam": {"activations", "images", "model", "objective"},
    "random": {"images", "activations"},
    "sobel": {"images"},
    "uniform": {"images"},
    "signed": {"gradients", "activations"},
    "steep": {"gradients"},
}
OWN: dict[str, Any] = {"signed": Signed(), "steep": Steep()}
EXPLAINERS = {name: OWN[name] if name in OWN else method_call(name) for name in READS}
ORDERS = ("top-down", "bottom-up", "independent")


@st.composite
def cases(draw: st.DrawFn, *, networks: Any = None, most: int = 2) -> Setting:
    """A network with everything that a run can be asked for; `most` methods."""
    scheme = draw(st.sampled_from(["he", "module", "permute"]))
    if networks is None:
        networks = subjects(parametrised=scheme != "module")
    subject: Subject = draw(networks)
    with torch.no_grad():
        classes = subject.model(subject.images).shape[1]
    names = draw(st.lists(st.sampled_from(sorted(READS)), min_size=1, max_size=most, unique=True))
    targets = None
    if draw(st.booleans()):
        targets = torch.tensor([draw(st.integers(0, classes - 1)) for _ in subject.images])
    objectives = [None, None, contrastive(1), counterfactual()]
    return Setting(
        model=subject.model,
        target=subject.target,
        layers=subject.layers,
        images=subject.images,
        methods={name: EXPLAINERS[name] for name in names},
        reads=READS,
        targets=targets,
        objective=draw(st.sampled_from(objectives)),
        seeds=draw(st.sampled_from([(0, 1), (7, 3), (0, 1, 2)])),
        scheme=scheme,
        resolution=draw(st.sampled_from(["image", "image", "native"])),
        samples=draw(st.integers(1, 3)),
        draws=draw(st.integers(1, 7)),
        seed=draw(st.integers(0, 3)),
    )


def run(
    setting: Setting,
    *checks: Any,
    orders: tuple[Any, ...] = ("top-down",),
    batch_size: int = 2,
    **second: Any,
) -> SanityResult:
    """The result of the run that the setting describes."""
    return run_sanity(
        setting.model,
        setting.target,
        setting.images,
        methods=list(setting.methods.values()),
        targets=setting.targets,
        objective=setting.objective,
        options=Options(
            checks=checks,
            orders=orders,
            seeds=setting.seeds,
            scheme=setting.scheme,
            similarities=setting.similarities,
            resolution=setting.resolution,
            samples=setting.samples,
            draws=setting.draws,
            batch_size=batch_size,
            seed=setting.seed,
        ),
        **second,
    )


# ---------------------------------------------------------------------------------------------
# where a result keeps its values


def curve_of(
    result: SanityResult, check: str, order: str, method: str, name: str
) -> Sequence[Sequence[Sequence[Value]]]:
    """values[seed][step][image] of the one curve with this key."""
    key = (check, order, method, name)
    (found,) = (c for c in result.curves if (c.check, c.order, c.method, c.similarity) == key)
    return found.values


def table_of(
    result: SanityResult, check: str, method: str, figure: str
) -> Sequence[Sequence[Value]]:
    """values[row][image] of the one table with this key."""
    key = (check, method, figure)
    (found,) = (t for t in result.tables if (t.check, t.method, t.figure) == key)
    return found.values


def nulls_of(result: SanityResult, check: str, method: str, name: str) -> list[list[Value]]:
    """values[pair][image] of the null, pairs (s, t) in the order (0,1), (0,2), …, (1,2), …"""
    key = (check, method, name)
    (found,) = (n for n in result.nulls if (n.check, n.method, n.similarity) == key)
    return [list(row) for row in found.values]


def effects_of(result: SanityResult, check: str, order: str, method: str, name: str) -> list[Value]:
    """The effect's point estimate at each step."""
    key = (check, order, method, name)
    return [
        e.distance.mean
        for e in sorted(result.effects, key=lambda e: e.step)
        if (e.check, e.order, e.method, e.figure) == key
    ]


# ---------------------------------------------------------------------------------------------
# comparison


def agree(found: Value, want: Value, where: Any, slack: Callable[[], float] = float) -> None:
    """Equal to rounding; `slack()` is asked for only where it is not, and widens the bound."""
    assert (found is None) == (want is None), (where, found, want)
    if found is None or want is None:
        return
    absolute = HOG if "hog" in where else ABSOLUTE
    if not math.isclose(found, want, rel_tol=RELATIVE, abs_tol=absolute):
        assert abs(found - want) <= slack(), (where, found, want)


def rounding(
    setting: Setting, check: str, method: str, name: str, image: int, a: Any, b: Any
) -> float:
    """How far rounding can turn the similarity of an image's maps under two models."""
    make, label = reference.MAPS[check], reference.class_of(setting, image)
    maps = [make(setting, method, model, image, label, setting.target) for model in (a, b)]
    return reference.slack(setting, name, *maps)


def rounding_at_step(
    setting: Setting, check: str, method: str, name: str, image: int, seed: int, random: Any
) -> float:
    """The same for the original and the model in which these layers are random."""
    other = reference.rewritten(setting.model, random, setting.scheme, seed)
    return rounding(setting, check, method, name, image, setting.model, other)


def rounding_of_null(
    setting: Setting, check: str, method: str, name: str, image: int, seeds: tuple[int, int]
) -> float:
    """The same for two wholly random models."""
    a, b = (
        reference.rewritten(setting.model, setting.layers, setting.scheme, seed) for seed in seeds
    )
    return rounding(setting, check, method, name, image, a, b)


def rounding_of_classes(setting: Setting, method: str, name: str, image: int, draw: int) -> float:
    """The same for two classes of the original model."""
    labels = (reference.class_of(setting, image), reference.other_classes(setting, image)[draw])
    maps = [
        reference.raw_map(setting, method, setting.model, image, label, setting.target)
        for label in labels
    ]
    return reference.slack(setting, name, *maps)


def rounding_of_models(
    setting: Setting, method: str, name: str, image: int, other: Any, layer: str
) -> float:
    """The same for two models, each at its own layer."""
    label = reference.class_of(setting, image)
    first = reference.raw_map(setting, method, setting.model, image, label, setting.target)
    second = reference.raw_map(setting, method, other, image, label, layer)
    return reference.slack(setting, name, first, second)


def compare_cascades(setting: Setting, check: str, orders: Sequence[str], **options: Any) -> None:
    """Curves, nulls and effects of a check."""
    result = run(setting, check, orders=tuple(orders), **options)
    for method in setting.methods:
        null = reference.null(setting, check, method)
        for name in setting.similarities:
            compare_nulls(setting, check, method, name, result, null[name])
        for order in orders:
            want = reference.cascade(setting, check, order, method)
            for name in setting.similarities:
                found = curve_of(result, check, order, method, name)
                compare_curve(setting, check, order, method, name, found, want[name])
                # From the found null and curve: near ties have been looked at already.
                values = [[list(row) for row in rows] for rows in found]
                pairs = {(i, i): row for i, row in enumerate(nulls_of(result, check, method, name))}
                estimates = reference.effects(values, pairs)
                written = effects_of(result, check, order, method, name)
                for step, (got, expected) in enumerate(zip(written, estimates, strict=True)):
                    agree(got, expected, ("effect", order, method, name, step))


def compare_curve(
    setting: Setting, check: str, order: str, method: str, name: str, found: Any, want: Any
) -> None:
    assert [[len(row) for row in rows] for rows in found] == [
        [len(row) for row in rows] for rows in want
    ]
    for s, seed in enumerate(setting.seeds):
        for step, random in enumerate(reference.steps(order, setting.layers)):
            for image in range(len(setting.images)):
                given = (setting, check, method, name, image, seed, random)
                bound = partial(rounding_at_step, *given)
                where = (check, order, method, name, seed, step, image)
                agree(found[s][step][image], want[s][step][image], where, bound)


def compare_nulls(
    setting: Setting, check: str, method: str, name: str, result: Any, want: Any
) -> None:
    found = nulls_of(result, check, method, name)
    for values, (seeds, row) in zip(found, want.items(), strict=True):
        for image, (got, expected) in enumerate(zip(values, row, strict=True)):
            bound = partial(rounding_of_null, setting, check, method, name, image, seeds)
            agree(got, expected, ("null", check, method, name, seeds, image), bound)


# ---------------------------------------------------------------------------------------------
# layers and weights


@SLOW
@given(subjects())
def test_layers_and_their_order(subject):
    order = execution_order(subject.model, subject.images[:1])
    found = [(layer.name, sorted(slot.name for slot in layer.slots)) for layer in order.layers]
    assert found == [(layer.name, sorted(layer.tensors)) for layer in subject.layers]


@SLOW
@given(st.data(), st.sampled_from(["he", "module", "permute"]), st.integers(0, 5))
def test_new_weights(data, scheme, seed):
    subject = data.draw(subjects(parametrised=scheme != "module"))
    before = copy.deepcopy(subject.model.state_dict())
    order = execution_order(subject.model, subject.images[:1])
    chosen = [i for i in range(len(subject.layers)) if data.draw(st.booleans())]
    mine = [subject.layers[i] for i in chosen]
    want = reference.rewritten(subject.model, mine, scheme, seed).state_dict()
    with Randomiser(subject.model, order, scheme=scheme) as randomiser:
        for i in chosen:
            randomiser.randomise(order.layers[i], seed=seed)
        for name, tensor in subject.model.state_dict().items():
            assert torch.equal(tensor, want[name]), name
    for name, tensor in subject.model.state_dict().items():
        assert torch.equal(tensor, before[name]), name


# ---------------------------------------------------------------------------------------------
# checks


@SLOW
@given(
    cases(),
    st.lists(st.sampled_from(ORDERS), min_size=1, max_size=2, unique=True),
    st.integers(1, 4),
)
def test_mprt(setting, orders, batch_size):
    compare_cascades(setting, "mprt", orders, batch_size=batch_size)


@SLOW
@given(cases(most=1), st.sampled_from(ORDERS))
def test_smprt(setting, order):
    compare_cascades(setting, "smprt", [order])


@SLOW
@given(cases(most=4))
def test_emprt(setting):
    result = run(setting, "emprt")
    for method in setting.methods:
        want = reference.emprt(setting, method)
        found = table_of(result, "emprt", method, "complexity rise")
        for s, row in enumerate(want):
            for image, (got, expected) in enumerate(zip(found[s], row, strict=True)):
                agree(got, expected, ("emprt", method, s, image))


@SLOW
@given(cases(most=4))
def test_random_logit(setting):
    result = run(setting, "random-logit")
    for method in setting.methods:
        want = reference.random_logit(setting, method)
        for name in setting.similarities:
            found = table_of(result, "random-logit", method, name)
            for image, row in enumerate(want[name]):
                values = [cells[image] for cells in found]
                for draw, (got, expected) in enumerate(zip(values, row, strict=True)):
                    bound = partial(rounding_of_classes, setting, method, name, image, draw)
                    where = ("random-logit", method, name, image, draw)
                    agree(got, expected, where, bound)


@SLOW
@given(cases(networks=st.one_of(chains(parametrised=False), residual()), most=4), st.integers(0, 9))
def test_data_randomisation(setting, seed):
    other = settle(copy.deepcopy(setting.model), seed)
    layer = "stem" if setting.target == "block" else setting.target
    result = run(setting, "data-randomisation", permuted=other, permuted_layer=layer)
    for method in setting.methods:
        want = reference.data_randomisation(setting, method, other, layer)
        for name in setting.similarities:
            (values,) = table_of(result, "data-randomisation", method, name)
            for image, (got, expected) in enumerate(zip(values, want[name], strict=True)):
                bound = partial(rounding_of_models, setting, method, name, image, other, layer)
                where = ("data-randomisation", method, name, image)
                agree(got, expected, where, bound)
