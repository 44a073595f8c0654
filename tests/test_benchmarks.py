"""The benchmarks' own logic: medians, targets, records, tables and the command; no real timing."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from click.testing import CliRunner, Result
from torch import nn

from camaudit.cut import cut_at
from camaudit.engine import Engine, prepare
from tests.benchmarks import command, worker
from tests.benchmarks.card import Card
from tests.benchmarks.cases import CASES, Case, Target
from tests.benchmarks.contests import GRADIENT_AND_EIGEN, SEVEN, methods_contest, torchcam_contest
from tests.benchmarks.memory import FlatCost, Peaks
from tests.benchmarks.metrics import SEVEN as SEVEN_OF_METRICS
from tests.benchmarks.metrics import Subject, metrics_contest
from tests.benchmarks.pairs import Pair
from tests.benchmarks.record import FORMAT, failed, measured, read, save
from tests.benchmarks.reduced import Reduced
from tests.benchmarks.suite import Eta, select
from tests.benchmarks.table import BEGIN, END
from tests.benchmarks.timing import Contest, Outcome, Setting, duration

ROOT = Path(__file__).parent.parent

NUMBERS = {"type": "array", "items": {"type": "number", "exclusiveMinimum": 0}}
MAYBE = {"type": ["number", "null"]}
TARGET = {
    "type": "object",
    "required": ["figure", "sense", "bound", "unit", "text", "value", "reached"],
    "properties": {
        "sense": {"enum": ["at least", "at most"]},
        "bound": {"type": "number"},
        "value": MAYBE,
        "reached": {"type": ["boolean", "null"]},
    },
}
CASE = {
    "type": "object",
    "required": [
        "name", "what", "aim", "status", "message", "extrapolated", "targets", "times_s",
        "figures", "details", "shown", "notes",
    ],
    "properties": {
        "name": {"type": "string"},
        "what": {"type": "string"},
        "aim": MAYBE,
        "details": {"type": "object"},
        "status": {"enum": ["measured", "failed"]},
        "message": {"type": ["string", "null"]},
        "extrapolated": {"type": "boolean"},
        "targets": {"type": "array", "items": TARGET},
        "times_s": {"type": "object", "additionalProperties": NUMBERS},
        "figures": {"type": "object", "additionalProperties": MAYBE},
        "shown": {"type": "object", "additionalProperties": {"type": "string"}},
        "notes": {"type": "array", "items": {"type": "string"}},
    },
    "additionalProperties": False,
}  # fmt: skip
SCHEMA = {
    "type": "object",
    "required": ["format", "date", "machine", "settings", "cases"],
    "properties": {
        "format": {"const": FORMAT},
        "date": {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT"},
        "machine": {
            "type": "object",
            "required": ["cpu", "cores", "threads", "memory_gb", "load_average", "versions", "gpu"],
            "properties": {
                "cpu": {"type": "string", "minLength": 1},
                "cores": {"type": "integer", "minimum": 1},
                "versions": {
                    "type": "object",
                    "required": ["torch", "torchvision", "pytorch-grad-cam", "torchcam"],
                },
                "gpu": {"type": ["object", "null"]},
            },
        },
        "settings": {
            "type": "object",
            "required": ["device", "rounds", "threads", "warm_up_rounds", "keep_freed_memory"],
        },
        "cases": {"type": "array", "items": CASE},
    },
    "additionalProperties": False,
}


class Clock:
    """Seconds that pass only when something is said to take them."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds

    def taking(self, *durations: float, gives: Any = None) -> Callable[[], Any]:
        """A call that takes each of `durations` in turn."""
        left = iter(durations)

        def call() -> Any:
            self.seconds += next(left)
            return gives

        return call


RATIO = Target("ratio", "at least", 4, "×")
EQUAL = Target("map_difference", "at most", 1e-4)


def fake(
    clock: Clock,
    name: str = "fake",
    *,
    peer: tuple[float, ...] = (99, 10, 30, 11),
    ours: tuple[float, ...] = (99, 2, 3, 1),
    differences: tuple[float, ...] = (1e-6, 3e-6, 2e-6),
    **options: Any,
) -> Case:
    """A case of three rounds and a warm-up, whose times and differences are given."""

    def build(_setting: Setting) -> Contest:
        left = iter(differences)
        return Contest(
            clock.taking(*peer), clock.taking(*ours), lambda *_: {"map_difference": next(left)}
        )

    return Case(name, "a fake", (RATIO, EQUAL), build, **options)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def run(
    clock: Clock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[Result, dict[str, Any]]]:
    """The command on given cases with the fake clock; its result and the record that it saved."""
    monkeypatch.setattr(command, "keep_freed_memory", lambda: True)
    out = tmp_path / "record.json"

    def invoke(cases: list[Case], *arguments: str) -> tuple[Result, dict[str, Any]]:
        given = ["--rounds", "3", "--out", str(out), *arguments]
        done = CliRunner().invoke(command.main, given, obj=(cases, Setting(clock=clock)))
        return done, json.loads(out.read_text()) if out.exists() else {}

    return invoke


# --- medians, targets, records --------------------------------------------------------------------


def test_the_warm_up_does_not_count_and_medians_do(clock: Clock) -> None:
    outcome = fake(clock).build(Setting()).run(Setting(rounds=3, clock=clock))
    assert outcome.times == {"peer": [10, 30, 11], "ours": [2, 3, 1]}
    assert outcome.figures["ratio"] == 11 / 2
    assert outcome.figures["median_of_ratios"] == 10  # of 5, 10 and 11
    assert (outcome.figures["peer_median_s"], outcome.figures["peer_min_s"]) == (11, 10)
    assert (outcome.figures["ours_median_s"], outcome.figures["ours_min_s"]) == (2, 1)
    assert outcome.figures["map_difference"] == 3e-6
    assert outcome.shown == {
        "peer": "11 s", "ours": "2 s", "result": "5.5×", "difference": "3.0e-06",
    }  # fmt: skip


def test_both_sides_run_in_turn(clock: Clock) -> None:
    order: list[str] = []
    contest = Contest(lambda: order.append("peer"), lambda: order.append("ours"), lambda *_: {})

    def ticking() -> float:
        clock.seconds += 1
        return clock.seconds

    contest.run(Setting(rounds=2, clock=ticking))
    assert order == ["peer", "ours"] * 3


def test_a_target_is_reached_missed_or_not_measured() -> None:
    assert RATIO.reached(4.0) is True
    assert RATIO.reached(3.99) is False
    assert EQUAL.reached(1e-4) is True
    assert EQUAL.reached(float("inf")) is False
    assert RATIO.reached(float("nan")) is False
    assert RATIO.reached(None) is None
    assert (RATIO.text, EQUAL.text) == ("≥ 4×", "≤ 0.0001")


def test_a_map_that_is_not_a_number_is_no_equal_map(clock: Clock) -> None:
    case = fake(clock, differences=(1e-6, float("nan"), 1e-6))
    outcome = case.build(Setting()).run(Setting(rounds=3, clock=clock))
    entry = measured(case, outcome)
    assert entry["figures"]["map_difference"] is None
    assert [target["reached"] for target in entry["targets"]] == [True, False]


def test_only_a_cpu_is_held_to_the_targets() -> None:
    entry = measured(CASES[2], Outcome({}, {"ratio": 1.0}, {}), held=False)
    assert entry["targets"] == []
    assert entry["aim"] is None


def test_a_record_is_written_whole_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    save({"format": FORMAT, "cases": []}, path)
    assert read(path)["cases"] == []
    assert list(tmp_path.iterdir()) == [path]
    path.write_text('{"format": "another"}')
    with pytest.raises(ValueError, match="no record of these benchmarks"):
        read(path)


def test_durations_are_short() -> None:
    assert [duration(s) for s in (0.0042, 0.5, 3.14159, 99.0, 310.0)] == [
        "4.2 ms", "500 ms", "3.14 s", "99 s", "5.2 min",
    ]  # fmt: skip


# --- the command ----------------------------------------------------------------------------------


def test_the_table_and_the_record(run: Any, clock: Clock) -> None:
    done, record = run([fake(clock)])
    assert done.exit_code == 0, done.output
    jsonschema.validate(record, SCHEMA)
    (entry,) = record["cases"]
    assert entry["times_s"] == {"peer": [10, 30, 11], "ours": [2, 3, 1]}
    assert [target["reached"] for target in entry["targets"]] == [True, True]
    header, rule, row, *_ = done.stdout.splitlines()
    assert header.split() == [
        "case", "peer", "ours", "result", "target", "reached", "map", "difference",
    ]  # fmt: skip
    assert set(rule) == {"-", " "}
    assert re.split(r" {2,}", row) == ["fake", "11 s", "2 s", "5.5×", "≥ 4×", "yes", "3.0e-06"]
    assert "medians of 3" in done.stdout
    assert record["machine"]["cpu"] in done.stdout


def test_a_missed_target_is_named_and_is_no_failure(run: Any, clock: Clock) -> None:
    done, record = run([fake(clock, ours=(9, 9, 9, 9), aim=5.0)])
    assert done.exit_code == 0
    assert "≥ 4× (aim 5×)" in done.stdout
    assert "no: ratio ≥ 4×" in done.stdout
    assert record["cases"][0]["targets"][0]["reached"] is False


def test_a_case_that_fails_is_recorded_and_the_others_run(run: Any, clock: Clock) -> None:
    def broken(_setting: Setting) -> Contest:
        raise OSError("no such network")

    cases = [Case("broken", "never works", (RATIO,), broken), fake(clock)]
    done, record = run(cases)
    assert done.exit_code == 1
    jsonschema.validate(record, SCHEMA)
    assert [entry["status"] for entry in record["cases"]] == ["failed", "measured"]
    assert record["cases"][0]["message"] == "OSError: no such network"
    assert "broken: OSError: no such network" in done.stdout
    assert "no: ratio ≥ 4× not measured" in done.stdout


def test_progress_with_an_eta_goes_to_stderr(run: Any, clock: Clock) -> None:
    done, _ = run([fake(clock)])
    lines = done.stderr.splitlines()
    assert lines[0].startswith("[1/1] fake: building; ETA ")
    assert lines[1].startswith("[1/1] fake: warm-up: peer 99 s, ours 99 s; ETA ")
    assert lines[-1] == "[1/1] fake: round 3 of 3: peer 11 s, ours 1 s; ETA 0 ms"


def test_the_eta_follows_the_pace_of_what_is_done(clock: Clock) -> None:
    lines: list[str] = []
    cases = [fake(clock, "first", fixed=100), fake(clock, "second", fixed=300)]
    eta = Eta(cases, 3, clock, lines.append)
    eta.start(0)
    clock.seconds += 20
    eta.say("half", 0.5)  # twice as expected would be 100 s, it took 20 for 50
    clock.seconds += 20
    eta.start(1)
    assert [line.rpartition("ETA ")[2] for line in lines] == ["6.7 min", "2.3 min", "2.0 min"]


def test_markdown_names_every_case_between_its_markers(run: Any, clock: Clock) -> None:
    cases = [fake(clock), fake(clock, "other", aim=9.0)]
    done, _ = run(cases, "--only", "fake", "--markdown")
    lines = done.stdout.splitlines()
    assert (lines[0], lines[-1]) == (BEGIN, END)
    assert "| `fake` | a fake | 11 s | 2 s | **5.5×** | ≥ 4× | 3.0e-06 |" in lines
    assert "| `other` | a fake |  |  | not measured | ≥ 4× (aim 9×) |  |" in lines


def test_a_saved_record_is_shown_again(run: Any, clock: Clock, tmp_path: Path) -> None:
    first, _ = run([fake(clock)])
    saved = str(tmp_path / "record.json")
    again = CliRunner().invoke(command.main, ["--show", saved])
    assert again.exit_code == 0
    assert again.stdout == first.stdout
    other = tmp_path / "other.json"
    other.write_text("[]")
    assert CliRunner().invoke(command.main, ["--show", str(other)]).exit_code == 2


def test_a_record_is_resumed(run: Any, clock: Clock) -> None:
    def cases() -> list[Case]:
        return [fake(clock, "first"), fake(clock, "second")]

    _, before = run(cases(), "--only", "first")
    done, after = run(cases(), "--resume")
    assert done.exit_code == 0
    assert [entry["name"] for entry in after["cases"]] == ["first", "second"]
    assert after["cases"][0] == before["cases"][0]
    assert "first" not in done.stderr
    _, again = run(cases(), "--resume", "--only", "first")
    assert [entry["name"] for entry in again["cases"]] == ["second", "first"]
    done, _ = run(cases(), "--resume", "--rounds", "7")
    assert done.exit_code == 2
    assert "another setting (rounds: 3 there, 7 here)" in done.output


def test_list_names_every_case_with_what_it_is_held_to() -> None:
    done = CliRunner().invoke(command.main, ["--list"])
    assert done.exit_code == 0
    for case, line in zip(CASES, done.stdout.splitlines(), strict=True):
        assert line.startswith(f"{case.name} ")
        assert all(target.text in line for target in case.targets)


def test_gpu_without_one_is_a_usage_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    out = tmp_path / "record.json"
    done = CliRunner().invoke(command.main, ["--gpu", "--out", str(out)])
    assert done.exit_code == 2
    assert "no CUDA device" in done.stderr
    assert not out.exists()


@pytest.mark.parametrize(
    ("only", "message"),
    [("nope", "no case is called 'nope'"), ("gpu-seven", "add --gpu"), (",", "no case is named")],
)
def test_a_wrong_selection_is_a_usage_error(only: str, message: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(command.main, ["--only", only, "--out", str(tmp_path / "r.json")])
    assert done.exit_code == 2
    assert message in done.stderr


def test_selection_keeps_the_order_asked_for_and_each_case_once() -> None:
    chosen = select(CASES, "flat-cost, ablationcam-vgg16,flat-cost", "cpu")
    assert [case.name for case in chosen] == ["flat-cost", "ablationcam-vgg16"]
    names = {case.name for case in CASES}
    assert {case.name for case in select(CASES, None, "cpu")} == names - {"gpu-seven"}
    assert "gpu-seven" in {case.name for case in select(CASES, None, "cuda")}


# --- the cases ------------------------------------------------------------------------------------


def test_the_targets_are_the_published_ones() -> None:
    bounds = {case.name: case.targets[0].bound for case in CASES if case.targets}
    assert bounds == {
        "ablationcam-vgg16": 100,
        "ablationcam-resnet18": 200,
        "scorecam-vgg16-pgc": 2.2,
        "scorecam-vgg16-torchcam": 2.2,
        "scorecam-vgg16-bf16": 4.3,
        "gradient-eigen": 6,
        "seven-methods": 4,
        "scorecam-resnet50-memory": 600,
        "flat-cost": 1.15,
        "mprt-vgg16": 5,
        "mprt-ten-methods": 1.5,
        "metrics-lite0": 3,
        "metrics-vgg16": 3,
    }


def test_no_benchmark_is_collected_as_a_test() -> None:
    assert not list((ROOT / "tests" / "benchmarks").rglob("test_*.py"))
    assert not list((ROOT / "tests" / "benchmarks").rglob("*_test.py"))


def test_the_readme_names_every_case() -> None:
    block = (ROOT / "README.md").read_text().partition(BEGIN)[2].partition(END)[0]
    assert block, f"README.md has no block between {BEGIN} and {END}"
    for case in CASES:
        assert f"`{case.name}`" in block


@pytest.fixture(scope="module")
def pair() -> Pair:
    """A small network for both sides; no activation of it is negative."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        theirs = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4),
            nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(12 * 64, 5),
        ).eval()  # fmt: skip
        image = torch.rand(1, 3, 32, 32)
        target = int(theirs(image).argmax())
    return Pair(cut_at(copy.deepcopy(theirs), "4", image), theirs, "4", image, target)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("methods", [SEVEN, GRADIENT_AND_EIGEN])
def test_contests_compare_equal_maps(pair: Pair, methods: tuple[str, ...]) -> None:
    outcome = methods_contest(pair, methods).run(Setting(rounds=1))
    assert outcome.figures["map_difference"] is not None
    assert outcome.figures["map_difference"] <= 1e-4, outcome.figures
    assert outcome.figures["difference of gradcam++ as it stands"] > 1e-6
    if "scorecam" in methods:
        assert outcome.figures["weight_difference"] <= 1e-5
    assert outcome.details["prepare_s"] > 0


def test_a_wrong_map_shows(pair: Pair) -> None:
    contest = methods_contest(pair, ("gradcam",))
    theirs, ours = contest.peer(), contest.ours()
    ours.raw["gradcam"] = ours.raw["gradcam"].flip(-1)
    assert contest.compare(theirs, ours)["map_difference"] > 0.01
    ours.raw["gradcam"][0, 0, 0] = torch.nan
    assert contest.compare(theirs, ours)["map_difference"] == float("inf")


def test_the_torchcam_contest_compares_equal_maps(pair: Pair) -> None:
    outcome = torchcam_contest(pair).run(Setting(rounds=1))
    assert outcome.figures["map_difference"] <= 1e-4
    assert outcome.figures["weight_difference"] <= 1e-5


def test_the_metrics_contest_compares_equal_figures(pair: Pair) -> None:
    images = torch.cat([pair.image, pair.image.flip(-1)])
    with torch.no_grad():
        targets = pair.theirs(images).argmax(dim=1)
    forwards = prepare(pair.divided, images[:1], Engine())
    subject = Subject(pair.divided, pair.theirs, pair.layer, images, targets, forwards)
    contest = metrics_contest(subject, SEVEN_OF_METRICS, pixels_per_step=128)
    assert contest.details["given"] == ["augmentedgradcam++", "scorecam++"]
    theirs, ours = contest.peer(), contest.ours()
    figures = contest.compare(theirs, ours)
    assert len(theirs) == 7 * 7
    assert figures["map_difference"] <= 1e-3, figures
    theirs["deletion-auc", "gradcam"][1] += 0.01
    assert contest.compare(theirs, ours)["map_difference"] > 5e-3
    theirs["coherency", "scorecam++"][0] = float("nan")
    assert contest.compare(theirs, ours)["map_difference"] == float("inf")


@pytest.mark.parametrize("limit", [1e-9, 60.0])
def test_bfloat16_is_measured_or_said_to_be_extrapolated(pair: Pair, limit: float) -> None:
    case = next(case for case in CASES if case.name == "scorecam-vgg16-bf16")
    outcome = Reduced(pair, Engine(precision="bfloat16"), limit=limit).run(Setting(rounds=1))
    entry = measured(case, outcome)
    assert entry["extrapolated"] is (limit < 1)
    assert ("extrapolated" in json.dumps(entry["shown"])) is (limit < 1)
    assert 0 < entry["figures"]["score_error"] < entry["figures"]["score_range"]
    assert entry["targets"][0]["value"] == entry["figures"]["ratio"] > 0


def test_the_card_case_runs_wherever_there_is_no_card(pair: Pair) -> None:
    outcome = Card(pair).run(Setting(rounds=1))
    assert {"float32", "bfloat16", "scorecam float32", "scorecam bfloat16"} == set(outcome.times)
    for precision in ("float32", "bfloat16"):
        assert outcome.figures[f"images_per_second_{precision}"] > 0
        assert outcome.figures[f"scorecam_{precision}_of_matrix_rate"] > 0
    assert "images/s float32" in outcome.shown["ours"]


# --- processes of their own -----------------------------------------------------------------------


def test_memory_is_read_from_the_process_itself() -> None:
    code = (  # in a process of its own: here freed memory may be kept and taken again
        "from tests.benchmarks import worker\n"
        "before = worker.resident_bytes()\n"
        "held = b'x' * 50_000_000\n"
        "assert worker.resident_bytes() - before > 40_000_000\n"
        "assert worker.peak_bytes() >= worker.resident_bytes() - 2**20\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_peaks_are_told_by_side_and_model(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(task: str, options: dict[str, Any], *, timeout: float) -> dict[str, Any]:
        assert timeout > 0
        above = {"our_scorecam": 300, "peers_scorecam": 2000}[task] * 10**6
        return {
            "channels": {"resnet50": 2048, "resnet18": 512}[options["model"]],
            "above_bytes": above,
            "above_after_images": {"256": above - 10**6},
        }

    monkeypatch.setattr("tests.benchmarks.memory.start", start)
    case = next(case for case in CASES if case.name == "scorecam-resnet50-memory")
    entry = measured(case, Peaks(("resnet50", "resnet18")).run(Setting()))
    assert entry["targets"][0]["value"] == 300
    assert (entry["shown"]["peer"], entry["shown"]["ours"]) == ("2000 MB", "300 MB")
    assert any("256: 299 MB" in note for note in entry["notes"])
    assert any("512 channels of resnet18 300 MB" in note for note in entry["notes"])


def test_a_cost_that_grows_misses_its_targets(monkeypatch: pytest.MonkeyPatch) -> None:
    def start(_task: str, options: dict[str, Any], *, timeout: float) -> dict[str, Any]:
        assert timeout > 0
        length = options["images"]
        each = 0.02 if length < 1000 else 0.03
        return {"seconds_an_image": [each] * options["repeats"], "above_bytes": length * 10**5}

    monkeypatch.setattr("tests.benchmarks.memory.start", start)
    case = next(case for case in CASES if case.name == "flat-cost")
    entry = measured(case, FlatCost((10, 100, 1000)).run(Setting(rounds=2)))
    assert {target["text"]: target["reached"] for target in entry["targets"]} == {
        "≤ 1.15×": False, "≥ 0.85×": True, "≤ 50 MB": False,
    }  # fmt: skip
    assert entry["times_s"]["1000 images"] == [0.03, 0.03]


def test_a_process_that_fails_says_why() -> None:
    with pytest.raises(RuntimeError, match="unexpected keyword"):
        worker.start("stream", {"nonsense": 1}, timeout=60)


def test_a_failed_entry_fits_the_schema() -> None:
    jsonschema.validate(failed(CASES[0], "OSError: no"), CASE)
