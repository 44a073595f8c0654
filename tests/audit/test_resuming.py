"""Runs into one folder: nothing is computed twice, nothing is lost, results are the same."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from camaudit.audit import checking as checking_module
from camaudit.audit import worker as worker_module
from camaudit.audit.run import Outcome, run_audit
from camaudit.audit.scoring import Scored
from camaudit.audit.settings import Settings
from camaudit.errors import OutputError
from camaudit.store import STORE_NAME, Cell, Store, open_store
from camaudit.types import DeadZoneFigures, Status
from tests.subjects import FACTORY

METHODS = ("gradcam", "hirescam", "scorecam", "random")
IMAGES = 9


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    folder = tmp_path / "photographs"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for number in range(IMAGES):
        pixels = draw.integers(0, 255, (80, 80, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


@pytest.fixture
def settings(tmp_path: Path, photographs: Path) -> Settings:
    (tmp_path / "subject.py").write_text(FACTORY)
    return Settings(
        model=f"{tmp_path / 'subject.py'}:build", methods=METHODS, images=photographs,
        wall="split", layer="0", image_size=64, live_rows=4, num_images=IMAGES,
        perturbation_images=4, batch_size=4, preprocess="0.5/0.5",
    )  # fmt: skip


@pytest.fixture
def computed(monkeypatch: pytest.MonkeyPatch) -> Counter[tuple[str, str]]:
    """How often each method was run on each image."""
    counts: Counter[tuple[str, str]] = Counter()
    genuine = worker_module.Worker.score

    def counting(self: Any, batch: Any, method: str, part: slice) -> Any:
        counts.update((method, image.id) for image in batch.images[part])
        return genuine(self, batch, method, part)

    monkeypatch.setattr(worker_module.Worker, "score", counting)
    return counts


def audit(settings: Settings, folder: Path, **options: Any) -> Outcome:
    return run_audit(settings, records=folder, **options)


def plain(outcome: Outcome) -> dict[str, Any]:
    """All but timings."""
    found = outcome.results.to_dict()
    del found["timing"]
    return found


def same_maps(one: Outcome, other: Outcome) -> bool:
    return all(
        np.array_equal(a.maps[name], b.maps[name])
        for a, b in zip(one.gallery, other.gallery, strict=True) for name in METHODS
        if a.maps.get(name) is not None
    )  # fmt: skip


def test_a_second_run_computes_nothing_and_finds_the_same(
    settings: Settings, tmp_path: Path, computed: Counter[tuple[str, str]]
) -> None:
    alone = run_audit(settings)
    cells = sum(computed.values())
    assert cells == 3 * IMAGES + 4
    computed.clear()
    first = audit(settings, tmp_path / "out")
    assert set(computed.values()) == {1}
    assert sum(computed.values()) == cells
    computed.clear()
    second = audit(settings, tmp_path / "out")
    assert not computed
    assert plain(alone) == plain(first) == plain(second)
    assert same_maps(first, second)
    assert second.results.timing["cells"] == {"found": cells, "computed": 0}
    third = audit(settings, tmp_path / "out", fresh=True)
    assert sum(computed.values()) == cells
    assert plain(third) == plain(first)
    with open_store(tmp_path / "out") as store:
        assert [run.about["state"] for run in store.runs()] == ["done"] * 3


class StoppedError(Exception):
    pass


def stopping(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Break off a run when so many parts are kept."""
    genuine, left = Store.put, [after]

    def put(self: Store, cells: list[Cell], **options: Any) -> None:
        if not left[0]:
            raise StoppedError
        left[0] -= 1
        genuine(self, cells, **options)

    monkeypatch.setattr(Store, "put", put)


@pytest.mark.parametrize("after", [0, 1, 3, 8, 13])
def test_what_an_interrupted_run_kept_is_not_computed_again(
    settings: Settings, tmp_path: Path, computed: Counter[tuple[str, str]], after: int
) -> None:
    expected = run_audit(settings)
    with pytest.MonkeyPatch.context() as patch:
        stopping(patch, after)
        with pytest.raises(StoppedError):
            audit(settings, tmp_path / "out")
    with open_store(tmp_path / "out") as store:
        kept = {(one.method, one.image) for one in store.members(1) if one.check == "dead-zone"}
        assert store.runs()[0].about["state"] == "interrupted"
    computed.clear()
    outcome = audit(settings, tmp_path / "out")
    assert not kept & set(computed)
    assert len(kept) + sum(computed.values()) == 3 * IMAGES + 4
    assert plain(outcome) == plain(expected)


def test_what_ended_in_an_error_is_computed_again(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There may be more memory then: --batch-size is not part of a cell's key."""
    genuine = worker_module.score_pair

    def no_memory(method: str, *given: Any, **options: Any) -> Any:
        found, control, message = genuine(method, *given, **options)
        if method != "hirescam":
            return found, control, message
        nothing = DeadZoneFigures(None, None, None, Status.ERROR)
        return Scored([nothing] * len(found.figures), None), control, "out of memory"

    with monkeypatch.context() as patch:
        patch.setattr(worker_module, "score_pair", no_memory)
        failed = audit(settings, tmp_path / "out")
    assert failed.failed
    outcome = audit(settings, tmp_path / "out")
    assert outcome.results.timing["cells"] == {"found": 2 * IMAGES + 4, "computed": IMAGES}
    assert plain(outcome) == plain(run_audit(settings))


def changed_image(settings: Settings, photographs: Path) -> tuple[Settings, set[tuple[str, int]]]:
    Image.fromarray(np.full((80, 80, 3), 90, np.uint8)).save(photographs / "2.png")
    return settings, {(method, 2) for method in METHODS}


def added_method(settings: Settings, _: Path) -> tuple[Settings, set[tuple[str, int]]]:
    methods = (*METHODS, "layercam")
    return replace(settings, methods=methods), {("layercam", n) for n in range(IMAGES)}


def other_seed(settings: Settings, _: Path) -> tuple[Settings, set[tuple[str, int]]]:
    return replace(settings, seed=1), {("random", n) for n in range(IMAGES)}


def other_batches(settings: Settings, _: Path) -> tuple[Settings, set[tuple[str, int]]]:
    return replace(settings, batch_size=3), set()


def other_code(settings: Settings, _: Path) -> tuple[Settings, set[tuple[str, int]]]:
    path = Path(settings.model.rpartition(":")[0])
    path.write_text(path.read_text() + "\n# another model\n")
    return settings, {(m, n) for m in METHODS for n in range(4 if m == "scorecam" else IMAGES)}


def more_targets(settings: Settings, _: Path) -> tuple[Settings, set[tuple[str, int]]]:
    wanted = {(m, n) for m in METHODS for n in range(4 if m == "scorecam" else IMAGES)}
    return replace(settings, targets="top-2"), wanted


@pytest.mark.parametrize(
    "change",
    [changed_image, added_method, other_seed, other_batches, other_code, more_targets],
)
def test_a_change_recomputes_what_it_touches(
    settings: Settings,
    photographs: Path,
    tmp_path: Path,
    computed: Counter[tuple[str, str]],
    change: Any,
) -> None:
    audit(settings, tmp_path / "out")
    computed.clear()
    changed, touched = change(settings, photographs)
    found = audit(changed, tmp_path / "out")
    images = found.results.provenance.images
    places = {image["id"]: place for place, image in enumerate(images)}
    assert {(method, places[image]) for method, image in computed} == touched
    assert set(computed.values()) <= {1}
    again = run_audit(changed)
    for one, other in zip(found.results.records, again.results.records, strict=True):
        assert (one.method, one.image, one.target) == (other.method, other.image, other.target)
        assert one.mu_l1 == pytest.approx(other.mu_l1, abs=1e-6)  # other batches round otherwise


SCRIPT = """
import sys
from pathlib import Path
from dataclasses import replace
sys.path.insert(0, {root!r})
from camaudit.audit.run import run_audit
from camaudit.audit.scoring import Scored
from camaudit.audit.settings import Settings
settings = Settings(
    model=sys.argv[1], methods={methods!r}, images=Path(sys.argv[2]), wall="split", layer="0",
    live_rows=4, image_size=64, num_images={images}, perturbation_images=4, batch_size=4,
    preprocess="0.5/0.5",
)
found = run_audit(settings, records=Path(sys.argv[3]))
import json
del (plain := found.results.to_dict())["timing"]
print(json.dumps(plain, sort_keys=True))
print(found.results.timing["cells"]["computed"], file=sys.stderr)
"""


@pytest.fixture
def process(settings: Settings, photographs: Path, tmp_path: Path) -> Iterator[Any]:
    """Starts the same run in a process of its own."""
    code = SCRIPT.format(root=str(Path(__file__).parents[2]), methods=METHODS, images=IMAGES)
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


def test_a_killed_run_goes_on_where_it_was(
    settings: Settings, tmp_path: Path, process: Any
) -> None:
    expected = plain(run_audit(settings))
    victim = process()
    path = tmp_path / "out" / STORE_NAME
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and victim.poll() is None:
        if path.exists() and path.with_name(f"{STORE_NAME}-wal").exists():
            with open_store(tmp_path / "out") as store:
                if len(store.counts()) >= 2:
                    break
        time.sleep(0.02)
    victim.send_signal(signal.SIGKILL)
    victim.communicate()
    told, cells = process().communicate()
    assert json.loads(told) == json.loads(json.dumps(expected))
    assert int(cells.splitlines()[-1]) < 3 * IMAGES + 4


def test_two_processes_share_the_work(settings: Settings, process: Any) -> None:
    expected = json.loads(json.dumps(plain(run_audit(settings))))
    both = [process(), process()]
    found = [one.communicate() for one in both]
    assert [json.loads(told) for told, _ in found] == [expected, expected]
    assert sum(int(cells.splitlines()[-1]) for _, cells in found) == 3 * IMAGES + 4


def test_a_damaged_store_costs_only_what_is_damaged(
    settings: Settings, tmp_path: Path, computed: Counter[tuple[str, str]]
) -> None:
    expected = plain(audit(settings, tmp_path / "out"))
    path = tmp_path / "out" / STORE_NAME
    computed.clear()
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 4 // 5])
    assert plain(audit(settings, tmp_path / "out")) == expected
    assert 0 < sum(computed.values()) < 3 * IMAGES + 4


LEAVES = """
def leaves(model, layer, images, targets):
    if images.mean() > 0:
        model.train()
    else:
        model.requires_grad_(False)
    return images.mean(dim=1)
"""


def test_what_an_explainer_left_is_told_again(settings: Settings, tmp_path: Path) -> None:
    """That of the first image."""
    (tmp_path / "library.py").write_text(LEAVES)
    mine = replace(
        settings, methods=("gradcam",), explainers=(f"{tmp_path / 'library.py'}:leaves",),
        batch_size=1,
    )  # fmt: skip
    expected = plain(run_audit(mine))
    (told,) = (text for text in expected["warnings"] if "leaves left on the model" in text)
    assert told in run_audit(replace(mine, num_images=1)).results.warnings
    for _ in range(2):
        assert plain(audit(mine, tmp_path / "out")) == expected


@pytest.mark.parametrize("side", [64, 72])
def test_large_maps_are_kept_of_the_images_that_the_report_shows(
    settings: Settings, tmp_path: Path, side: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control's maps are as large as the image: 72×72 is more than a report holds."""
    monkeypatch.setattr(checking_module, "GALLERY_IMAGES", 2)
    settings = replace(settings, image_size=side, methods=("gradcam", "sobel"))
    folder = tmp_path / "out"
    expected = plain(audit(settings, folder))
    with open_store(folder) as store:
        cells = [one for run in store.runs() for one in store.members(run.number)]
    kept = {one.image for one in cells if one.method == "sobel" and one.blob is not None}
    assert len(kept) == (IMAGES if side == 64 else 2)
    assert all(one.blob is not None for one in cells if one.method == "gradcam")
    again = audit(settings, folder)
    assert again.results.timing["cells"] == {"found": 2 * IMAGES, "computed": 0}
    assert plain(again) == expected
    monkeypatch.setattr(checking_module, "GALLERY_IMAGES", 5)  # maps of three more are wanted
    more = audit(settings, folder)
    missing = 0 if side == 64 else 3
    assert more.results.timing["cells"] == {"found": 2 * IMAGES - missing, "computed": missing}
    assert plain(more) == expected


def test_a_removed_folder_ends_the_run_with_a_clear_error(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    genuine = Store.put

    def put(self: Store, cells: list[Cell], **options: Any) -> None:
        shutil.rmtree(tmp_path / "out")
        genuine(self, cells, **options)

    monkeypatch.setattr(Store, "put", put)
    with pytest.raises(OutputError, match=r"removed|cannot be used"):
        audit(settings, tmp_path / "out")
    monkeypatch.undo()
    assert plain(audit(settings, tmp_path / "out")) == plain(run_audit(settings))
