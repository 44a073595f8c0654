"""Sanity checks and invariance in runs into one folder: what is there is taken, and is the same."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from camaudit.audit import sanity as sanity_module
from camaudit.audit.run import Outcome, run_audit
from camaudit.audit.settings import Settings
from camaudit.audit.subject import load_subject
from camaudit.audit.units import Batch
from camaudit.cli import cli
from camaudit.sanity import walk as walk_module
from camaudit.store import Cell, Store, open_store

EXPLAINERS = '''
"""Explainers that leave something on the model, or whose code changes."""
import torch


def leaves(model, layer, images, targets):
    model.get_submodule(layer).register_forward_hook(lambda m, i, o: None)
    return images.mean(dim=1)


def plain(model, layer, images, targets):
    return images.mean(dim=1)
'''


@pytest.fixture
def settings(factory: Path, tmp_path: Path) -> Settings:
    folder, draw = tmp_path / "photographs", np.random.default_rng(0)
    folder.mkdir()
    for number in range(3):
        pixels = draw.integers(0, 255, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    (tmp_path / "explainers.py").write_text(EXPLAINERS)
    return Settings(
        model=f"{factory}:build", images=folder, image_size=32, preprocess="0.5/0.5",
        num_images=3, batch_size=2, layer="0", methods=("gradcam", "sobel"),
        checks=("mprt", "emprt", "random-logit"), sanity_seeds=2, cascade_steps=2,
    )  # fmt: skip


@pytest.fixture
def tested(settings: Settings) -> Settings:
    return replace(
        settings, checks=("invariance",), methods=("gradcam",), num_images=3, examples=1,
        properties=("determinism", "batch-order"),
    )  # fmt: skip


@pytest.fixture
def explained(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each method was run on a capture of the sanity checks."""
    counts: Counter[str] = Counter()
    genuine = walk_module.explain_all

    def counting(methods: Any, *given: Any, **options: Any) -> Any:
        counts.update(method.label for method in methods)
        return genuine(methods, *given, **options)

    monkeypatch.setattr(walk_module, "explain_all", counting)
    return counts


def plain(outcome: Outcome) -> dict[str, Any]:
    """All but timings."""
    found = outcome.results.to_dict()
    del found["timing"]
    return found


def same_pictures(one: Outcome, other: Outcome) -> bool:
    assert one.pictures
    return all(
        (a.id, a.steps, a.check, a.order, a.seed) == (b.id, b.steps, b.check, b.order, b.seed)
        and all(
            np.array_equal(left, right) if left is not None and right is not None else left is right
            for name in a.maps
            for left, right in zip(a.maps[name], b.maps[name], strict=True)
        )
        for a, b in zip(one.pictures, other.pictures, strict=True)
    )


class StoppedError(Exception):
    pass


def stopped(settings: Settings, folder: Path, after: int) -> None:
    """A run that is broken off when so many findings are kept."""
    genuine, left = Store.put, [after]

    def put(self: Store, cells: list[Cell], **options: Any) -> None:
        if not left[0]:
            raise StoppedError
        left[0] -= 1
        genuine(self, cells, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "put", put)
        with pytest.raises(StoppedError):
            run_audit(settings, records=folder)


def test_sanity_checks_go_on_where_a_run_was(
    settings: Settings, tmp_path: Path, explained: Counter[str]
) -> None:
    expected = run_audit(settings)
    for after in (0, 4, 9):
        out = tmp_path / f"after-{after}"
        stopped(settings, out, after)
        outcome = run_audit(settings, records=out)
        assert plain(outcome) == plain(expected)
        assert same_pictures(outcome, expected)
        assert outcome.results.timing["cells"]["found"] >= after
    explained.clear()
    again = run_audit(settings, records=out)
    assert not explained
    assert plain(again) == plain(expected)
    assert same_pictures(again, expected)
    cells = again.results.timing["cells"]
    assert (cells["computed"], cells["found"] > 9) == (0, True)
    fresh = run_audit(settings, records=out, fresh=True)
    assert explained
    assert plain(fresh) == plain(expected)
    assert fresh.results.timing["cells"] == {"found": 0, "computed": cells["found"]}


def test_all_known_no_pixel_is_read(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_audit(settings, records=tmp_path / "out")
    genuine, read = sanity_module.all_images, []

    def watched(subject: Any, images: Any) -> Any:
        stream = genuine(subject, images)
        load = stream._load
        stream._load = lambda part: (read.append(part), load(part))[1]
        return stream

    monkeypatch.setattr(sanity_module, "all_images", watched)
    monkeypatch.setattr(Batch, "held", lambda batch: (read.append(batch), batch)[1])
    run_audit(settings, records=tmp_path / "out")
    assert read == []
    run_audit(settings, records=tmp_path / "out", fresh=True)
    assert read


def changed_image(settings: Settings) -> tuple[Settings, dict[str, int]]:
    """The last one: its batch on the model, in two cascades of two states."""
    path = Path(settings.images or "") / "2.png"
    Image.fromarray(np.full((32, 32, 3), 90, np.uint8)).save(path)
    return settings, {"gradcam": 5, "sobel": 5}


def added_method(settings: Settings) -> tuple[Settings, dict[str, int]]:
    return replace(settings, methods=("gradcam", "sobel", "hirescam")), {"hirescam": 10}


def other_code(settings: Settings) -> tuple[Settings, dict[str, int]]:
    path = Path(settings.model.rpartition(":")[0])
    path.write_text(path.read_text() + "\n# another model\n")
    return settings, {"gradcam": 10, "sobel": 10}


def other_seed(settings: Settings) -> tuple[Settings, dict[str, int]]:
    return replace(settings, checks=("mprt", "emprt"), seed=1), {}


@pytest.mark.parametrize("change", [changed_image, added_method, other_code, other_seed])
def test_a_change_recomputes_what_it_touches(
    settings: Settings, tmp_path: Path, explained: Counter[str], change: Any
) -> None:
    run_audit(settings, records=tmp_path / "out")
    explained.clear()
    changed, touched = change(settings)
    found = run_audit(changed, records=tmp_path / "out")
    assert dict(explained) == touched
    assert plain(found) == plain(run_audit(changed))


def test_what_an_explainer_left_is_told_again(settings: Settings, tmp_path: Path) -> None:
    source = tmp_path / "explainers.py"
    mine = replace(
        settings, methods=("sobel",), explainers=(f"{source}:leaves", f"{source}:plain"),
        checks=("mprt",), sanity_seeds=1,
    )  # fmt: skip
    expected = run_audit(mine)
    assert any("leaves left on the model" in text for text in expected.results.warnings)
    for _ in range(2):
        found = run_audit(mine, records=tmp_path / "out")
        assert plain(found) == plain(expected)
    assert found.results.timing["cells"]["computed"] == 0
    source.write_text(EXPLAINERS + "\n# changed\n")
    changed = run_audit(mine, records=tmp_path / "out")
    cells = changed.results.timing["cells"]
    assert cells["computed"] > cells["found"] > 0


def test_invariance_tells_of_no_traces(tested: Settings, tmp_path: Path) -> None:
    """It puts its own networks back without a word, whatever ran in the run before it."""
    mine = replace(
        tested, explainers=(f"{tmp_path / 'explainers.py'}:leaves",), properties=("determinism",)
    )  # fmt: skip
    both = replace(mine, checks=("mprt", "invariance"), sanity_seeds=1, cascade_steps=2)
    first = run_audit(both, records=tmp_path / "out")
    assert any("leaves left on the model" in text for text in first.results.warnings)
    found = run_audit(mine, records=tmp_path / "out")
    assert found.results.timing["cells"]["found"] > 0
    assert found.results.warnings == run_audit(mine).results.warnings


def test_the_second_model_is_part_of_what_it_gave(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "permuted.pt"
    both = replace(
        settings, checks=("random-logit", "data-randomisation"), permuted=str(path)
    )  # fmt: skip
    state = load_subject(settings).model.state_dict()
    cells = []
    for added in (1, 1, 2):
        torch.save({name: value + added for name, value in state.items()}, path)
        found = run_audit(both, records=tmp_path / "out")
        cells.append(found.results.timing["cells"])
    assert plain(found) == plain(run_audit(both))
    tables = 2 * 2 * 2  # checks × batches × methods
    assert cells[0] == {"found": 0, "computed": 1 + tables}
    assert cells[1] == {"found": 1 + tables, "computed": 0}
    assert cells[2] == {"found": tables / 2, "computed": 1 + tables / 2}


def test_invariance_goes_on_where_a_run_was(tested: Settings, tmp_path: Path) -> None:
    mine = replace(tested, explainers=(f"{tmp_path / 'explainers.py'}:plain",))
    expected, out = plain(run_audit(mine)), tmp_path / "out"
    stopped(mine, out, 3)
    outcome = run_audit(mine, records=out)
    assert plain(outcome) == expected
    assert outcome.results.timing["cells"]["found"] == 3
    again = run_audit(mine, records=out)
    assert plain(again) == expected
    assert again.results.timing["cells"] == {"found": 8, "computed": 0}
    fewer = run_audit(replace(mine, methods=("hirescam",)), records=out)
    assert fewer.results.timing["cells"] == {"found": 4, "computed": 4}


def test_invariance_reads_no_image_where_all_is_known(
    tested: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_audit(tested, records=tmp_path / "out")
    monkeypatch.setattr("camaudit.audit.invariance._own", None)
    run_audit(tested, records=tmp_path / "out")
    with pytest.raises(TypeError):
        run_audit(tested, records=tmp_path / "out", fresh=True)


def test_the_store_says_what_its_cells_are_of(
    settings: Settings, tested: Settings, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run_audit(replace(settings, sanity_seeds=1), records=out)
    run_audit(tested, records=out)
    with open_store(out) as store:
        kept = {(cell.check, cell.method) for cell in store.members(1)}
        assert kept == {("sanity", ""), ("sanity", "gradcam"), ("sanity", "sobel")}
        assert {(one.check, one.method) for one in store.members(2)} == {("invariance", "gradcam")}
        assert all(cell.status == "ok" for cell in store.members(1))
    told = CliRunner().invoke(cli, ["runs", "show", str(out)], catch_exceptions=False)
    assert "4  invariance   ok              gradcam" in told.stdout
    table = tmp_path / "table.csv"
    done = CliRunner().invoke(
        cli, ["runs", "export", str(out), "--out", str(table)], catch_exceptions=False
    )
    assert "wrote 0 rows" in done.stdout
    listed = CliRunner().invoke(cli, ["runs", "list", str(out)], catch_exceptions=False)
    assert listed.stdout.count("done") == 2
