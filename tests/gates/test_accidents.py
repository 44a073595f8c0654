"""Nothing passes by accident: whatever goes wrong, no exit code is 0 and no output says pass."""

from __future__ import annotations

import pytest
from junitparser import JUnitXml

from tests.gates.accidents import ACCIDENTS, Accident
from tests.gates.happenings import CANNOT
from tests.gates.workspace import OUTPUTS, Workspace


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
