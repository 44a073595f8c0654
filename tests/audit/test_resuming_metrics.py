"""Metrics of runs into one folder: nothing is computed twice, and results are the same."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from camaudit.audit.run import Outcome, run_audit
from camaudit.audit.settings import Settings
from camaudit.store import STORE_NAME, Cell, open_store
from camaudit.store.exporting import export
from tests.audit.test_metrics import boxes
from tests.audit.test_resuming import StoppedError, plain, stopping

METHODS = ("gradcam", "scorecam", "uniform", "random")
CHECKS = ("confidence", "adcc", "insertion-deletion", "sparsity")
IMAGES, COSTLY = 6, 3
GROUPS = 4  # of metrics, the maps among them: confidence and ADCC are one
CELLS = IMAGES + GROUPS * (3 * IMAGES + COSTLY)


@pytest.fixture
def settings(factory: Path, photographs: Path) -> Settings:
    return Settings(
        model=f"{factory}:build", images=photographs, image_size=64, preprocess="0.5/0.5",
        num_images=IMAGES, perturbation_images=COSTLY, batch_size=4, layer="0", methods=METHODS,
        checks=CHECKS,
    )  # fmt: skip


def counted(outcome: Outcome) -> tuple[int, int]:
    cells = outcome.results.timing["cells"]
    return cells["found"], cells["computed"]


def latest(folder: Path) -> list[Cell]:
    """The metrics' cells of the last run."""
    with open_store(folder) as store:
        assert not store.notes
        run = store.runs()[-1].number
        return [cell for cell in store.members(run) if cell.check.startswith("metrics")]


def test_a_second_run_computes_nothing_and_finds_the_same(
    settings: Settings, tmp_path: Path
) -> None:
    folder, alone = tmp_path / "out", run_audit(settings)
    outcomes = [run_audit(settings, records=folder, fresh=fresh) for fresh in (False, False, True)]
    assert [counted(one) for one in outcomes] == [(0, CELLS), (CELLS, 0), (0, CELLS)]
    assert all(plain(one) == plain(alone) for one in outcomes)
    names = {image["id"] for image in alone.results.provenance.images}
    assert len(latest(folder)) == CELLS
    for cell in latest(folder):
        assert cell.check == "metrics"
        assert cell.image in names
        assert cell.method in (*METHODS, "")
        assert cell.target is not None


@pytest.mark.parametrize("after", [0, 1, 3, 6, 8])
def test_what_an_interrupted_run_kept_is_not_computed_again(
    settings: Settings, tmp_path: Path, after: int
) -> None:
    expected = run_audit(settings)
    with pytest.MonkeyPatch.context() as patch:
        stopping(patch, after)
        with pytest.raises(StoppedError):
            run_audit(settings, records=tmp_path / "out")
    kept = len(latest(tmp_path / "out"))
    assert (kept > 0) is (after > 0)
    outcome = run_audit(settings, records=tmp_path / "out")
    assert counted(outcome) == (kept, CELLS - kept)
    assert plain(outcome) == plain(expected)


def changed_image(settings: Settings, photographs: Path) -> tuple[Settings, int]:
    path = sorted(photographs.rglob("*.png"))[-1]
    Image.fromarray(np.full((80, 80, 3), 90, np.uint8)).save(path)
    return settings, 1 + GROUPS * 3


def added_method(settings: Settings, _: Path) -> tuple[Settings, int]:
    return replace(settings, methods=("layercam", *METHODS)), GROUPS * IMAGES


def other_steps(settings: Settings, _: Path) -> tuple[Settings, int]:
    return replace(settings, pixels_per_step=100), 3 * IMAGES + COSTLY


def other_names(settings: Settings, photographs: Path) -> tuple[Settings, int]:
    moved = photographs.with_name("moved")
    photographs.rename(moved)
    return replace(settings, images=moved, batch_size=3), 0


def other_code(settings: Settings, _: Path) -> tuple[Settings, int]:
    path = Path(settings.model.rpartition(":")[0])
    path.write_text(path.read_text() + "\n# another model\n")
    return settings, CELLS


def walled(settings: Settings, _: Path) -> tuple[Settings, int]:
    checks = ("dead-zone", *CHECKS)
    return replace(settings, checks=checks, wall="split", live_rows=4), CELLS + 3 * IMAGES + COSTLY


@pytest.mark.parametrize(
    "change", [changed_image, added_method, other_steps, other_names, other_code, walled]
)
def test_a_change_recomputes_what_it_touches(
    settings: Settings, photographs: Path, tmp_path: Path, change: Any
) -> None:
    run_audit(settings, records=tmp_path / "out")
    changed, number = change(settings, photographs)
    found = run_audit(changed, records=tmp_path / "out")
    assert counted(found)[1] == number
    again = run_audit(changed)
    assert found.results.metrics["forwards"] == again.results.metrics["forwards"]
    rows = zip(found.results.metrics["rows"], again.results.metrics["rows"], strict=True)
    for one, other in rows:  # other batches round otherwise
        assert (one["metric"], one["method"]) == (other["metric"], other["method"])
        assert one["missing"] == other["missing"]
        values = [[v for v in row["values"] if v is not None] for row in (one, other)]
        assert values[0] == pytest.approx(values[1], rel=1e-4, abs=1e-4)


def test_metrics_of_the_model_and_of_the_walled_one_are_kept_apart(
    settings: Settings, tmp_path: Path
) -> None:
    both = replace(settings, checks=("dead-zone", "sparsity"), wall="split", live_rows=4)
    run_audit(both, records=tmp_path / "out")
    behind = replace(both, metrics_on="walled")
    found = run_audit(behind, records=tmp_path / "out")
    assert plain(found) == plain(run_audit(behind))
    assert {cell.check for cell in latest(tmp_path / "out")} == {"metrics, walled"}


def test_a_region_that_moves_recomputes_its_image(
    settings: Settings, photographs: Path, tmp_path: Path
) -> None:
    regions = boxes(tmp_path, photographs)
    asked = replace(settings, checks=("localisation", "sparsity"), regions=regions)
    run_audit(asked, records=tmp_path / "out")
    told = json.loads(regions.read_text())
    told["annotations"][-1]["bbox"] = [1, 1, 20, 20]
    regions.write_text(json.dumps(told))
    found = run_audit(asked, records=tmp_path / "out")
    assert counted(found)[1] == 3  # the cheap methods on the last image
    assert plain(found) == plain(run_audit(asked))


LIBRARY = """
import torch

def heat(model, layer, images, targets):
    model.eval().requires_grad_(False)
    return images.abs().sum(dim=1)
"""


def test_what_an_explainer_left_on_the_model_is_told_again(
    settings: Settings, tmp_path: Path
) -> None:
    (tmp_path / "library.py").write_text(LIBRARY)
    asked = replace(settings, checks=("sparsity",), explainers=(f"{tmp_path / 'library.py'}:heat",))
    first, second = (run_audit(asked, records=tmp_path / "out") for _ in range(2))
    assert any("left on the model" in text for text in first.results.warnings)
    assert counted(second)[1] == 0
    assert plain(second) == plain(first)
    (tmp_path / "library.py").write_text(LIBRARY.replace("abs()", "square()"))
    third = run_audit(asked, records=tmp_path / "out")
    assert counted(third)[1] == 2 * IMAGES


def test_metrics_are_exported(settings: Settings, tmp_path: Path) -> None:
    outcome = run_audit(settings, records=tmp_path / "out")
    with open_store(tmp_path / "out") as store:
        count = export(store, 1, tmp_path / "t.csv", "csv")
        export(store, 1, tmp_path / "t.parquet", "parquet")
    with (tmp_path / "t.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert len(table) == count
    places = {image["id"]: n for n, image in enumerate(outcome.results.provenance.images)}
    wanted = {(row["metric"], row["method"]): row["values"] for row in
              outcome.results.metrics["rows"] if row["metric"] != "win"}  # fmt: skip
    assert {(row["metric"], row["method"]) for row in table} == set(wanted)
    for row in table:
        value = wanted[row["metric"], row["method"]][places[row["image"]]]
        assert row["value"] == ("" if value is None else repr(value))
        assert row["status"] == ("constant map" if value is None else "ok")
        assert row["mu_l1"] == ""


SCRIPT = """
import json, sys
from pathlib import Path
sys.path.insert(0, {root!r})
from camaudit.audit.run import run_audit
from camaudit.audit.settings import Settings
settings = Settings(
    model=sys.argv[1], images=Path(sys.argv[2]), image_size=64, preprocess="0.5/0.5",
    num_images={images}, perturbation_images={costly}, batch_size=4, layer="0", methods={methods!r},
    checks={checks!r},
)
found = run_audit(settings, records=Path(sys.argv[3]))
del (plain := found.results.to_dict())["timing"]
print(json.dumps(plain, sort_keys=True))
print(found.results.timing["cells"]["computed"], file=sys.stderr)
"""


@pytest.fixture
def process(settings: Settings, photographs: Path, tmp_path: Path) -> Iterator[Any]:
    """Starts the same run in a process of its own."""
    code = SCRIPT.format(
        root=str(Path(__file__).parents[2]), methods=METHODS, images=IMAGES, costly=COSTLY,
        checks=CHECKS,
    )  # fmt: skip
    command = [sys.executable, "-c", code, settings.model, str(photographs), str(tmp_path / "out")]
    started = []

    def start() -> subprocess.Popen[str]:
        started.append(subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ))  # fmt: skip
        return started[-1]

    yield start
    for one in started:
        one.kill()
        one.communicate()


@pytest.mark.long
def test_a_killed_run_goes_on_where_it_was_also_in_two_processes_at_once(
    settings: Settings, tmp_path: Path, process: Any
) -> None:
    expected = json.loads(json.dumps(plain(run_audit(settings))))
    victim, kept = process(), 0
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and victim.poll() is None and kept < 2 * IMAGES:
        if (tmp_path / "out" / f"{STORE_NAME}-wal").exists():
            with open_store(tmp_path / "out") as store:
                kept = sum(count for *_, count in store.counts())
        time.sleep(0.01)
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    both = [process(), process()]
    told, cells = zip(*(one.communicate() for one in both), strict=True)
    assert all(json.loads(one) == expected for one in told)
    computed = [int(one.splitlines()[-1]) for one in cells]
    assert sum(computed) <= CELLS - kept < CELLS  # nothing twice
