"""What a GPU does: images per second, and how near ScoreCAM comes to its matrix rate."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from camaudit.capture import capture
from camaudit.engine import Engine, Precision
from camaudit.methods import compute
from tests.benchmarks.contests import SEVEN
from tests.benchmarks.pairs import Pair, paper_vgg16
from tests.benchmarks.timing import Outcome, Setting, duration

__all__ = ["Card", "gpu_seven", "matrix_rate"]

_SIDE = {"cuda": 8192, "cpu": 64}  # of the matrices whose product is timed
_PRODUCTS = 20


def gpu_seven(setting: Setting) -> Card:
    """The seven methods on the paper's VGG16."""
    return Card(paper_vgg16(setting.device))


@dataclass(frozen=True)
class Card:
    """Rates of `methods` on the device of a setting, masked images in each of two precisions."""

    pair: Pair
    methods: tuple[str, ...] = SEVEN
    precisions: tuple[Precision, ...] = ("float32", "bfloat16")

    def run(self, setting: Setting) -> Outcome:
        """A warm-up that does not count, then `setting.rounds` images in each precision."""
        rates = {
            "float32": matrix_rate(setting, torch.float32),
            "tf32": matrix_rate(setting, torch.float32, tf32=True),
            "bfloat16": matrix_rate(setting, torch.bfloat16),
        }
        times: dict[str, list[float]] = {}
        figures: dict[str, float | None] = {
            f"matrix_rate_{name}_tflops": rate / 1e12 for name, rate in rates.items()
        }
        for place, precision in enumerate(self.precisions):
            engine = Engine(precision=precision)
            times[precision] = self._images(setting, engine)
            seconds, operations = self._scorecam(setting, engine)
            rate = operations / median(seconds)
            figures[f"images_per_second_{precision}"] = 1 / median(times[precision])
            figures[f"scorecam_{precision}_tflops"] = rate / 1e12
            figures[f"scorecam_{precision}_of_matrix_rate"] = rate / rates[precision]
            if precision == "float32":  # a card's convolutions run in TF32 unless told not to
                figures["scorecam_float32_of_tf32_rate"] = rate / rates["tf32"]
            times[f"scorecam {precision}"] = seconds
            text = f"{precision}: {duration(median(times[precision]))} an image"
            setting.say(text, (place + 1) / len(self.precisions))
        return Outcome(times, figures, _shown(figures, self.precisions), {"methods": self.methods})

    def _images(self, setting: Setting, engine: Engine) -> list[float]:
        times = []
        for _ in range(setting.rounds + 1):
            start = setting.now()
            self.pair.explain(self.methods, engine)
            times.append(setting.now() - start)
        return times[1:]

    def _scorecam(self, setting: Setting, engine: Engine) -> tuple[list[float], int]:
        """Seconds of ScoreCAM after the capture, and the operations of its forwards."""
        image = self.pair.image.to(memory_format=torch.channels_last)
        forwards, times, operations = self.pair.forwards(engine), [], 0
        for number in range(setting.rounds + 1):
            captured = capture(self.pair.divided, image, forwards=forwards)
            if number == 0:
                with FlopCounterMode(display=False) as counter:
                    compute("scorecam", captured)
                operations = counter.get_total_flops()
                continue
            start = setting.now()
            compute("scorecam", captured)
            times.append(setting.now() - start)
        return times, operations


def matrix_rate(setting: Setting, dtype: torch.dtype, *, tf32: bool = False) -> float:
    """Operations per second of a large square matrix product on the device: the best of 3."""
    side = _SIDE.get(setting.device.type, _SIDE["cpu"])
    left = torch.randn(side, side, device=setting.device, dtype=dtype)
    right = torch.randn(side, side, device=setting.device, dtype=dtype)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    try:
        result = left @ right
        times = []
        for _ in range(3):
            start = setting.now()
            for _ in range(_PRODUCTS):
                torch.mm(left, right, out=result)
            times.append(setting.now() - start)
    finally:
        torch.set_float32_matmul_precision(before)
    return 2 * side**3 * _PRODUCTS / min(times)


def _shown(figures: dict[str, float | None], precisions: tuple[Precision, ...]) -> dict[str, str]:
    def said(name: str, form: str) -> str:
        found: dict[str, Any] = {p: figures[name.format(p)] for p in precisions}
        return ", ".join(f"{form.format(value)} {p}" for p, value in found.items())

    return {
        "peer": "",
        "ours": said("images_per_second_{}", "{:.3g} images/s"),
        "result": "ScoreCAM at " + said("scorecam_{}_of_matrix_rate", "{:.0%} of the matrix rate"),
        "difference": "",
    }
