"""`camaudit report` and `camaudit serve`: a run's report, made from its folder alone."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests

from camaudit.cli import _run
from tests.report.page import Page

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(
    tmp_path: Path, factory: Path, photographs: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Command:  # fmt: skip
    """Run any command; `run` is given the small network and three images."""
    monkeypatch.chdir(tmp_path)
    small = ["--model", f"{factory}:build", "--images", str(photographs), "--image-size", "64",
             "--layer", "0", "--preprocess", "0.5/0.5", "--num-images", "3", "--wall", "split",
             "--methods", "gradcam,hirescam"]  # fmt: skip

    def invoke(*words: str) -> tuple[int, str, str]:
        code = _run([*words, *(small if words[0] == "run" else [])], debug=False)
        out, err = capsys.readouterr()
        return code, out, err

    return invoke


def index_of(path: Path) -> dict[str, Any]:
    found = [text for text in Page(path.read_text()).raw["script"] if text.startswith("{")]
    return json.loads(found[0]) if found else {"images": []}  # type: ignore[no-any-return]


def test_a_report_is_made_again_from_the_folder_alone(command: Command, tmp_path: Path) -> None:
    assert command("run", "--out", "a")[0] == 0
    first = (tmp_path / "a" / "report.html").read_text()
    (tmp_path / "a" / "report.html").unlink()
    code, out, err = command("report", "a")
    assert (code, out) == (0, "")
    assert err.strip() == f"wrote {Path('a') / 'report.html'}"
    again = (tmp_path / "a" / "report.html").read_text()
    assert Page(again).text == Page(first).text
    index = index_of(tmp_path / "a" / "report.html")
    assert len(index["images"]) == 3
    assert index == index_of(tmp_path / "a" / "report.html")
    papers = json.loads((tmp_path / "a" / "results.json").read_text())["settings"]["papers"]
    assert papers["gradcam"]["paper"].startswith("Selvaraju")


def test_as_many_images_are_kept_as_are_asked_for(command: Command, tmp_path: Path) -> None:
    assert command("run", "--out", "a", "--report-images", "2")[0] == 0
    assert len(index_of(tmp_path / "a" / "report.html")["images"]) == 2
    kept = json.loads((tmp_path / "a" / "maps" / "index.json").read_text())["images"]
    shapes = {tuple(one["shape"]) for image in kept for one in image["maps"].values() if one}
    height, width = json.loads((tmp_path / "a" / "results.json").read_text())["subject"][
        "layer_shape"
    ][1:]
    assert shapes == {(height, width)}  # the layer's own grid
    assert command("run", "--out", "a", "--report-images", "0")[0] == 0
    assert not (tmp_path / "a" / "maps").exists()
    code, _, err = command("report", "a")
    assert code == 0
    assert "holds no maps" in err


def test_two_runs_are_compared(command: Command, tmp_path: Path) -> None:
    command("run", "--out", "a")
    command("run", "--out", "b", "--seed", "1", "--report-images", "0")
    code, _, err = command("report", "a", "--compare", "b", "--out", "c")
    assert code == 0
    assert err.strip() == f"wrote {Path('c') / 'report.html'}"
    text = Page((tmp_path / "c" / "report.html").read_text()).text
    assert "Compared with b" in text
    assert "setting: seed" in text


def test_maps_of_another_run_are_left_out_and_said_so(command: Command, tmp_path: Path) -> None:
    command("run", "--out", "a")
    path = tmp_path / "a" / "results.json"
    path.write_text(path.read_text() + " ")
    code, _, err = command("report", "a")
    assert code == 0
    assert "belongs to another results.json" in err
    assert index_of(tmp_path / "a" / "report.html")["images"] == []


@pytest.mark.parametrize("words", [("report", "none"), ("serve", "none"),
                                   ("report", "a", "--compare", "none")])  # fmt: skip
def test_what_is_no_run_is_a_usage_error(command: Command, words: tuple[str, ...]) -> None:
    if "a" in words:
        command("run", "--out", "a")
    code, _, err = command(*words)
    assert code == 2
    assert "holds no results.json: name the output folder of a camaudit run" in err


def test_a_taken_folder_is_refused_before_the_run(command: Command, tmp_path: Path) -> None:
    (tmp_path / "a" / "maps").mkdir(parents=True)
    code, _, err = command("run", "--out", "a")
    assert code == 2
    assert "holds no maps of an earlier run" in err


def test_a_run_is_served_until_it_is_ended(command: Command, tmp_path: Path) -> None:
    command("run", "--out", "a")
    started = subprocess.Popen(
        [sys.executable, "-u", "-m", "camaudit", "serve", "a"], cwd=tmp_path, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        # a shell starts what runs in the background with interruptions ignored
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        assert started.stdout is not None
        line = started.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:\d+/", line)
        assert found, line
        assert "What to do" in requests.get(found[0], timeout=30).text
        assert len(requests.get(f"{found[0]}parts/0.json", timeout=30).json()) == 3
        started.send_signal(signal.SIGINT)
        assert started.wait(30) == 0
    finally:
        started.kill()
        started.communicate()
