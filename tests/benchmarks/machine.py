"""The machine and the versions that the figures belong to."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

__all__ = ["describe", "sentence"]

_PACKAGES = {
    "torch": "torch",
    "torchvision": "torchvision",
    "numpy": "numpy",
    "pytorch-grad-cam": "grad-cam",
    "torchcam": "torchcam",
    "camaudit": "camaudit",
}


def describe(device: torch.device) -> dict[str, Any]:
    """Processor, cores, threads, memory, versions, load and GPU, as plain JSON values."""
    gpu = None
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        gpu = {
            "name": properties.name,
            "memory_gb": round(properties.total_memory / 2**30, 1),
            "cuda": torch.version.cuda,
        }
    return {
        "cpu": _processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "cores": _cores(),
        "threads": torch.get_num_threads(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "load_average": list(os.getloadavg()),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "versions": {name: _version(package) for name, package in _PACKAGES.items()},
        "gpu": gpu,
    }


def sentence(machine: dict[str, Any]) -> str:
    """The machine in one sentence, for below a table."""
    versions = machine["versions"]
    peers = ", ".join(
        f"{name} {versions[name]}" for name in ("torch", "pytorch-grad-cam", "torchcam")
    )
    gpu = f", {machine['gpu']['name']}" if machine["gpu"] else ""
    load = machine["load_average"][0]
    busy = f"; busy with other work (load {load:.1f}) at the start" if load > 1 else ""
    return (
        f"{machine['cpu']} ({machine['instructions']}), {machine['cores']} cores, "
        f"{machine['threads']} threads, {machine['memory_gb']:g} GiB{gpu}; Python "
        f"{machine['python']}, {peers}{busy}"
    )


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
