"""Audits read their images batch by batch: from folders, shards and rows, the figures the same."""

from __future__ import annotations

import io
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from camaudit.audit import worker as worker_module
from camaudit.audit.run import Outcome, run_audit
from camaudit.audit.settings import Settings
from camaudit.data.stack_mix import StackImage
from camaudit.data.stored import Recent
from camaudit.errors import ImageError
from tests.subjects import FACTORY

IMAGES = 10
BATCH = 3


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
        model=f"{tmp_path / 'subject.py'}:build", methods=("gradcam", "hirescam"),
        images=photographs, wall="split", layer="0", image_size=64, live_rows=4,
        num_images=IMAGES, batch_size=BATCH, preprocess="0.5/0.5",
    )  # fmt: skip


def figures(outcome: Outcome) -> list[Any]:
    """Every figure, by the bytes of the photograph that it is of."""
    shown = {one["id"]: one["sources"][0]["sha256"] for one in outcome.results.provenance.images}
    return sorted(
        (shown[one.image], one.method, one.mu_l1, one.unmasked and one.unmasked.mu_l1)
        for one in outcome.results.records
    )


def sharded(photographs: Path, folder: Path) -> Path:
    folder.mkdir()
    paths = sorted(photographs.iterdir())
    for number in range(2):
        with tarfile.open(folder / f"{number}.tar", "w") as archive:
            for path in paths[number::2]:
                archive.add(path, path.name)
    return folder


def rows(photographs: Path, folder: Path) -> str:
    datasets = pytest.importorskip("datasets")
    column = [{"bytes": path.read_bytes(), "path": None} for path in sorted(photographs.iterdir())]
    features = datasets.Features({"image": datasets.Image()})
    datasets.Dataset.from_dict({"image": column}, features=features).save_to_disk(folder)
    return f"hf:{folder}"


def test_where_photographs_lie_makes_no_difference(settings: Settings, tmp_path: Path) -> None:
    assert settings.images is not None
    expected = figures(run_audit(settings))
    shards = sharded(settings.images, tmp_path / "shards")
    assert figures(run_audit(replace(settings, images=shards))) == expected
    kept = Path(rows(settings.images, tmp_path / "rows"))
    assert figures(run_audit(replace(settings, images=kept))) == expected


@pytest.mark.parametrize(
    "checks",
    [("dead-zone",), ("dead-zone", "confidence", "sparsity"), ("dead-zone", "random-logit")],
)
def test_no_more_than_a_batch_is_ever_in_memory(
    settings: Settings, checks: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = replace(settings, checks=checks)
    expected = run_audit(settings)
    most = 0
    genuine = Recent.hold

    def bounded(self: Recent, stored: Any, pixels: Any) -> None:
        nonlocal most
        self._limit = 1  # one image
        genuine(self, stored, pixels)
        most = max(most, len(self._held))

    monkeypatch.setattr(Recent, "hold", bounded)
    batches: list[int] = []
    held = StackImage.held

    def counted(self: StackImage) -> StackImage:
        batches.append(1)
        return held(self)

    monkeypatch.setattr(StackImage, "held", counted)
    found = run_audit(settings)
    assert most == 1
    assert len(batches) == IMAGES  # once for all methods
    first, second = (one.results.to_dict() for one in (expected, found))
    assert {**first, "timing": {}} == {**second, "timing": {}}


def test_a_photograph_that_changes_ends_the_run_which_goes_on_later(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert settings.images is not None
    expected = figures(run_audit(settings))
    folder = tmp_path / "out"
    victim = settings.images / "7.png"
    before = victim.read_bytes()
    genuine = worker_module.Worker.decide
    monkeypatch.setattr(Recent, "of", lambda *_: None)

    def spoiling(self: Any, batch: Any) -> Any:
        buffer = io.BytesIO()
        Image.fromarray(np.zeros((80, 80, 3), np.uint8)).save(buffer, "PNG")
        victim.write_bytes(buffer.getvalue())
        return genuine(self, batch)

    with monkeypatch.context() as patched:
        patched.setattr(worker_module.Worker, "decide", spoiling)
        with pytest.raises(ImageError, match=r"7.png was changed or removed .* begin again"):
            run_audit(settings, records=folder)
    victim.write_bytes(before)
    again = run_audit(settings, records=folder)
    assert figures(again) == expected
    assert again.results.timing["cells"] == {"found": 2 * 2 * BATCH, "computed": 2 * (10 - 6)}


def test_known_batches_are_not_read_again(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_audit(settings, records=tmp_path / "out")
    asked: list[str] = []
    held = StackImage.held
    monkeypatch.setattr(StackImage, "held", lambda self: (asked.append(self.id), held(self))[1])
    run_audit(settings, records=tmp_path / "out")
    assert not asked


def test_a_policy_names_rows_and_shards_from_its_own_folder(
    settings: Settings, tmp_path: Path
) -> None:
    from camaudit.audit.gating import settings_of
    from camaudit.gates.reading import read_policy

    assert settings.images is not None
    sharded(settings.images, tmp_path / "shards")
    for given, wanted in (
        ("shards/0.tar", tmp_path / "shards/0.tar"),
        ("hf:rows(split=test)", Path(f"hf:{tmp_path}/rows(split=test)")),
    ):
        path = tmp_path / "camaudit.toml"
        path.write_text(
            'version = 1\n[subject]\nmodel = "lite0"\n'
            f'[images]\nfolder = "{given}"\n'
            '[[condition]]\nname = "a"\nrequire = "dead_zone.mu_l1 <= uniform"\n'
        )
        assert settings_of(read_policy(path)).images == wanted
    shutil.rmtree(tmp_path / "shards")
