"""How an audit runs its masked images: recorded, the same twice, and near what is exact."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from textwrap import dedent
from typing import Any

import pytest
import torch

from camaudit.audit import worker as worker_module
from camaudit.audit.run import Outcome, run_audit
from camaudit.audit.settings import Settings
from camaudit.audit.subject import build_subject
from camaudit.capture import capture
from camaudit.engine import Engine, prepare
from camaudit.types import Status
from tests.subjects import write_photographs

WIDE = dedent(
    '''
    """A chain with a convolution that is wide enough for Winograd's algorithm."""
    import torch
    from torch import nn


    def build():
        torch.manual_seed(11)
        trunk = nn.Sequential(
            nn.Conv2d(3, 512, 3, stride=8, padding=1), nn.ReLU(),
            nn.Conv2d(512, 16, 3, padding=1), nn.ReLU(),
        )
        return nn.Sequential(trunk, nn.Sequential(nn.Flatten(), nn.Linear(16 * 64, 5))).eval()


    def loud():
        """Overflows in float16, and has finite logits in float32."""
        model = build()
        with torch.no_grad():
            for layer in (model[0][0], model[0][2], model[1][1]):
                layer.weight.mul_(200)
        return model
    '''
)
METHODS = ("scorecam", "scorecam++", "gradcam")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    """This network is so small that threads wait for each other most of the time."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    folder = tmp_path_factory.mktemp("subject")
    (folder / "wide.py").write_text(WIDE)
    return Settings(
        model=f"{folder / 'wide.py'}:build", images=write_photographs(folder / "photographs"),
        image_size=64, preprocess="0.5/0.5", num_images=2, batch_size=2, wall="split", layer="0",
        methods=METHODS,
    )  # fmt: skip


def masked(outcome: Outcome) -> dict[str, Any]:
    """What results.json says of masked images, through JSON."""
    plain = json.loads(json.dumps(outcome.results.to_dict(), allow_nan=False))
    found: dict[str, Any] = plain["settings"]["masked_images"]
    return found


def figures(outcome: Outcome, method: str) -> list[float]:
    records = [record for record in outcome.results.records if record.method == method]
    assert {record.status for record in records} == {Status.OK}
    return [record.mu_l1 for record in records if record.mu_l1 is not None]


@pytest.fixture(scope="module")
def exact(settings: Settings) -> Outcome:
    return run_audit(replace(settings, exact=True))


def test_exact_passes_are_the_models_own(settings: Settings, exact: Outcome) -> None:
    plain = {
        "how": "layer by layer", "batch_size": 64, "exact": True,
        "max_logit_error": None, "logit_spread": None,
    }  # fmt: skip
    assert masked(exact) == {"walled": plain, "unwalled": plain}
    subject = build_subject(settings)
    engine = replace(settings, exact=True).engine
    assert engine == Engine(batch_size=2, rounding=False)
    batch = torch.randn(3, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    forwards = prepare(subject.walled, batch, engine)
    with torch.no_grad():
        assert torch.equal(forwards(batch), subject.walled.logits(batch))


@pytest.mark.parametrize(
    ("options", "how", "batch_size", "rel"),
    [
        ({}, "layer by layer, Winograd convolutions", 64, 1e-3),
        ({"memory": 70_000_000}, "layer by layer, Winograd convolutions", None, 1e-3),
        ({"memory": 1}, "layer by layer", 1, 1e-4),
        ({"precision": "bfloat16"}, "bfloat16, layer by layer", 64, 0.1),
        ({"precision": "bfloat16", "exact": True}, "bfloat16, layer by layer", 64, 0.1),
        ({"precision": "float16", "memory": 1}, "float16, layer by layer", 1, 0.02),
        ({"wall": "insert", "batch_size": 100}, "layer by layer, Winograd convolutions", 100, None),
    ],
    ids=str,
)
def test_every_way_is_recorded_with_its_error(
    options: dict[str, Any],
    how: str,
    batch_size: int | None,
    rel: float | None,
    settings: Settings,
    exact: Outcome,
) -> None:
    outcome = run_audit(replace(settings, **options))
    for record in masked(outcome).values():
        assert record["how"] == how
        assert batch_size is None or record["batch_size"] == batch_size
        assert record["batch_size"] >= 1
        assert record["exact"] is (how == "layer by layer")
        if not record["exact"]:
            assert 0 < record["max_logit_error"] < 0.05 * record["logit_spread"]
    plain = outcome.results.to_dict()["settings"]
    for name in ("memory", "precision", "exact", "compile", "batch_size"):
        assert plain[name] == getattr(replace(settings, **options), name)
    if rel is not None:
        assert figures(outcome, "scorecam") == pytest.approx(figures(exact, "scorecam"), rel=rel)
        assert figures(outcome, "gradcam") == figures(exact, "gradcam")


def test_a_subject_without_a_twin_records_one_model(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from camaudit.audit import run as run_module

    build = run_module.build_subject

    def alone(given: Settings, live: Any) -> Any:
        subject = build(given, live)
        subject.walled._unwalled = (None,)
        return subject

    monkeypatch.setattr(run_module, "build_subject", alone)
    assert set(masked(run_audit(settings))) == {"walled"}


@pytest.mark.parametrize("options", [{}, {"precision": "bfloat16"}, {"memory": 70_000_000}])
def test_the_same_run_twice_gives_the_same(options: dict[str, Any], settings: Settings) -> None:
    first, second = (run_audit(replace(settings, **options)).results.to_dict() for _ in range(2))
    assert first.pop("timing").keys() == second.pop("timing").keys()
    assert json.dumps(first) == json.dumps(second)


def test_compiled_passes_are_recorded(
    settings: Settings, exact: Outcome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a compiler that leaves everything as it is."""
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda run: compiled.append(run) or run)
    outcome = run_audit(replace(settings, compile=True))
    assert len(compiled) == 2
    for record in masked(outcome).values():
        assert record["how"] == "layer by layer, Winograd convolutions, compiled"
        assert not record["exact"]
    assert figures(outcome, "scorecam") == pytest.approx(figures(exact, "scorecam"), rel=1e-3)


def test_an_overflow_is_an_error_of_the_methods_that_meet_it(settings: Settings) -> None:
    loud = settings.model.replace(":build", ":loud")
    outcome = run_audit(replace(settings, model=loud, precision="float16"))
    assert outcome.failed
    for record in outcome.results.records:
        if record.method == "gradcam":
            assert record.status is Status.OK
        else:
            assert record.status is Status.ERROR
            assert "choose a wider precision" in (record.message or "")
    assert masked(outcome)["walled"]["max_logit_error"] is None


def test_each_model_is_prepared_once_for_all_its_batches(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared, given_forwards = [], []
    genuine_prepare, genuine_capture = worker_module.prepare, worker_module.capture

    def preparing(divided: Any, example: Any, engine: Engine) -> Any:
        prepared.append(type(divided).__name__)
        assert engine == settings.engine
        assert example.shape == (1, 3, 64, 64)
        return genuine_prepare(divided, example, engine)

    def capturing(*args: Any, **options: Any) -> Any:
        given_forwards.append(options["forwards"])
        found = genuine_capture(*args, **options)
        assert found.model is options["forwards"]
        assert found.batch_size == options["forwards"].batch_size
        return found

    monkeypatch.setattr(worker_module, "prepare", preparing)
    monkeypatch.setattr(worker_module, "capture", capturing)
    run_audit(replace(settings, num_images=4))
    assert prepared == ["WalledModel", "Cut"]
    assert len(given_forwards) == 4
    assert given_forwards[:2] == given_forwards[2:]


def test_a_capture_without_an_engine_runs_the_model_itself(settings: Settings) -> None:
    subject = build_subject(settings)
    batch = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    plain = capture(subject.walled, batch, batch_size=5)
    assert plain.model == subject.walled.logits
    assert plain.batch_size == 5
    forwards = prepare(subject.walled, batch, Engine(batch_size=7))
    fast = capture(subject.walled, batch, batch_size=5, forwards=forwards)
    assert fast.model is forwards
    assert fast.batch_size == forwards.batch_size == 64
    assert fast.rows(0, 1).model is forwards
    assert fast.again(batch + 1).model is forwards
