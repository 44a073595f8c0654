"""Figures by data set: recomputed from the records, valid by the schema, on the command line."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from click.testing import CliRunner

from camaudit import cli
from camaudit.audit.images import AuditImages, DataSet
from camaudit.audit.run import run_audit
from camaudit.audit.settings import Settings
from camaudit.audit.summary import summarise, summarise_data
from camaudit.data.stack_mix import StackImage
from camaudit.schema import results_schema
from camaudit.types import DeadZoneFigures, Interval, Record, Results, Status
from tests.audit.data_sets import generated, mixed, plain
from tests.report.page import Page
from tests.subjects import write_factory

METHODS_RUN = ("gradcam", "hirescam", "scorecam", "uniform")
PIXELS = np.zeros((2, 2, 3), np.uint8)
COUNTS = {"stack-mix": 4, "stack-gen": 2, "holiday": 1}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    home = tmp_path_factory.mktemp("sets")
    return [
        mixed(home / "mix", count=4), generated(home / "gen", count=2),
        plain(home / "holiday", count=1),
    ]  # fmt: skip


@pytest.fixture(scope="module")
def subject(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"{write_factory(tmp_path_factory.mktemp('subject'))}:build"


@pytest.fixture(scope="module")
def results(folders: list[Path], subject: str) -> Results:
    outcome = run_audit(
        Settings(
            model=subject, data=tuple(folders), methods=METHODS_RUN, wall="split", layer="0",
            perturbation_images=3, preprocess="0.5/0.5",
        )
    )  # fmt: skip
    assert not outcome.failed
    return outcome.results


def column(name: str) -> Callable[[Record], float | None]:
    """The figure of a record that a summary's field is the mean of."""
    return {
        "mu_l1": lambda record: record.mu_l1,
        "mu_l2": lambda record: record.mu_l2,
        "mu_l1_minmax": lambda record: record.mu_l1_minmax,
        "unmasked": lambda record: record.unmasked and paired(record, record.unmasked.mu_l1),
        "unmasked_l2": lambda record: record.unmasked and paired(record, record.unmasked.mu_l2),
    }[name]  # type: ignore[return-value]


def paired(record: Record, twin: float | None) -> float | None:
    return None if record.mu_l1 is None else twin


FIELDS = ("mu_l1", "mu_l2", "mu_l1_minmax", "unmasked", "unmasked_l2")


def require(interval: Interval | None, values: list[float | None]) -> None:
    """Mean and sample standard deviation by their definitions, in exact sums."""
    found = [value for value in values if value is not None]
    assert interval is not None
    assert interval.n == len(found)
    if not found:
        assert (interval.mean, interval.std) == (None, None)
        return
    mean = math.fsum(found) / len(found)
    assert interval.mean == pytest.approx(mean, rel=1e-12, abs=1e-15)
    if len(found) == 1:
        assert interval.std is None
        return
    variance = math.fsum((value - mean) ** 2 for value in found) / (len(found) - 1)
    assert interval.std == pytest.approx(math.sqrt(variance), rel=1e-9, abs=1e-12)


def test_every_set_is_summed_up_by_itself(results: Results) -> None:
    origin = {image["id"]: image["data"] for image in results.provenance.images}
    assert [one.name for one in results.data] == list(COUNTS)
    for one in results.data:
        assert one.images == COUNTS[one.name]
        assert [entry.method for entry in one.summary] == list(METHODS_RUN)
        for entry in one.summary:
            own = [
                record
                for record in results.records
                if record.method == entry.method and origin[record.image] == one.name
            ]
            ran = min(3, one.images) if entry.method == "scorecam" else one.images
            assert len(own) == ran == entry.n + entry.degenerate
            for field in FIELDS:
                require(getattr(entry, field), list(map(column(field), own)))
    whole = {entry.method: entry for entry in results.summary}
    for method in METHODS_RUN:
        counts = [
            entry.n for one in results.data for entry in one.summary if entry.method == method
        ]
        assert sum(counts) == whole[method].n
    note = "scorecam ran on 6 of 7 images, because that runs the model many times an image; "
    assert note + "--perturbation-images 4 takes all" in results.warnings


def test_a_set_in_company_scores_as_it_does_alone(
    results: Results, folders: list[Path], subject: str
) -> None:
    alone = run_audit(
        Settings(
            model=subject, data=(folders[1],), methods=("gradcam", "hirescam"), wall="split",
            layer="0", preprocess="0.5/0.5",
        )
    ).results  # fmt: skip
    assert alone.data[0].sha256 == results.data[1].sha256
    for one, other in zip(alone.data[0].summary, results.data[1].summary, strict=False):
        assert one.method == other.method
        for field in FIELDS:
            first, second = getattr(one, field), getattr(other, field)
            assert first.mean == pytest.approx(second.mean, rel=1e-5, abs=1e-9)
    assert [record.image for record in alone.records[:2]] == [
        record.image.removeprefix("stack-gen/")
        for record in results.records
        if record.method == "gradcam" and record.image.startswith("stack-gen/")
    ]  # fmt: skip


def test_the_results_fit_the_schema(results: Results) -> None:
    plain_values = json.loads(json.dumps(results.to_dict(), allow_nan=False))
    schema = results_schema()
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(plain_values)
    listed = schema["properties"]["data"]["items"]
    assert set(listed["properties"]) == set(listed["required"]) == set(plain_values["data"][0])
    for bend in (
        lambda one: one.pop("sha256"), lambda one: one.update(kind="stack"),
        lambda one: one.update(images=0), lambda one: one.update(name=""),
        lambda one: one.update(extra=1), lambda one: one["summary"][0].pop("n"),
    ):  # fmt: skip
        bent = json.loads(json.dumps(plain_values))
        bend(bent["data"][0])
        assert not validator.is_valid(bent)


def record(image: str, mu: float | None, twin: float | None, status: Status) -> Record:
    other = DeadZoneFigures(twin, twin, twin, Status.DEGENERATE if twin is None else Status.OK)
    return Record("dead-zone", "gradcam", image, 0, None, mu, mu, mu, status, None, other)


def test_undefined_figures_enter_no_mean() -> None:
    """Degenerate and failed maps are counted; a twin's figure counts where both are defined."""
    records = [
        record("a", 0.1, 0.4, Status.OK), record("b", None, 0.9, Status.DEGENERATE),
        record("c", 0.3, None, Status.OK), record("d", 0.2, 0.2, Status.OK),
        record("e", None, None, Status.ERROR),
    ]  # fmt: skip
    sets = tuple(DataSet(name, Path(name), None, None) for name in ("one", "two"))
    images = AuditImages(
        tuple(StackImage(n, PIXELS, None, None, (), "single") for n in "abcde"),
        data=sets,
        origin=("one",) * 4 + ("two",),
    )
    one, two = summarise_data(
        records, images, families={"gradcam": "gradient", "cam": "activation"},
        scored_fraction=0.25, seed=0,
    )  # fmt: skip
    entry = one.summary[0]
    assert (one.images, entry.n, entry.degenerate, entry.errors) == (4, 3, 1, 0)
    require(entry.mu_l1, [0.1, 0.3, 0.2])
    for twin in (entry.unmasked, entry.unmasked_l2):
        require(twin, [0.4, 0.2])
    require(entry.difference, [0.1 - 0.4, 0.0])
    assert (entry.uniform, entry.uniform_l2) == (0.25, 0.5)
    assert (two.images, two.summary[0].errors) == (1, 1)
    for missing in (two.summary[0], one.summary[1], two.summary[1]):
        assert (missing.n, missing.mu_l1.mean, missing.mu_l1.std) == (0, None, None)
    assert one.summary[1].unmasked is None
    plain_summary = summarise(
        records[:4], families={"gradcam": "gradient"}, scored_fraction=0.25, seed=0
    )
    assert one.summary[:1] == plain_summary


# ------------------------------------------------------------------------------ command line


@pytest.fixture
def command(subject: str, tmp_path: Path) -> list[str]:
    return [
        "run", "--model", subject, "--wall", "split", "--layer", "0", "--methods",
        "gradcam,hirescam", "--preprocess", "0.5/0.5", "--out", str(tmp_path / "out"),
    ]  # fmt: skip


def test_two_data_sets_on_the_command_line(
    command: list[str], folders: list[Path], tmp_path: Path
) -> None:
    words = [*command, "--data", str(folders[0]), "--data", str(folders[1]), "--num-images", "2"]
    done = CliRunner().invoke(cli.cli, words, standalone_mode=False, catch_exceptions=False)
    assert done.return_value == 0
    assert "reading the data sets" in done.stderr
    for heading in ("STACK-MIX, 2 images", "STACK-GEN, 2 images"):
        assert heading in done.stdout
    assert done.stdout.count("mean ± standard deviation over images") == 2
    assert max(map(len, done.stdout.splitlines())) <= 80
    written = json.loads((tmp_path / "out" / "results.json").read_text())
    jsonschema.validate(written, results_schema(), cls=jsonschema.Draft202012Validator)
    assert written["settings"]["data"] == [str(folder) for folder in folders[:2]]
    assert [one["folder"] for one in written["data"]] == written["settings"]["data"]
    page = Page((tmp_path / "out" / "report.html").read_text())
    assert "STACK-MIX, 2 images" in page.text
    again = CliRunner().invoke(cli.cli, [*words, "--json"], standalone_mode=False)
    assert json.loads(again.stdout)["data"] == written["data"]


def main(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    with pytest.raises(SystemExit) as left:
        cli.main(words)
    assert isinstance(left.value.code, int)
    return left.value.code, capsys.readouterr().err


def test_what_is_wrong_with_data_sets_is_one_line(
    command: list[str], folders: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mix, nowhere = str(folders[0]), str(tmp_path / "nowhere")
    small = str(mixed(tmp_path / "small", count=1, side=32, dead_rows=16))
    cases = (
        (["--data", mix, "--images", mix], "--images and --data both say what to audit on"),
        (["--data", mix, "--data", mix], "is named twice"),
        (["--data", nowhere], "no folder"),
        (["--data", mix, "--data", small], "expected data sets of one square size"),
        (["--data", mix, "--image-size", "96"], "images of 64×64 pixels, the network reads 96×96"),
    )
    for words, message in cases:
        code, err = main([*command, *words], capsys)
        assert code == 2
        assert message in err
        assert "Traceback" not in err
    assert not (tmp_path / "out" / "results.json").exists()
