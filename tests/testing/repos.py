"""Small repositories for pytest inside pytest, made of the example's network and pictures."""

from __future__ import annotations

import importlib
import shutil
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from tests.gates.policies import write

__all__ = ["EXAMPLE", "PLUGIN", "Repo", "policy"]

EXAMPLE = Path(__file__).parents[1] / "example_repo"

#: pytest's own arguments: the plugin, where it is not installed as one; no order but the given.
PLUGIN = ["-p", "no:randomly"]
if not any(one.value == "camaudit.pytest_plugin" for one in entry_points(group="pytest11")):
    PLUGIN += ["-p", "camaudit.pytest_plugin"]

# pytester takes modules out again that a run inside has imported; methods register but once
for _name in (
    "audit.gating", "console", "gates.markdown", "report.html", "testing.assertions",
    "testing.fixture", "testing.gated", "testing.items", "testing.marker", "testing.summary",
):  # fmt: skip
    importlib.import_module(f"camaudit.{_name}")

FACTORY = """
from pathlib import Path

from shapes.models import build as shapes


def build():
    with Path("built.txt").open("a") as file:
        file.write("once\\n")
    return shapes()
"""

EXPLAINERS = """
import torch
from shapes.explainers import ours


def fails(model, layer, images, targets):
    raise KeyError("conv5")


def empty(model, layer, images, targets):
    return torch.zeros(len(images), 8, 8)
"""


def policy(
    conditions: Sequence[dict[str, Any]],
    *,
    explainers: Sequence[str] = ("hirescam", "gradcam"),
    waivers: Sequence[dict[str, Any]] = (),
    run: dict[str, Any] | None = None,
    subject: dict[str, Any] | None = None,
    number: int = 12,
    prefix: str = "",
) -> str:
    """A policy on the example's network, whose factory counts how often it is called."""
    tables: dict[str, Any] = {
        "subject": {
            "model": "factory.py:build", "layer": "features.5", "wall": "split", "live_rows": 5,
            "preprocess": "0.5/0.25", "image_size": 32, **(subject or {}),
        },
        "images": {"folder": "photos", "number": number},
        "run": {"explainers": list(explainers), **(run or {})},
        "condition": list(conditions),
    }  # fmt: skip
    if waivers:
        tables["waiver"] = list(waivers)
    return f"{'' if prefix else 'version = 1'}\n{write(tables, prefix=prefix)}"


class Repo:
    """A repository in pytester's folder."""

    def __init__(self, pytester: Any) -> None:
        self.pytester = pytester
        self.path: Path = pytester.path
        for name in ("shapes", "photos"):
            shutil.copytree(EXAMPLE / name, self.path / name, dirs_exist_ok=True)
        shutil.copy(EXAMPLE / "weights.safetensors", self.path)
        (self.path / "factory.py").write_text(FACTORY)
        (self.path / "explainers.py").write_text(EXPLAINERS)
        self.ini()

    @property
    def built(self) -> int:
        """How often the policy's model was built, so how often its audit was run."""
        path = self.path / "built.txt"
        return len(path.read_text().splitlines()) if path.exists() else 0

    def ini(self, *lines: str) -> None:
        """pytest's configuration file."""
        text = "\n".join(["[pytest]", "pythonpath = .", "testpaths = tests", *lines])
        (self.path / "pytest.ini").write_text(text + "\n")
        (self.path / "tests").mkdir(exist_ok=True)

    def write(self, name: str, text: str) -> Path:
        """A file."""
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def run(self, *arguments: str, apart: bool = False) -> Any:
        """pytest in the repository; `apart`: in a process of its own."""
        how = self.pytester.runpytest_subprocess if apart else self.pytester.runpytest_inprocess
        return how(*PLUGIN, *arguments)
