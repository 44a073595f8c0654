"""Training: it learns, it stops and goes on as if it had not, and it never leaves half a file."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from camaudit.errors import (
    ImageError,
    ModelError,
    OutputError,
    TrainingError,
    UsageError,
    WeightsError,
)
from camaudit.files import write_text
from camaudit.training import checkpoint
from camaudit.training.loop import train
from camaudit.training.trained import load_trained
from camaudit.walls import verify_zone
from tests.training.drawn import TINY, idx_folder, image_folders, tiny

ROOT = Path(__file__).parents[2]
STEPS = 6  # of an epoch: 48 images in batches of 8


class Counting:
    """A progress that calls back at one step."""

    def __init__(self, at: int, what: Any) -> None:
        self.at, self.what, self.done = at, what, 0
        self.said: list[str] = []

    def start(self, work: int) -> None:
        self.work = work

    def stage(self, text: str) -> None:
        self.said.append(text)

    def advance(self, work: int) -> None:
        self.done += work
        if work and self.done == self.at:
            self.what()


def weights(out: Path, name: str = "masked") -> bytes:
    return (out / name / "model.safetensors").read_bytes()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """An uninterrupted run of both twins."""
    torch.set_num_threads(1)
    home = tmp_path_factory.mktemp("whole")
    data = idx_folder(home / "digits")
    state = torch.random.get_rng_state()
    outcome = train(tiny(data, home / "out", twin=True))
    assert torch.equal(state, torch.random.get_rng_state())
    return {"data": data, "out": home / "out", "outcome": outcome}


def test_the_loss_falls_and_everything_is_written(whole: dict[str, Any]) -> None:
    out, outcome = whole["out"], whole["outcome"]
    for name in ("masked", "unmasked"):
        epochs = outcome.history[name]
        assert [entry["epoch"] for entry in epochs] == [1, 2, 3]
        assert epochs[-1]["train_loss"] < 0.85 * epochs[0]["train_loss"]
        assert epochs[-1]["val_top1"] > 0.5
        assert epochs[-1]["val_top5"] <= 1
        assert epochs[-1]["leaks"] == 0
    history = json.loads((out / "history.json").read_text())
    assert history["networks"] == outcome.history
    assert history["settings"]["recipe"]["flip"] is False  # digits
    page = (out / "curves.html").read_text()
    assert "Learning curves" in page
    assert page.count('class="plot"') == 5
    assert sorted(path.name for path in out.iterdir()) == [
        "checkpoint.pt", "curves.html", "history.json", "masked", "unmasked",
    ]  # fmt: skip
    card = (out / "masked" / "README.md").read_text()
    assert "bit-equal under 14 changes" in card
    assert "None. Its twin" in (out / "unmasked" / "README.md").read_text()


def test_a_trained_network_loads_with_its_wall(whole: dict[str, Any]) -> None:
    trained = load_trained(whole["out"])
    assert trained.folder.name == "masked"
    assert not trained.model.training
    assert (trained.layer, trained.size, len(trained.classes)) == ("features.9", 28, 10)
    twin = load_trained(whole["out"] / "unmasked")
    behind = trained.walled(twin=twin)
    images = torch.randn(2, 3, 28, 28, generator=torch.Generator().manual_seed(0))
    assert verify_zone(behind, images, behind.zone).passed
    stored = load_file(trained.folder / "model.safetensors")
    for name, value in trained.model.state_dict().items():
        assert torch.equal(value, stored[name])
    assert trained.description["wall"]["zone"]["verified"]
    assert trained.description["weights_sha256"] == trained.weights_sha256
    assert trained.name == "small VGG (masked) trained on digits"


def test_tampered_folders_are_refused(whole: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no trained network"):
        load_trained(tmp_path)
    described = json.loads((whole["out"] / "masked" / "model.json").read_text())
    blob = bytearray(weights(whole["out"]))
    blob[-1] ^= 1
    (tmp_path / "model.safetensors").write_bytes(blob)
    (tmp_path / "model.json").write_text(json.dumps(described))
    with pytest.raises(WeightsError, match="SHA-256 differs"):
        load_trained(tmp_path)
    for change in ({"classes": ["one"]}, {"network": 5}, {"preprocess": None}, {"format": "x"}):
        (tmp_path / "model.json").write_text(json.dumps({**described, **change}))
        with pytest.raises(UsageError):
            load_trained(tmp_path)
    free = weights(whole["out"], "unmasked")  # weights of the baseline behind the masked spec
    (tmp_path / "model.safetensors").write_bytes(free)
    import hashlib

    digest = hashlib.sha256(free).hexdigest()
    (tmp_path / "model.json").write_text(json.dumps({**described, "weights_sha256": digest}))
    with pytest.raises(WeightsError, match="the wall leaks"):
        load_trained(tmp_path)


KILLED = """
import os, signal, sys
from pathlib import Path
import torch
torch.set_num_threads(1)
from camaudit.training.loop import train
from tests.training.drawn import tiny
from tests.training.test_loop import Counting
data, out, step = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
die = Counting(step, lambda: os.kill(os.getpid(), signal.SIGKILL))
train(tiny(data, out, twin=True, checkpoint_every=4), progress=die)
"""


def run_python(code: str, *arguments: Any, **environment: str) -> subprocess.Popen[str]:
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], cwd=ROOT, env=variables, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_killed_at_a_random_step_it_ends_with_the_same_weights(
    whole: dict[str, Any], tmp_path: Path
) -> None:
    step = random.randrange(1, 3 * STEPS + 1)  # noqa: S311 - any step will do
    child = run_python(KILLED, whole["data"], tmp_path, step)
    _, errors = child.communicate(timeout=60)
    assert child.returncode == -signal.SIGKILL, errors
    outcome = train(tiny(whole["data"], tmp_path, twin=True, resume=True))
    for name in ("masked", "unmasked"):
        assert weights(tmp_path, name) == weights(whole["out"], name), f"killed at step {step}"
        for mine, theirs in zip(outcome.history[name], whole["outcome"].history[name], strict=True):
            assert {**mine, "seconds": 0} == {**theirs, "seconds": 0}, f"killed at step {step}"


@pytest.mark.parametrize("step", [2, STEPS, STEPS + 1])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_request_to_stop_saves_and_interrupts(
    whole: dict[str, Any], tmp_path: Path, step: int, number: signal.Signals
) -> None:
    handlers = [signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM)]
    stop = Counting(step, lambda: signal.raise_signal(number))
    with pytest.raises(KeyboardInterrupt):
        train(tiny(whole["data"], tmp_path, twin=True), progress=stop)
    assert [signal.getsignal(which) for which in (signal.SIGINT, signal.SIGTERM)] == handlers
    stored = checkpoint.load(tmp_path)
    assert stored is not None
    assert stored.epoch * STEPS + stored.step == step
    assert "saved in epoch" in stop.said[-1]
    assert not (tmp_path / "masked").exists()
    train(tiny(whole["data"], tmp_path, twin=True, resume=True))
    assert weights(tmp_path) == weights(whole["out"])


def test_a_finished_run_resumed_is_left_as_it_is(whole: dict[str, Any]) -> None:
    before = weights(whole["out"])
    train(tiny(whole["data"], whole["out"], twin=True, resume=True))
    assert weights(whole["out"]) == before
    with pytest.raises(OutputError, match="holds a training run already"):
        train(tiny(whole["data"], whole["out"], twin=True))


def test_resuming_another_run_is_refused(whole: dict[str, Any]) -> None:
    for options, named in (
        ({"seed": 1}, "seed = 0, not 1"),
        ({"changes": {"lr": 0.5}}, r"recipe\.lr = 0\.02, not 0\.5"),
        ({"permute_labels": True}, "permute_labels = False"),
        ({"twin": False}, "networks.unmasked"),
    ):
        asked = {"twin": True, "resume": True, **options}
        with pytest.raises(UsageError, match=named):
            train(tiny(whole["data"], whole["out"], **asked))  # type: ignore[arg-type]


def test_a_damaged_checkpoint_is_refused(whole: dict[str, Any], tmp_path: Path) -> None:
    content = (whole["out"] / "checkpoint.pt").read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"<html>"):
        (tmp_path / "checkpoint.pt").write_bytes(damaged)
        with pytest.raises(WeightsError, match="is damaged"):
            train(tiny(whole["data"], tmp_path, twin=True, resume=True))
    torch.save({"format": "other"}, tmp_path / "checkpoint.pt")
    with pytest.raises(WeightsError, match="no checkpoint of this version"):
        train(tiny(whole["data"], tmp_path, twin=True, resume=True))


def test_a_file_system_that_refuses_leaves_the_checkpoint_before(
    whole: dict[str, Any], tmp_path: Path
) -> None:
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    kept: dict[str, bytes] = {}

    def refuse() -> None:
        kept["before"] = (tmp_path / "checkpoint.pt").read_bytes()
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limit[1]))

    try:
        with pytest.raises(OutputError, match="what was there before is unchanged"):
            train(tiny(whole["data"], tmp_path), progress=Counting(STEPS + 3, refuse))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert (tmp_path / "checkpoint.pt").read_bytes() == kept["before"]
    assert not list(tmp_path.glob(".*"))
    train(tiny(whole["data"], tmp_path, resume=True))
    assert weights(tmp_path) == weights(whole["out"])


def test_a_disk_that_fills_up_at_the_last_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    write_text(path, "before")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        write_text(path, "after")
    assert [entry.read_text() for entry in tmp_path.iterdir()] == ["before"]


def test_permuted_labels_are_trained_on_and_told(whole: dict[str, Any], tmp_path: Path) -> None:
    outcome = train(tiny(whole["data"], tmp_path, permute_labels=True))
    assert "permuted at random" in (tmp_path / "masked" / "README.md").read_text()
    assert "permuted at random" in (tmp_path / "curves.html").read_text()
    assert "permuted labels" in load_trained(tmp_path).name
    true = whole["outcome"].history["masked"][-1]["train_loss"]
    assert outcome.history["masked"][-1]["train_loss"] > true


def test_the_baseline_alone_is_the_twin_of_a_pair(whole: dict[str, Any], tmp_path: Path) -> None:
    train(tiny(whole["data"], tmp_path, unmasked=True))
    assert weights(tmp_path, "unmasked") == weights(whole["out"], "unmasked")
    assert load_trained(tmp_path).spec.masked is False


def test_a_torchvision_network_trains_behind_a_split_wall(tmp_path: Path) -> None:
    data = image_folders(tmp_path / "data", per_class=4, size=40)
    settings = tiny(
        data, tmp_path / "out", network="torchvision:mobilenet_v3_small", val_share=0.3,
        image_size=96, changes={"epochs": 1},
    )  # fmt: skip
    settings.details.clear()
    outcome = train(settings)
    assert "held out" in outcome.notes[0]
    trained = load_trained(tmp_path / "out")
    assert trained.spec.wall == "split"
    assert trained.walled().zone.kind == "split trunk"
    assert "bit-equal" in (trained.folder / "README.md").read_text()


def test_a_run_that_diverges_says_so(whole: dict[str, Any], tmp_path: Path) -> None:
    settings = tiny(
        whole["data"], tmp_path, changes={"lr": 1e30, "schedule": "constant"},
        details={"norm": False},
    )  # fmt: skip
    with pytest.raises(TrainingError, match=r"not finite in epoch 1, step \d.*lower --lr"):
        train(settings)
    assert not (tmp_path / "checkpoint.pt").exists()


def test_wrong_inputs_have_clear_errors(whole: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="twin"):
        tiny(whole["data"], tmp_path, twin=True, unmasked=True)
    with pytest.raises(UsageError, match="seed"):
        tiny(whole["data"], tmp_path, seed=-1)
    with pytest.raises(UsageError, match="checkpoint_every"):
        tiny(whole["data"], tmp_path, checkpoint_every=0)
    cases: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"device": "cuda:99"}, UsageError, "no device"),
        ({"image_size": 80}, ModelError, "28 to 64"),
        ({"live_rows": 14}, UsageError, "1 to 13"),
        ({"live_rows": 13}, UsageError, "leaves no pixel to score.*fewer live rows"),
        ({"network": "torchvision:resnet18", "wall": "insert", "details": {}}, UsageError, "split"),
        ({"network": "vgg19"}, ModelError, "unknown network"),
    ]
    for options, kind, message in cases:
        with pytest.raises(kind, match=message):
            train(replace(tiny(whole["data"], tmp_path / "out"), **options))
    with pytest.raises(ImageError, match="does not exist"):
        train(tiny(tmp_path / "absent", tmp_path / "out"))
    (tmp_path / "file").write_text("x")
    with pytest.raises(OutputError):
        train(tiny(whole["data"], tmp_path / "file"))


def test_small_sets_get_smaller_batches(tmp_path: Path) -> None:
    data = image_folders(tmp_path / "data", per_class=2)
    outcome = train(tiny(data, tmp_path / "out", changes={"batch_size": 64, "epochs": 1}))
    assert any("batches have 4 images" in note for note in outcome.notes)


SHARED = """
import sys
from dataclasses import replace
from pathlib import Path
import torch
torch.set_num_threads(1)
from camaudit.training.loop import train
from tests.training.drawn import tiny
plain = {"norm": False, "dropout": 0.0}
train(tiny(Path(sys.argv[1]), Path(sys.argv[2]), twin=True, checkpoint_every=4, details=plain))
"""


def test_two_processes_train_what_one_does(whole: dict[str, Any], tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    world = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    children = [
        run_python(SHARED, whole["data"], tmp_path / "two", RANK=str(rank), **world)
        for rank in (0, 1)
    ]
    plain = {"norm": False, "dropout": 0.0}
    one = train(tiny(whole["data"], tmp_path / "one", twin=True, details=plain))
    for child in children:
        _, errors = child.communicate(timeout=90)
        assert child.returncode == 0, errors
    two = json.loads((tmp_path / "two" / "history.json").read_text())["networks"]
    for name in ("masked", "unmasked"):
        mine, theirs = (load_trained(tmp_path / part / name) for part in ("one", "two"))
        for key, value in mine.model.state_dict().items():
            assert torch.allclose(value, theirs.model.state_dict()[key], rtol=1e-3, atol=1e-5)
        for a, b in zip(one.history[name], two[name], strict=True):
            assert a["train_loss"] == pytest.approx(b["train_loss"], rel=1e-4)
            assert a["val_top1"] == b["val_top1"]
    stored = checkpoint.load(tmp_path / "two")
    assert stored is not None
    assert stored.epoch == 3
    assert TINY["hidden"] == 12
