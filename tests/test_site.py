"""The documentation site: no page is left out, the reference is generated, and it builds."""

from __future__ import annotations

import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner

import camaudit
from camaudit.cli import cli
from camaudit.methods import METHODS, STANDARD, method_names
from camaudit.schema import policy_schema
from tests.report.pictures import LARGEST, PICTURES, SHOWN

DOCS = Path(__file__).parents[1] / "docs"
PAGES = {str(path.relative_to(DOCS).with_suffix("")): path for path in DOCS.rglob("*.md")}
MARK = re.compile(r"<!-- generated: (.*) -->")


def module(name: str) -> ModuleType:
    """A module of docs/, which is no package."""
    spec = importlib.util.spec_from_file_location(f"docs_{name}", DOCS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    return made


GENERATED = module("generated")


def listed(page: str) -> list[str]:
    """The pages in the toctree of a page."""
    found = re.findall(r"```\{toctree\}\n(.*?)```", PAGES[page].read_text(), flags=re.DOTALL)
    lines = [line for block in found for line in block.splitlines()]
    entries = [line for line in lines if line and not line.startswith(":")]
    return [re.sub(r".* <(.*)>$", r"\1", entry) for entry in entries]


def test_every_page_is_in_one_table_of_contents() -> None:
    entries = [entry for page in PAGES for entry in listed(page)]
    assert sorted(entries) == sorted(PAGES.keys() - {"index"})


def test_reference_pages_ask_for_every_generated_part_once() -> None:
    asked = [name for path in PAGES.values() for name in MARK.findall(path.read_text())]
    assert sorted(asked) == sorted(GENERATED.PARTS)


def test_no_table_of_the_reference_is_written_by_hand() -> None:
    for path in (DOCS / "reference").glob("*.md"):
        assert not re.search(r"^\|", path.read_text(), flags=re.MULTILINE), path


def test_the_methods_are_the_registry() -> None:
    text = GENERATED.methods()
    assert sorted(re.findall(r"^### `(.*)`$", text, re.M)) == sorted(method_names())
    assert len(re.findall(r"^- runs by default$", text, re.M)) == len(STANDARD)
    assert all(f"`{METHODS[name].info.formula}`" in text for name in METHODS)


def test_the_names_are_the_public_ones() -> None:
    found = re.findall(r"`camaudit\.(\w+)(?: <[\w.]+>)?` \|", GENERATED.names())
    assert found == [name for name in camaudit.__all__ if name != "__version__"]


def test_a_schema_lists_every_field_with_its_meaning() -> None:
    text = GENERATED.schema(policy_schema())
    for name, part in policy_schema()["properties"].items():
        assert f"| `{name}` |" in text
        assert part.get("description", "").replace("|", "\\|") in text


def test_a_schema_names_lists_keys_bounds_and_references() -> None:
    described = {
        "properties": {
            "a": {
                "type": "array",
                "items": {"properties": {"b": {"type": "number", "minimum": 0}}},
            },
            "c": {"additionalProperties": {"$ref": "#/$defs/d"}, "type": "object"},
        },
        "$defs": {"d": {"enum": ["x|y", 1]}},
    }
    text = GENERATED.schema(described)
    assert "| `a[].b` | number, ≥ 0 |" in text
    assert "| `c.*` | `d` |" in text
    assert text.endswith("## `d`\n\n`x|y`, `1`")


def test_a_page_gets_its_parts_and_a_link_to_the_readme() -> None:
    source = ["[x](../README.md#speed)\n<!-- generated: methods -->\nend"]
    GENERATED.fill(source)
    assert source[0].startswith("[x](/readme.md#speed)\n## activation")
    with pytest.raises(KeyError):
        GENERATED.fill(["<!-- generated: nothing -->"])


def test_docstrings_become_lists() -> None:
    lines = [
        "Sum; `|map|` and |map|.", "", "Parameters", "----------", "maps, zone: two lines,",
        "    with an indent.", "p: one line: > 0.", "Raises an error.", "",
        "A sentence that ends: here", "and goes on.",
    ]  # fmt: skip
    module("docstrings").to_rst("function", "name", None, None, lines)
    assert lines == [
        "Sum; `|map|` and \\|map\\|.", "", "**Parameters**", "", "", "- **maps, zone**: two lines,",
        "  with an indent.", "- **p**: one line: > 0.", "", "Raises an error.", "",
        "A sentence that ends: here", "and goes on.",
    ]  # fmt: skip


def test_pictures_are_small_and_are_those_of_the_gallery() -> None:
    files = {path.name: path.stat().st_size for path in PICTURES.iterdir()}
    assert files.keys() == {f"{name}.png" for name in SHOWN}
    assert max(files.values()) <= LARGEST
    shown = re.findall(r"\]\(pictures/([^)]+)\)", PAGES["gallery"].read_text())
    assert sorted(shown) == sorted(files)


@pytest.mark.long
def test_the_tutorial_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "net", raising=False)
    blocks = re.findall(r"```(sh|python)\n(.*?)```", PAGES["tutorial"].read_text(), re.DOTALL)
    tables = []
    for kind, text in blocks:
        if kind == "sh":
            for line in text.splitlines():
                done = CliRunner().invoke(cli, shlex.split(line)[1:])
                assert done.exit_code == 0, (line, done.output, done.exception)
                tables.append(done.output)
        elif text.startswith("# net.py"):
            Path("net.py").write_text(text)
        else:
            exec(text, {})  # noqa: S102 - what a reader would run
    sys.modules.pop("net", None)
    printed = capsys.readouterr().out
    assert "verified: True" in printed
    share = {name: float(mean) for name, mean in re.findall(r"^(\w+) (0\.\d+) 0", printed, re.M)}
    assert share["hirescam"] == share["layercam"] == 0
    assert 0.15 < share["gradcam"] < 0.28, "the page says: about a fifth"
    assert "35.7 %" in tables[0]
    assert len(tables) == 3
    assert "hirescam [0.0, 0.0, 0.0, 0.0]" in printed


@pytest.mark.long
def test_the_site_builds_without_a_warning_and_without_a_network(tmp_path: Path) -> None:
    blocked = dict.fromkeys(("http_proxy", "https_proxy", "all_proxy"), "http://127.0.0.1:9")
    done = subprocess.run(
        [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "-b", "html",
         "-d", tmp_path / "doctrees", DOCS, tmp_path / "site"],
        env={**os.environ, **blocked}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "site" / "reference" / "command-line.html").read_text()
    assert all(f"camaudit-{name}" in text for name in cli.commands)
    assert "dead_zone_mass" in (tmp_path / "site" / "reference" / "python.html").read_text()
