"""Nothing passes by accident: whatever goes wrong, no exit code is 0 and no output says pass."""

from __future__ import annotations

import signal
from contextlib import chdir
from pathlib import Path

import pytest
from junitparser import JUnitXml

from camaudit.cli import main
from camaudit.gates.pending import UNFINISHED
from tests.gates.accidents import ACCIDENTS, Accident
from tests.gates.happenings import CANNOT, no_room_at_all, pinned
from tests.gates.workspace import OUTPUTS, Workspace

PAGE = Path(__file__).parents[2] / "docs" / "gates.md"
BEGIN, END = "<!-- accidents -->\n", "<!-- /accidents -->"
HEAD = "| accident | exit code |\n|---|---|\n"


def assert_nothing_passes(place: Workspace) -> None:
    """No output of this gate, nor of the one before it, can be taken for a pass."""
    record = place.folder / "reports/gate/gate.json"
    if record.exists():
        assert place.read()["decision"] != "pass"
        assert place.read()["exit_code"] != 0
    results = place.folder / "reports/gate/results.json"
    if results.exists():
        assert place.read("reports/gate/results.json").get("gate", {}).get("decision") != "pass"
    junit = place.folder / OUTPUTS["junit"]
    if junit.exists():
        (suite,) = JUnitXml.fromfile(str(junit))
        assert suite.failures + suite.errors > 0 or suite.tests == suite.skipped
    for name in ("markdown", "badge", "card"):
        path = place.folder / OUTPUTS[name]
        if path.exists():
            text = path.read_text(encoding="utf-8")
            assert "gate passes" not in text
            assert "explanations: pass" not in text
    report = place.folder / "reports/gate/report.html"
    if report.exists():
        assert "The gate passes" not in report.read_text(encoding="utf-8")


@pytest.mark.parametrize("accident", ACCIDENTS, ids=[one.name for one in ACCIDENTS])
def test_no_accident_passes(accident: Accident, workspace: Workspace) -> None:
    words = accident.happens(workspace) or ()
    if accident.process:
        done = workspace.process(*words, before=accident.before)
    elif accident.python:
        done = workspace.program(*words, python=accident.python)
    else:
        done = workspace.run(*words)
    if done.code == CANNOT:
        pytest.skip("this system does not let a process mount a disk of its own")
    text = " ".join((done.out + done.err).split())
    assert done.code == accident.code, text
    assert accident.says in text
    assert "Traceback" not in text
    if not accident.stands:
        assert_nothing_passes(workspace)


def test_without_an_accident_it_passes(workspace: Workspace) -> None:
    assert workspace.run().code == workspace.run("--run", "run").code == 0
    assert workspace.process().code == 0


def test_every_accident_has_a_name_and_an_exit_code_of_its_own() -> None:
    assert len({one.name for one in ACCIDENTS}) == len(ACCIDENTS) >= 30
    assert 0 not in {one.code for one in ACCIDENTS}


def test_the_page_shows_the_table() -> None:
    table = "".join(
        f"| {one.name} | {one.code if one.code > 0 else f'{-one.code} (signal)'} |\n"
        for one in ACCIDENTS
    )
    assert PAGE.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0] == HEAD + table, table


def test_a_killed_gate_leaves_no_verdict_of_an_earlier_one(workspace: Workspace) -> None:
    before = workspace.read("reports/gate/results.json")
    assert before.pop("gate")["decision"] == "pass"
    workspace.edit("explainers.py:top", "explainers.py:killed")
    assert workspace.process().code == -signal.SIGKILL
    record = workspace.read()
    assert (record["decision"], record["problems"]) == ("error", [UNFINISHED])
    (suite,) = JUnitXml.fromfile(str(workspace.folder / OUTPUTS["junit"]))
    assert [case.result[0].message for case in suite] == [UNFINISHED]
    assert workspace.read("reports/gate/results.json") == before
    assert not (workspace.folder / "reports/gate/report.html").exists()


def test_a_gate_that_ends_early_says_why_in_its_outputs(workspace: Workspace) -> None:
    workspace.edit("subject.py:build", "gone.py:build")
    done = workspace.run()
    (problem,) = workspace.read()["problems"]
    assert problem in done.err
    assert "gone.py" in problem
    (suite,) = JUnitXml.fromfile(str(workspace.folder / OUTPUTS["junit"]))
    assert (suite.errors, [case.result[0].message for case in suite]) == (1, [problem])


@pytest.mark.parametrize("name", ["camaudit.toml", "subject.py"])
def test_the_summary_of_a_job_tells_once_that_a_gate_broke(
    name: str, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    (workspace.folder / name).write_text("]")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(workspace.folder / "summary.md"))
    assert workspace.run().code == 2
    text = (workspace.folder / "summary.md").read_text(encoding="utf-8")
    assert text.count("<!-- camaudit gate -->") == 1
    assert name in text


def test_a_run_that_is_judged_is_left_as_it_is(workspace: Workspace) -> None:
    names = ("results.json", "report.html")
    before = [(workspace.folder / "reports/gate" / name).read_bytes() for name in names]
    pinned("images", "sha256")(workspace)
    assert workspace.run("--run", "reports/gate").code == 3
    assert [(workspace.folder / "reports/gate" / name).read_bytes() for name in names] == before
    assert workspace.read()["decision"] != "pass"


def test_where_nothing_can_be_written_earlier_verdicts_are_taken_away(workspace: Workspace) -> None:
    assert workspace.process(before=no_room_at_all).code == 3
    left = {path.name for path in (workspace.folder / "reports/gate").iterdir()}
    assert left == {"earlier-results.json"}
    assert not any((workspace.folder / path).exists() for path in OUTPUTS.values())


def test_an_output_over_the_policy_leaves_it_as_it_was(workspace: Workspace) -> None:
    before = workspace.policy.read_bytes()
    assert workspace.run("--junit", "camaudit.toml").code == 2
    assert workspace.policy.read_bytes() == before


def test_a_process_that_an_explainer_forks_may_leave(workspace: Workspace) -> None:
    workspace.edit("explainers.py:top", "explainers.py:forks")
    done = workspace.process()
    assert done.code == 0, done


def test_a_full_stdout_is_no_pass(workspace: Workspace) -> None:
    done = workspace.program("--json", out="/dev/full")
    assert done.code != 0
    assert "No space left" in done.err
    assert "Traceback" not in done.err


def test_the_traceback_is_shown_to_who_asks_for_it(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace.edit("subject.py:build", "subject.py:broken")
    with chdir(workspace.folder), pytest.raises(SystemExit) as ended:
        main(["gate", "--debug"])
    assert ended.value.code == 2
    assert "Traceback" in capsys.readouterr().err
