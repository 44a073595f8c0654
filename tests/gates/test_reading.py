"""Policies: what is sound is read, and what is not is told with its file and line."""

from __future__ import annotations

import copy
import datetime
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from camaudit.audit.gating import settings_of
from camaudit.audit.settings import Settings
from camaudit.errors import UsageError
from camaudit.gates.binding import bound
from camaudit.gates.conditions import CONDITION, WAIVER
from camaudit.gates.figures import FIGURES
from camaudit.gates.policy import Bound, Policy, Severity
from camaudit.gates.reading import KEYS, find_policy, read_policy
from camaudit.schema import policy_schema
from tests.gates.policies import SHA, TODAY, policies, read, write

Tables = dict[str, Any]
VALIDATOR = Draft202012Validator(policy_schema())


def small() -> Tables:
    """A sound policy that every mistake is made in."""
    return {
        "version": 1,
        "subject": {"model": "mypackage.models:build", "layer": "features.29"},
        "images": {"folder": "photos", "number": 50, "perturbation_number": 8},
        "run": {
            "explainers": ["gradcam", "gradcam++", "scorecam", "mine.py:mine=gradcam", "random"],
            "seed": 0,
            "escalate": 200,
        },
        "condition": [
            {"name": "dead-zone", "require": "dead_zone.mu_l1 <= 0.05", "explainers": ["gradcam"]},
            {"name": "bugs", "require": "invariance.bugs == 0", "severity": "warn"},
        ],
        "waiver": [
            {"condition": "dead-zone", "reason": "known", "expires": datetime.date(2026, 12, 31)}
        ],
    }


def errors_of(text: str, folder: Path, *, name: str = "camaudit.toml") -> list[tuple[int, str]]:
    """The problems that the reader tells, by line."""
    with pytest.raises(UsageError) as caught:
        read(text, folder, name=name)
    found = []
    for line in str(caught.value).split("\n"):
        told = re.fullmatch(rf"{re.escape(str(folder / name))}:(\d+): (.+)", line)
        assert told, line
        found.append((int(told[1]), told[2]))
    return found


def test_a_policy_becomes_a_value(tmp_path: Path) -> None:
    policy = read(write(small()), tmp_path)
    assert policy.path == tmp_path / "camaudit.toml"
    assert policy.folder == tmp_path
    assert policy.settings == {
        "model": "mypackage.models:build", "layer": "features.29", "images": "photos",
        "num_images": 50, "perturbation_images": 8, "seed": 0,
        "methods": ("gradcam", "gradcam++", "scorecam", "random"),
        "explainers": ("mine.py:mine=gradcam",), "checks": ("dead-zone", "invariance"),
    }  # fmt: skip
    assert (policy.escalate, policy.baseline, policy.pins) == (200, None, {})
    first, second = policy.conditions
    assert (first.name, first.figure, first.relation) == ("dead-zone", "dead_zone.mu_l1", "<=")
    assert first.bound == Bound(offset=0.05)
    assert write(small()).split("\n")[first.line - 1].startswith("require = ")
    assert first.text == "dead_zone.mu_l1 <= 0.05"
    assert second.severity is Severity.WARN
    assert bound(policy, first) == ("gradcam",)
    assert bound(policy, second) == ("gradcam", "gradcam++", "scorecam", "mine")
    assert [(waiver.condition, waiver.explainer) for waiver in policy.waivers] == [
        ("dead-zone", None)
    ]


def test_in_pyproject_it_stands_under_tool_camaudit(tmp_path: Path) -> None:
    text = '[project]\nname = "x"\n[tool.camaudit]\n' + write(small(), prefix="tool.camaudit.")
    policy = read(text, tmp_path, name="pyproject.toml")
    apart = read(write(small()), tmp_path)
    assert policy.settings == apart.settings
    assert [one.line - 3 for one in policy.conditions] == [one.line for one in apart.conditions]
    broken = text.replace("invariance.bugs", "invariance.bug")
    ((line, _),) = errors_of(broken, tmp_path, name="pyproject.toml")
    assert "invariance.bug " in broken.split("\n")[line - 1]


def test_a_control_stands_in_where_only_functions_of_ones_own_are_named(tmp_path: Path) -> None:
    tables = small()
    tables["run"]["explainers"] = ["mine.py:mine=gradcam"]
    tables["condition"] = [{"require": "invariance.bugs == 0"}]
    del tables["waiver"], tables["images"]["perturbation_number"]
    policy = read(write(tables), tmp_path)
    assert policy.settings["methods"] == ("uniform",)
    assert bound(policy, policy.conditions[0]) == ("mine",)
    assert policy.conditions[0].name == "invariance.bugs"


def test_without_a_list_of_explainers_the_run_has_the_standard_ones(tmp_path: Path) -> None:
    tables = small()
    del tables["run"]["explainers"]
    tables["condition"][1]["require"] = "dead_zone.difference <= 0.1"
    policy = read(write(tables), tmp_path)
    assert "methods" not in policy.settings
    held = bound(policy, policy.conditions[1])
    assert "cam" in held
    assert "scorecam" in held
    assert not {"uniform", "random", "gaussian", "sobel"} & set(held)


def json_like(tables: Tables) -> Tables:
    """Dates as editors' schemas see them."""
    made = copy.deepcopy(tables)
    for waiver in made.get("waiver", ()):
        waiver["expires"] = waiver["expires"].isoformat()
    return made


@given(policies())
def test_sound_policies_are_read_accepted_by_the_schema_and_make_settings(tables: Tables) -> None:
    with tempfile.TemporaryDirectory() as folder:
        policy = read(write(tables), Path(folder))
        again = read(write(tables), Path(folder))
    assert policy == again
    assert len(policy.conditions) == len(tables["condition"])
    assert all(bound(policy, condition) for condition in policy.conditions)
    VALIDATOR.validate(json_like(tables))
    settings = Settings(**policy.settings)  # nothing that a run would refuse
    assert settings.checks == policy.settings["checks"]


def test_the_schema_has_the_keys_of_the_reader() -> None:
    properties = policy_schema()["properties"]
    assert set(properties) == {"version", *KEYS, "condition", "waiver"}
    for name, keys in KEYS.items():
        assert list(properties[name]["properties"]) == list(keys)
    assert list(properties["condition"]["items"]["properties"]) == list(CONDITION)
    assert list(properties["waiver"]["items"]["properties"]) == list(WAIVER)
    for figure in FIGURES.values():
        told = properties["condition"]["items"]["properties"]["require"]["description"]
        assert f"{figure.name}: {figure.meaning}" in told


def test_settings_are_options_of_a_run() -> None:
    names = {
        key.name for keys in KEYS.values() for key in keys.values()
        if not (key.pin or key.of_policy)
    }  # fmt: skip
    left_out = set(vars(Settings())) - names
    assert names <= set(vars(Settings()))
    metrics = {  # a policy does not ask for metrics
        "metrics_on", "mask_baseline", "pixels_per_step", "protocol", "region_boxes",
        "region_labels", "region_origin", "regions",
    }  # fmt: skip
    top_1 = {"targets", "pairs"}  # a policy is of the top-1 class of its images
    # explainers stand with the methods
    assert left_out - metrics - top_1 == {"explainers", "compile"}


def set_at(*keys: Any) -> Callable[[Tables, Any], None]:
    def change(tables: Tables, value: Any) -> None:
        place: Any = tables
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = value

    return change


FIRST = ("condition", 0)
RUN = ("run", "explainers")
#: Where something is put, what, what is said of it, and what stands in the line that is named.
MISTAKES: list[tuple[tuple[Any, ...], Any, str, str]] = [
    (("version",), 2, "version must be 1", "version"),
    (("version",), True, "version must be 1, .* got true", "version"),
    (("version",), 1.0, "version must be 1", "version"),
    (("versoin",), 1, "unknown table or key 'versoin': did you mean version", "versoin"),
    (("conditions",), [{"a": 1}], "did you mean condition", "conditions"),
    (("subject",), 3, r"subject must be a table, \[subject\]; got 3", "subject"),
    (("subject", "modl"), "x", "unknown key 'modl' in subject: did you mean model", "modl"),
    (("subject", "model"), "resnet18", "must be lite0, torchvision:NAME", "model"),
    (("subject", "model"), 5, "must be a string that is not empty; got 5", "model"),
    (("subject", "head"), "relu", "must be one of softmax, sigmoid; got 'relu'", "head"),
    (("subject", "layer"), "  ", "must be a string that is not empty", "layer"),
    (("subject", "layer"), "a\0b", "must not contain the character 0", "layer"),
    (("subject", "wall"), "brick", "must be one of auto, split, insert, vgg16; got 'brick'",
     "wall"),
    (("subject", "live_rows"), 0, "must be a whole number of at least 1; got 0", "live_rows"),
    (("subject", "live_rows"), True, "at least 1; got true", "live_rows"),
    (("subject", "image_size"), 2**70, "got a number of more than 18 digits", "image_size"),
    (("subject", "weights_sha256"), "ab", "SHA-256 of 64 hexadecimal", "weights_sha256"),
    (("subject", "preprocess"), "0.5", "must be imagenet, lite or MEAN/STD", "preprocess"),
    (("subject", "preprocess"), "2/0.5", "means between 0 and 1", "preprocess"),
    (("subject", "preprocess"), "0.5/nan", "must be imagenet, lite or MEAN/STD", "preprocess"),
    (("subject", "unmasked_weights"), "x", "belongs to wall = \"vgg16\"", "unmasked_weights"),
    (("subject", "model"), "trained:x", "a trained network brings its own", "layer ="),
    (("subject", "permuted"), "x", "is of the check data-randomisation, which is not", "permuted"),
    (("images", "data"), ["a"], "both say what to audit on", "data"),
    (("images", "data"), "a", r"an array of at least one string; got 'a'; write \['a'\]", "data"),
    (("images", "number"), 5, "images.number = 5 can decide nothing", "require"),
    (("images", "number"), "50", "must be a whole number of at least 1; got '50'", "number"),
    (("images", "perturbation_number"), 4, "scorecam would see 4 images", "require"),
    (("run", "checks"), [], "must be an array of at least one string", "checks"),
    (("run", "checks"), ["mprt", "mprt"], "names 'mprt' twice", "checks"),
    (("run", "checks"), ["deadzone"], "unknown check 'deadzone': did you mean dead-zone", "checks"),
    (("run", "checks"), ["dead-zone"], "comes from the check invariance, which run.checks", "bugs"),
    (("run", "checks"), ["invariance", "dead-zone", "data-randomisation"],
     "needs subject.permuted", "checks"),
    (RUN, ["gradcm"], "unknown explainer 'gradcm': did you mean gradcam", "explainers"),
    (RUN, ["gradcam", "a.py:mine", "b.py:mine"], "two called 'mine'", "explainers"),
    (RUN, ["gradcam", "a.py:f=nope"], "unknown explainer 'nope'", "explainers"),
    (RUN, ["gradcam++"], "'gradcam' is no explainer of the run: did you mean", "explainers"),
    (RUN, ["random"], "'gradcam' is no explainer of the run", "explainers"),
    (("run", "seed"), -1, "at least 0; got -1", "seed"),
    (("run", "seed"), 1.5, "must be a whole number", "seed"),
    (("run", "device"), "gpu", "must be cpu, cuda, cuda:N or mps; got 'gpu'", "device"),
    (("run", "memory"), "lots", "must be a size such as", "memory"),
    (("run", "memory"), "0M", "must be a size such as", "memory"),
    (("run", "exact"), "true", "must be true or false, without quotes", "exact"),
    (("run", "orders"), ["up"], "unknown order 'up'", "orders"),
    (("run", "properties"), ["dtypes"], "unknown property 'dtypes': did you mean dtype",
     "properties"),
    (("run", "explainer_budget"), 0, "a finite number above 0; got 0", "explainer_budget"),
    (("run", "explainer_budget"), float("inf"), "a finite number above 0", "explainer_budget"),
    (("run", "explainer_budget"), float("nan"), "a finite number above 0", "explainer_budget"),
    (("run", "explainer_budget"), 10**400, "at most 1e18", "explainer_budget"),
    (("run", "escalate"), 50, "must be above images.number = 50; got 50", "escalate"),
    (("condition",), {"require": "x"}, r"begun by \[\[condition\]\]; got one table", "condition"),
    (("condition",), 7, r"begun by \[\[condition\]\]; got 7", "condition"),
    (("condition",), ["dead_zone.mu_l1 <= 0.05"], "got an array", "condition"),
    ((*FIRST, "requires"), "x", "unknown key 'requires' in condition: did you mean require",
     "requires"),
    ((*FIRST, "name"), "a[b]", "must be a name of at most 80", "name"),
    ((*FIRST, "name"), "bugs", "two conditions are called 'bugs', the other in line", "bugs"),
    ((*FIRST, "severity"), "warn", "every condition has severity", "severity"),
    ((*FIRST, "severity"), "error", "must be one of fail, warn; got 'error'", "severity"),
    ((*FIRST, "explainers"), ["layercam"], "'layercam' is no explainer of the run", "explainers"),
    ((*FIRST, "explainers"), ["gradcam", " gradcam"], "names 'gradcam' twice", "explainers"),
    ((*FIRST, "explainers"), [], "an array of at least one string", "explainers"),
    ((*FIRST, "explainers"), ["other.py:mine"], "is no explainer of the run", "explainers"),
    ((*FIRST, "require"), "dead_zone.mul1 <= 1", "unknown figure 'dead_zone.mul1': did you mean",
     "require"),
    ((*FIRST, "require"), "dead_zone.mu_l1 == 0", "== is for counts", "require"),
    ((*FIRST, "require"), "dead_zone.mu_l1 =< 1", "expected one of <= < >= > ==", "require"),
    ((*FIRST, "require"), "dead_zone.mu_l1 <= 1", "it can never fail, for .* between 0 and 1",
     "require"),
    ((*FIRST, "require"), "dead_zone.mu_l1 <= 5", "it can never fail", "require"),
    ((*FIRST, "require"), "dead_zone.mu_l1 < 0", "it can never pass", "require"),
    ((*FIRST, "require"), "dead_zone.mu_l1 >= 0", "it can never fail", "require"),
    ((*FIRST, "require"), "dead_zone.mu_l1 > 1", "it can never pass", "require"),
    ((*FIRST, "require"), "dead_zone.mu_l1 <= uniform - 2", "it can never pass", "require"),
    ((*FIRST, "require"), "dead_zone.mu_l1 >= baseline * -1 - 0.5", "it can never fail", "require"),
    ((*FIRST, "require"), "dead_zone.mu_l1 <= baseline * 0", r"baseline \* 0 is no", "require"),
    ((*FIRST, "require"), "invariance.bugs == 0.5", "a count is a whole number", "require"),
    ((*FIRST, "require"), "invariance.bugs == -1", "it can never pass", "require"),
    ((*FIRST, "require"), "dead_zone.unmasked <= uniform", "has no value of a flat map", "require"),
    ((*FIRST, "require"), "dead_zone.mu_l1 <= nothing", "unknown reference 'nothing'", "require"),
    ((*FIRST, "require"), "dead_zone.mu_l1 <= cam", "'cam' is no explainer of the run", "require"),
    ((*FIRST, "require"), "dead_zone.mu_l1 <= gradcam", "would be held against itself", "require"),
    ((*FIRST, "require"), "mprt.effect <= scorecam", "takes no part in mprt", "require"),
    (("condition", 1, "require"), "invariance.bugs <= gradcam", "held against itself", "require"),
    (("waiver",), {"reason": "x"}, r"begun by \[\[waiver\]\]", "waiver"),
    (("waiver", 0, "condition"), "deadzone", "waiver of no condition: 'deadzone'; did you mean",
     "condition ="),
    (("waiver", 0, "explainer"), "gradcam++", "does not bind 'gradcam\\+\\+'", "explainer ="),
    (("waiver", 0, "explainer"), "cam", "'cam' is no explainer of the run", "explainer ="),
    (("waiver", 0, "reason"), "", "must be a string that is not empty", "reason"),
    (("waiver", 0, "expires"), datetime.date(2026, 11, 20), "expired on 2026-11-20", "expires"),
    (("waiver", 0, "expires"), "2026-12-31", "a date such as 2026-12-31, without", "expires"),
    (("waiver", 0, "expires"), datetime.datetime(2026, 12, 31, 1), "must be a date", "expires"),
    (("waiver", 0, "until"), 1, "unknown key 'until' in waiver", "until"),
]  # fmt: skip


@pytest.mark.parametrize(("place", "value", "says", "stands"), MISTAKES)
def test_every_mistake_is_told_with_its_line(
    place: tuple[Any, ...], value: Any, says: str, stands: str, tmp_path: Path
) -> None:
    tables = small()
    if "can decide nothing" in says or "would see" in says:
        del tables["run"]["escalate"]  # more images could decide
        if "scorecam" in says:
            del tables["condition"][0]["explainers"]
    set_at(*place)(tables, value)
    text = write(tables)
    told = [
        (line, message) for line, message in errors_of(text, tmp_path) if re.search(says, message)
    ]
    assert len(told) == 1, errors_of(text, tmp_path)
    assert stands in text.split("\n")[told[0][0] - 1]


@pytest.mark.parametrize(
    ("place", "says", "stands"),
    [
        (("version",), "version is missing: write version = 1", ""),
        (("condition", 0, "require"), "condition has no require", "[[condition]]"),
        (("waiver", 0, "reason"), "waiver has no reason", "[[waiver]]"),
        (("waiver", 0, "expires"), "waiver has no expires", "[[waiver]]"),
        (("waiver", 0, "condition"), "waiver has no condition", "[[waiver]]"),
    ],
)
def test_what_is_missing_is_told(
    place: tuple[Any, ...], says: str, stands: str, tmp_path: Path
) -> None:
    tables = small()
    target: Any = tables
    for key in place[:-1]:
        target = target[key]
    del target[place[-1]]
    text = write(tables)
    ((line, message),) = errors_of(text, tmp_path)
    assert message.startswith(says)
    assert text.split("\n")[line - 1].startswith(stands)


def test_a_policy_without_conditions_is_none(tmp_path: Path) -> None:
    for conditions in ({}, {"condition": []}):
        text = write({"version": 1, **conditions})
        assert [message[:12] for _, message in errors_of(text, tmp_path)] == ["no condition"]


def test_two_conditions_on_one_figure_need_names(tmp_path: Path) -> None:
    tables = small()
    tables["condition"] = [{"require": "dead_zone.mu_l2 <= 0.1"}] * 2
    del tables["waiver"], tables["run"]
    ((line, message),) = errors_of(write(tables), tmp_path)
    assert "the other in line" in message
    assert "give them names" in message
    assert line > 10


def test_a_waiver_is_given_once(tmp_path: Path) -> None:
    tables = small()
    tables["waiver"] *= 2
    ((_, message),) = errors_of(write(tables), tmp_path)
    assert "waived twice" in message


def test_a_waiver_holds_on_its_last_day(tmp_path: Path) -> None:
    tables = small()
    tables["waiver"][0]["expires"] = TODAY
    assert read(write(tables), tmp_path).waivers[0].expires == TODAY


@pytest.mark.parametrize(
    ("run", "require", "says"),
    [
        (
            {"explainers": ["scorecam", "random"]},
            "mprt.effect <= 0.1",
            "no explainer of the run has",
        ),
        ({"explainers": ["scorecam"]}, "mprt.effect <= 0.1", "run.explainers has no other"),
        ({"explainers": ["maps:out/ig"]}, "mprt.effect <= 0.1", "no explainer of the run has"),
        ({"explainers": ["random"]}, "dead_zone.mu_l1 <= 0.1", "besides controls"),
        ({"orders": ["independent"]}, "mprt.similarity <= 0.1", "add top-down or bottom-up"),
        ({"sanity_seeds": 5}, "smprt.effect <= 0.1", "run.sanity_seeds = 5 can decide nothing"),
        ({"properties": ["dtype"]}, "mprt.effect <= 0.1", "is of the check invariance"),
        ({}, "data_randomisation.similarity <= 0.1", "needs subject.permuted"),
        ({}, "dead_zone.mu_l1 <= 0.1", "scorecam, scorecam\\+\\+ would see 2 images"),
    ],
)
def test_runs_that_could_not_decide_are_refused(
    run: Tables, require: str, says: str, tmp_path: Path
) -> None:
    tables = {"version": 1, "run": run, "condition": [{"require": require}]}
    told = [message for _, message in errors_of(write(tables), tmp_path)]
    assert any(re.search(says, message) for message in told), told


def test_a_folder_of_maps_is_no_part_of_checks_that_ask_again(tmp_path: Path) -> None:
    run = {"explainers": ["gradcam", "maps:out(name=ig)", "captum:Saliency"]}
    named = {"require": "mprt.effect <= 0.1", "explainers": ["ig"]}
    (told,) = [text for _, text in errors_of(
        write({"version": 1, "run": run, "condition": [named]}), tmp_path
    )]  # fmt: skip
    assert "'ig' is a folder of maps, which cannot be made again" in told
    named["explainers"] = ["captum:Saliency", "gradcam"]
    policy = read(write({"version": 1, "run": run, "condition": [named]}), tmp_path)
    assert policy.settings["explainers"] == ("maps:out(name=ig)", "captum:Saliency")
    assert settings_of(policy).explainers == (
        f"maps:{tmp_path / 'out'}(name=ig)", "captum:Saliency",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("key", "keys"),
    [("wall", {"wall": "split"}), ("live_rows", {"live_rows": 3})],
)
def test_a_wall_is_of_the_check_dead_zone(key: str, keys: Tables, tmp_path: Path) -> None:
    tables = {"version": 1, "subject": keys, "condition": [{"require": "emprt.rise >= 0.1"}]}
    text = write(tables)
    ((line, message),) = errors_of(text, tmp_path)
    assert f"subject.{key} is of the check dead-zone" in message
    assert key in text.split("\n")[line - 1]


def test_problems_are_told_together_in_the_order_of_lines(tmp_path: Path) -> None:
    tables = small()
    tables["subject"]["modl"] = 1
    tables["run"]["seed"] = -1
    tables["condition"][1]["require"] = "nope <= 1"
    lines = [line for line, _ in errors_of(write(tables), tmp_path)]
    assert len(lines) == 3
    assert lines == sorted(lines)
    tables["subject"].update({f"key{number}": 0 for number in range(30)})
    with pytest.raises(UsageError, match=r"and 13 problems more$"):
        read(write(tables), tmp_path)


@pytest.mark.parametrize(
    ("content", "line", "says"),
    [
        (b"version = 1\nx = \n", 2, "broken TOML: Invalid value"),
        (b"version = 1\n[a\n", 2, "broken TOML"),
        (b"version = 1\nversion = 1\n", 2, "broken TOML"),
        (b'version = 1\n\nname = """x', 3, "broken TOML"),
        (b"version = 1\nx = 2026-02-30\n", 2, "broken TOML"),
        (b"version = 1\n# \xff\n", 2, "UTF-8"),
        (b"version = 1\nx = " + b"9" * 5000, 2, "broken TOML"),
        (b"version = 1\nx = " + b"[" * 5000 + b"]" * 5000, 2, "nested too deep"),
        (b"", 1, "version is missing"),
    ],
    ids=["value", "header", "twice", "open string", "no day", "latin", "digits", "deep", "empty"],
)
def test_broken_files_are_told_with_their_line(
    content: bytes, line: int, says: str, tmp_path: Path
) -> None:
    path = tmp_path / "camaudit.toml"
    path.write_bytes(content)
    with pytest.raises(UsageError) as caught:
        read_policy(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert says in str(caught.value)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "camaudit.toml"
    path.write_bytes(b"\xef\xbb\xbf" + write(small()).replace("\n", "\r\n").encode())
    assert read_policy(path, today=TODAY).conditions == read(write(small()), tmp_path).conditions


@pytest.mark.parametrize("kind", ["missing", "folder"])
def test_a_file_that_cannot_be_read_is_told(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "camaudit.toml"
    if kind == "folder":
        path.mkdir()
    with pytest.raises(UsageError, match=r"camaudit\.toml:1: this file cannot be read"):
        read_policy(path)


@pytest.mark.parametrize(
    ("text", "line"),
    [("[project]\n", 1), ("\n[tool.x]\ny = 1\n", 2), ("[tool]\n\ncamaudit = 1\n", 3)],
)
def test_a_pyproject_without_the_table_has_no_policy(text: str, line: int, tmp_path: Path) -> None:
    ((found, message),) = errors_of(text, tmp_path, name="pyproject.toml")
    assert found == line
    assert "there is no table [tool.camaudit]" in message


def test_the_policy_of_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no policy in .*camaudit init writes one"):
        find_policy(tmp_path)
    shared, own = tmp_path / "pyproject.toml", tmp_path / "camaudit.toml"
    shared.write_text("[tool]\n")
    with pytest.raises(UsageError, match="no policy in"):
        find_policy(tmp_path)
    shared.write_text("[tool.camaudit]\n")
    assert find_policy(tmp_path) == shared
    own.write_text("")
    with pytest.raises(UsageError, match="keep one of them"):
        find_policy(tmp_path)
    shared.write_text("[project]\n")
    assert find_policy(tmp_path) == own
    shared.write_text("[project\n")
    with pytest.raises(UsageError, match=r"pyproject\.toml:1: broken TOML"):
        find_policy(tmp_path)


GARBAGE = st.recursive(
    st.one_of(
        st.booleans(),
        st.integers(),
        st.floats(),
        st.dates().map(str).map(Path),  # written without quotes
        st.text(st.characters(codec="utf-8", exclude_categories=("Cs",)), max_size=8),
        st.sampled_from(
            [SHA, "gradcam", "mprt", "dead_zone.mu_l1 <= ", "<= baseline", "a.py:f", ""]
        ),
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("ab", max_size=2), inner, max_size=2)
    ),
    max_leaves=4,
)


@st.composite
def damaged(draw: st.DrawFn) -> Tables:
    """A sound policy in which one to three things are replaced, taken away or added."""
    tables = draw(policies())
    for _ in range(draw(st.integers(1, 3))):
        places: list[tuple[Any, Any]] = [(tables, key) for key in tables]
        for table in list(tables.values()):
            entries = table if isinstance(table, list) else [table]
            places += [(one, key) for one in entries if isinstance(one, dict) for key in one]
            places += [(one, "new") for one in entries if isinstance(one, dict)]
        table, key = draw(st.sampled_from(places))
        if draw(st.booleans()) and key in table:
            del table[key]
        else:
            table[draw(st.text("ab. é", max_size=3)) if key == "new" else key] = draw(GARBAGE)
        if not tables:
            break
    return tables


@given(damaged())
def test_any_policy_is_read_or_refused_with_file_and_line(tables: Tables) -> None:
    text = write(tables)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        try:
            policy = read(text, folder)
        except UsageError as error:
            for told in str(error).split("\n"):
                found = re.match(rf"{re.escape(str(folder))}/camaudit\.toml:(\d+): \S", told)
                assert found, told
                assert 1 <= int(found[1]) <= text.count("\n") + 1
            return
    assert isinstance(policy, Policy)
    Settings(**policy.settings)
    VALIDATOR.validate(json_like(tomllib.loads(text)))


def test_reading_loads_no_torch(tmp_path: Path) -> None:
    (tmp_path / "camaudit.toml").write_text(write(small()))
    code = (
        "import sys, datetime, pathlib; from camaudit.gates.reading import read_policy; "
        "read_policy(pathlib.Path('camaudit.toml'), today=datetime.date(2026, 11, 21)); "
        "sys.exit('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
