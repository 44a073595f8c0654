"""`python -m tests.benchmarks.streaming [IMAGES …]`: memory and time of an audit of many images.

Photographs of 160×160 pixels, each with a grain of its own, in shards of 1000; three gradient
methods on a network of three blocks at 64×64 pixels. Each count runs in a fresh process, from
`camaudit run` to its report; times are of the processor. Asked are a growth of at most 200 MiB from
500 images to 10 000, and the same time for each image.
"""

from __future__ import annotations

import contextlib
import io
import json
import resource
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

__all__ = ["main"]

COUNTS = (500, 2500, 5000, 10_000)
_SHARD = 1000
_NETWORK = """
import torch
from torch import nn

def build():
    torch.manual_seed(0)
    blocks = [
        module
        for given, made in ((3, 16), (16, 32), (32, 64))
        for module in (nn.Conv2d(given, made, 3, padding=1), nn.BatchNorm2d(made), nn.ReLU(),
                       nn.MaxPool2d(2))
    ]
    head = [nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(1024, 10)]
    return nn.Sequential(*blocks, *head).eval()
"""


def _write(folder: Path, count: int) -> None:
    """Shards of photographs that scikit-image carries, cut and grained."""
    from skimage import data

    rng = np.random.default_rng(0)
    scenes = [Image.fromarray(scene()) for scene in (data.chelsea, data.coffee, data.rocket)]
    for first in range(0, count, _SHARD):
        with tarfile.open(folder / f"{first // _SHARD:06d}.tar", "w") as archive:
            for number in range(first, min(first + _SHARD, count)):
                scene = scenes[number % len(scenes)]
                x, y = (int(rng.integers(0, side - 200)) for side in scene.size)
                cut = np.asarray(scene.crop((x, y, x + 200, y + 200)).resize((160, 160)))
                grained = cut + rng.normal(0, 4, cut.shape)
                buffer = io.BytesIO()
                Image.fromarray(grained.clip(0, 255).astype(np.uint8)).save(buffer, "JPEG")
                member = tarfile.TarInfo(f"{number:06d}.jpg")
                member.size = buffer.tell()
                buffer.seek(0)
                archive.addfile(member, buffer)


def _measured(work: Path, count: int) -> dict[str, float]:
    """One run in this process: its processor time in seconds, and the most memory in MiB."""
    from camaudit.cli import cli

    out = work / f"out-{count}"
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        code = cli.main(
            args=[
                "run", "--model", f"{work / 'network.py'}:build", "--layer", "11",
                "--wall", "split", "--image-size", "64", "--images", str(work / "shards"),
                "--num-images", str(count), "--methods", "gradcam,hirescam,layercam",
                "--out", str(out),
            ],
            standalone_mode=False,
        )  # fmt: skip
    if code:
        raise SystemExit(f"the run ended with exit code {code}")
    used = resource.getrusage(resource.RUSAGE_SELF)
    return {"seconds": used.ru_utime + used.ru_stime, "mib": used.ru_maxrss / 1024}


def main(counts: list[int]) -> None:
    """Measure every count, the smallest first, and print what is above the smallest."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        (work / "network.py").write_text(_NETWORK)
        (work / "shards").mkdir()
        _write(work / "shards", max(counts))
        first: dict[str, float] | None = None
        for count in sorted(counts):
            told = subprocess.run(
                [sys.executable, "-m", "tests.benchmarks.streaming", "--in", name, str(count)],
                check=True, capture_output=True, text=True,
            )  # fmt: skip
            found = json.loads(told.stdout.splitlines()[-1])
            first = first or {**found, "count": count}
            line = f"{count} images: {found['seconds']:.1f} s, {found['mib']:.0f} MiB at most"
            if count > first["count"]:
                more = found["seconds"] - first["seconds"]
                line += (
                    f"; beyond {first['count']}: {1000 * more / (count - first['count']):.2f} ms "
                    f"an image, {found['mib'] - first['mib']:+.0f} MiB"
                )
            print(line, flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--in"]:
        print(json.dumps(_measured(Path(sys.argv[2]), int(sys.argv[3]))))
    else:
        main([int(count) for count in sys.argv[1:]] or list(COUNTS))
