"""What a process keeps between calls: random states and torch's global settings."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

__all__ = ["random_states", "restored", "seeded", "settings"]


def _set_deterministic(modes: tuple[bool, bool]) -> None:
    torch.use_deterministic_algorithms(modes[0], warn_only=modes[1])


def _deterministic() -> tuple[bool, bool]:
    only_warns = torch.is_deterministic_algorithms_warn_only_enabled()
    return torch.are_deterministic_algorithms_enabled(), only_warns


def _cudnn(name: str) -> tuple[Callable[[], Any], Callable[[Any], None]]:
    flags = torch.backends.cudnn
    return lambda: getattr(flags, name), lambda value: setattr(flags, name, value)


#: How each setting is read and put back.
_SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {
    "grad mode": (torch.is_grad_enabled, torch.set_grad_enabled),
    "default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "number of threads": (torch.get_num_threads, torch.set_num_threads),
    "deterministic algorithms": (_deterministic, _set_deterministic),
    "anomaly mode": (torch.is_anomaly_enabled, torch.autograd.set_detect_anomaly),
    "cudnn.enabled": _cudnn("enabled"),
    "cudnn.benchmark": _cudnn("benchmark"),
    "cudnn.deterministic": _cudnn("deterministic"),
    "NumPy's handling of floating-point errors": (np.geterr, lambda value: np.seterr(**value)),
}


def settings() -> dict[str, Any]:
    """Global settings by name."""
    return {name: read() for name, (read, _) in _SETTINGS.items()}


def random_states() -> dict[str, Any]:
    """States of the global random generators by name, as plain values that can be compared."""
    name, keys, *rest = np.random.get_state(legacy=True)
    states: dict[str, Any] = {
        "torch's random state": torch.get_rng_state().numpy().tobytes(),
        "NumPy's random state": (name, np.asarray(keys).tobytes(), *rest),
        "Python's random state": random.getstate(),
    }
    if _on_cuda():
        drawn = [state.numpy().tobytes() for state in torch.cuda.get_rng_state_all()]
        states["CUDA's random state"] = drawn
    return states


def _on_cuda() -> bool:
    """Whether this process has used CUDA; asking for more would start it."""
    return bool(torch.cuda.is_initialized())  # type: ignore[no-untyped-call]


def seeded(seed: int) -> None:
    """Seed every global random generator."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    random.seed(seed)


@contextmanager
def restored() -> Iterator[None]:
    """Whatever happens within the context, random states and settings are as before after it."""
    kept = settings()
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()
    python_state = random.getstate()
    devices = torch.cuda.get_rng_state_all() if _on_cuda() else []
    try:
        yield
    finally:
        for name, (read, write) in _SETTINGS.items():
            if read() != kept[name]:
                write(kept[name])
        torch.set_rng_state(torch_state)
        np.random.set_state(numpy_state)
        random.setstate(python_state)
        if devices:
            torch.cuda.set_rng_state_all(devices)
