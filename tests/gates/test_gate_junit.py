"""JUnit read back by a reader that is not ours."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from junitparser import Error, Failure, JUnitXml, Skipped

from camaudit.gates.junit import junit
from camaudit.gates.text import one_line
from camaudit.gates.verdict import Verdict
from tests.gates.drawn import verdicts
from tests.gates.verdicts import HOSTILE, POLICY, VERDICTS, hostile


def read(text: str) -> JUnitXml:
    return JUnitXml.fromstring(text.encode())


def outcomes(found: Verdict) -> dict[str, list[str]]:
    """Of every case, the kinds of its results."""
    (suite,) = read(junit(found))
    return {case.name: [type(one).__name__ for one in case.result] for case in suite}


@pytest.mark.parametrize("name", VERDICTS)
def test_it_is_green_exactly_where_the_gate_passes(name: str) -> None:
    found, code = VERDICTS[name]
    text = junit(found)
    report = read(text)
    (suite,) = report
    kinds = [type(one) for case in suite for one in case.result]
    assert (report.failures, report.errors) == (kinds.count(Failure), kinds.count(Error))
    assert report.skipped == kinds.count(Skipped)
    assert report.tests == len(list(suite)) >= len(found.rulings)
    assert (report.failures + report.errors == 0) == (code == 0)
    failing = [one for one in found.binding if one.decision == "fail"]
    assert report.failures == len(failing)
    assert failing or code != 1
    counted = (suite.tests, suite.failures, suite.errors, suite.skipped)
    report.update_statistics()
    assert counted == (report.tests, report.failures, report.errors, report.skipped)


@given(found=verdicts())
@settings(max_examples=80, deadline=None)
def test_any_verdict_is_read_back_and_green_only_on_a_pass(found: Verdict) -> None:
    (suite,) = read(junit(found))
    kinds = [type(one) for case in suite for one in case.result]
    assert (Failure in kinds or Error in kinds) == (found.exit_code != 0)
    names = [case.name for case in suite]
    assert all(one_line(ruling.name) in names for ruling in found.rulings)


def test_each_decision_has_its_element() -> None:
    assert outcomes(VERDICTS["everything"][0]) == {
        "problem[1]": ["Error"],
        "dead-zone[gradcam]": ["Failure"],
        "no-bugs[mine]": ["Error"],
        "dead-zone[layercam]": ["Error"],
        "no-regression[gradcam]": ["Error"],
        "depends[cam]": ["Error"],
        "dead-zone[hirescam]": [],
        "dead-zone[gradcam++]": [],
        "dead-zone[eigencam]": ["Skipped"],
        "dead-zone[scorecam]": ["Skipped"],
        "no-regression[xgradcam]": ["Skipped"],
    }


def test_a_failure_says_figure_bound_and_worst_images() -> None:
    (suite,) = read(junit(VERDICTS["fail"][0]))
    (case,) = [case for case in suite if case.name == "dead-zone[gradcam]"]
    assert case.classname == POLICY
    (result,) = case.result
    assert result.message == "fail: dead_zone.mu_l1 ≤ 0.05, came 0.131 [0.112 to 0.15]"
    assert result.type == "fail"
    assert "the whole interval breaks the bound" in result.text
    assert "Worst images: cat (0.312), rocket (0.244) and clock (0.191)." in result.text


def test_a_waived_failure_gives_its_reason() -> None:
    (suite,) = read(junit(VERDICTS["fail, waived"][0]))
    (case,) = [case for case in suite if case.name == "dead-zone[gradcam]"]
    (result,) = case.result
    assert isinstance(result, Skipped)
    assert result.message.startswith("fail, waived: ")
    assert "Waived until 2030-12-31: the new layer is trained next week." in result.text


def test_nothing_that_binds_is_a_case_of_its_own() -> None:
    assert outcomes(VERDICTS["nothing"][0]) == {"verdict": ["Error"]}
    assert outcomes(VERDICTS["all waived"][0])["verdict"] == ["Error"]


@pytest.mark.parametrize("text", HOSTILE)
def test_text_of_others_stays_text(text: str) -> None:
    (suite,) = read(junit(hostile(text)))
    named = [case.name for case in suite]
    assert f"{one_line(text)}[{one_line(text)}]" in named
    assert len(named) == 7
    assert suite.errors == 3
    assert suite.failures == 1


def test_time_and_date_and_the_file_itself(tmp_path: Path) -> None:
    when = datetime.datetime(2026, 11, 21, 8, 30, tzinfo=datetime.UTC)
    path = tmp_path / "junit.xml"
    path.write_text(junit(VERDICTS["fail"][0], seconds=1.25, date=when), encoding="utf-8")
    (suite,) = JUnitXml.fromfile(str(path))
    assert suite.time == 1.25
    assert suite.timestamp == "2026-11-21T08:30:00+00:00"
    properties = {one.name: one.value for one in suite.properties()}
    assert properties["exit code"] == "1"
    assert "Holm" in properties["rule"]
