"""The documentation site; `python -m sphinx -W -b html docs site` builds it, without a network."""

from __future__ import annotations

import sys
from pathlib import Path

from sphinx.application import Sphinx

sys.path.insert(0, str(Path(__file__).parent))

import docstrings
import generated

import camaudit

project = "camaudit"
author = "the camaudit authors"
version = release = camaudit.__version__
html_theme = "furo"
html_title = f"camaudit {version}"
html_copy_source = False

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx_click",
]
myst_heading_anchors = 4
smartquotes = False  # options keep their two hyphens
default_role = "code"  # docstrings put code between single backticks

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
napoleon_google_docstring = False


def setup(app: Sphinx) -> None:
    """Pages get their generated parts when they are read, docstrings lists before napoleon."""
    app.connect("autodoc-process-docstring", docstrings.to_rst, priority=400)
    app.connect("source-read", lambda _app, _name, source: generated.fill(source))
