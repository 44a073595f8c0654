"""The metrics on the page: self-contained, escaped, accessible, and only where they were taken."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest

from camaudit.report.gallery import GalleryImage
from camaudit.report.html import render
from camaudit.types import Results
from tests.metric_results import (
    FAMILIES,
    REASON,
    make_metric_results,
    make_metrics,
    make_protocol,
)
from tests.report.page import Page, digest
from tests.sanity_results import make_sanity, make_sanity_results


@pytest.fixture(scope="module")
def alone() -> Results:
    return make_metric_results(protocol=make_protocol())


@pytest.fixture(scope="module")
def page(alone: Results) -> Page:
    return Page(render(alone))


@pytest.fixture
def whole(alone: Results, build: Callable[..., Results]) -> Results:
    """A dead-zone audit with metrics, a protocol and sanity checks."""
    sanity = make_sanity_results(sanity=make_sanity(checks=("emprt",), seeds=(0, 1)))
    return build(
        metrics=alone.metrics, protocol=alone.protocol, sanity=sanity.sanity, claims=sanity.claims
    )


def test_policy_admits_only_the_pages_own_styles_and_script(page: Page) -> None:
    assert len(page.raw["style"]) == 3
    assert page.policy() == {
        "default-src": "'none'", "img-src": "data:", "base-uri": "'none'", "form-action": "'none'",
        "style-src": " ".join(map(digest, page.raw["style"])),
        "script-src": digest(*page.raw["script"]),
    }  # fmt: skip
    for style in page.raw["style"]:
        assert not re.search(r"url\((?!#)|@import", style)


@pytest.mark.parametrize("combined", [False, True])
def test_structure(page: Page, whole: Results, gallery: list[GalleryImage], combined: bool) -> None:
    found = Page(render(whole, gallery)) if combined else page
    names = [tag for tag, _ in found.tags]
    assert names.count("h1") == names.count("main") == 1
    assert all(attributes.get("scope") for tag, attributes in found.tags if tag == "th")
    identifiers = [a["id"] for _, a in found.tags if "id" in a]
    assert len(identifiers) == len(set(identifiers))
    referred = {
        word
        for _, attributes in found.tags
        for name in ("aria-labelledby", "for")
        for word in (attributes.get(name) or "").split()
    } | {(a.get("href") or "")[1:] for _, a in found.tags if (a.get("href") or "").startswith("#")}
    assert referred <= set(identifiers)
    levels = [int(tag[1]) for tag in names if re.fullmatch(r"h[1-4]", tag)]
    assert all(b - a <= 1 for a, b in pairwise(levels))
    for tag, attributes in found.tags:
        for name in ("src", "href", "xlink:href", "action", "data", "poster", "srcset"):
            target = attributes.get(name)
            assert target is None or target.startswith(("data:", "#")), (tag, target)
        if tag == "svg" and attributes.get("role") != "img" and "viewbox" not in attributes:
            assert attributes.get("aria-hidden") == "true", attributes


def test_every_plot_has_words_and_a_table(page: Page, whole: Results) -> None:
    plots = page.having("class", "plot")
    assert len(plots) == 2 + 2 * 3
    both = Page(render(whole))
    assert len(both.having("class", "scatter")) == 6
    for plot in [*plots, *both.having("class", "scatter")]:
        assert plot["role"] == "img"
        assert len(plot["aria-label"] or "") > 80
    assert len(page.having("class", "data")) == len(plots) + 1


def test_tables_hold_every_method_and_say_what_is_missing(page: Page) -> None:
    heads = [tuple(" ".join(cell.split()) for cell in row) for row in page.rows]
    assert (
        "Method",
        "Average Drop ↓, lower is better %1",
        "Increase in Confidence ↑, higher is better %2",
        "Average Drop in Logit ↑, higher is better logit3",
        "n",
        "Without a value",
    ) in heads
    for method, missing in (("ScoreCAM", "2 not run"), ("CAM", "12 not applicable"),
                            ("Uniform", "12 constant map"), ("broken", "12 error")):  # fmt: skip
        row = next(row for row in page.rows if row and row[0].strip() == method)
        assert row[-1] == missing
    best = next(row for row in page.rows if row and row[0].strip() == "ScoreCAM")
    assert re.match(r"\S+ best \[", best[1])
    assert next(row for row in page.rows if row and row[0] == "Best, by pairs")[1] == "ScoreCAM"
    titles = [a["title"] for tag, a in page.tags if tag == "th" and "title" in a]
    assert any("max(0, Y − O)" in (text or "") for text in titles)
    assert "100 · max(0, Y − O) / Y; from 0 to 100 %, lower is better." in page.text


def test_a_page_of_metrics_speaks_of_nothing_else(page: Page) -> None:
    for sentence in (
        "Metrics and repeated protocol of lite0",
        "How do the saliency maps of lite0 fare by the metrics in use",
        "7 of 10 metrics show one method to be best on these images.",
        "Taken on the model as it is; masked pixels take the mean colour",
        "Win % among 9 rivals",
        "Pixels with the same value have no order of their own",
        "42.0 % of the pixels",
        "cat-0.jpg",
        "Kendall's W = 0.95",
        "Protocol: ScoreCAM++",
        "Published: measured by others on other weights and images",
        "ResNet-18, fine-tuned, Cats and Dogs (test), n = 4000",
        "Augmented GradCAM++ averages its copies",
        "adjusted p =",
        REASON,
        "Undefined is not zero.",
        "Average Drop rewards large maps.",
        "No metric here knows the truth.",
    ):
        assert sentence in page.text, sentence
    for absent in ("Gallery", "The wall", "No verdict", "anity", "Dead-zone mass against"):
        assert absent not in page.text, absent
    assert not re.search(r"\b(None|nan|inf)\b", page.text)


def test_all_checks_on_one_page(whole: Results, gallery: list[GalleryImage]) -> None:
    found = Page(render(whole, gallery))
    assert "Dead-zone audit, metrics, repeated protocol and sanity checks of lite0" in found.text
    assert len(found.having("class", "verdict")) == 4
    assert len(found.having("id", "sort-status")) == 1
    for sentence in ("light up what the network cannot see", "Dead-zone mass against the metrics",
                     "Few methods carry little: 5 methods", "across two networks",
                     "Known limits of the sanity checks"):  # fmt: skip
        assert sentence in found.text, sentence


def test_without_metrics_nothing_of_them_is_there(
    results: Results, gallery: list[GalleryImage]
) -> None:
    found = Page(render(results, gallery))
    assert len(found.raw["style"]) == 1
    assert not found.having("class", "metrics")
    assert "etrics" not in found.text


def test_parts_that_were_not_run_are_left_out() -> None:
    small = Page(render(make_metric_results(metrics=make_metrics(checks=("sparsity",)))))
    for absent in ("metrics-curves", "metrics-scatter", "metrics-ranks", "protocol"):
        assert not small.having("id", absent), absent
    assert "No method was compared with another by any metric." in small.text
    only = Page(render(make_metric_results(metrics={}, protocol=make_protocol("walls"))))
    assert "CAM-Based Methods Can See through Walls" in only.text
    assert not only.having("id", "metrics")
    assert only.having("href", "#protocol")


def poisoned_metrics(metrics: dict[str, Any], text: str) -> dict[str, Any]:
    """The metrics with `text` behind every method, reason, title and source."""
    named = ("method", "first", "second", "reason", "title", "paper", "formula", "unit", "cost")

    def hostile(value: Any, name: str = "") -> Any:
        if isinstance(value, dict):
            return {key: hostile(item, key) for key, item in value.items()}
        if isinstance(value, list):
            return [hostile(item, name) for item in value]
        return value + text if isinstance(value, str) and name in (*named, "methods") else value

    changed: dict[str, Any] = hostile(metrics)
    for pair in changed["comparison"]["agreement"]["pairs"]:
        pair["first"] = pair["first"].removesuffix(text)
        pair["second"] = pair["second"].removesuffix(text)
    changed["families"] = {name + text: family for name, family in metrics["families"].items()}
    for row in changed["rows"]:
        row["missing"] = {reason + text: count for reason, count in row["missing"].items()}
    return changed


def test_hostile_text_stays_text(
    build: Callable[..., Results], poisoned: Callable[[Any], Any]
) -> None:
    text = poisoned("")
    metrics = make_metrics(checks=("confidence", "insertion-deletion"))
    results = build(metrics=metrics, protocol=make_protocol("scorecam++:main"))
    honest = Page(render(results))
    hostile = build(metrics=poisoned_metrics(metrics, text), protocol=poisoned(results.protocol))
    for entry in hostile.summary:
        object.__setattr__(entry, "method", entry.method + text)
    for image in hostile.provenance.images:
        image["id"] += text
    for found in (Page(render(hostile)), Page(render(poisoned(results)))):
        assert found.raw == honest.raw
        assert {tag for tag, _ in found.tags} <= {tag for tag, _ in honest.tags}
        names = {name for _, attributes in found.tags for name in attributes}
        assert names <= {name for _, attributes in honest.tags for name in attributes}
        assert not {name for name in names if name.startswith("on") or name == "style"}
        assert found.text.count("<script>alert(1)</script>") > 50
        assert "{{ 7 * 7 }}" in found.text
        assert not set("\x00\x1b\u202e") & set(found.text)
    assert Page(render(hostile)).having("class", "scatter")


def test_unknown_methods_and_metrics_render() -> None:
    metrics = make_metrics(checks=("adcc",))
    metrics["infos"] = {}
    metrics["families"] = {}
    found = Page(render(make_metric_results(metrics=metrics)))
    assert "map-complexity" in found.text
    assert len(found.rows) > len(FAMILIES)


def test_the_page_does_not_change_between_runs(alone: Results) -> None:
    assert render(alone) == render(dataclasses.replace(alone))


@pytest.mark.parametrize("module", ["metrics", "metrics_protocol", "metrics_terminal"])
def test_no_torch(module: str) -> None:
    code = f"import sys, camaudit.report.{module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
