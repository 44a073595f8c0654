"""The paper's table through three libraries: what a cell says, and what the page carries."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from tests.adapters import side_by_side
from tests.adapters.side_by_side import PEERS, Run, text
from tests.invariance.claims import claim_of

OURS = {"gradcam": 0.2, "gradcam++": 0.3, "eigencam": 0.1}


def record(method: str, image: str, value: float | None, **more: Any) -> dict[str, Any]:
    found = {"check": "dead-zone", "method": method, "image": image, "mu_l1": value}
    found |= {"mu_l1_minmax": None if value is None else value / 2, "message": None}
    return {**found, "status": "ok" if value is not None else "error", **more}


def results(shares: Mapping[str, Sequence[float | None]], **more: Any) -> dict[str, Any]:
    """What a run of these methods and explainers writes, as far as it is read."""
    foreign = [name for name in shares if ":" in name or name in ("undivided", "with_our_sign")]
    return {
        "settings": {
            "wall": "auto", "images": "/somewhere/photos", "num_images": 6,
            "perturbation_images": None, "image_size": 224, "methods": list(shares),
            "explainers": foreign, "foreign": [{"explainer": name} for name in foreign], **more,
        },
        "subject": {
            "model": "a model", "weights": "random", "layer_shape": [8, 7, 7],
            "wall": {"wall": "split", "live": "rows 0-3 of 7"},
        },
        "zone": {"scored_fraction": 0.25},
        "summary": [{"method": name} for name in shares],
        "records": [
            record(name, f"image {number}", value)
            for name, values in shares.items()
            for number, value in enumerate(values)
        ],
    }  # fmt: skip


def cells(shares: Mapping[str, Sequence[float | None]], method: str) -> list[str]:
    page = text([Run("Made up", (results(shares),))])
    (row,) = (line for line in page.splitlines() if line.startswith(f"| `{method}` |"))
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_a_class_is_equal_by_the_figure_that_its_processing_leaves() -> None:
    shares = {
        "gradcam": [0.2, 0.4] * 3,
        "pytorch_grad_cam:GradCAM": [0.1, 0.2] * 3,  # of min-max
        "torchcam:GradCAM": [0.2, 0.4] * 3,
    }
    _, count, ours, minmax, grad_cam, torchcam = cells(shares, "gradcam")
    assert (count, ours[:6], minmax[:6]) == ("6", "30.0 %", "15.0 %")
    assert re.fullmatch(r"15\.0 % \[\d+\.\d, \d+\.\d\]; equal", grad_cam)
    assert re.fullmatch(r"30\.0 % \[\d+\.\d, \d+\.\d\]; equal", torchcam)
    swapped = {**shares, "torchcam:GradCAM": shares["pytorch_grad_cam:GradCAM"]}
    assert cells(swapped, "gradcam")[-1].endswith("; apart by up to 20 points")


def test_what_undoes_a_difference_is_named_only_where_it_does() -> None:
    shares = {
        "gradcam++": [0.3, 0.2], "pytorch_grad_cam:GradCAMPlusPlus": [0.15, 0.11],
        "gradcam++(epsilon=1e-06)": [0.3, 0.22], "torchcam:GradCAMpp": [0.5, 0.6],
        "undivided": [0.5, 0.6],
    }  # fmt: skip
    grad_cam, torchcam = cells(shares, "gradcam++")[-2:]
    assert grad_cam == (
        "13.0 %; equal on 1 of 2, else apart by up to 1 points; equal: ours as "
        "`gradcam++(epsilon=1e-6)`"
    )
    assert torchcam == "55.0 %; apart by up to 40 points; equal: ours, α undivided"
    other = cells({**shares, "undivided": [0.5, 0.5]}, "gradcam++")[-1]
    assert other == "55.0 %; apart by up to 40 points"
    sign = {"eigencam": [0.2], "pytorch_grad_cam:EigenCAM": [0.4], "with_our_sign": [0.1]}
    assert cells(sign, "eigencam")[-2].endswith("; equal: theirs, with our sign")


def test_a_class_that_fails_or_is_missing_says_so() -> None:
    shares = {"gradcam": [0.2, 0.4], "eigencam": [0.1, 0.1], "torchcam:GradCAM": [0.2, None]}
    found = results(shares)
    found["records"][-1]["message"] = "RuntimeError: no maps\nat line 3"
    page = text([Run("Made up", (found,))])
    assert "| 20.0 %; error on 1 of 2: RuntimeError: no maps; equal |" in page
    assert cells(shares, "gradcam")[-2] == "not run"
    assert cells(shares, "eigencam")[-1] == "has none"


def test_differences_are_explained_and_others_are_not() -> None:
    shares = {"gradcam++": [0.3], "torchcam:GradCAMpp": [0.5], "gradcam": [0.2]}
    page = text([Run("Made up", (results({**shares, "torchcam:GradCAM": [0.2]}),))])
    assert page.count("\n- **") == 1
    assert (
        "- **torchcam `GradCAMpp` is not `gradcam++`.** *α is never divided*: They divide" in page
    )


def test_commands_are_those_of_the_runs() -> None:
    first = results({"gradcam": [0.2], "torchcam:GradCAM": [0.2]})
    second = results({"gradcam++(epsilon=1e-06)": [0.2]}, wall="vgg16", perturbation_images=2)
    page = text([Run("Made up", (first, second))])
    assert "$ camaudit run --images photos --num-images 6 --explainers gradcam,torchcam:Gra" in page
    assert (
        "$ camaudit run --wall vgg16 --images photos --num-images 6 --perturbation-images 2 "
        "--explainers 'gradcam++(epsilon=1e-06)'"
    ) in page


def test_other_images_are_refused() -> None:
    mine = results({"gradcam": [0.2, 0.3]})
    theirs = results({"torchcam:GradCAM": [0.2]})
    with pytest.raises(ValueError, match="were run on other images"):
        text([Run("Made up", (mine, theirs))])


def test_the_page_carries_commands_tables_and_explanations() -> None:
    page = side_by_side.DOCS.read_text(encoding="utf-8")
    begin, end = (f"<!-- {side_by_side.PART}:{mark} -->" for mark in ("begin", "end"))
    block = page.split(begin)[1].split(end)[0]
    assert len(re.findall(r"^### ", block, flags=re.MULTILINE)) == 2
    assert "$ camaudit run --images " in block
    assert "$ camaudit run --wall vgg16 " in block
    assert block.count("| `hirescam` |") == block.count("| `scorecam` |") == 2
    assert "not run" not in block
    for method, *columns in re.findall(
        r"^\| `(.+?)` \|.*\|(.*)\|(.*)\|$", block, flags=re.MULTILINE
    ):
        for cell, source in zip(columns, PEERS, strict=True):
            if "apart by" in cell:
                spec = side_by_side.peer_of(method, source)
                assert spec is not None
                name = f"{PEERS[source][0]} `{spec.partition(':')[2]}`"
                assert f"- **{name} is not `{method}`.**" in block, "write it again"


def test_every_class_of_the_table_is_claimed() -> None:
    """The explanations and what undoes a difference come from there."""
    for method in side_by_side.rows():
        for source, (owner, _) in PEERS.items():
            spec = side_by_side.peer_of(method, source)
            claim = claim_of(owner, (spec or "").partition(":")[2])
            assert (claim is None) == (spec is None)
            if claim is not None and claim.instead is not None:
                assert side_by_side.reasons_of(method, source)
                assert side_by_side.undone(method, source) is not None
