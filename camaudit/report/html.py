"""The HTML pages: self-contained files that load nothing and run only their own script."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from camaudit.report import figures
from camaudit.report.curves import curves_view
from camaudit.report.data_sets import data_view
from camaudit.report.gallery import GalleryImage, legend_uri
from camaudit.report.gate import gate_view
from camaudit.report.heatmaps import heat_scale
from camaudit.report.invariance import invariance_view
from camaudit.report.metrics import metrics_view
from camaudit.report.metrics_protocol import protocol_view
from camaudit.report.panels import panels
from camaudit.report.sanity import sanity_view
from camaudit.report.sanity_pictures import SanityPicture
from camaudit.report.theory import theory_view
from camaudit.report.two_classes import two_class_view
from camaudit.report.view import report_view, select_check
from camaudit.types import Results

__all__ = ["render", "render_curves", "render_theory"]

# Control characters, and the marks that turn the direction of the text after them.
_UNPRINTABLE = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ufffe\uffff]"
)


def render(
    results: Results,
    gallery: Sequence[GalleryImage] = (),
    pictures: Sequence[SanityPicture] = (),
    *,
    check: str | None = None,
) -> str:
    """The report as the text of one HTML file: dead zone, metrics, sanity checks and invariance.

    Every value is escaped. The page's Content-Security-Policy forbids every request and admits
    only the styles and the script whose hashes it names. `check` picks one check where the
    summary holds several. The page speaks only of what was run; `pictures` are the maps of the
    sanity checks along the cascades. Where a gate decided on the run, its verdict stands first.

    Raises
    ------
    UsageError
        if the results hold several checks and `check` names none of them.
    AuditError
        if lists of `results.sanity` that belong together differ in length.
    """
    environment = _environment()
    summary = select_check(results, check)
    sanity, invariance = sanity_view(results, pictures), invariance_view(results)
    gate = gate_view(results.gate) if "decision" in results.gate else None
    metrics, protocol = metrics_view(results, summary), protocol_view(results)
    zone = bool(summary) or not (sanity or invariance or metrics or protocol)
    parts = {
        "dead-zone audit": zone,
        "metrics": metrics,
        "repeated protocol": protocol,
        "sanity checks": sanity,
        "invariance tests": invariance,
    }
    measured = metrics or protocol
    styles = ["report.css"]
    styles += ["theory.css"] if sanity or invariance or gate or measured else []
    styles += ["metrics.css"] if measured else []
    styles += ["sanity.css"] if sanity else []
    styles += ["invariance.css"] if invariance else []
    styles += ["gate.css"] if gate else []
    page = environment.get_template("report.html.j2").render(
        view=report_view(results, check=check),
        name=figures.joined([name for name, there in parts.items() if there]),
        zone=zone,
        metrics=metrics,
        protocol=protocol,
        sanity=sanity,
        invariance=invariance,
        gate=gate,
        table=data_view(results),
        two_classes=two_class_view(results),
        panels=panels(gallery, summary, results.records),
        legend=legend_uri(),
        styles=styles,
        policy=_policy(environment, *styles),
    )
    return _UNPRINTABLE.sub("\ufffd", page)


def render_theory(results: Results) -> str:
    """The page of `camaudit theory` as the text of one HTML file, as safe as :func:`render`'s.

    Parts that `results.theory` lacks are said to be missing; nothing undefined reads as a figure.

    Raises
    ------
    AuditError
        if lists of `results.theory` that belong together differ in length.
    """
    environment = _environment()
    page = environment.get_template("theory.html.j2").render(
        view=theory_view(results),
        scale=heat_scale(),
        policy=_policy(environment, "report.css", "theory.css"),
    )
    return _UNPRINTABLE.sub("\ufffd", page)


def render_curves(history: Mapping[str, Any]) -> str:
    """The learning curves in `history.json` as the text of one HTML file, as safe as the others.

    It has no script.
    """
    environment = _environment()
    page = environment.get_template("curves.html.j2").render(
        view=curves_view(history), policy=_policy(environment, "report.css", "theory.css")
    )
    return _UNPRINTABLE.sub("\ufffd", page)


@lru_cache(maxsize=1)
def _environment() -> Environment:
    return Environment(
        loader=PackageLoader("camaudit.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_refuse_none,
    )


def _refuse_none(value: Any) -> Any:
    """Undefined figures have their own word; a bare None on the page is a mistake."""
    if value is None:
        raise TypeError("the template prints None; the view model must say what is undefined")
    return value


def _policy(environment: Environment, *styles: str) -> str:
    """The Content-Security-Policy, with the hashes of exactly what the page includes."""
    style, script = (
        " ".join(f"'{_digest(environment.get_template(name).render())}'" for name in names)
        for names in (styles, ("report.js",))
    )
    return (
        f"default-src 'none'; img-src data:; style-src {style}; script-src {script}; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
