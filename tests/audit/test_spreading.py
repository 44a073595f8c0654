"""Metrics and sanity checks computed by workers: nothing twice, and the same as in one process."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from camaudit.audit import run as run_module
from camaudit.audit.executors import Answer, Call
from camaudit.audit.hosting import Host, order_of
from camaudit.audit.placing import Place
from camaudit.audit.run import Outcome, run_audit
from camaudit.audit.settings import Settings
from camaudit.audit.units import Batch
from tests.audit.test_metrics import boxes
from tests.audit.test_resuming import StoppedError, plain, stopping
from tests.audit.test_resuming_checks import same_pictures
from tests.audit.test_sanity import runs as runs  # a fixture

METHODS = ("scorecam", "gradcam", "xgradcam", "uniform", "random")
CHECKS = (
    "confidence", "adcc", "insertion-deletion", "localisation", "sparsity", "road", "infidelity",
    "sensitivity",
)  # fmt: skip
IMAGES, COSTLY = 6, 3
EXPLAINERS = '''
"""Explainers whose code is known, that fail, or of which nobody knows what they are made of."""


def heat(model, layer, images, targets):
    model.eval().requires_grad_(False)
    return images.square().sum(dim=1)


def fails(model, layer, images, targets):
    if images.mean() > 0:
        raise RuntimeError("too bright")
    return images.mean(dim=1)


class Unknown:
    def __call__(self, model, layer, images, targets):
        return images.abs().mean(dim=1)


unknown = Unknown()
'''


def sent(value: Any) -> Any:
    """What another process gets."""
    return pickle.loads(pickle.dumps(value))  # noqa: S301 - our own


class Hosts:
    """Lanes with a host each, in this process; the latest call is answered first.

    Every `lose`-th call is lost, and its host with it. `calls` are all that were answered.
    """

    def __init__(self, order: Any, lose: int = 0) -> None:
        self.lanes, self.lose, self.count = 3, lose, 0
        self.calls: list[Call] = []
        self._order = order
        self._hosts: dict[int, tuple[Host, Batch]] = {}
        self._waiting: list[tuple[int, Call]] = []

    def usable(self, lane: int) -> bool:
        return lane < self.lanes

    def submit(self, lane: int, call: Call) -> None:
        self._waiting.append((lane, call))

    def wait(self) -> list[Answer]:
        lane, call = self._waiting.pop()
        self.count += 1
        if self.lose and self.count % self.lose == 0:
            self._hosts.pop(lane, None)
            return [Answer(lane, lost="of the test")]
        host, held = self._hosts.get(lane, (None, None))
        if host is None:
            host = Host(sent(self._order), lane)
        if held is not call.batch:
            host.hold(sent(call.batch))
        self._hosts[lane] = host, call.batch
        answer = host.answer(sent(call.bare()))
        self.calls.append(call)
        return [Answer(lane, sent(answer))]

    def close(self) -> None:
        """Nothing."""

    @property
    def explored(self) -> list[Any]:
        return [call.asked for call in self.calls if call.kind == "explore"]


class Told:
    """Progress: how much work was ahead of all parts of a run, and how much of it was done."""

    def __init__(self) -> None:
        self.ahead, self.done = 0, 0

    def start(self, work: int) -> None:
        assert self.ahead == self.done
        self.ahead += work

    def stage(self, text: str) -> None:
        """Nothing."""

    def advance(self, work: int) -> None:
        self.done += work


def spread(settings: Settings, *, lose: int = 0, **options: Any) -> tuple[Outcome, Hosts]:
    """An audit on three hosts, and these."""
    made: list[Hosts] = []

    @contextmanager
    def placed(_: Place, settings: Settings, subject: Any, image: Any) -> Iterator[Hosts]:
        order = order_of(settings, subject.description["state_sha256"], image, ship=False)
        made.append(Hosts(order, lose))
        yield made[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "placed", placed)
        found = run_audit(settings, place=Place("processes", 3), **options)
    return found, made[0]


def counted(outcome: Outcome) -> tuple[int, int]:
    cells = outcome.results.timing["cells"]
    return cells["found"], cells["computed"]


@pytest.fixture
def settings(factory: Path, photographs: Path, tmp_path: Path) -> Settings:
    return Settings(
        model=f"{factory}:build", images=photographs, image_size=64, preprocess="0.5/0.5",
        num_images=IMAGES, perturbation_images=COSTLY, batch_size=2, layer="0", methods=METHODS,
        checks=CHECKS, regions=boxes(tmp_path, photographs),
    )  # fmt: skip


@pytest.fixture
def checked(factory: Path, tmp_path: Path) -> Settings:
    folder, draw = tmp_path / "drawn", np.random.default_rng(0)
    folder.mkdir()
    for number in range(3):
        pixels = draw.integers(0, 255, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return Settings(
        model=f"{factory}:build", images=folder, image_size=32, preprocess="0.5/0.5",
        num_images=3, batch_size=2, layer="0", methods=("gradcam", "sobel"),
        checks=("mprt", "emprt", "smprt", "random-logit"), sanity_seeds=2, cascade_steps=2,
        orders=("top-down", "independent"),
    )  # fmt: skip


def test_metrics_of_workers_are_those_of_one_process(settings: Settings, tmp_path: Path) -> None:
    expected, out = run_audit(settings), tmp_path / "out"
    found, hosts = spread(settings)
    assert plain(found) == plain(expected)
    assert len(hosts.explored) == COSTLY + (IMAGES - COSTLY + 1) // 2
    kept = counted(run_audit(settings, records=tmp_path / "serial"))
    for fresh in (False, True):
        found, hosts = spread(settings, records=out, fresh=fresh)
        assert plain(found) == plain(expected)
        assert counted(found) == kept
        assert set(found.results.timing["metrics"]) == set(expected.results.timing["metrics"])
    again, hosts = spread(settings, records=out)
    assert not hosts.calls
    assert counted(again) == kept[::-1]
    assert plain(again) == plain(expected)
    assert counted(run_audit(settings, records=out)) == kept[::-1]


def test_a_lost_worker_costs_its_batch_alone(settings: Settings) -> None:
    expected = run_audit(settings)
    found, hosts = spread(settings, lose=3)
    assert plain(found) == plain(expected)
    assert len(hosts.explored) == COSTLY + (IMAGES - COSTLY + 1) // 2 < hosts.count


@pytest.mark.parametrize("after", [1, 4])
def test_workers_go_on_where_a_run_was(settings: Settings, tmp_path: Path, after: int) -> None:
    expected, out = run_audit(settings), tmp_path / "out"
    everything = counted(run_audit(settings, records=tmp_path / "serial"))[1]
    with pytest.MonkeyPatch.context() as patch:
        stopping(patch, after)
        with pytest.raises(StoppedError):
            run_audit(settings, records=out)
    found, _ = spread(settings, records=out)
    assert plain(found) == plain(expected)
    assert sum(counted(found)) == everything
    assert counted(found)[0] > 0


def test_workers_compute_what_a_change_touches(settings: Settings, tmp_path: Path) -> None:
    fewer = replace(settings, methods=METHODS[1:], num_images=IMAGES - 1)
    first = run_audit(fewer, records=tmp_path / "out")
    here = run_audit(fewer, records=tmp_path / "here")
    assert counted(here) == counted(first)
    found, _ = spread(settings, records=tmp_path / "out")
    assert counted(found) == counted(run_audit(settings, records=tmp_path / "here"))


def test_walled_metrics_beside_the_dead_zone(settings: Settings) -> None:
    both = replace(
        settings, checks=("dead-zone", "sparsity", "confidence"), wall="split", live_rows=4,
        metrics_on="walled", regions=None,
    )  # fmt: skip
    expected = run_audit(both)
    found, hosts = spread(both)
    assert plain(found) == plain(expected)
    assert {call.kind for call in hosts.calls} == {"decide", "score", "explore"}


def test_explainers_of_the_users_own_in_processes(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "library.py").write_text(EXPLAINERS)
    names = ("heat", "fails", "unknown")
    mine = replace(
        settings, methods=("gradcam", "scorecam"), wall="split", live_rows=4,
        checks=("dead-zone", "sparsity", "adcc", "mprt"), regions=None,
        explainers=tuple(f"{tmp_path / 'library.py'}:{name}" for name in names),
        sanity_seeds=2, cascade_steps=2, num_images=3, perturbation_images=1,
    )  # fmt: skip
    expected = run_audit(mine)
    assert any("left on the model" in text for text in expected.results.warnings)
    kept = counted(run_audit(mine, records=tmp_path / "serial"))
    for records in (None, tmp_path / "out"):
        found = run_audit(mine, records=records, place=Place("processes", 2))
        assert plain(found) == plain(expected)
    assert counted(found) == kept
    again = run_audit(mine, records=tmp_path / "out")
    assert counted(again) == (kept[1] - 6, 6)  # of dead-zone: errors, and what nobody knows
    assert plain(again) == plain(expected)


def test_sanity_checks_of_workers_are_those_of_one_process(
    checked: Settings, tmp_path: Path
) -> None:
    expected = run_audit(checked)
    serial = run_audit(checked, records=tmp_path / "serial")
    found, hosts = spread(checked)
    assert plain(found) == plain(expected)
    assert same_pictures(found, expected)
    cascades = [one.part for one in hosts.explored if one.part.cascade is not None]
    assert len(cascades) == len(set(cascades)) == 2 * 2 * (2 + 3)  # orders × seeds × batches
    others = [one.part.family for one in hosts.explored if one.part.cascade is None]
    assert sorted(others) == ["mprt"] * 2 + ["random-logit"] * 2 + ["smprt"] * 3
    found, _ = spread(checked, records=tmp_path / "out", lose=5)
    assert plain(found) == plain(expected)
    assert same_pictures(found, expected)
    assert counted(found) == counted(serial)
    again, hosts = spread(checked, records=tmp_path / "out")
    assert not hosts.calls
    assert plain(again) == plain(expected)
    assert same_pictures(again, expected)
    assert counted(again) == counted(serial)[::-1]


SCRIPT = """
import json, pickle, sys
sys.path.insert(0, {root!r})
from pathlib import Path
from camaudit.audit.run import run_audit
settings = pickle.load(open(sys.argv[1], "rb"))
found = run_audit(settings, records=Path(sys.argv[2]))
del (plain := found.results.to_dict())["timing"]
print(json.dumps(plain, sort_keys=True))
print(found.results.timing["cells"]["computed"], file=sys.stderr)
"""


@pytest.mark.long
@pytest.mark.parametrize("given", ["settings", "checked"])
def test_two_runs_on_one_store_share_the_work(
    given: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    asked: Settings = request.getfixturevalue(given)
    expected = run_audit(asked, records=tmp_path / "serial")
    (tmp_path / "settings.pickle").write_bytes(pickle.dumps(asked))
    code = SCRIPT.format(root=str(Path(__file__).parents[2]))
    command = [
        sys.executable, "-c", code, str(tmp_path / "settings.pickle"), str(tmp_path / "out")
    ]  # fmt: skip
    both = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    told, cells = zip(*(one.communicate() for one in both), strict=True)
    wanted = json.loads(json.dumps(plain(expected)))
    assert all(json.loads(one) == wanted for one in told), cells
    computed = [int(one.splitlines()[-1]) for one in cells]
    twice = sum(computed) - counted(expected)[1]
    assert 0 <= twice <= (given == "checked")  # both may have made the plan of the sanity checks


def test_workers_compute_the_sanity_checks_that_a_change_touches(
    checked: Settings, tmp_path: Path
) -> None:
    for out in ("out", "here"):
        run_audit(replace(checked, methods=("gradcam",)), records=tmp_path / out)
    more = replace(checked, sanity_seeds=3)
    found, _ = spread(more, records=tmp_path / "out")
    here = run_audit(more, records=tmp_path / "here")
    assert plain(found) == plain(here)
    assert counted(found) == counted(here)


@pytest.mark.parametrize("others", [(), ("mprt", "random-logit")])
def test_a_second_model_stays_here(
    checked: Settings, runs: tuple[Path, Path], tmp_path: Path, others: tuple[str, ...]
) -> None:
    true, permuted = runs
    both = replace(
        checked, model=f"trained:{true}", layer=None, image_size=None, preprocess=None,
        checks=("data-randomisation", *others), permuted=f"trained:{permuted}",
    )  # fmt: skip
    told = Told()
    serial = run_audit(both, records=tmp_path / "serial")
    found, hosts = spread(both, records=tmp_path / "out", progress=told)
    assert bool(hosts.calls) is bool(others)
    assert told.ahead == told.done > 0
    assert plain(found) == plain(serial)
    assert counted(found) == counted(serial)
    again = run_audit(both, records=tmp_path / "out")
    assert counted(again) == counted(serial)[::-1]


def test_the_same_pixels_in_two_classes_are_two_images(settings: Settings, tmp_path: Path) -> None:
    """Each is computed in its own batch, whoever does it first."""
    draw = np.random.default_rng(0)
    for label in ("one", "two"):
        (tmp_path / "classes" / label).mkdir(parents=True)
        for number in range(3):
            pixels = draw.integers(0, 255, (80, 80, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / "classes" / label / f"{label}-{number}.png")
    twice = (tmp_path / "classes" / "one" / "one-0.png").read_bytes()
    (tmp_path / "classes" / "two" / "two-2.png").write_bytes(twice)
    asked = replace(
        settings, images=tmp_path / "classes", checks=("confidence", "mprt"), regions=None,
        methods=("scorecam", "gradcam"), perturbation_images=1, batch_size=4, sanity_seeds=1,
        cascade_steps=2,
    )  # fmt: skip
    expected = run_audit(asked)
    assert len({one["sha256"] for one in expected.results.provenance.images}) == IMAGES - 1
    serial = run_audit(asked, records=tmp_path / "serial")
    found, _ = spread(asked, records=tmp_path / "out")
    assert plain(found) == plain(serial) == plain(expected)
    assert counted(found) == counted(serial)
    assert counted(run_audit(asked, records=tmp_path / "out")) == counted(serial)[::-1]


@pytest.mark.parametrize("given", ["settings", "checked"])
def test_the_progress_comes_to_its_end(
    given: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    asked: Settings = request.getfixturevalue(given)
    for records, run in ((tmp_path / "a", run_audit), (tmp_path / "a", run_audit), (None, spread)):
        told = Told()
        run(asked, records=records, progress=told)
        assert told.ahead == told.done > 0
