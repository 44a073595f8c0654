"""Our maps are those of pytorch-grad-cam, torchcam and captum, or differ as the table says."""

from __future__ import annotations

import inspect
import pkgutil
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from camaudit.methods import METHODS
from tests.parity import held, reasons
from tests.parity.cases import NETWORKS, Case
from tests.parity.expectations import (
    EXPECTATIONS,
    OURS_ALONE,
    THEIRS_ALONE,
    Expectation,
)
from tests.parity.libraries import LIBRARIES, Peer, load, quiet, run
from tests.parity.reasons import Reason


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small are slower on many threads, and far slower on a busy machine."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


PRECISIONS = pytest.mark.parametrize(
    "dtype", [torch.float64, torch.float32], ids=["float64", "float32"]
)
EQUAL = [entry for entry in EXPECTATIONS if entry.reason is None]
EXPLAINED = [entry for entry in EXPECTATIONS if entry.reason is not None]
REASONS = {value.title: value for value in vars(reasons).values() if isinstance(value, Reason)}


def pairs(entries: list[Expectation]) -> list[object]:
    """Every expectation on each of its networks, as pytest parameters."""
    return [
        pytest.param(entry, name, id=f"{entry.label} / {name}")
        for entry in entries
        for name in entry.networks
    ]


@PRECISIONS
@pytest.mark.parametrize(("expected", "network"), pairs(EQUAL))
def test_maps_are_equal(expected: Expectation, network: str, dtype: torch.dtype) -> None:
    found = expected.unchanged_difference(Case(network, dtype))
    assert found <= expected.tolerance(dtype)


@PRECISIONS
@pytest.mark.parametrize(("expected", "network"), pairs(EXPLAINED))
def test_maps_differ_as_stated_and_only_so(
    expected: Expectation, network: str, dtype: torch.dtype
) -> None:
    case, (low, high) = Case(network, dtype), expected.apart
    assert low > 10 * expected.tolerance(dtype), "too near to be told apart"
    assert low <= expected.unchanged_difference(case) <= high
    assert expected.explained_difference(case) <= expected.tolerance(dtype)


@pytest.mark.parametrize("title", sorted(REASONS))
def test_the_lines_that_a_difference_hangs_on_still_stand(title: str) -> None:
    for line in (REASONS[title].ours, REASONS[title].theirs):
        with quiet():
            source = inspect.getsource(pkgutil.resolve_name(line.where))
        assert line.code in source, f"{line.where} no longer says {line.code!r}: look again"


def test_every_reason_is_used_and_explained() -> None:
    assert {entry.reason.title for entry in EXPLAINED if entry.reason} == set(REASONS)
    for entry in EXPLAINED:
        assert entry.changed or entry.changed_peer, entry.label


def test_every_method_of_ours_has_its_place() -> None:
    shared = {entry.method for entry in EXPECTATIONS}
    assert shared <= set(METHODS)
    controls = {name for name in METHODS if METHODS[name].info.family == "control"}
    assert set(METHODS) - shared - controls <= OURS_ALONE
    assert not shared & OURS_ALONE


@pytest.mark.parametrize("library", sorted(LIBRARIES))
def test_every_class_of_theirs_has_its_place(library: str) -> None:
    package = load(LIBRARIES[library].package)
    public = {name for name, item in vars(package).items() if inspect.isclass(item)}
    if library == "captum":
        public = {name for name in public if "GradCam" in name}
    shared = {entry.peer.name for entry in EXPECTATIONS if entry.peer.owner == library}
    alone = set(THEIRS_ALONE[library])
    assert not shared & alone
    assert alone <= public <= shared | alone


@pytest.mark.parametrize(
    ("method", "name", "same"),
    [
        ("smoothgradcam++", "SmoothGradCAMpp", {"samples": "num_samples", "std": "std"}),
        ("sscam", "SSCAM", {"samples": "num_samples", "std": "std"}),
        ("iscam", "ISCAM", {"steps": "num_samples"}),
        ("finercam", "FinerCAM", {"strength": "gamma", "references": "num_references"}),
    ],
)
def test_defaults_are_torchcams(method: str, name: str, same: dict[str, str]) -> None:
    ours = inspect.signature(METHODS[method].function).parameters
    theirs = inspect.signature(load("torchcam.methods", name).__init__).parameters
    for option, their_option in same.items():
        assert ours[option].default == theirs[their_option].default


@pytest.mark.parametrize("network", ["flat", "pooled", "smooth"])
@pytest.mark.parametrize("name", ["EigenCAM", "EigenGradCAM"])
def test_lapack_takes_one_of_the_two_signs(name: str, network: str) -> None:
    case, peer = Case(network), Peer("pytorch-grad-cam", name)
    as_it_comes = run(peer, case)
    either = [run(replace(peer, patch=held.singular_vectors(sign)), case) for sign in (1, -1)]
    for row, found in enumerate(as_it_comes):
        assert min(np.abs(maps[row] - found).max() for maps in either) <= 1e-6


@pytest.mark.parametrize("network", sorted(NETWORKS))
def test_the_networks_are_what_their_names_say(network: str) -> None:
    captured = Case(network).capture()
    A = captured.activations
    constant = A.amax(dim=(2, 3)) == A.amin(dim=(2, 3))
    assert bool((A > 0).any())
    assert bool((captured.scores < 0).all()) == (network == "negative")
    assert bool((A < 0).any()) == (network == "smooth")
    assert bool((constant & (A[:, :, 0, 0] != 0)).any()) == (network == "constant")


@pytest.mark.parametrize("library", ["pytorch-grad-cam", "torchcam"])
def test_another_method_is_not_taken_for_the_same(library: str) -> None:
    wrong = Expectation("gradcam", Peer(library, "XGradCAM"))
    assert wrong.unchanged_difference(Case("flat")) > 0.05
