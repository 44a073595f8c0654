"""The paper's table through three libraries at once, in docs/explainers.md.

`python -m tests.adapters.side_by_side "LABEL=results.json" …` writes it; runs with one label are
one table. Their images must be the same ones, or the first of them.
"""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from camaudit.evaluation.protocols import protocol
from camaudit.methods import method_call
from camaudit.metrics.statistics import bootstrap_mean
from tests.adapters.undone import UNDONE
from tests.invariance.__main__ import put
from tests.invariance.claims import claim_of
from tests.parity.expectations import EXPECTATIONS
from tests.parity.reasons import Reason

__all__ = ["CLOSE", "PART", "Run", "gaps", "grouped", "reasons_of", "text"]

DOCS = Path(__file__).parents[2] / "docs" / "explainers.md"
PART = "side-by-side"  #: between `<!-- side-by-side:begin -->` and `<!-- side-by-side:end -->`

Json = Mapping[str, Any]

#: The libraries: the source in a spec, their column, and the figure of ours that theirs is: the
#: maps of pytorch-grad-cam are min-maxed, torchcam's are raw.
PEERS = {
    "pytorch_grad_cam": ("pytorch-grad-cam", "mu_l1_minmax"),
    "torchcam": ("torchcam", "mu_l1"),
}
#: Shares of the mass that count as equal: float32's digits, and the 1e-7 of min-max.
CLOSE = 1e-5


@dataclass(frozen=True)
class Run:
    """Runs with one label: every figure by method and image, as a run has recorded it."""

    label: str
    results: tuple[Json, ...]

    def records(self, method: str) -> dict[str, Json]:
        """The dead-zone records of a method, by image."""
        found: dict[str, Json] = {}
        for results in self.results:
            for one in results["records"]:
                if one["check"] == "dead-zone" and one["method"] == method:
                    found[one["image"]] = one
        return found

    @property
    def methods(self) -> list[str]:
        """Every method and explainer, in the order of the runs."""
        names = (one["method"] for results in self.results for one in results["summary"])
        return list(dict.fromkeys(names))


def rows() -> list[str]:
    """The methods of the paper's table."""
    (table,) = protocol("walls").tables
    return list(table.methods)


def peer_of(method: str, source: str) -> str | None:
    """The spec of the class of a library that is called after a method of ours."""
    owner = PEERS[source][0]
    names = (e.peer.name for e in EXPECTATIONS if (e.method, e.peer.owner) == (method, owner))
    name = next(names, None)
    return None if name is None else f"{source}:{name}"


def reasons_of(method: str, source: str) -> list[Reason]:
    """Why a library's maps may be others than ours: what the parity tests hold both sides to."""
    owner = PEERS[source][0]
    found = (e.reason for e in EXPECTATIONS if (e.method, e.peer.owner) == (method, owner))
    return list(dict.fromkeys(reason for reason in found if reason is not None))


@dataclass(frozen=True)
class Undone:
    """What makes a class ours again: the method of a run, and whether it stands for theirs."""

    method: str
    theirs: bool
    says: str


def undone(method: str, source: str) -> Undone | None:
    """How the difference between a method of ours and a class is undone; None where none is."""
    owner, spec = PEERS[source][0], peer_of(method, source)
    claim = claim_of(owner, (spec or "").partition(":")[2])
    instead = None if claim is None else claim.instead
    if claim is None or instead is None:
        return None
    if isinstance(instead.method, str) and instead.explain is claim.explain:
        label = method_call(instead.method).label
        return Undone(label, False, f"ours as {instead.says}")
    return Undone(UNDONE[owner, claim.name], instead.explain is not claim.explain, instead.says)


def text(runs: Sequence[Run]) -> str:
    """The commands, the tables and what explains where they differ."""
    blocks = []
    for run in runs:
        blocks += [f"### {run.label}", _commands(run), _about(run), _table(run)]
    blocks += ["\n".join(_explanations(runs))]
    return "\n\n".join(blocks)


def _commands(run: Run) -> str:
    lines = [command(results["settings"]) for results in run.results]
    return "\n".join(["```console", *(f"$ {line}" for line in lines), "```"])


def command(settings: Json) -> str:
    """The command of a run, from the root of a clone; folders by their last name."""
    given = ["camaudit", "run"]
    if settings["wall"] != "auto":
        given += ["--wall", settings["wall"]]
    if settings["image_size"] not in (None, 224):
        given += ["--image-size", str(settings["image_size"])]
    if settings["images"]:
        given += ["--images", Path(settings["images"]).name]
    for option in ("num_images", "perturbation_images"):
        if settings[option] is not None:
            given += [f"--{option.replace('_', '-')}", str(settings[option])]
    foreign = {entry["explainer"] for entry in settings.get("foreign", ())}
    own = [name for name in settings["methods"] if name not in foreign]
    return shlex.join([*given, "--explainers", ",".join([*own, *settings["explainers"]])])


def _about(run: Run) -> str:
    """The model, the wall and what a uniform map has."""
    results = run.results[0]
    subject, zone = results["subject"], results["zone"]
    uniform = _share(zone["scored_fraction"])
    return (
        f"{subject['model']}, weights: {subject['weights']}; target layer "
        f"{'×'.join(map(str, subject['layer_shape']))}, wall `{subject['wall']['wall']}`, live "
        f"{subject['wall']['live']}. A uniform map has {uniform}."
    )


def _table(run: Run) -> str:
    heads = ["method", "images", "ours", "ours, min-max", *(name for name, _ in PEERS.values())]
    lines = [_row(heads), _row(["---"] * len(heads))]
    lines += [_row(_cells(run, method)) for method in rows()]
    return "\n".join(lines)


def _cells(run: Run, method: str) -> list[str]:
    ours = run.records(method)
    cells = [f"`{method}`", str(len(ours)), _figure(ours), _figure(ours, "mu_l1_minmax")]
    return [*cells, *(_peer_cell(run, method, source) for source in PEERS)]


def _peer_cell(run: Run, method: str, source: str) -> str:
    spec = peer_of(method, source)
    if spec is None:
        return "has none"
    theirs = run.records(spec)
    if theirs and theirs.keys() != run.records(method).keys():
        raise ValueError(f"{run.label}: {method} and {spec} were run on other images")
    figure = _figure(theirs)
    gap = largest_gap(run, method, source)
    if gap is None:
        return figure
    return f"{figure}; {_verdict(run, method, source, gap)}"


def _verdict(run: Run, method: str, source: str, gap: float) -> str:
    if gap <= CLOSE:
        return "equal"
    all_gaps = gaps(run, method, source)
    same = sum(one <= CLOSE for one in all_gaps)
    told = f"apart by up to {100 * gap:.2g} points"
    told = f"equal on {same} of {len(all_gaps)}, else {told}" if same else told
    other = undone(method, source)
    rest = None if other is None else largest_gap(run, method, source, other)
    if other is not None and rest is not None and rest <= CLOSE:
        return f"{told}; equal: {other.says}"
    return told


def largest_gap(run: Run, method: str, source: str, other: Undone | None = None) -> float | None:
    """The largest of :func:`gaps`; None where no image has both figures."""
    return max(gaps(run, method, source, other), default=None)


def gaps(run: Run, method: str, source: str, other: Undone | None = None) -> list[float]:
    """Differences of μ between ours, processed as theirs, and theirs, of every image with both.

    other: takes the place of ours, or of theirs.
    """
    key = PEERS[source][1]
    ours, theirs = run.records(method), run.records(peer_of(method, source) or "")
    if other is not None and other.theirs:
        theirs = run.records(other.method)
    elif other is not None:
        ours = run.records(other.method)
    return [
        abs(ours[image][key] - theirs[image]["mu_l1"])
        for image in ours.keys() & theirs.keys()
        if ours[image][key] is not None and theirs[image]["mu_l1"] is not None
    ]


def _figure(records: Mapping[str, Json], key: str = "mu_l1") -> str:
    """Mean and interval over images, and how many had no figure, with the reason of the first."""
    values = [one[key] for one in records.values() if one[key] is not None]
    without = [one for one in records.values() if one[key] is None]
    said = []
    if values:
        found = bootstrap_mean(values, seed=0)
        mean, low, high = found.mean, found.ci_low, found.ci_high
        assert mean is not None
        ends = "" if low is None or high is None else f" [{_points(low)}, {_points(high)}]"
        said.append(f"{_share(mean)}{ends}")
    if without:
        message = next((one["message"] for one in without if one["message"]), "")
        why = f": {message.splitlines()[0]}" if message else ""
        said.append(f"{without[0]['status']} on {len(without)} of {len(records)}{why}")
    return "; ".join(said) or "not run"


def _explanations(runs: Sequence[Run]) -> Iterator[str]:
    """One line for every class whose figures are not ours."""
    for method in rows():
        for source, (owner, _) in PEERS.items():
            widest = [largest_gap(run, method, source) for run in runs]
            if not any(gap is not None and gap > CLOSE for gap in widest):
                continue
            spec = peer_of(method, source)
            assert spec is not None
            why = " ".join(f"*{one.title}*: {one.text}" for one in reasons_of(method, source))
            yield f"- **{owner} `{spec.partition(':')[2]}` is not `{method}`.** {why}"


def _share(value: float) -> str:
    return f"{_points(value)} %"


def _points(value: float) -> str:
    return "0" if value == 0 else f"{100 * value:.1f}"


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def grouped(arguments: Sequence[str]) -> list[Run]:
    """The runs of `LABEL=results.json` arguments, by label."""
    found: dict[str, list[Json]] = {}
    for argument in arguments:
        label, _, path = argument.rpartition("=")
        found.setdefault(label, []).append(json.loads(Path(path).read_text(encoding="utf-8")))
    return [Run(label, tuple(results)) for label, results in found.items()]


def main(arguments: Sequence[str]) -> None:
    """Read the runs and put their tables between the marks of the page."""
    page = DOCS.read_text(encoding="utf-8")
    DOCS.write_text(put(page, PART, text(grouped(arguments))), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
