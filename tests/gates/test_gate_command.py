"""`camaudit gate`: what it runs, decides, writes and exits with."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

from camaudit.schema import gate_schema, results_schema
from tests.gates.workspace import BASELINE, OUTPUTS, Workspace
from tests.subjects import photograph

SPREAD = 0.3285  # mean of the explainer `spread` over the eight photographs, rounded
LOW = 'require = "dead_zone.mu_l1 <= 0.05"'


def spread(place: Workspace, bound: float, *, photographs: int = 8, escalate: int = 0) -> None:
    """The condition is that the mean of `spread` is at most `bound`."""
    place.edit("explainers.py:top", "explainers.py:spread")
    place.edit(LOW, f'require = "dead_zone.mu_l1 <= {bound}"')
    if escalate:
        place.edit("[run]", f"[run]\nescalate = {escalate}")
    for number in range(8, photographs):
        photograph(number).save(place.folder / "photos" / f"{number}.png")


def images(place: Workspace) -> list[str]:
    return [one["id"] for one in place.read("reports/gate/results.json")["images"]]


def without_times(results: dict[str, Any]) -> dict[str, Any]:
    return {name: part for name, part in results.items() if name != "timing"}


@pytest.mark.parametrize(
    ("bound", "code", "decision"),
    [(0.5, 0, "pass"), (0.2, 1, "fail"), (0.33, 4, "inconclusive")],
)
def test_the_exit_code_is_the_decision(
    bound: float, code: int, decision: str, workspace: Workspace
) -> None:
    spread(workspace, bound)
    done = workspace.run()
    assert done.code == code, done
    record = workspace.read()
    assert (record["decision"], record["exit_code"]) == (decision, code)
    (ruling,) = record["rulings"]
    assert ruling["n"] == 8
    assert ruling["value"] == pytest.approx(SPREAD, abs=1e-3)
    assert decision.upper() in done.out


def test_it_needs_no_option_where_the_policy_is(workspace: Workspace) -> None:
    for name in ("gate.json", "results.json", "report.html"):
        (workspace.folder / "reports/gate" / name).unlink()
    done = workspace.run(outputs=False)
    assert done.code == 0, done
    assert "The gate passes" in done.out
    written = {path.name for path in (workspace.folder / "reports/gate").iterdir()}
    assert written == {"gate.json", "results.json", "report.html"}
    page = (workspace.folder / "reports/gate/report.html").read_text(encoding="utf-8")
    assert "The gate passes" in page


def test_a_policy_in_another_folder_decides_as_in_its_own(workspace: Workspace) -> None:
    record = workspace.read()
    workspace.here = workspace.folder / "deep"
    workspace.here.mkdir()
    done = workspace.run("--policy", "../camaudit.toml")
    assert done.code == 0, done
    assert {**workspace.read(), "policy": ""} == {**record, "policy": ""}


def test_a_policy_in_pyproject_decides_the_same(workspace: Workspace) -> None:
    record = workspace.read()
    text = workspace.policy.read_text(encoding="utf-8")
    for name in ("subject", "images", "run"):
        text = text.replace(f"[{name}]", f"[tool.camaudit.{name}]")
    text = "[tool.camaudit]\n" + text.replace("[[condition]]", "[[tool.camaudit.condition]]")
    workspace.policy.unlink()
    (workspace.folder / "pyproject.toml").write_text(text, encoding="utf-8")
    done = workspace.run()
    assert done.code == 0, done
    (ruling,), (before,) = workspace.read()["rulings"], record["rulings"]
    ruling["condition"].pop("line"), before["condition"].pop("line")
    assert ruling == before


def test_more_images_are_run_until_they_decide(workspace: Workspace) -> None:
    spread(workspace, 0.35, photographs=60, escalate=60)
    assert workspace.run().code == 4
    first = images(workspace)
    (ruling,) = workspace.read()["rulings"]
    assert len(first) == 8
    assert 0 < ruling["more"] < 52
    done = workspace.run("--escalate")
    assert done.code == 0, done
    assert len(images(workspace)) == 8 + ruling["more"]
    assert set(first) < set(images(workspace))
    assert workspace.read()["rulings"][0]["n"] == 8 + ruling["more"]
    cells = workspace.read("reports/gate/results.json")["timing"]["cells"]
    assert cells == {"found": 2 * 8, "computed": 2 * ruling["more"]}  # and the control
    assert not list((workspace.folder / "reports/gate").glob("records*"))


def test_a_gate_that_is_resumed_computes_nothing_twice(workspace: Workspace) -> None:
    assert workspace.run("--resume").code == 0
    first = workspace.read("reports/gate/results.json")
    count = 2 * len(images(workspace))  # and the control
    assert first["timing"]["cells"] == {"found": 0, "computed": count}
    assert workspace.run("--resume").code == 0
    again = workspace.read("reports/gate/results.json")
    assert again["timing"]["cells"] == {"found": count, "computed": 0}
    assert without_times(again) == without_times(first)
    assert workspace.run().code == 0  # nothing is taken from there unless it is asked for
    assert "cells" not in workspace.read("reports/gate/results.json")["timing"]


@pytest.mark.long
def test_a_gate_whose_audit_is_computed_by_processes(workspace: Workspace) -> None:
    assert workspace.run().code == 0
    alone = workspace.read("reports/gate/results.json")
    assert workspace.run("--executor", "processes", "--workers", "2").code == 0
    assert without_times(workspace.read("reports/gate/results.json")) == without_times(alone)
    done = workspace.run("--executor", "processes", "--run", "reports/gate")
    assert done.code == 2
    assert "give one of them" in " ".join(done.err.split())


def test_a_run_that_is_done_cannot_be_resumed(workspace: Workspace) -> None:
    workspace.run()
    done = workspace.run("--resume", "--run", "reports/gate")
    assert done.code == 2
    assert "give one of them" in done.err


def test_no_more_images_are_run_than_the_policy_says(workspace: Workspace) -> None:
    spread(workspace, 0.33, photographs=20, escalate=10)
    done = workspace.run("--escalate")
    assert done.code == 4, done
    assert len(images(workspace)) == 10
    assert done.err.count("verifying the dead zone") == 2


def test_where_there_are_no_more_images_it_ends(workspace: Workspace) -> None:
    spread(workspace, 0.33, photographs=9, escalate=40)
    assert workspace.run("--escalate").code == 4
    assert len(images(workspace)) == 9


@pytest.mark.parametrize("bound", [0.5, 0.2])
def test_where_it_is_decided_no_more_images_are_run(bound: float, workspace: Workspace) -> None:
    spread(workspace, bound, photographs=20, escalate=20)
    assert workspace.run("--escalate").code == (bound < SPREAD)
    assert len(images(workspace)) == 8


def test_a_pin_of_the_images_is_held_against_the_first_of_them(workspace: Workspace) -> None:
    spread(workspace, 0.35, photographs=60, escalate=60)
    workspace.run()
    pin = workspace.read("reports/gate/results.json")["subject"]["images_sha256"]
    workspace.edit("[images]", f'[images]\nsha256 = "{pin}"')
    done = workspace.run("--escalate")
    assert done.code == 0, done
    assert len(images(workspace)) > 8
    workspace.edit(pin, "ab" * 32)
    assert workspace.run("--escalate").code == 3
    assert len(images(workspace)) == 8


def test_escalate_needs_a_limit(workspace: Workspace) -> None:
    done = workspace.run("--escalate")
    assert done.code == 2
    assert "escalate = N is missing" in done.err


def test_a_baseline_is_made_then_held_and_stops_what_is_worse(workspace: Workspace) -> None:
    workspace.edit(LOW, BASELINE)
    workspace.edit("[run]", '[run]\nbaseline = "kept/results.json"')
    assert workspace.run().code == 2
    done = workspace.run("--update-baseline")
    assert done.code == 0, done
    made = workspace.read("kept/results.json")
    assert "gate" not in made
    assert made["records"] == workspace.read("reports/gate/results.json")["records"]
    assert workspace.run().code == 0
    source = workspace.folder / "explainers.py"
    text = source.read_text(encoding="utf-8")
    source.write_text(text.replace("maps[:, 0] = 1", "maps += 1", 1), encoding="utf-8")
    done = workspace.run()
    assert done.code == 1, done
    assert workspace.read("kept/results.json") == made
    assert workspace.run("--update-baseline").code == workspace.run().code == 0
    assert workspace.read("kept/results.json") != made


def test_what_went_wrong_becomes_no_baseline(workspace: Workspace) -> None:
    workspace.edit("explainers.py:top", "explainers.py:raises")
    assert workspace.run("--update-baseline", "--baseline", "kept.json").code == 3
    assert not (workspace.folder / "kept.json").exists()


@pytest.mark.parametrize("bound", [0.5, 0.2, 0.33])
def test_a_finished_run_is_judged_as_the_gate_judges_its_own(
    bound: float, workspace: Workspace
) -> None:
    spread(workspace, bound)
    code = workspace.run().code
    record = workspace.read()
    for run in ("reports/gate", "reports/gate/results.json"):
        assert workspace.run("--run", run, "--out", "again").code == code
        assert workspace.read("again/gate.json") == record
    assert {path.name for path in (workspace.folder / "again").iterdir()} == {"gate.json"}


def test_results_fit_the_schema_and_come_out_the_same_again(workspace: Workspace) -> None:
    spread(workspace, 0.33)
    workspace.run()
    first = workspace.read("reports/gate/results.json")
    jsonschema.validate(first, results_schema())
    jsonschema.validate(workspace.read(), gate_schema())
    assert first["gate"] == workspace.read()
    workspace.run()
    assert without_times(workspace.read("reports/gate/results.json")) == without_times(first)


def test_json_is_the_only_thing_on_stdout(workspace: Workspace) -> None:
    workspace.edit("subject.py:build", "subject.py:talkative")
    done = workspace.run("--json")
    assert done.code == 0, done
    assert json.loads(done.out) == workspace.read()
    assert "loading my model" in done.err


def test_a_ci_that_reads_annotations_gets_them(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    spread(workspace, 0.2)
    assert "::error" not in workspace.run().err
    summary = workspace.folder / "summary.md"
    summary.write_text("An earlier step.\n")
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(workspace.folder))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(summary))
    done = workspace.run()
    (line,) = [line for line in done.err.splitlines() if line.startswith("::")]
    assert line.startswith("::error file=camaudit.toml,line=18,title=low[spread]::")
    text = summary.read_text(encoding="utf-8")
    assert text.startswith("An earlier step.\n\n<!-- camaudit gate -->\n")
    assert text.count("<!-- camaudit gate -->") == 1


def test_every_output_is_written_where_it_was_asked_for(workspace: Workspace) -> None:
    for path in OUTPUTS.values():
        (workspace.folder / path).unlink()
    done = workspace.run()
    for path in (*OUTPUTS.values(), "reports/gate/gate.json", "reports/gate/report.html"):
        assert (workspace.folder / path).is_file()
        assert f"wrote {workspace.folder / path}\n" in done.err
