"""Random SIGKILLs over runs of several hundred cells: nothing lost, nothing twice, results equal.

`python -m tests.audit.kills --kills 500` kills the process that runs; `--what worker` kills the
worker processes of one that goes on, `--what ray` those of a Ray cluster, `--what node` everything
on one of its nodes. `--of metrics` and `--of sanity` are runs of these checks, in place of
dead-zone. Every run that comes to its end is compared with an undisturbed one, and the next begins
in a new folder.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from PIL import Image

from camaudit.audit.cluster import Cluster
from camaudit.audit.ledger import DECISION
from camaudit.audit.placing import Place
from camaudit.audit.run import run_audit
from camaudit.audit.settings import Settings
from camaudit.store import STORE_NAME, open_store
from tests.subjects import FACTORY

METHODS = ("gradcam", "gradcam++", "hirescam", "layercam", "scorecam", "random")
IMAGES, COSTLY = 60, 20
CELLS = 5 * IMAGES + COSTLY
CHECKS = {
    "dead-zone": ("dead-zone",),
    "metrics": ("confidence", "insertion-deletion", "sparsity"),
    "sanity": ("mprt", "emprt", "random-logit"),
}


def prepared(folder: Path, of: str) -> Settings:
    """A small network and photographs of noise, and what is asked of them."""
    (folder / "subject.py").write_text(FACTORY)
    (folder / "photographs").mkdir()
    draw = np.random.default_rng(0)
    for number in range(IMAGES):
        pixels = draw.integers(0, 255, (72, 72, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "photographs" / f"{number:02d}.png")
    more: dict[str, Any] = {} if of == "sanity" else {"perturbation_images": COSTLY}
    more |= {"wall": "split", "live_rows": 4} if of == "dead-zone" else {}
    return Settings(
        model=f"{folder / 'subject.py'}:build", methods=METHODS, images=folder / "photographs",
        layer="0", image_size=64, num_images=IMAGES, batch_size=6,
        preprocess="0.5/0.5", checks=CHECKS[of], sanity_seeds=3, cascade_steps=2, **more,
    )  # fmt: skip


def undisturbed(settings: Settings, root: Path) -> tuple[str, int, float]:
    """What a run finds that nobody disturbs, of how many cells, and how long it takes."""
    started = time.monotonic()
    found = run_audit(settings, records=root / "undisturbed")
    total = found.results.timing["cells"]["computed"]
    if settings.metric_checks:  # the images, and of each method its maps and every check
        assert total == IMAGES + (1 + len(settings.metric_checks)) * CELLS
    elif settings.walled:
        assert total == CELLS
    assert len(kept(root / "undisturbed")) == total >= 200
    return text(found), total, time.monotonic() - started


def text(found: Any) -> str:
    """All results but timings."""
    plain = found.results.to_dict()
    del plain["timing"]
    return json.dumps(plain, sort_keys=True)


def kept(folder: Path) -> set[str]:
    """The keys of the cells that are there, without decisions on what is explained."""
    with open_store(folder) as store:
        assert not store.notes, store.notes
        cells = [one for run in store.runs() for one in store.members(run.number)]
    return {one.key for one in cells if one.check != DECISION}


def processes(settings: Settings, root: Path, kills: int, draw: np.random.Generator) -> None:
    """Kill whole runs: each is a fork of this process, which has everything loaded."""
    expected, total, whole = undisturbed(settings, root)
    done, finished, attempt = 0, 0, 0
    folder, before = root / "run-0", set[str]()
    while done < kills:
        attempt += 1
        child = os.fork()
        if child == 0:
            found = run_audit(settings, records=folder)
            (folder / "text.json").write_text(text(found))
            (folder / "computed").write_text(str(found.results.timing["cells"]["computed"]))
            os._exit(0)
        time.sleep(float(draw.uniform(0, whole / 3)))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        done += os.WIFSIGNALED(status)
        if (folder / STORE_NAME).exists():
            after = kept(folder)
            assert before <= after, "cells were lost"
            before = after
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0
            assert (folder / "text.json").read_text() == expected, f"{folder} differs"
            assert len(before) == total
            finished += 1
            folder, before = root / f"run-{finished}", set()
        if attempt % 50 == 0:
            print(f"{done} kills, {finished} runs came to their end", flush=True)
    final = run_audit(settings, records=folder)
    assert text(final) == expected
    assert final.results.timing["cells"] == {"found": len(before), "computed": total - len(before)}
    print(f"{done} kills of whole runs, {finished + 1} runs of {total} cells, all equal")


def workers(
    settings: Settings, root: Path, kills: int, draw: np.random.Generator, ray: bool
) -> None:
    """Kill workers of runs that go on."""
    expected, total, _ = undisturbed(settings, root)
    done, runs = 0, 0
    place = Place("ray" if ray else "processes", 2)
    while done < kills:
        ended = threading.Event()
        counted = [0]
        folder = root / f"run-{runs}"

        def kill(
            ended: threading.Event = ended, counted: list[int] = counted, left: int = kills - done,
            folder: Path = folder,
        ) -> None:  # fmt: skip
            """The oldest each time, when something was kept since the one before.

            A worker that is still starting is left alone: the run gives up a batch on which three
            die before they have done anything.
            """
            before = 0
            while not ended.wait(float(draw.uniform(7, 14))) and counted[0] < left:
                found = len(kept(folder)) if (folder / STORE_NAME).exists() else 0
                victims = _workers(ray)
                if victims and found > before:
                    before = found
                    os.kill(min(victims), signal.SIGKILL)
                    counted[0] += 1

        killer = threading.Thread(target=kill)
        killer.start()
        try:
            found = run_audit(settings, records=folder, place=place)
        finally:
            ended.set()
            killer.join()
        runs += 1
        done += counted[0]
        assert text(found) == expected
        assert found.results.timing["cells"] == {"found": 0, "computed": total}
        assert len(kept(folder)) == total
        print(f"{done} kills, {runs} runs came to their end", flush=True)
    kind = "Ray workers" if ray else "worker processes"
    print(
        f"{done} kills of {kind}, {runs} runs of {total} cells, all equal, nothing computed twice"
    )


def nodes(settings: Settings, root: Path, kills: int, draw: np.random.Generator) -> None:
    """Kill nodes of a cluster under runs that go on; another one takes the place of each."""
    import ray
    from ray.cluster_utils import Cluster as Nodes

    expected, total, _ = undisturbed(settings, root)
    cluster = Nodes(initialize_head=True, head_node_args={"num_cpus": 0})
    for _ in range(2):
        cluster.add_node(num_cpus=1)
    ray.init(address=cluster.address, log_to_driver=False)
    done, runs, answers = 0, 0, int(draw.integers(3, 30))
    genuine = Cluster.wait

    def wait(self: Cluster) -> Any:
        nonlocal done, answers
        answers -= 1
        if answers == 0 and done < kills:
            victim = sorted(cluster.worker_nodes, key=id)[int(draw.integers(2))]
            cluster.remove_node(victim, allow_graceful=False)
            cluster.add_node(num_cpus=1)
            done += 1
            answers = int(draw.integers(3, 30))
        return genuine(self)

    with patch.object(Cluster, "wait", wait):
        while done < kills:
            folder = root / f"run-{runs}"
            found = run_audit(settings, records=folder, place=Place("ray", 2))
            runs += 1
            assert text(found) == expected
            assert found.results.timing["cells"] == {"found": 0, "computed": total}
            assert len(kept(folder)) == total
            print(f"{done} kills, {runs} runs came to their end", flush=True)
    ray.shutdown()
    cluster.shutdown()
    print(f"{done} kills of Ray nodes, {runs} runs of {total} cells, all equal, nothing twice")


def _workers(ray: bool) -> list[int]:
    """Processes that answer for this one."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            told = path.read_bytes()
            parent = (path.parent / "stat").read_text().rpartition(")")[2].split()[1]
        except OSError:
            continue
        ours = int(parent) == os.getpid() and b"spawn_main" in told
        if (b"ray::Host" in told) if ray else ours:
            found.append(int(path.parent.name))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--what", choices=["run", "worker", "ray", "node"], default="run")
    parser.add_argument("--of", choices=[*CHECKS], default="dead-zone")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    torch.set_num_threads(1)
    draw = np.random.default_rng(given.seed)
    with tempfile.TemporaryDirectory() as folder:
        settings = prepared(Path(folder), given.of)
        if given.what == "run":
            processes(settings, Path(folder), given.kills, draw)
        elif given.what == "node":
            nodes(settings, Path(folder), given.kills, draw)
        else:
            workers(settings, Path(folder), given.kills, draw, given.what == "ray")


if __name__ == "__main__":
    sys.exit(main())
