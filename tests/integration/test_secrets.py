"""Secrets and home folders that are planted everywhere, and looked for in all that is written."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from camaudit.cli import _run
from camaudit.redaction import cleaner
from tests.subjects import write_factory, write_photographs

TOKEN, PASSWORD, SIGNATURE = "hf_PlantedInTheEnvironment7", "PlantedInARemote8", "PlantedInAQuery9"
REMOTE = f"https://ann:{PASSWORD}@git.example/ann/work.git?access={SIGNATURE}"
EXPLAINERS = f"""
import os, torch

def failing(model, layer, images, targets):
    raise RuntimeError(
        "401 for {REMOTE} and https://x.example/a?sig={SIGNATURE} with "
        + os.environ["HUB_TOKEN"] + " of " + __file__
    )

def working(model, layer, images, targets):
    return torch.ones(len(images), 8, 8)
"""
POLICY = f"""
version = 1
[subject]
model = "{{factory}}:build"
layer = "0"
preprocess = "0.5/0.5"
image_size = 64
wall = "split"
[images]
folder = "{{photos}}"
number = 6
[run]
explainers = ["gradcam", "{{mine}}:working"]
baseline = "nowhere-{TOKEN}"
[[condition]]
name = "zone"
require = "dead_zone.mu_l1 <= 0.9"
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with a repository in it, which is the working folder."""
    home = tmp_path / "home-of-ann"
    work = home / "work"
    work.mkdir(parents=True)
    (home / "elsewhere").mkdir()
    (home / "elsewhere" / "mine.py").write_text(EXPLAINERS)
    write_factory(home / "elsewhere")
    write_photographs(work / f"photos-{TOKEN}")
    for words in (["init", "-q"], ["remote", "add", "origin", REMOTE]):
        subprocess.run(["git", *words], cwd=work, check=True)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.setenv("HUB_TOKEN", TOKEN)
    monkeypatch.chdir(work)
    return home


def leaks(folder: Path, printed: str, home: Path) -> list[str]:
    """Where a planted text stands among the files in `folder` and in what was printed."""
    texts = {str(path.relative_to(folder)): path.read_text("utf-8", "replace")
             for path in folder.rglob("*") if path.is_file()}  # fmt: skip
    assert len(texts) > 1
    planted = (TOKEN, PASSWORD, SIGNATURE, str(home), home.name)
    return [f"{one} in {name}" for name, text in {**texts, "stdout": printed}.items()
            for one in planted if one in text]  # fmt: skip


def test_a_run_leaves_none_of_them(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    elsewhere, out = home / "elsewhere", home / "out"
    factory = next(path for path in elsewhere.glob("*.py") if path.name != "mine.py")
    code = _run(
        ["run", "--model", f"{factory}:build", "--layer", "0", "--image-size", "64", "--wall",
         "split", "--images", str(home / "work" / f"photos-{TOKEN}"), "--num-images", "3",
         "--preprocess", "0.5/0.5", "--methods", "gradcam", "--checks", "dead-zone,invariance",
         "--properties", "determinism", "--examples", "2", "--json",
         "--explainer", f"{elsewhere / 'mine.py'}:working",
         "--explainer", f"{elsewhere / 'mine.py'}:failing", "--out", str(out)],
        debug=False,
    )  # fmt: skip
    printed = capsys.readouterr()
    assert code == 3, printed.err  # an explainer failed
    results = (out / "results.json").read_text()
    assert (
        "401 for https://git.example/ann/work.git and https://x.example/a?sig=[hidden]" in results
    )
    assert '"images": "photos-[hidden]"' in results
    assert f"~/elsewhere/{factory.name}:build" in results
    assert leaks(out, printed.out, home) == []


def test_a_gate_leaves_none_of_them(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    elsewhere, out = home / "elsewhere", home / "out"
    factory = next(path for path in elsewhere.glob("*.py") if path.name != "mine.py")
    policy = home / "camaudit.toml"
    policy.write_text(POLICY.format(
        factory=factory, photos=home / "work" / f"photos-{TOKEN}", mine=elsewhere / "mine.py"
    ))  # fmt: skip
    out.mkdir()
    kinds = {"junit": "xml", "markdown": "md", "badge": "svg", "card": "json"}
    places = [word for kind, suffix in kinds.items()
              for word in (f"--{kind}", str(out / f"{kind}.{suffix}"))]  # fmt: skip
    call = ["gate", "--policy", str(policy), "--out", str(out), "--json", *places]
    code = _run(call, debug=False)
    printed = capsys.readouterr()
    assert code in (0, 1, 4), printed.err
    assert leaks(out, printed.out, home) == []
    # a finished run fits its policy although its paths are cut, and a broken one tells none either
    assert _run([*call[:3], "--run", str(out), "--out", str(home / "again")], debug=False) == code
    (out / "results.json").write_text("{")
    assert _run([*call, "--run", str(out / "results.json")], debug=False) == 3
    assert leaks(out, capsys.readouterr().out, home) == []


def test_what_ties_results_together_is_no_secret() -> None:
    clean = cleaner({"MY_TOKEN": "gradcam++", "A_KEY": "short", "B_KEY": "rather-long"},
                    names=["gradcam++(x=1)"])  # fmt: skip
    assert clean("gradcam++ short rather-long") == "gradcam++ short [hidden]"


@pytest.mark.parametrize(
    ("text", "cleaned"),
    [
        ("/home/ann", "~"),
        ("/home/anna/w.pt", "/home/anna/w.pt"),
        ("/mnt/home/ann/w.pt", "/mnt/home/ann/w.pt"),
        ("hf:/home/ann/m and '/home/ann/x y'", "hf:~/m and '~/x y'"),
        ("/home/ann/here/a.pt, /home/ann/here", "a.pt, ."),
        ("git@host:ann/a.git", "git@host:ann/a.git"),
        ("ssh://ann@host/a.git", "ssh://host/a.git"),
        ("https://h/p?X-Amz-Signature=ab&n=1#x", "https://h/p?X-Amz-Signature=[hidden]&n=1#x"),
        ("see https://h/forum?id=7", "see https://h/forum?id=7"),
    ],
)
def test_texts_are_cleaned(text: str, cleaned: str) -> None:
    clean = cleaner({}, home=Path("/home/ann"), folder=Path("/home/ann/here"))
    assert clean(text) == cleaned
    assert clean(cleaned) == cleaned
