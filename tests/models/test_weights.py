"""Weights files of every kind: what is read, what is refused and why, and what runs code."""

from __future__ import annotations

import argparse
import os
import pickle
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from camaudit.audit.settings import Settings
from camaudit.audit.subject import load_subject
from camaudit.errors import UsageError, WeightsError
from camaudit.models.pickled import globals_of
from camaudit.models.weights import load_weights, read_weights


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(2, 3)


class Payload:
    """Unpickling it makes a file called `owned` beside the weights."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.folder / 'owned'}",)


def whole(path: Path) -> None:
    torch.save(Net(), path)


def legacy(path: Path) -> None:
    torch.save(Net(), path, _use_new_zipfile_serialization=False)


def parallel(path: Path) -> None:
    torch.save(nn.DataParallel(Net()), path)


def nested(path: Path) -> None:
    torch.save({"epoch": 3, "model": Net()}, path)


def with_options(path: Path) -> None:
    state = {f"module.{key}": value for key, value in Net().state_dict().items()}
    torch.save({"state_dict": state, "args": argparse.Namespace(lr=0.1)}, path)


def scripted(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls it deprecated
        torch.jit.save(torch.jit.script(Net()), path)


def program(path: Path) -> None:
    torch.export.save(torch.export.export(nn.Linear(2, 2), (torch.zeros(1, 2),)), path)


UNSAFE = [whole, legacy, parallel, nested, with_options, scripted]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (whole, rf"holds a whole pickled model \({__name__}\.Net\).*any code: expected safetensors "
                r"or a state dict.*weights_only=False\)\.state_dict.*--unsafe-pickle"),
        (legacy, r"holds a whole pickled model"),
        (parallel, r"holds a whole pickled model"),
        (nested, r"holds a whole pickled model"),
        (with_options, r"is a pickle that calls argparse\.Namespace, .*--unsafe-pickle"),
        (scripted, r"TorchScript, which is a program: .*torch\.jit\.load"),
        (program, r"torch\.export program, not weights: .*factory"),
    ],
)  # fmt: skip
def test_what_needs_code_is_refused_by_its_name(
    make: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    make(tmp_path / "w.pt")
    with pytest.raises(WeightsError, match=message) as caught:
        read_weights(tmp_path / "w.pt")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("make", UNSAFE)
def test_unsafe_pickle_takes_the_state_dict_of_each(
    make: Callable[[Path], None], tmp_path: Path
) -> None:
    make(tmp_path / "w.pt")
    found = read_weights(tmp_path / "w.pt", unsafe_pickle=True)
    assert found.ran_code
    assert {key: tuple(value.shape) for key, value in found.state.items()} == {
        "first.weight": (3, 2), "first.bias": (3,),
    }  # fmt: skip


def test_safe_files_run_nothing_with_unsafe_pickle_too(tmp_path: Path) -> None:
    state = Net().state_dict()
    torch.save(state, tmp_path / "w.pt")
    save_file(state, tmp_path / "w.safetensors")
    for name in ("w.pt", "w.safetensors"):
        assert load_weights(Net(), tmp_path / name, unsafe_pickle=True) is False


def test_code_runs_with_unsafe_pickle_alone(tmp_path: Path) -> None:
    path = tmp_path / "w.pt"
    for content in ({"a": Payload(tmp_path)}, Payload(tmp_path)):
        torch.save(content, path)
        with pytest.raises(WeightsError, match=r"calls \w+\.system"):
            read_weights(path)
        assert not (tmp_path / "owned").exists()
    with pytest.raises(WeightsError, match="holds a int; expected a state dict"):
        read_weights(path, unsafe_pickle=True)
    assert (tmp_path / "owned").exists()


def test_code_that_fails_or_exits_is_an_error_of_ours(tmp_path: Path) -> None:
    for code in (b"cbuiltins\nexit\n(tR.", b"cno.such\nthing\n(tR.", b"cmath\nsqrt\n(I-1\ntR."):
        (tmp_path / "w.pt").write_bytes(b"\x80\x02" + code)
        with pytest.raises(WeightsError, match=r"cannot unpickle .*w\.pt"):
            read_weights(tmp_path / "w.pt", unsafe_pickle=True)


def test_a_pickle_under_the_name_of_safetensors_stays_refused(tmp_path: Path) -> None:
    whole(tmp_path / "w.safetensors")
    for unsafe in (False, True):
        with pytest.raises(WeightsError, match="holds a whole pickled model"):
            read_weights(tmp_path / "w.safetensors", unsafe_pickle=unsafe)


def test_names_in_a_pickle_are_listed_for_every_protocol(tmp_path: Path) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        content = [argparse.Namespace(a=1), Payload(tmp_path), argparse.Namespace(a=2)]
        (tmp_path / "w").write_bytes(pickle.dumps(content, protocol=protocol))
        found = globals_of(tmp_path / "w")
        assert {"argparse.Namespace", f"{os.system.__module__}.system"} <= set(found), protocol
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("side", [1 << 13, 1 << 20, 1 << 31])
def test_a_tensor_that_only_claims_its_values_is_refused(side: int, tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1).expand(side, side)}, tmp_path / "w.pt")
    assert (tmp_path / "w.pt").stat().st_size < 5000
    with pytest.raises(WeightsError, match=r"a in .* claims \d+ bytes of which the file holds 4"):
        read_weights(tmp_path / "w.pt")


def test_tensors_without_values_are_refused(tmp_path: Path) -> None:
    sparse = torch.sparse_coo_tensor(
        torch.zeros(2, 1, dtype=torch.long), [1.0], (1 << 40, 1 << 20), check_invariants=True
    )
    for bad in (sparse, torch.zeros(3, device="meta")):
        torch.save({"a": bad}, tmp_path / "w.pt")
        with pytest.raises(WeightsError, match="expected a dense one with values"):
            read_weights(tmp_path / "w.pt")


def test_a_run_says_that_it_unpickled(factory: Path, tmp_path: Path) -> None:
    namespace: dict[str, Any] = {}
    exec(factory.read_text(), namespace)  # noqa: S102 - the test's own file
    path = tmp_path / "w.pt"
    state = namespace["build"]().state_dict()
    torch.save({"state_dict": state, "args": argparse.Namespace(lr=1)}, path)
    settings = Settings(
        model=f"{factory}:build", weights=path, unsafe_pickle=True, checks=("sparsity",),
        image_size=64,
    )  # fmt: skip
    assert any("w.pt was unpickled with --unsafe-pickle" in one
               for one in load_subject(settings).warnings)  # fmt: skip
    assert settings.to_dict()["unsafe_pickle"] is True
    torch.save(state, path)
    assert not any("unpickled" in one for one in load_subject(settings).warnings)


def test_unsafe_pickle_without_weights_is_refused() -> None:
    with pytest.raises(UsageError, match="none is given"):
        Settings(unsafe_pickle=True)
