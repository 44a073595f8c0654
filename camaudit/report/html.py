"""The HTML pages: self-contained files that load nothing and run only their own script."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from camaudit.report import figures
from camaudit.report.advice import advice
from camaudit.report.cards import cards
from camaudit.report.comparison import ComparisonView
from camaudit.report.curves import curves_view
from camaudit.report.data_sets import data_view
from camaudit.report.explorer import Explorer, PageLink
from camaudit.report.gallery import GalleryImage, legend_uri
from camaudit.report.gate import gate_view
from camaudit.report.heatmaps import heat_scale
from camaudit.report.invariance import invariance_view
from camaudit.report.metrics import metrics_view
from camaudit.report.metrics_protocol import protocol_view
from camaudit.report.panels import panels
from camaudit.report.printable import printable
from camaudit.report.sanity import sanity_view
from camaudit.report.sanity_pictures import SanityPicture
from camaudit.report.theory import theory_view
from camaudit.report.two_classes import two_class_view
from camaudit.report.view import report_view, select_check
from camaudit.types import Results

__all__ = ["render", "render_curves", "render_images", "render_theory"]


def render(
    results: Results,
    gallery: Sequence[GalleryImage] = (),
    pictures: Sequence[SanityPicture] = (),
    *,
    check: str | None = None,
    explorer: Explorer | None = None,
    pages: Sequence[PageLink] = (),
    comparison: ComparisonView | None = None,
) -> str:
    """The report as the text of one HTML file: dead zone, metrics, sanity checks and invariance.

    Every value is escaped. The page's Content-Security-Policy forbids every request and admits
    only the styles and the script whose hashes it names. `check` picks one check where the
    summary holds several. The page speaks only of what was run; `pictures` are the maps of the
    sanity checks along the cascades. Where a gate decided on the run, its verdict stands first.
    `explorer` shows the kept images one by one, `pages` leads to those on pages of their own, and
    `comparison` holds the run against another one.

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
    styles += ["explorer.css"] if explorer else []
    scripts = ["report.js", *(["explorer.js"] if explorer else [])]
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
        explorer=explorer,
        pages=pages,
        comparison=comparison,
        cards=cards(results, summary) if zone else (),
        advice=advice(results, summary),
        styles=styles,
        scripts=scripts,
        policy=_policy(
            environment, *styles, scripts=scripts, asks=explorer is not None and explorer.asks
        ),
    )
    return printable(page)


def render_images(
    explorer: Explorer, *, subject: str, version: str, pages: Sequence[PageLink], current: PageLink
) -> str:
    """One of the pages of images beside a report that is too large for one file, as safe."""
    environment = _environment()
    styles, scripts = ("report.css", "explorer.css"), ("report.js", "explorer.js")
    page = environment.get_template("images.html.j2").render(
        explorer=explorer,
        subject=subject,
        pages=pages,
        current=current,
        version=version,
        styles=styles,
        scripts=scripts,
        policy=_policy(environment, *styles, scripts=scripts),
    )
    return printable(page)


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
    return printable(page)


def render_curves(history: Mapping[str, Any]) -> str:
    """The learning curves in `history.json` as the text of one HTML file, as safe as the others.

    It has no script.
    """
    environment = _environment()
    page = environment.get_template("curves.html.j2").render(
        view=curves_view(history), policy=_policy(environment, "report.css", "theory.css")
    )
    return printable(page)


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


def _policy(
    environment: Environment,
    *styles: str,
    scripts: Sequence[str] = ("report.js",),
    asks: bool = False,
) -> str:
    """The Content-Security-Policy, with the hashes of exactly what the page includes.

    `asks`: the page may ask the server that it is from, and no other.
    """
    style, script = (
        " ".join(f"'{_digest(environment.get_template(name).render())}'" for name in names)
        for names in (styles, scripts)
    )
    own = "connect-src 'self'; " if asks else ""
    return (
        f"default-src 'none'; img-src data:; style-src {style}; script-src {script}; "
        f"{own}base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
