"""Memory and cost that must not grow: ScoreCAM's peak over channels, a stream's over images."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Any

import torch

from tests.benchmarks.timing import Outcome, Setting, duration
from tests.benchmarks.worker import start

__all__ = ["FlatCost", "Peaks", "flat_cost", "scorecam_memory"]

_MB = 10**6
_TIMEOUT = 3600.0


def scorecam_memory(_setting: Setting) -> Peaks:
    """ScoreCAM on ResNet-50 (2048 channels) and ResNet-18 (512)."""
    return Peaks(("resnet50", "resnet18"))


def flat_cost(_setting: Setting) -> FlatCost:
    """10, 100 and 1000 images through the gradient methods."""
    return FlatCost((10, 100, 1000))


@dataclass(frozen=True)
class Peaks:
    """The most memory that ScoreCAM takes above the loaded model; each side in a fresh process."""

    models: tuple[str, ...]

    def run(self, setting: Setting) -> Outcome:
        """One measurement a model and side; memory needs no rounds."""
        found: dict[str, dict[str, Any]] = {}
        tasks = [(side, model) for model in self.models for side in ("our", "peers")]
        for done, (side, model) in enumerate(tasks):
            options = {"model": model, "threads": torch.get_num_threads()}
            task = f"{side}_scorecam"
            found[f"{side} {model}"] = start(task, options, timeout=_TIMEOUT)
            above = found[f"{side} {model}"]["above_bytes"] / _MB
            setting.say(f"{task} {model}: {above:.0f} MB", (done + 1) / len(tasks))
        figures: dict[str, float | None] = {}
        for name, measured in found.items():
            figures[f"{name}_mb"] = measured["above_bytes"] / _MB
        first = self.models[0]
        figures["peak_mb"], peer = figures[f"our {first}_mb"], figures[f"peers {first}_mb"]
        others = ", ".join(
            f"{found[f'our {model}']['channels']} channels of {model} "
            f"{figures[f'our {model}_mb']:.0f} MB"
            for model in self.models[1:]
        )
        quarter = found[f"our {first}"]["above_after_images"]
        steps = ", ".join(f"{count}: {peak / _MB:.0f} MB" for count, peak in quarter.items())
        notes = (
            "the peer's masked inputs and its first two batches, which take all that it takes",
            f"ours after masked images of {first}: {steps}",
            *((f"ours with {others}",) if others else ()),
        )
        shown = {
            "peer": f"{peer:.0f} MB",
            "ours": f"{figures['peak_mb']:.0f} MB",
            "result": f"{figures['peak_mb']:.0f} MB",
            "difference": "",
        }
        return Outcome({}, figures, shown, {"processes": found}, notes)


@dataclass(frozen=True)
class FlatCost:
    """Seconds an image and memory over streams of several lengths, a fresh process each."""

    lengths: tuple[int, ...]

    def run(self, setting: Setting) -> Outcome:
        """Every length once a round, in turn; a length below 50 is streamed several times."""
        seconds: dict[int, list[float]] = {length: [] for length in self.lengths}
        peaks: dict[int, list[float]] = {length: [] for length in self.lengths}
        work, behind = setting.rounds * sum(self.lengths), 0
        for number in range(setting.rounds):
            for length in self.lengths:
                repeats = max(1, 50 // length)
                options = {
                    "images": length, "repeats": repeats, "threads": torch.get_num_threads(),
                }  # fmt: skip
                found = start("stream", options, timeout=_TIMEOUT)
                seconds[length].append(median(found["seconds_an_image"]))
                peaks[length].append(found["above_bytes"] / _MB)
                behind += length
                text = f"round {number + 1}: {length} images, {duration(seconds[length][-1])} each"
                setting.say(text, behind / work)
        return self._outcome(seconds, peaks)

    def _outcome(self, seconds: dict[int, list[float]], peaks: dict[int, list[float]]) -> Outcome:
        short, long = self.lengths[0], self.lengths[-1]
        each = {length: median(times) for length, times in seconds.items()}
        above = {length: median(peak) for length, peak in peaks.items()}
        figures: dict[str, float | None] = {
            "ratio": each[long] / each[short],
            "growth_mb": max(above[long], max(above.values()) - above[short]),
        }
        for length in self.lengths:
            figures[f"seconds_an_image_of_{length}"] = each[length]
            figures[f"peak_above_warm_up_of_{length}_mb"] = above[length]
        listed = ", ".join(f"{length}: {duration(each[length])}" for length in self.lengths)
        shown = {
            "peer": "",
            "ours": f"{duration(each[long])} an image",
            "result": f"{figures['ratio']:.2f}×, +{figures['growth_mb']:.0f} MB",
            "difference": "",
        }
        times = {f"{length} images": list(times) for length, times in seconds.items()}
        notes = (f"time an image of {listed}", "memory above that after two first batches of 16")
        return Outcome(times, figures, shown, {"peak_mb": peaks}, notes)
