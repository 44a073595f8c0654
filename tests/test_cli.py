"""The command line: what it writes, and that every misuse ends in one clear line."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from safetensors.torch import save_file

from camaudit import cli as cli_module
from camaudit.cli import _run, cli
from camaudit.errors import AuditError
from camaudit.evaluation.protocols import PROTOCOLS, protocol
from camaudit.methods import METHODS, STANDARD, method_names
from camaudit.metrics.catalogue import METRICS
from camaudit.report.kept_maps import MAPS_NAME
from camaudit.store import STORE_NAME
from tests.subjects import photograph

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(
    tmp_path: Path, factory: Path, photographs: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Command:  # fmt: skip
    """Run `camaudit run` on the small network; keyword options override, None leaves one out."""
    monkeypatch.chdir(tmp_path)

    def invoke(*flags: str, **options: Any) -> tuple[int, str, str]:
        chosen = {
            "model": f"{factory}:build", "images": photographs, "image_size": 64, "layer": "0",
            "preprocess": "0.5/0.5", "num_images": 3, "wall": "split",
            "methods": "gradcam,hirescam", "out": tmp_path / "out", **options,
        }  # fmt: skip
        words = ["run", *flags]
        for name, value in chosen.items():
            if value is not None:
                words += [f"--{name.replace('_', '-')}", str(value)]
        code = _run([word for word in words if word != "--debug"], debug="--debug" in flags)
        out, err = capsys.readouterr()
        return code, out, err

    return invoke


def test_a_run_writes_results_that_fit_the_schema_and_a_report(
    command: Command, tmp_path: Path
) -> None:
    code, out, err = command()
    assert code == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    schema = json.loads((files("camaudit") / "schema" / "results-1.json").read_text())
    jsonschema.validate(results, schema, cls=jsonschema.Draft202012Validator)
    assert {record["method"] for record in results["records"]} == {"gradcam", "hirescam"}
    assert "hirescam" in out
    assert "0 (exact)" in out
    assert "results.json" in err
    assert "Top-1" in out
    assert (tmp_path / "out" / "report.html").read_text().startswith("<!doctype html>")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "maps",
        STORE_NAME,
        "report.html",
        "results.json",
    ]


def test_a_second_run_says_what_was_there(command: Command, tmp_path: Path) -> None:
    _, _, first = command(methods="gradcam,hirescam")
    before = results_in(tmp_path)
    _, _, second = command(methods="gradcam,hirescam,layercam")
    cells = results_in(tmp_path)["timing"]["cells"]
    assert cells["found"] == len(before["records"]) == before["timing"]["cells"]["computed"]
    assert "from earlier runs" not in first
    assert f"{cells['found']} of {sum(cells.values())} records were there" in second


def test_json_on_stdout_is_the_file(command: Command, tmp_path: Path) -> None:
    code, out, _ = command("--json")
    assert code == 0
    assert json.loads(out) == json.loads((tmp_path / "out" / "results.json").read_text())


def test_the_default_folder_is_under_reports(command: Command, tmp_path: Path) -> None:
    assert command(out=None)[0] == 0
    assert len(list((tmp_path / "reports").glob("*/results.json"))) == 1


def save_weights(path: Path, factory: Path, *, spoil: str = "") -> Path:
    namespace: dict[str, Any] = {}
    exec(factory.read_text(), namespace)  # noqa: S102 - the test's own file
    model = namespace["build"]()
    state = {key: value.clone() + 0.01 for key, value in model.state_dict().items()
             if value.is_floating_point()}  # fmt: skip
    state |= {k: v for k, v in model.state_dict().items() if not v.is_floating_point()}
    if spoil == "missing":
        state.pop("0.0.weight")
    if spoil == "shape":
        state["0.0.weight"] = torch.zeros(8, 3, 5, 5)
    if path.suffix == ".safetensors":
        save_file(state, path)
    else:
        torch.save({"state_dict": state} if path.suffix == ".pth" else state, path)
    return path


@pytest.mark.parametrize("name", ["w.safetensors", "w.pt", "w.pth"])
def test_weights_files_are_loaded_and_hashed(
    name: str, command: Command, factory: Path, tmp_path: Path
) -> None:
    assert command()[0] == 0
    plain = json.loads((tmp_path / "out" / "results.json").read_text())
    code, _, err = command(weights=save_weights(tmp_path / name, factory))
    assert code == 0, err
    loaded = json.loads((tmp_path / "out" / "results.json").read_text())
    assert loaded["subject"]["weights"] == name
    assert len(loaded["subject"]["weights_sha256"]) == 64
    assert loaded["subject"]["state_sha256"] != plain["subject"]["state_sha256"]
    assert not any("no weights file" in warning for warning in loaded["warnings"])
    assert any("no weights file" in warning for warning in plain["warnings"])


def malicious(path: Path) -> Path:
    """A pickle that would run code when loaded."""

    class Payload:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return os.system, (f"touch {path.parent / 'owned'}",)

    torch.save({"weight": Payload()}, path)
    return path


MISUSE: dict[str, tuple[dict[str, Any], int, str]] = {
    "unknown layer": ({"layer": "0.9"}, 2, r"no layer '0\.9'; near names: .*0\."),
    "layer without a map": ({"layer": "1.1"}, 2, r"returns shape \(1, 16\); expected N×K×h×w"),
    "no live row": ({"live_rows": 0}, 2, r"live-rows"),
    "no dead row": ({"live_rows": 8}, 2, r"live rows must be 1 to 7 .* got 8"),
    "training mode": ({"model": "{factory}:training"}, 2, r"training mode .*model\.eval\(\)"),
    "two outputs": ({"model": "{factory}:doubled"}, 2, r"more than one .*one: \(1, 5\), two: "),
    "no such output": ({"model": "{factory}:pair", "output": "2"}, 2, r"--output 2 is nothing"),
    "maps for logits": ({"model": "{factory}:segmenting"}, 2, r"\(1, 8, 32, 32\).* objective"),
    "head without sense": ({"model": "{factory}:single", "head": "softmax"}, 2, r"always 1"),
    "output of the paper's": ({"wall": "vgg16", "output": "1"}, 2, r"--output and --head are of"),
    "nan logits": ({"model": "{factory}:nan"}, 3, r"logits are NaN"),
    "input ignored": ({"model": "{factory}:deaf"}, 3, r"ignores its input"),
    "factory fails": ({"model": "{factory}:broken"}, 2, r"ValueError: no such checkpoint"),
    "factory returns text": ({"model": "{factory}:text"}, 2, r"returned a str; expected a torch"),
    "model for five channels": ({"model": "{factory}:five"}, 2, r"reads 5 channels; photographs"),
    "no such factory": ({"model": "{factory}:buidl"}, 2, r"no callable 'buidl' .*build"),
    "no such file": ({"model": "nowhere.py:build"}, 2, r"no file 'nowhere\.py'"),
    "no such module": ({"model": "no.such:build"}, 2, r"cannot import 'no\.such'"),
    "unreadable spec": ({"model": "resnet"}, 2, r"expected lite0, torchvision:NAME"),
    "unknown torchvision model": ({"model": "torchvision:resnet81"}, 2, r"near names: resnet18"),
    "no CUDA device": ({"device": "cuda:99"}, 2, r"no device 'cuda:99'"),
    "unknown device": ({"device": "quantum"}, 2, r"unknown device 'quantum'"),
    "unknown method": ({"methods": "gradcam,scorcam"}, 2, r"'scorcam': did you mean scorecam"),
    "no method": ({"methods": ","}, 2, r"methods is empty"),
    "bad preprocess": ({"preprocess": "0.5/0"}, 2, r"0\.5/0"),
    "missing folder": ({"images": "nowhere"}, 2, r"nowhere"),
    "empty folder": ({"images": "{empty}"}, 2, r"no image"),
    "nothing but corrupt images": ({"images": "{corrupt}"}, 2, r"at least one readable photograph"),
    "missing weights": ({"weights": "nowhere.pt"}, 2, r"no weights file 'nowhere\.pt'"),
    "weights that are text": ({"weights": "{factory}"}, 2, r"cannot read weights"),
    "weights of another shape": ({"weights": "{shape}"}, 2, r"other shapes 0\.0\.weight"),
    "weights with a key missing": ({"weights": "{missing}"}, 2, r"missing 0\.0\.weight"),
    "weights that run code": ({"weights": "{malicious}"}, 2,
                              r"calls (posix|nt)\.system, .*any code.*--unsafe-pickle"),
    "import exits": ({"model": "{exiting}:build"}, 2, r"SystemExit"),
    "factory exits": ({"model": "{factory}:leave"}, 2, r"failed: SystemExit"),
    "forward exits": ({"model": "{factory}:leave_later"}, 2, r"SystemExit"),
    "a model for a factory": ({"model": "{factory}:instance"}, 2, r"is a model, not a factory"),
    "TorchScript": ({"model": "{factory}:scripted"}, 2, r"TorchScript"),
    "two inputs": ({"model": "{factory}:two_inputs"}, 2, r"expected a model that takes one batch"),
    "NaN on the images alone": ({"model": "{factory}:roots", "layer": "trunk",
                                 "preprocess": "0.99/0.01"}, 3, r"NaN or infinite on the unchan"),
    "a branch around the layer": ({"model": "{factory}:branching", "layer": "inner.0"}, 2,
                                  r"something leads around the layer"),
    "paper's network at another size": ({"wall": "vgg16", "layer": None}, 2, r"224×224"),
    "seed too large": ({"seed": 2**64}, 2, r"seed"),
    "map of a single row": ({"layer": "0", "image_size": 32, "model": "{factory}:flat"}, 2,
                            r"a single row"),
    "near names for a number": ({"layer": "7"}, 2, r"near names: .*1\.2"),
    "output is a file": ({"out": "{factory}"}, 2, r"output"),
    "output under a file": ({"out": "{factory}/deeper"}, 2, r"output"),
    "layer with the paper's network": ({"wall": "vgg16"}, 2, r"leave --layer out"),
    "memory in words": ({"memory": "lots"}, 2, r"a size such as 600M or 2G; got 'lots'"),
    "memory below zero": ({"memory": "-2G"}, 2, r"a size such as 600M or 2G; got '-2G'"),
    "memory in other units": ({"memory": "2Gb/s"}, 2, r"a size such as 600M or 2G"),
    "no memory": ({"memory": "0"}, 2, r"memory must be a positive number of bytes; got 0"),
    "less than a byte": ({"memory": "0.4"}, 2, r"memory must be a positive number of bytes"),
    "unknown precision": ({"precision": "float8"}, 2, r"float8.*float32.*bfloat16.*float16"),
    "half precision of a double": ({"model": "{factory}:double", "precision": "bfloat16"}, 2,
                                   r"precision='bfloat16' is for float32 models"),
    "unknown option of a method": ({"methods": "gradcam,scorecam(sore=logit)"}, 2,
                                   r"scorecam has no option 'sore=logit'; it has score="),
    "option of the wrong type": ({"methods": "rise(masks=many)"}, 2,
                                 r"rise: masks must be a whole number; got 'many'"),
    "unknown method with options": ({"methods": "scorcam(score=logit)"}, 2, r"did you mean score"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISUSE)
def test_misuse_ends_in_one_clear_line_and_leaves_earlier_results_alone(
    case: str, command: Command, factory: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "corrupt").mkdir()
    for number in range(3):
        (tmp_path / "corrupt" / f"{number}.jpg").write_bytes(b"\xff\xd8\xff not a jpeg")
    places = {
        "factory": factory,
        "empty": tmp_path / "empty",
        "corrupt": tmp_path / "corrupt",
        "shape": save_weights(tmp_path / "shape.pt", factory, spoil="shape"),
        "missing": save_weights(tmp_path / "missing.safetensors", factory, spoil="missing"),
        "malicious": malicious(tmp_path / "malicious.pt"),
        "exiting": tmp_path / "exiting.py",
    }
    places["exiting"].write_text("import sys\nsys.exit(0)\n")
    out = tmp_path / "out"
    out.mkdir()
    (out / "results.json").write_text("earlier")
    options, expected, message = MISUSE[case]
    options = {
        key: value.format(**places) if isinstance(value, str) else value
        for key, value in options.items()
    }
    code, stdout, stderr = command(**options)
    assert code == expected, stderr
    assert re.search(message, stderr), stderr
    assert "Traceback" not in stderr
    assert stdout == ""
    assert (out / "results.json").read_text() == "earlier"
    assert {path.name for path in out.iterdir()} - {STORE_NAME} == {"results.json"}
    assert not (tmp_path / "owned").exists()


def test_debug_shows_the_traceback(command: Command) -> None:
    assert "Traceback" in command("--debug", layer="0.9")[2]


def test_awkward_images_are_converted_or_skipped_and_counted(
    command: Command, tmp_path: Path
) -> None:
    folder = tmp_path / "mixed"
    folder.mkdir()
    base = photograph(1)
    base.convert("L").save(folder / "grey.png")
    base.convert("RGBA").save(folder / "alpha.png")
    base.convert("CMYK").save(folder / "print.jpg")
    base.convert("P").save(folder / "palette.png")
    Image.new("I;16", (80, 80), 40_000).save(folder / "deep.png")
    frames = [photograph(seed).convert("P") for seed in (2, 3)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    (folder / "corrupt.jpg").write_bytes(b"\xff\xd8\xff")
    Image.new("RGB", (9, 9)).save(folder / "tiny.png")
    code, _, err = command(images=folder, num_images=20)
    assert code == 0, err
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    shown = {entry["sources"][0]["id"]: " ".join(entry["notes"]) for entry in results["images"]}
    assert set(shown) == {
        "grey.png", "alpha.png", "print.jpg", "palette.png", "deep.png", "moving.gif",
    }  # fmt: skip
    assert "CMYK" in shown["print.jpg"]
    skipped = [warning for warning in results["warnings"] if warning.startswith("skipped")]
    assert any("corrupt.jpg" in warning for warning in skipped)
    assert any("tiny.png" in warning for warning in skipped)


def test_a_method_that_fails_exits_3_with_the_results_written(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from camaudit.audit import scoring

    def crash(*_: Any, **__: Any) -> None:
        raise RuntimeError("out of memory")

    monkeypatch.setattr(scoring, "compute", crash)
    code, _, err = command()
    assert code == 3
    assert "some methods failed" in err
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert {record["status"] for record in results["records"]} == {"error"}


@pytest.mark.parametrize(
    ("raised", "code", "message"),
    [
        (KeyboardInterrupt(), 130, "Interrupted"),
        (AuditError("it broke"), 3, "Error: it broke"),
        (IndexError("a bug"), 3, "IndexError: a bug"),
    ],
)
def test_interruptions_and_bugs_exit_cleanly(
    raised: BaseException, code: int, message: str, command: Command, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from camaudit.audit import worker

    def fail(*_: Any, **__: Any) -> None:
        raise raised

    monkeypatch.setattr(worker, "capture", fail)
    found, out, err = command()
    assert (found, out) == (code, "")
    assert message in err
    assert "Traceback" not in err
    assert not (tmp_path / "out" / "results.json").exists()


def test_a_run_without_any_figure_exits_3(command: Command, factory: Path) -> None:
    code, _, err = command(methods="scorecam", perturbation_images=0)
    assert (code, "no method has a defined figure" in err) == (3, True)
    assert command(methods="scorecam,gradcam", perturbation_images=0)[0] == 0
    assert command(methods="uniform")[0] == 0
    code, _, err = command(model=f"{factory}:flattened", methods="cam")
    assert (code, "no method has a defined figure" in err) == (3, True)


def test_what_the_model_prints_stays_out_of_the_json(command: Command, factory: Path) -> None:
    code, out, err = command("--json", model=f"{factory}:talkative")
    assert code == 0
    assert json.loads(out)["schema"] == 1
    assert "loading my model" in err


def test_a_factory_can_import_its_neighbours(command: Command, tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "neighbour_of_subject.py").write_text("from torch import nn\nLayer = nn.ReLU\n")
    (folder / "model.py").write_text(
        "from neighbour_of_subject import Layer\nfrom torch import nn\n\n\n"
        "def build():\n"
        "    trunk = nn.Sequential(nn.Conv2d(3, 4, 3, stride=8, padding=1), Layer())\n"
        "    head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))\n"
        "    return nn.Sequential(trunk, head).eval()\n"
    )
    before = list(sys.path)
    code, _, err = command(model=f"{folder / 'model.py'}:build")
    assert code == 0, err
    assert sys.path == before


@pytest.mark.parametrize("kind", ["double", "bfloat"])
def test_other_precisions_are_audited_in_their_own(
    kind: str, command: Command, factory: Path, tmp_path: Path
) -> None:
    code, _, err = command(model=f"{factory}:{kind}")
    assert code == 0, err
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    summary = {entry["method"]: entry for entry in results["summary"]}
    assert summary["hirescam"]["mu_l1"]["mean"] == 0
    assert summary["gradcam"]["mu_l1"]["mean"] > 0


@pytest.mark.parametrize(
    ("written", "count"),
    [
        ("600M", 600 * 1024**2), ("2G", 2 * 1024**3), ("1.5GiB", 3 * 1024**3 // 2),
        ("1.5 GB", 3 * 1024**3 // 2), ("64k", 64 * 1024), ("300 kib", 300 * 1024), ("2t", 2**41),
        ("123456", 123456), ("123456B", 123456), (" 7M ", 7 * 1024**2),
    ],
)  # fmt: skip
def test_memory_is_a_number_of_bytes(
    written: str, count: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to the settings: nothing is audited."""
    from camaudit.audit import run as run_module

    given: list[Any] = []

    def stop(settings: Any, **_: Any) -> None:
        given.append(settings)
        raise AuditError("enough")

    monkeypatch.setattr(run_module, "run_audit", stop)
    assert _run(["run", "--memory", written], debug=False) == 3
    assert given[0].memory == given[0].engine.memory == count


def results_in(tmp_path: Path) -> dict[str, Any]:
    results: dict[str, Any] = json.loads((tmp_path / "out" / "results.json").read_text())
    return results


def test_how_masked_images_run_is_recorded(command: Command, tmp_path: Path) -> None:
    plain = {
        "how": "layer by layer", "batch_size": 64, "exact": True,
        "max_logit_error": None, "logit_spread": None,
    }  # fmt: skip
    options = {"methods": "scorecam", "perturbation_images": 1}
    for flags in ((), ("--exact",)):
        code, _, err = command(*flags, **options)
        assert code == 0, err
        settings = results_in(tmp_path)["settings"]
        assert settings["masked_images"] == {"walled": plain, "unwalled": plain}
        assert (settings["exact"], settings["memory"]) == (bool(flags), None)
    code, _, err = command(precision="bfloat16", memory="1M", **options)
    assert code == 0, err
    results = results_in(tmp_path)
    schema = json.loads((files("camaudit") / "schema" / "results-1.json").read_text())
    jsonschema.validate(results, schema, cls=jsonschema.Draft202012Validator)
    assert (results["settings"]["precision"], results["settings"]["memory"]) == ("bfloat16", 2**20)
    for record in results["settings"]["masked_images"].values():
        assert (record["how"], record["exact"]) == ("bfloat16, layer by layer", False)
        assert 1 <= record["batch_size"] < 16
        assert 0 < record["max_logit_error"] < 0.05 * record["logit_spread"]


def test_options_of_methods_keep_their_commas(command: Command, tmp_path: Path) -> None:
    code, out, err = command(
        methods="scorecam(score=probability, channel_softmax=false),gradcam , fem(k=2.0),fem",
        perturbation_images=1,
    )
    assert code == 0, err
    results = results_in(tmp_path)
    labels = ["scorecam(channel_softmax=false, score=probability)", "gradcam", "fem"]
    assert results["settings"]["methods"] == labels
    assert [entry["method"] for entry in results["summary"]] == labels
    assert {record["method"] for record in results["records"]} == set(labels)
    assert "gradcam" in out


def test_standard_and_all_are_lists_of_methods(command: Command, tmp_path: Path) -> None:
    for written, expected in (
        ("standard", list(STANDARD)),
        (None, list(STANDARD)),
        ("all", list(METHODS)),
        ("fem(k=1), standard ,gradcam", ["fem(k=1.0)", *STANDARD]),
    ):
        code, _, err = command(methods=written, num_images=1, perturbation_images=0)
        assert code == 0, err
        assert results_in(tmp_path)["settings"]["methods"] == expected


@pytest.mark.parametrize("stage", ["render", "replace"])
def test_a_failure_while_writing_keeps_the_earlier_pair(
    stage: str, command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert command()[0] == 0
    pair = ("results.json", "report.html")
    earlier = {name: (tmp_path / "out" / name).read_bytes() for name in pair}

    def fail(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    if stage == "render":
        monkeypatch.setattr("camaudit.report.pages.report_files", fail)
    else:
        monkeypatch.setattr("pathlib.Path.replace", fail)
    code, _, err = command(seed=1)
    assert code == 130
    assert "Interrupted" in err
    assert {name: (tmp_path / "out" / name).read_bytes() for name in pair} == earlier
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*pair, STORE_NAME, MAPS_NAME}


@pytest.mark.parametrize("columns", ["40", "60"])
def test_narrow_terminals_still_name_every_method(
    columns: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    _, out, _ = command(methods="gradcam,hirescam,uniform")
    for name in ("gradcam", "hirescam", "uniform", "degen"):
        assert name in out


def pipeline(words: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    script = f"set -o pipefail; {sys.executable} -m camaudit {words}"
    return subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip


def test_a_reader_that_leaves_is_no_failure() -> None:
    done = pipeline("methods | true", {})
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_an_ascii_terminal_gets_its_listing() -> None:
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = pipeline("methods", plain)
    assert done.returncode == 0, done.stderr
    assert "gradcam++" in done.stdout


def test_usage_errors_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["run", "--nope"], ["nope"], ["run", "--num-images", "0"]):
        assert _run(words, debug=False) == 2
        assert "Error" in capsys.readouterr().err


def test_methods_lists_every_method_with_paper_and_cost() -> None:
    listing = CliRunner().invoke(cli, ["methods"]).output
    for name in method_names():
        info = METHODS[name].info
        for text in (name, info.paper, info.cost, info.formula):
            assert text in listing


def test_metrics_lists_every_metric_by_check_and_every_table() -> None:
    listing = CliRunner().invoke(cli, ["metrics"]).output
    for name, entry in METRICS.items():
        info = entry.info
        for text in (f"\n\n{info.check}\n", f"\n  {name} ", info.paper, info.cost, info.formula):
            assert text in listing
    assert "lower is better, 0 to 100 %" in listing
    assert "higher is better, −∞ to ∞ logit" in listing
    specs = re.findall(r"^  (\S+:\S+)  ", listing, flags=re.MULTILINE)
    assert len(specs) == sum(len(entry.tables) for entry in PROTOCOLS.values())
    assert all(protocol(spec).tables[0].title in listing for spec in specs)


def test_help_documents_every_option() -> None:
    text = CliRunner().invoke(cli, ["run", "--help"]).output
    assert isinstance(cli_module.run, object)
    for parameter in cli_module.run.params:
        assert parameter.opts[0] in text
        assert getattr(parameter, "help", None), parameter.name


@pytest.mark.parametrize("flag", ["--version", "--help"])
def test_version_and_help_load_no_torch(flag: str) -> None:
    code = (
        f"import sys; from camaudit import cli; code = cli._run([{flag!r}], debug=False); "
        "heavy = {'torch', 'numpy', 'rich', 'PIL'} & set(sys.modules); "
        "sys.exit(f'{code} {heavy}' if code or heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_the_console_script_works() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "camaudit", "--version"], capture_output=True, text=True, check=True
    )
    assert "camaudit" in done.stdout


def test_sanity_checks_are_printed_written_and_drawn(command: Command, tmp_path: Path) -> None:
    checks = "mprt,emprt,random-logit"
    code, out, err = command(
        checks=checks, wall=None, methods="gradcam,sobel,scorecam", sanity_seeds=2,
        orders="top-down,bottom-up", cascade_steps=2, scheme="permute",
    )  # fmt: skip
    assert code == 0
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    schema = json.loads((files("camaudit") / "schema" / "results-1.json").read_text())
    jsonschema.validate(results, schema, cls=jsonschema.Draft202012Validator)
    assert results["summary"] == []
    assert {c["check"] for c in results["claims"]} == set(checks.split(","))
    assert results["sanity"]["settings"]["scheme"] == "permute"
    assert "Model parameter randomisation" in out
    assert "Share of the map" not in out
    assert "scorecam took no part" in err
    page = (tmp_path / "out" / "report.html").read_text()
    assert "From the input up" in page
    assert "Random logit" in page


def test_the_dead_zone_beside_a_sanity_check(command: Command) -> None:
    code, out, _ = command(checks="dead-zone,random-logit")
    assert code == 0
    assert "Share of the map" in out
    assert "Random logit" in out


def test_an_unknown_check_is_named_before_anything_is_loaded(
    command: Command, tmp_path: Path
) -> None:
    code, _, err = command(checks="mprt,sanity", wall=None)
    assert code == 2
    assert "expected checks among dead-zone, confidence, adcc, insertion-deletion" in err
    assert "'sanity'" in err
    assert not (tmp_path / "out").exists()
