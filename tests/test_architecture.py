"""Who may import whom, what an import costs, and the public namespace."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import camaudit

PACKAGE = Path(camaudit.__file__).parent

#: Layer → the layers of ours that it may import. "capture" stands for cutting and capturing.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "types": {"report.notebook"},  # only when a notebook shows results
    "files": {"errors"},
    "pictures": {"errors"},
    "redaction": set(),
    "registry": set(),
    "maps": set(),
    "probability": set(),
    "importing": {"errors"},
    "spelling": {"errors"},
    "sites": {"errors"},
    "recent": set(),
    "attention": {"errors"},
    "tokens": {"errors", "sites"},
    "parts": {"errors", "sites", "tokens"},
    "cut": {"errors", "parts", "probability", "recent", "sites", "tokens"},
    "passage": {"errors", "cut", "sites", "tokens"},
    "linear_head": {"errors"},
    "objective": {"errors"},
    "first_linear": {"recent"},
    "capture": {"errors", "linear_head", "objective", "probability"},
    "methods": {
        "errors", "registry", "maps", "first_linear", "capture", "objective", "spelling",
        "attention", "tokens",
    },
    "adapters": {"errors", "importing", "maps", "pictures", "spelling", "tokens"},
    "initialisation": {"errors"},
    "walls": {
        "errors", "initialisation", "maps", "probability", "recent", "sites", "cut", "passage",
        "attention", "tokens",
    },
    "theory": {"errors", "types", "initialisation", "cut", "walls"},
    "engine": {"errors", "cut", "walls"},
    "metrics": {"errors", "types", "registry", "maps", "probability"},
    "evaluation": {
        "errors", "types", "registry", "journal", "maps", "cut", "capture", "objective", "methods",
        "metrics", "sanity.explain", "sanity.outcomes", "streams",
    },
    "sanity": {
        "errors", "types", "journal", "maps", "sites", "cut", "capture", "objective",
        "initialisation", "methods", "metrics", "engine.winograd", "streams",
    },
    "invariance": {
        "errors", "files", "registry", "importing", "journal", "maps", "sites", "recent", "cut",
        "capture", "objective", "methods", "walls", "adapters", "probability", "redaction",
        "spelling",
    },
    "data": {"", "errors", "files", "pictures"},
    "models": {"errors", "files", "importing", "probability", "sites", "spelling"},
    "report": {"errors", "files", "types"},
    "schema": set(),
    "store": {"errors", "files"},
    "journal": set(),
    "streams": set(),
    "gates": {
        "errors", "files", "types", "metrics.estimates", "schema", "report.figures", "report.gate",
        "redaction", "spelling",
    },
    "audit": {
        "", "errors", "types", "maps", "sites", "cut", "capture", "engine", "methods", "walls",
        "metrics", "data", "models", "report.gallery", "report.keeping", "report.names",
        "report.sanity_pictures",
        "initialisation", "theory", "training.trained", "sanity", "invariance", "gates",
        "evaluation", "journal", "streams",
        "importing", "adapters", "objective", "probability", "redaction", "spelling", "store",
    },
    "training": {
        "", "errors", "files", "cut", "data", "initialisation", "models", "walls", "report.curves",
        "report.figures", "report.html", "report.writing",
    },
    "commands": {
        "", "errors", "files", "types", "data", "console", "audit", "gates", "report", "schema",
        "redaction", "training", "spelling", "store",
    },
    "testing": {
        "", "errors", "files", "gates", "report.gate", "report.html", "audit", "invariance",
        "methods", "types", "spelling",
    },
    "pytest_plugin": {"testing"},
    "console": {
        "methods", "metrics.catalogue", "evaluation.options", "evaluation.protocols", "report",
        "types",
    },
    "cli": {"", "errors", "types", "commands", "console", "audit", "report"},
    "__main__": {"cli"},
    "": set(),
}  # fmt: skip

#: These never import torch, so that they work from records alone or answer at once.
TORCH_FREE = {
    "errors", "types", "files", "registry", "importing", "redaction", "spelling", "report",
    "schema", "store", "gates", "cli", "", "__main__", "pytest_plugin",
}  # fmt: skip


def layer_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    return "" if first == "__init__" else first


def imports(path: Path) -> set[str]:
    """Absolute names of all modules that a file imports, at any depth."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} uses a relative import"
            found.add(node.module or "")
    return found


SOURCES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_the_layers_below_it(path: Path) -> None:
    layer = layer_of(path)
    assert layer in ALLOWED, f"{layer} is no known layer: say what it may import"
    for name in imports(path):
        if name != "camaudit" and not name.startswith("camaudit."):
            continue
        inner = name.removeprefix("camaudit").lstrip(".")
        target = inner.split(".")[0]
        allowed = ALLOWED[layer] | {layer}
        assert target in allowed or inner in allowed, f"{layer} may not import {name}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_light_layers_do_not_name_torch(path: Path) -> None:
    if layer_of(path) in TORCH_FREE:
        assert not {name.split(".")[0] for name in imports(path)} & {"torch", "torchvision"}


@pytest.mark.parametrize(
    "statement",
    [
        "import camaudit",
        "import camaudit.report.html",
        "import camaudit.types",
        "import camaudit.gates.written",
        "import camaudit.report.gate_table",
    ],
)
def test_light_imports_load_no_torch(statement: str) -> None:
    code = f"import sys; {statement}; sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_importtime_of_the_package_names_no_torch() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import camaudit"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "camaudit" in done.stderr
    assert "torch" not in done.stderr


def test_every_public_name_resolves_and_unknown_ones_do_not() -> None:
    for name in camaudit.__all__:
        assert getattr(camaudit, name) is not None
        assert name in dir(camaudit)
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        camaudit.nope  # noqa: B018 - the access is the test


def test_no_public_name_hides_a_module() -> None:
    modules = {path.stem for path in PACKAGE.glob("*.py")}
    modules |= {path.name for path in PACKAGE.iterdir() if path.is_dir()}
    assert not modules & set(camaudit.__all__)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_every_public_thing_has_a_docstring(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), f"{path.name} has no docstring"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{path.name}: {node.name}"
