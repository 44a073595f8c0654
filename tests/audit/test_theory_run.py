"""`camaudit theory` from settings to files, on small designs."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from camaudit.audit import theory as theory_module
from camaudit.audit.theory import TheorySettings, run_theory
from camaudit.cli import _run
from camaudit.errors import UsageError
from camaudit.types import ClaimOutcome, Results

SMALL = TheorySettings(quick=True, filters=24, draws=1500, methods=("gradcam", "hirescam"))


def shorten_sweeps(patch: pytest.MonkeyPatch) -> None:
    genuine = theory_module.sweeps
    patch.setattr(
        theory_module,
        "sweeps",
        lambda quick: [
            {**sweep, "x": sweep["x"][:2], "designs": sweep["designs"][:2]}
            for sweep in genuine(quick)[:2]
        ],
    )


@pytest.fixture(autouse=True)
def few_sweeps(monkeypatch: pytest.MonkeyPatch, results: Results) -> None:
    """For every test; `results` first, because it shortens them for itself."""
    assert results.claims
    shorten_sweeps(monkeypatch)


@pytest.fixture(scope="module")
def results() -> Results:
    with pytest.MonkeyPatch.context() as patch:
        shorten_sweeps(patch)
        return run_theory(SMALL)


def test_every_part_has_its_claims(results: Results) -> None:
    checks = [claim.check for claim in results.claims]
    assert set(checks) == {
        "theory/proposition-2", "theory/expectation", "theory/control", "theory/bound",
        "theory/dead-zone", "theory/methods",
    }  # fmt: skip
    assert checks.count("theory/expectation") == 10
    others = [claim for claim in results.claims if claim.check != "theory/control"]
    assert {claim.outcome for claim in others} == {ClaimOutcome.PASS}


def test_too_few_draws_leave_the_control_failed(results: Results) -> None:
    """1 500 networks cannot tell 5 %: the run says so instead of passing."""
    (control,) = [claim for claim in results.claims if claim.check == "theory/control"]
    assert control.outcome is ClaimOutcome.FAIL


def test_the_results_fit_the_schema(results: Results) -> None:
    schema = json.loads((files("camaudit") / "schema" / "results-1.json").read_text())
    written = json.loads(json.dumps(results.to_dict(), allow_nan=False))
    jsonschema.validate(written, schema, cls=jsonschema.Draft202012Validator)
    assert written["theory"]["setup"]["filters"] == 24
    assert len(written["theory"]["digits"]) == 4
    assert {record["check"] for record in written["records"]} == {"theory/simple-cnn"}


def test_the_column_leads_through_the_wall(results: Results) -> None:
    column = results.theory["column"]
    assert column["dead"] == [False] * 14 + [True] * 14
    for exact, bound, seen, error in zip(
        column["exact"], column["bound"], column["simulated"], column["standard_error"], strict=True
    ):
        assert bound <= exact
        assert abs(seen - exact) <= 5 * error
    assert any(
        exact > 0 for exact, dead in zip(column["exact"], column["dead"], strict=True) if dead
    )


def test_the_same_run_twice_gives_the_same(results: Results) -> None:
    first, second = results.to_dict(), run_theory(SMALL).to_dict()
    first.pop("timing")
    second.pop("timing")
    assert json.dumps(first) == json.dumps(second)


def test_a_wrong_closed_form_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    from camaudit.theory import claims

    genuine = claims.expected_gradcam

    def wrong(*arguments: Any) -> Any:
        found = genuine(*arguments)
        return replace(found, mean=found.mean * 1.2)

    monkeypatch.setattr(claims, "expected_gradcam", wrong)
    found = run_theory(replace(SMALL, draws=4000, filters=21))
    failed = {claim.check for claim in found.claims if claim.outcome is ClaimOutcome.FAIL}
    assert "theory/expectation" in failed


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"networks": ("vgg19",)}, "networks among vgg16, resnet18"),
        ({"initialisation": "permute"}, "initialisation among gaussian, he"),
        ({"deep_seeds": 0}, "deep_seeds must be at least 1"),
        ({"perturbation_cells": -1}, "perturbation_cells must be at least 0"),
        ({"draws": 1}, "draws must be at least 2"),
        ({"filters": 0}, "filters must be at least 1"),
    ],
    ids=str,
)
def test_settings_that_cannot_be(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        replace(SMALL, **fields)


def test_few_filters_make_the_bound_vacuous_in_the_picture() -> None:
    found = run_theory(replace(SMALL, filters=12))
    assert found.theory["column"]["bound"] is None


# --- the command ----------------------------------------------------------------------------------

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*arguments: str) -> tuple[int, str, str]:
        code = _run(["theory", "--out", str(tmp_path / "out"), *arguments], debug=False)
        return code, *capsys.readouterr()

    return run


def test_the_command_prints_claims_and_writes_both_files(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, results: Results
) -> None:
    given: list[TheorySettings] = []
    monkeypatch.setattr(theory_module, "run_theory", lambda s, **_: given.append(s) or results)
    code, out, err = command(
        "--quick", "--filters", "24", "--draws", "1500", "--methods", "gradcam"
    )
    assert given == [replace(SMALL, methods=("gradcam",))]
    assert code == 1  # the control fails with so few draws
    assert "PASS" in out
    assert "FAIL" in out
    assert "Proposition 2" in out
    assert f"wrote {tmp_path / 'out' / 'report.html'}" in err
    written = json.loads((tmp_path / "out" / "results.json").read_text())
    assert written["claims"]
    assert "<html" in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("outcomes", "code"),
    [
        (["pass"], 0), (["pass", "not applicable"], 0), (["pass", "inconclusive"], 4),
        (["pass", "fail"], 1), (["fail", "error"], 1),
        (["pass", "error"], 3), (["not applicable"], 4), (["inconclusive"], 4), ([], 3),
    ],
    ids=str,
)  # fmt: skip
def test_the_exit_code_never_passes_by_accident(
    outcomes: list[str], code: int, command: Command, results: Results,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    claims = [replace(results.claims[0], outcome=ClaimOutcome(one)) for one in outcomes]
    found = replace(results, claims=claims)
    monkeypatch.setattr(theory_module, "run_theory", lambda *_, **__: found)
    assert command("--quick")[0] == code


def test_an_unknown_network_is_a_usage_error(command: Command) -> None:
    code, _, err = command("--networks", "vgg19")
    assert code == 2
    assert "expected networks among" in err
