"""Single-logit and multi-label heads through an audit: every probability is the head's own."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from camaudit.audit.live import Live
from camaudit.audit.run import Outcome, run_audit
from camaudit.audit.settings import Settings
from camaudit.capture import capture
from camaudit.cut import cut_at
from camaudit.errors import NotApplicableError
from camaudit.invariance import registered
from camaudit.invariance.score import logit_shift
from camaudit.invariance.situation import Situation
from camaudit.invariance.transforms import Mixed, rewired
from camaudit.maps import minmax, upsample
from camaudit.methods import compute
from camaudit.models.classifier import as_classifier
from camaudit.probability import link_of
from camaudit.sites import require_eval
from tests.networks import images, settle

CHECKS = ("dead-zone", "confidence", "insertion-deletion", "road", "infidelity", "sensitivity")


def network(classes: int) -> nn.Module:
    return settle(
        nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
            nn.Flatten(), nn.Linear(8, classes),
        ),
        seed=3,
    )  # fmt: skip


def audited(classes: int, *, checks: tuple[str, ...] = CHECKS, **settings: Any) -> Outcome:
    options: dict[str, Any] = {
        "methods": ("gradcam", "scorecam(score=probability)", "scorecam++", "uniform"),
        "layer": "1", "wall": "split", **settings,
    }  # fmt: skip
    if "insertion-deletion" in checks:
        options["pixels_per_step"] = 64
    live = Live(model=network(classes), images=images(3))
    return run_audit(Settings(checks=checks, perturbation_images=3, **options), live=live)


def sigmoid(values: Tensor) -> Tensor:
    """By its definition, in float64."""
    return 1 / (1 + torch.exp(-values.double()))


def expected_drops(classes: int, share: Any) -> list[float]:
    """Average Drop of GradCAM for each image, `100·max(0, Y − O)/Y`, written out."""
    model, x = network(classes), images(3)
    cut = cut_at(as_classifier(model, x[:1], head=None if classes == 1 else "sigmoid"), "1", x[:1])
    seen = capture(cut, x)
    m = minmax(upsample(compute("gradcam", seen), (16, 16)))
    found = []
    with torch.no_grad():
        for n in range(len(x)):
            before, after = model(x[n : n + 1])[0], model(x[n : n + 1] * m[n])[0]
            target = int(seen.targets[n])
            full, kept = share(before, target), share(after, target)
            found.append(float(100 * max(0.0, full - kept) / full))
    return found


def of_one(logits: Tensor, target: int) -> float:
    p = float(sigmoid(logits[0]))
    return p if target == 1 else 1 - p


def of_many(logits: Tensor, target: int) -> float:
    return float(sigmoid(logits[target]))


@pytest.mark.parametrize(("classes", "share"), [(1, of_one), (4, of_many)])
def test_confidence_is_the_heads_own(classes: int, share: Any) -> None:
    outcome = audited(classes, head="sigmoid")
    assert not outcome.failed
    assert outcome.metrics is not None
    drops = outcome.metrics.values("average-drop", "gradcam", ())
    assert drops == pytest.approx(expected_drops(classes, share), abs=1e-4)
    assert max(drops) > 0
    subject = outcome.results.provenance.subject
    single = classes == 1
    assert subject["reading"] == {"output": None, "head": "sigmoid", "single_logit": single}
    assert subject["class"] == "Sequential"
    with torch.no_grad():
        z = network(classes)(images(3))
    top = (z[:, 0] > 0).long() if single else z.argmax(dim=1)
    assert [e["unwalled_top1"] for e in outcome.results.provenance.images] == top.tolist()
    wanted = [share(row, int(target)) for row, target in zip(z, top, strict=True)]
    assert outcome.results.metrics["probabilities"] == pytest.approx(wanted, abs=1e-6)


def test_every_probability_is_that_of_a_softmax_over_0_and_z() -> None:
    """`1/(1 + exp(−z))` is the softmax of (0, z): two networks, one set of figures and maps."""
    one, two = network(1), network(2)
    with torch.no_grad():
        for name in ("weight", "bias"):
            value = getattr(two[-1], name)  # type: ignore[index]
            value[0] = 0
            value[1] = getattr(one[-1], name)[0]  # type: ignore[index]
    settings = Settings(
        checks=("confidence", "insertion-deletion", "road"), layer="1", pixels_per_step=64,
        methods=("eigencam", "sobel", "scorecam(score=probability, channel_softmax=false)"),
    )  # fmt: skip
    names = ("average-drop", "increase-in-confidence", "insertion-auc", "deletion-auc", "road-morf")
    found = []
    for model in (one, two):
        metrics = run_audit(settings, live=Live(model=model, images=images(3))).metrics
        assert metrics is not None
        figures = [metrics.values(n, m, ()) for n in names for m in ("eigencam", "sobel")]
        weighed = "scorecam(channel_softmax=false, score=probability)"
        found.append([*figures, metrics.values("average-drop", weighed, ())])
    for ours, theirs in zip(*found, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)
    assert len({str(values) for values in found[0]}) > len(names)


def test_a_rebuilt_model_keeps_its_head() -> None:
    """Invariance compares a model with changed copies of it, by the same probabilities."""
    model, x = as_classifier(network(1), images(1)), images(2)
    given = Situation(model, "1", x, torch.tensor([0, 1]))
    order = torch.tensor([3, 0, 7, 1, 2, 6, 5, 4])
    explain = registered("scorecam(score=probability, channel_softmax=false)")
    rebuilt = rewired(given, Mixed(torch.eye(8)[order]), torch.eye(8)[order].T)
    assert link_of(rebuilt.model) == "sigmoid"
    maps = [explain(one.model, one.layer, x, one.targets) for one in (given, rebuilt)]
    torch.testing.assert_close(*maps, rtol=1e-4, atol=1e-6)
    with pytest.raises(NotApplicableError, match="sigmoid of its own"):
        logit_shift(explain, given, {"shift": 1.0, "folded": False})


def test_softmax_and_sigmoid_differ() -> None:
    """The option reaches the metrics: the same model has other drops by softmax."""
    values = []
    for head in ("softmax", "sigmoid"):
        found = audited(4, checks=("confidence",), wall="auto", head=head).metrics
        assert found is not None
        values.append(found.values("average-drop", "gradcam", ()))
    assert values[0] != pytest.approx(values[1], abs=1e-3)


def test_every_other_check_takes_a_single_logit() -> None:
    outcome = audited(
        1, checks=("mprt", "emprt", "random-logit", "invariance", "adcc"), methods=("gradcam",),
        wall="auto", sanity_seeds=1, examples=1,
        properties=("determinism", "batch-order", "logit-shift", "logit-scale"),
    )  # fmt: skip
    assert not outcome.failed
    assert outcome.sanity is not None


def test_the_model_is_left_as_it_was() -> None:
    model = network(1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    run_audit(
        Settings(methods=("gradcam",), layer="1", wall="split"),
        live=Live(model=model, images=images(2)),
    )
    require_eval(model)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert not any(m._forward_hooks or "forward" in vars(m) for m in model.modules())
    assert model(images(2)).shape == (2, 1)
