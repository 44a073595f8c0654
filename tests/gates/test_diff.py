"""Two runs compared image by image."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from camaudit.cli import cli, main
from camaudit.gates.diff import Change, Comparison, Difference, compare
from tests.gates.runs import cells, dead_zone_run, invariance_run, sanity_run


def shifted(run: dict[str, Any], by: float, *, noise: float = 0.002) -> dict[str, Any]:
    """The run with gradcam's figures moved, by about the same in every image."""
    made = copy.deepcopy(run)
    drawn = np.random.default_rng(4).normal(by, noise, len(made["records"]))
    for record, move in zip(made["records"], drawn, strict=True):
        if record["method"] == "gradcam":
            for name in ("mu_l1", "mu_l2", "mu_l1_minmax"):
                record[name] += float(move)
    return made


def of(found: Comparison, figure: str, explainer: str = "gradcam") -> Difference:
    (one,) = [d for d in found.differences if (d.figure, d.explainer) == (figure, explainer)]
    return one


@pytest.mark.parametrize(
    ("by", "change", "code"),
    [(0.005, "worse", 1), (-0.005, "better", 0), (0.0, "no difference shown", 0)],
)
def test_a_shift_that_the_images_share_is_seen(by: float, change: str, code: int) -> None:
    """It is a quarter of the spread between images, which pairing takes out."""
    run = dead_zone_run()
    found = compare(run, shifted(run, by))
    one = of(found, "dead_zone.mu_l1")
    assert one.change == change
    assert found.exit_code == code
    assert one.n == 50
    assert one.difference == pytest.approx(by, abs=0.001)
    assert one.low is not None
    assert one.high is not None
    assert one.low < by < one.high
    assert (one.second or 0) - (one.first or 0) == pytest.approx(one.difference)


def test_a_run_is_identical_to_itself() -> None:
    for run in (dead_zone_run(), sanity_run(), invariance_run(methods=("gradcam",), foreign=())):
        found = compare(run, run)
        assert {one.change for one in found.differences} == {Change.SAME}
        assert found.exit_code == 0


def test_controls_are_not_compared() -> None:
    found = compare(dead_zone_run(), dead_zone_run())
    assert {one.explainer for one in found.differences} == {"gradcam"}


def test_what_only_one_run_has_is_not_comparable() -> None:
    one = dead_zone_run({"gradcam": cells(), "scorecam": cells(seed=1)})
    other = dead_zone_run({"gradcam": cells()})
    for found in (compare(one, other), compare(other, one)):
        assert of(found, "dead_zone.mu_l1", "scorecam").change is Change.INCOMPARABLE
        assert found.exit_code == 4
    assert compare(sanity_run(), dead_zone_run()).exit_code == 4


def test_other_images_are_not_comparable() -> None:
    other = dead_zone_run()
    other["images"][0]["sha256"] = "another"
    one = of(compare(dead_zone_run(), other), "dead_zone.mu_l1")
    assert one.change is Change.INCOMPARABLE
    assert "share 49 images" in one.reason


def test_errors_are_not_comparable() -> None:
    other = dead_zone_run({"gradcam": [*cells(49), "error"]})
    one = of(compare(dead_zone_run(), other), "dead_zone.mu_l1")
    assert one.change is Change.INCOMPARABLE
    assert "in the second run (error)" in one.reason


def test_few_images_are_not_comparable_and_many_undefined_ones_neither() -> None:
    few = dead_zone_run({"gradcam": cells(5)})
    assert of(compare(few, shifted(few, 0.5)), "dead_zone.mu_l1").change is Change.INCOMPARABLE
    one = dead_zone_run({"gradcam": [None] * 5 + cells(5)})
    other = dead_zone_run({"gradcam": [*cells(5), None, None, None, None, None]})
    assert of(compare(one, other), "dead_zone.mu_l1").change is Change.INCOMPARABLE


def test_counts_are_compared_as_they_are() -> None:
    one = invariance_run(methods=("gradcam",), foreign=())
    other = copy.deepcopy(one)
    other["invariance"]["findings"][0]["outcome"] = "bug"
    found = compare(one, other)
    assert (of(found, "invariance.bugs").change, found.exit_code) == (Change.WORSE, 1)
    assert of(compare(other, one), "invariance.bugs").change is Change.BETTER
    other["invariance"]["findings"] = other["invariance"]["findings"][:-1]
    assert of(compare(one, other), "invariance.bugs").change is Change.INCOMPARABLE


def test_a_rise_of_complexity_is_better() -> None:
    one = sanity_run(methods=("gradcam",))
    other = copy.deepcopy(one)
    table = next(t for t in other["sanity"]["tables"] if t["check"] == "emprt")
    table["values"] = [[value + 0.1 for value in row] for row in table["values"]]
    assert of(compare(one, other), "emprt.rise").change is Change.BETTER
    assert of(compare(other, one), "emprt.rise").change is Change.WORSE


def test_holm_allows_for_all_that_is_compared() -> None:
    names = [f"m{number}" for number in range(15)]
    one = dead_zone_run({name: cells(40, seed=place) for place, name in enumerate(names)})
    false = 0
    for seed in range(8):
        other = copy.deepcopy(one)
        rng = np.random.default_rng(seed)
        for record in other["records"]:
            record["mu_l1"] += float(rng.normal(0, 0.005))
        found = compare(one, other)
        false += any(d.change in (Change.WORSE, Change.BETTER) for d in found.differences)
    assert false <= 2  # 5 % of 8 is less than 1; without Holm it would be about half of them


def test_notes_say_what_else_differs() -> None:
    other = shifted(dead_zone_run(), 0.01)
    other["subject"]["state_sha256"] = "new"
    notes = " ".join(compare(dead_zone_run(), other).notes)
    assert "state_sha256" in notes
    assert "Holm" in notes


def written(folder: Path, run: dict[str, Any]) -> Path:
    folder.mkdir()
    (folder / "results.json").write_text(json.dumps(run))
    return folder


def test_the_command_prints_a_table_or_json(tmp_path: Path) -> None:
    one, other = dead_zone_run(), shifted(dead_zone_run(), 0.01)
    paths = [str(written(tmp_path / "a", one)), str(written(tmp_path / "b", other))]
    shown = CliRunner().invoke(cli, ["diff", *paths], standalone_mode=False)
    assert shown.return_value == 1
    assert "dead_zone.mu_l1" in shown.output
    assert "worse" in shown.output
    shown = CliRunner().invoke(cli, ["diff", "--json", *paths], standalone_mode=False)
    assert json.loads(shown.stdout) == compare(one, other).to_dict()


@pytest.mark.parametrize(
    ("content", "code"), [(None, 2), ("{", 3), ('{"schema": 1}', 3), ("{}", 3)]
)
def test_a_run_that_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str | None, code: int
) -> None:
    good = written(tmp_path / "a", dead_zone_run())
    path = tmp_path / "other.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SystemExit) as left:
        main(["diff", str(good), str(path)])
    assert left.value.code == code
    assert "other.json" in capsys.readouterr().err
