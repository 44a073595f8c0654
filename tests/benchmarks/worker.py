"""One measurement in a process of its own: `python -m tests.benchmarks.worker TASK '{…}'`.

The result is one line of JSON on stdout. Memory is this program's own: its resident pages now,
and their highest number so far. (`ru_maxrss` of a child begins at its parent's on Linux.)
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["peak_bytes", "resident_bytes", "start"]

ROOT = Path(__file__).parent.parent.parent
_STATUS = Path("/proc/self/status")


def start(task: str, options: dict[str, Any], *, timeout: float) -> dict[str, Any]:
    """What `task` of this module returns for `options`, from a fresh process.

    Raises :class:`RuntimeError` with the end of its stderr where it fails.
    """
    command = [sys.executable, "-m", "tests.benchmarks.worker", task, json.dumps(options)]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"{task} {options} failed: {done.stderr.strip()[-500:]}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def resident_bytes() -> int:
    """Bytes of this process in memory now (the peak where the system does not say)."""
    return _status("VmRSS") or peak_bytes()


def peak_bytes() -> int:
    """The most bytes of this process that were in memory at a time."""
    found = _status("VmHWM")
    if found is not None:
        return found
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def _status(field: str) -> int | None:
    if not _STATUS.exists():
        return None
    for line in _STATUS.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    return None


# --- tasks ----------------------------------------------------------------------------------------


def our_scorecam(model: str, threads: int | None) -> dict[str, Any]:
    """Memory of ScoreCAM of ours on a torchvision network, above the loaded model."""
    import torch

    from camaudit.audit.allocator import keep_freed_memory
    from camaudit.capture import capture
    from camaudit.cut import cut_at
    from camaudit.engine import Engine, prepare
    from camaudit.methods import compute
    from tests.benchmarks.pairs import network, photograph

    _threads(threads)
    keep_freed_memory()
    image = photograph().to(memory_format=torch.channels_last)
    loaded = network(model)
    loaded.to(memory_format=torch.channels_last)
    small = image[:, :, :64, :64].contiguous(memory_format=torch.channels_last)
    compute("gradcam", capture(cut_at(loaded, "layer4", small), small))
    before, started = resident_bytes(), time.perf_counter()
    cut = cut_at(loaded, "layer4", image)
    watched = _Watched(prepare(cut, image, Engine()))
    captured = capture(cut, image, forwards=watched)
    compute("scorecam", captured)
    channels = captured.activations.shape[1]
    return {
        "channels": channels,
        "loaded_bytes": before,
        "above_bytes": peak_bytes() - before,
        "above_after_images": {n: peak - before for n, peak in watched.peaks.items()},
        "seconds": time.perf_counter() - started,
        "whole": True,
    }


class _Watched:
    """Forwards that remember the peak of memory after 256, 512, 1024, … masked images."""

    def __init__(self, forwards: Any) -> None:
        self._forwards = forwards
        self.batch_size: int = forwards.batch_size
        self.peaks: dict[int, int] = {}
        self._images, self._next = 0, 256

    def __call__(self, images: Any) -> Any:
        logits = self._forwards(images)
        self._images += len(images)
        if self._images >= self._next:
            self.peaks[self._next] = peak_bytes()
            self._next *= 2
        return logits


def peers_scorecam(model: str, threads: int | None) -> dict[str, Any]:
    """Memory of pytorch-grad-cam's ScoreCAM until two batches of its masked images have run.

    All of them exist by then, and every batch is of the same size: it takes no more later.
    """
    import torch

    from tests.benchmarks.pairs import network, photograph
    from tests.benchmarks.peers import load, quiet

    _threads(threads)
    image, loaded = photograph(), network(model)
    with torch.no_grad():
        target = int(loaded(image[:, :, :64, :64]).argmax())
    cls = load("pytorch_grad_cam", "ScoreCAM")
    targets = [load("pytorch_grad_cam.utils.model_targets", "ClassifierOutputTarget")(target)]
    before, started, calls = resident_bytes(), time.perf_counter(), 0

    def stop(*_: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == 4:  # the image itself and two batches lie behind
            raise _EnoughError

    loaded.register_forward_pre_hook(stop)
    try:
        with quiet(), cls(model=loaded, target_layers=[loaded.get_submodule("layer4")]) as cam:
            cam(input_tensor=image, targets=targets)
    except _EnoughError:
        pass
    return {
        "loaded_bytes": before,
        "above_bytes": peak_bytes() - before,
        "seconds": time.perf_counter() - started,
        "whole": calls < 4,
    }


class _EnoughError(Exception):
    """The peak of memory lies behind."""


def stream(images: int, repeats: int, threads: int | None) -> dict[str, Any]:
    """Seconds an image and memory of the gradient methods over a stream in batches of 16.

    The images are drawn batch by batch, untimed. Two first batches warm up and do not count.
    """
    import torch

    from camaudit.audit.allocator import keep_freed_memory
    from camaudit.cut import cut_at
    from tests.benchmarks.pairs import network

    _threads(threads)
    keep_freed_memory()
    model = network("resnet18")
    model.to(memory_format=torch.channels_last)
    cut = cut_at(model, "layer4", torch.zeros(1, 3, 224, 224))
    _streamed(cut, 32)
    before = resident_bytes()
    times = [_streamed(cut, images) / images for _ in range(repeats)]
    return {
        "seconds_an_image": times,
        "loaded_bytes": before,
        "above_bytes": peak_bytes() - before,
        "peak_bytes": peak_bytes(),
    }


def _streamed(cut: Any, images: int) -> float:
    """Seconds that `images` drawn images take, batch by batch."""
    seconds = 0.0
    for first in range(0, images, 16):
        batch = _drawn(first, min(16, images - first))
        started = time.perf_counter()
        _explained(cut, batch)
        seconds += time.perf_counter() - started
        del batch  # before the next one is drawn
    return seconds


GRADIENT = ("gradcam", "gradcam++", "xgradcam", "hirescam", "layercam", "elementwise")


def _drawn(seed: int, count: int) -> Any:
    import torch

    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(count, 3, 224, 224, generator=generator)
    return images.to(memory_format=torch.channels_last)


def _explained(cut: Any, images: Any) -> None:
    from camaudit.capture import capture
    from camaudit.maps import upsample
    from camaudit.methods import compute

    captured = capture(cut, images)
    for method in GRADIENT:
        upsample(compute(method, captured), captured.size).float().cpu()


def _threads(count: int | None) -> None:
    if count is not None:
        import torch

        torch.set_num_threads(count)


TASKS: dict[str, Callable[..., dict[str, Any]]] = {
    task.__name__: task for task in (our_scorecam, peers_scorecam, stream)
}

if __name__ == "__main__":
    print(json.dumps(TASKS[sys.argv[1]](**json.loads(sys.argv[2]))))
