"""ScoreCAM in bfloat16 beside the peer in float32: measured in full, or extrapolated and said so.

A processor without bfloat16 instructions takes many seconds for one image. There a few masked
images are timed, within a limit, and the rest is extrapolated.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import torch

from camaudit.capture import Capture, capture
from camaudit.engine import Engine
from camaudit.methods.masking import distinct
from camaudit.methods.scores import minmax_logits, varying_channels
from tests.benchmarks.contests import methods_contest
from tests.benchmarks.pairs import Pair, paper_vgg16
from tests.benchmarks.peers import grad_cam
from tests.benchmarks.timing import Outcome, Setting, duration, ratios

__all__ = ["Reduced", "Sample", "score_vgg16_bfloat16"]


def score_vgg16_bfloat16(setting: Setting) -> Reduced:
    """ScoreCAM on the paper's VGG16, masked images in bfloat16."""
    return Reduced(paper_vgg16(setting.device), Engine(precision="bfloat16"))


@dataclass(frozen=True)
class Sample:
    """Some masked images run one by one in the reduced precision.

    times: seconds of each that counts (the first pass also measures its own error: left out
        where there are others).
    images: how many masked images the whole method runs.
    score_error: largest difference of their target scores from float32, of a range `score_range`
        over all channels.
    """

    times: tuple[float, ...]
    images: int
    score_error: float
    score_range: float

    @property
    def predicted(self) -> float:
        """Seconds of all masked images, one by one."""
        return median(self.times) * self.images


@dataclass(frozen=True)
class Reduced:
    """ScoreCAM by `engine`; at most `limit` seconds go into it where that is not enough."""

    pair: Pair
    engine: Engine
    limit: float = 60.0

    def run(self, setting: Setting) -> Outcome:
        """The contest in full where all masked images fit into the limit, else extrapolated."""
        sample = self.sample(setting)
        error = {"score_error": sample.score_error, "score_range": sample.score_range}
        said = f"score error {sample.score_error:.2g} on a range of {sample.score_range:.2g}"
        if sample.predicted > self.limit:
            return self._extrapolated(setting, sample, error, said)
        outcome = methods_contest(self.pair, ("scorecam",), self.engine).run(setting)
        figures = {**outcome.figures, **error}
        return replace(outcome, figures=figures, notes=(*outcome.notes, said))

    def sample(self, setting: Setting) -> Sample:
        """Masked images of single channels until the next one would pass the limit."""
        image = self.pair.image.to(memory_format=torch.channels_last)
        exact = self._captured(image, Engine())
        A = exact.activations[0]
        kept = sorted(set(distinct(A)[varying_channels(A)].tolist()))
        channels = torch.tensor(kept, device=A.device)
        with torch.no_grad():
            wanted = exact.score(minmax_logits(exact, 0, channels), 0)
        reduced = self._captured(image, self.engine)
        times: list[float] = []
        errors: list[float] = []
        began = setting.now()
        for place, channel in enumerate(channels):
            start = setting.now()
            with torch.no_grad():
                score = reduced.score(minmax_logits(reduced, 0, channel[None]), 0)
            end = setting.now()
            times.append(end - start)
            errors.append(float((score[0] - wanted[place]).abs()))
            share = 0.8 * min(1.0, (end - began) / self.limit)
            setting.say(f"masked image {place + 1} alone: {duration(times[-1])}", share)
            if end - began + times[-1] > self.limit or place == 7:
                break
        spread = float(wanted.max() - wanted.min())
        return Sample(tuple(times[1:] or times), len(channels), max(errors), spread)

    def _captured(self, image: torch.Tensor, engine: Engine) -> Capture:
        return capture(self.pair.divided, image, forwards=self.pair.forwards(engine))

    def _extrapolated(
        self, setting: Setting, sample: Sample, error: dict[str, float], said: str
    ) -> Outcome:
        start = setting.now()
        grad_cam("scorecam", self.pair)
        peer = setting.now() - start
        timed = ratios([peer], [sample.predicted])
        figures = {**timed, **error, "seconds_an_image": median(sample.times)}
        details: dict[str, Any] = {
            "masked_images": sample.images,
            "timed_images": len(sample.times),
            "times_of_single_images_s": list(sample.times),
        }
        note = (
            f"extrapolated: {len(sample.times)} of {sample.images} masked images were timed "
            f"({duration(median(sample.times))} each), the peer once"
        )
        shown = {
            "peer": duration(peer),
            "ours": f"{duration(sample.predicted)}, extrapolated",
            "result": f"{timed['ratio']:.2g}×, extrapolated",
            "difference": said,
        }
        times = {"peer": [peer], "ours": []}
        return Outcome(times, figures, shown, details, (note, said), extrapolated=True)
