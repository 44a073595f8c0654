"""Checks of the sanity checks' reference: cases by hand, and what must hold of any network."""

import copy
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from camaudit.methods import method_call
from camaudit.objective import contrastive

from . import sanity
from .sanity import Layer, Setting

READS = {"gradcam": {"gradients", "activations"}, "lafam": {"activations"}, "sobel": {"images"}}
SCHEMES = ("he", "module", "permute")


class Named(nn.Module):
    """conv → BatchNorm → pooled Linear, times a raw scale, plus a raw shift."""

    def __init__(self, channels=2, classes=3):
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3, padding=1)
        self.norm = nn.BatchNorm2d(channels)
        self.fc = nn.Linear(channels, classes)
        self.scale = nn.Parameter(torch.tensor([[1.0, 2.0, 2.0]]))
        self.shift = nn.Parameter(torch.zeros(classes))
        self.double().eval()

    def forward(self, x):
        pooled = self.norm(self.conv(x)).mean(dim=(2, 3))
        return self.fc(pooled) * self.scale + self.shift


LAYERS = (
    Layer("conv", ("conv.weight", "conv.bias")),
    Layer("norm", ("norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"), True),
    Layer("fc", ("fc.weight", "fc.bias"), True),
    Layer("scale", ("scale",), True),
    Layer("shift", ("shift",), True),
)


def pictures(count=2, size=16):
    generator = torch.Generator().manual_seed(5)
    return torch.randn(count, 3, size, size, generator=generator, dtype=torch.float64)


def setting(**changes):
    torch.manual_seed(2)
    methods = {name: method_call(name) for name in READS}
    given = {"model": Named(), "target": "conv", "layers": LAYERS, "images": pictures()}
    return Setting(**{**given, "methods": methods, "reads": READS, **changes})


def one_channel(classes=4):
    """The first colour channel itself, pooled: every map is the channel times a number."""
    model = nn.Sequential(nn.Conv2d(3, 1, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model.append(nn.Linear(1, classes))
    model.double().eval()
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([1.0, 0.0, 0.0]).view(1, 3, 1, 1))
        model[0].bias.zero_()
        model[4].weight.fill_(1.0)
        model[4].bias.zero_()
    layers = (Layer("0", ("0.weight", "0.bias")), Layer("4", ("4.weight", "4.bias"), True))
    return setting(model=model, target="1", layers=layers, images=pictures(1).abs())


# ---------------------------------------------------------------------------------------------
# numbers and weights


def test_key_is_the_first_32_bits_of_the_digest():
    # printf '0/conv.weight/0' | sha256sum
    assert sanity.key(0, "conv.weight", 0) == 0x243B7023
    assert sanity.key(0, "conv.weight", "permute") != sanity.key(1, "conv.weight", "permute")


def test_normal_numbers_come_in_blocks(monkeypatch):
    whole = sanity.normal(3, "w", 5)
    monkeypatch.setattr(sanity, "BLOCK", 4)
    parts = sanity.normal(3, "w", 10)
    for block, length in enumerate((4, 4, 2)):
        generator = torch.Generator().manual_seed(sanity.key(3, "w", block))
        want = torch.empty(length).normal_(0, 1, generator=generator)
        assert parts[4 * block : 4 * block + length].tolist() == want.tolist()
    assert (whole.dtype, len(whole)) == (np.float32, 5)


def test_he_by_hand():
    model = Named()
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            tensor.fill_(7)
        model.scale.copy_(torch.tensor([[1.0, 2.0, 2.0]]))
        model.shift.zero_()
    other = sanity.rewritten(model, LAYERS, "he", 4)
    draw = sanity.normal(4, "conv.weight", 54) * np.float32(math.sqrt(2 / 27))
    assert other.conv.weight.flatten().tolist() == draw.astype(np.float64).tolist()
    draw = sanity.normal(4, "fc.weight", 6) * np.float32(1.0)
    assert other.fc.weight.flatten().tolist() == draw.astype(np.float64).tolist()
    draw = sanity.normal(4, "scale", 3) * np.float32(math.sqrt(3))
    assert other.scale.flatten().tolist() == draw.astype(np.float64).tolist()
    ones, zeros = [1.0, 1.0], [0.0, 0.0]
    assert [other.norm.weight.tolist(), other.norm.running_var.tolist()] == [ones, ones]
    assert [other.norm.bias.tolist(), other.norm.running_mean.tolist()] == [zeros, zeros]
    assert [other.conv.bias.tolist(), other.fc.bias.tolist()] == [zeros, [0.0] * 3]
    assert other.shift.tolist() == [0.0] * 3
    assert other.norm.num_batches_tracked == 7
    assert model.norm.running_mean.tolist() == [7.0, 7.0]


def test_he_of_other_tensors():
    up = nn.Sequential(nn.ConvTranspose2d(6, 2, 3))
    scale = np.float32(math.sqrt(2 / (6 * 9)))
    draw = sanity.normal(0, "0.weight", 108) * scale
    assert sanity.he(up, "0.weight", 0).flatten().tolist() == draw.tolist()
    prelu = nn.Sequential(nn.PReLU(init=-0.25))
    assert (
        sanity.he(prelu, "0.weight", 0).tolist() == (sanity.normal(0, "0.weight", 1) / 4).tolist()
    )
    attention = nn.Sequential(nn.MultiheadAttention(4, 2))
    assert not sanity.he(attention, "0.in_proj_bias", 0).any()
    want = sanity.normal(0, "0.in_proj_weight", 48) * np.float32(math.sqrt(2 / 4))
    assert sanity.he(attention, "0.in_proj_weight", 0).flatten().tolist() == want.tolist()
    assert sanity.he(nn.Sequential(nn.LayerNorm(3)), "0.weight", 0).tolist() == [1.0] * 3


def test_equal_shapes_get_different_weights():
    model = nn.Sequential(nn.Conv2d(3, 3, 3), nn.Conv2d(3, 3, 3))
    layers = [Layer("0", ("0.weight", "0.bias")), Layer("1", ("1.weight", "1.bias"))]
    for scheme in SCHEMES:
        model[1].load_state_dict(model[0].state_dict())
        other = sanity.rewritten(model, layers, scheme, 0)
        again = sanity.rewritten(model, layers[:1], scheme, 0)
        assert not torch.equal(other[0].weight, other[1].weight)
        assert torch.equal(other[0].weight, again[0].weight)  # alone or with others
        assert torch.equal(again[1].weight, model[1].weight)
        assert not torch.equal(
            sanity.rewritten(model, layers, scheme, 1)[0].weight, other[0].weight
        )


def test_permuting_keeps_entries_and_zeros():
    model = Named()
    with torch.no_grad():
        model.conv.weight[0, 1] = 0
        model.norm.running_mean.copy_(torch.tensor([3.0, 4.0]))
    other = sanity.rewritten(model, LAYERS, "permute", 1)
    for layer in LAYERS:
        for name in layer.tensors:
            before, after = sanity.value_of(model, name), sanity.value_of(other, name)
            assert torch.equal(before == 0, after == 0)
            assert torch.equal(before.flatten().sort().values, after.flatten().sort().values)
    assert not torch.equal(model.conv.weight, other.conv.weight)
    v = model.fc.weight.flatten()
    generator = torch.Generator().manual_seed(sanity.key(1, "fc.weight", "permute"))
    assert torch.equal(other.fc.weight.flatten(), v[torch.randperm(6, generator=generator)])


def test_own_initialisers():
    model = Named()
    with torch.no_grad():
        model.norm.running_mean.fill_(9)
    state = torch.get_rng_state()
    other = sanity.rewritten(model, LAYERS, "module", 6)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(sanity.key(6, "conv", "module"))
    fresh = nn.Conv2d(3, 2, 3, dtype=torch.float64)
    assert torch.equal(other.conv.weight, fresh.weight)
    assert torch.equal(other.conv.bias, fresh.bias)
    assert other.norm.running_mean.tolist() == [0.0, 0.0]
    assert torch.equal(other.scale, sanity.he(model, "scale", 6))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_tied_weights_are_written_once(scheme):
    model = nn.Sequential(nn.Conv2d(9, 9, 1), nn.Conv2d(9, 9, 1)).eval()
    model[1].weight = model[0].weight
    first, second = Layer("0", ("0.weight", "0.bias")), Layer("1", ("1.bias",))
    other = sanity.rewritten(model, [first, second], scheme, 0)
    assert other[1].weight is other[0].weight
    assert not torch.equal(other[0].weight, model[0].weight)
    alone = sanity.rewritten(model, [second], scheme, 0)
    assert torch.equal(alone[0].weight, model[0].weight)
    assert not torch.equal(alone[1].bias, model[1].bias)


def test_weight_norm_gets_the_effective_weight():
    model = nn.Sequential(weight_norm(nn.Conv2d(3, 2, 3))).double()
    layers = [Layer("0", ("0.weight", "0.bias"))]
    with torch.no_grad():
        model[0].parametrizations.weight.original0.mul_(5)
    want = sanity.he(model, "0.weight", 0)
    assert want.shape == (2, 3, 3, 3)
    found = sanity.rewritten(model, layers, "he", 0)[0]
    torch.testing.assert_close(found.weight.detach(), want, rtol=1e-12, atol=0)
    norms = want.flatten(1).norm(dim=1)
    torch.testing.assert_close(found.parametrizations.weight.original0.flatten().detach(), norms)


def test_steps():
    names = {
        order: ["".join(layer.name for layer in step) for step in sanity.steps(order, abc)]
        for abc in [[Layer(name, ()) for name in "abc"]]
        for order in ("top-down", "bottom-up", "independent", "all")
    }
    assert names == {
        "top-down": ["c", "cb", "cba"],
        "bottom-up": ["a", "ab", "abc"],
        "independent": ["a", "b", "c"],
        "all": ["abc"],
    }


# ---------------------------------------------------------------------------------------------
# similarities


def test_similarities_by_hand():
    a = np.random.default_rng(0).standard_normal((48, 48))
    for name in sanity.SIMILARITIES:
        assert sanity.compared(name, a, a) == pytest.approx(1, abs=1e-12)
        assert sanity.compared(name, a, 3 * a + (name != "spearman-abs")) == pytest.approx(1)
        assert sanity.compared(name, a, np.full_like(a, 2.0)) is None
    assert sanity.compared("spearman", a, -a) == pytest.approx(-1)
    assert sanity.compared("spearman-abs", a, -a) == pytest.approx(1)
    assert sanity.compared("spearman-abs", np.sign(a), a) is None
    # ranks 1, 2.5, 2.5, 4 and 1, 2, 3, 4
    x, y = np.array([[0.0, 1.0], [1.0, 5.0]]), np.array([[1.0, 2.0], [3.0, 4.0]])
    assert sanity.compared("spearman", x, y) == pytest.approx(4.5 / math.sqrt(4.5 * 5))
    assert sanity.compared("ssim", a[:10], a[:10]) is None
    assert sanity.compared("hog", a[:, :47], a[:, :47]) is None


def test_similarities_of_tensors():
    here = setting(images=pictures(1, 48))
    a = torch.rand(1, 6, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))[0]
    assert sanity.similarities(here, a, 2 * a)["hog"] == pytest.approx(1)
    assert set(sanity.similarities(here, a, torch.ones_like(a)).values()) == {None}
    assert set(sanity.similarities(here, None, a).values()) == {None}
    assert set(sanity.similarities(here, a, a / 0).values()) == {None}
    native = sanity.similarities(setting(resolution="native"), a, a)
    assert {name for name, value in native.items() if value is not None} == {
        "spearman",
        "spearman-abs",
    }


def test_slack_is_for_near_ties_alone():
    here = setting(resolution="native")
    a = torch.arange(36.0, dtype=torch.float64).view(6, 6)
    assert sanity.slack(here, "spearman", a, a.flip(0)) == 0
    relu = (a - 20).relu()
    assert sanity.slack(here, "spearman", relu, a.flip(0)) == 0
    tied = a.clone()
    tied[2, 3] = tied[2, 4] * (1 + 1e-15)
    assert 0 < sanity.slack(here, "spearman", tied, a.flip(0)) < 0.05


def test_entropy_by_hand():
    assert sanity.entropy(np.array([0.0, 0.0, 1.0, 1.0])) == pytest.approx(math.log(2))
    assert sanity.entropy(np.arange(100.0)) == pytest.approx(math.log(100))
    assert sanity.entropy(np.array([0.0, 0.001, 0.5, 1.0])) == pytest.approx(1.5 * math.log(2))


# ---------------------------------------------------------------------------------------------
# checks


def test_one_channel_keeps_its_map_or_loses_it():
    """The map is max(w, 0) times the channel: similarity 1 for w > 0, undefined for w ≤ 0."""
    here = one_channel()
    seen = set()
    for label in range(4):
        for seed in range(3):
            w = sanity.normal(seed, "4.weight", 4)[label]
            at = Setting(**{**vars(here), "targets": torch.tensor([label]), "seeds": (seed,)})
            found = sanity.cascade(at, "mprt", "top-down", "gradcam")["spearman"][0][0]
            assert found == [pytest.approx(1) if w > 0 else None]
            seen.add(w > 0)
    assert seen == {True, False}


def test_what_is_unchanged_by_construction():
    here = setting()
    assert sanity.same_weights(
        here.model, sanity.rewritten(here.model, LAYERS[1:2], "he", 0), LAYERS[1:2]
    )
    lafam = sanity.cascade(here, "mprt", "top-down", "lafam")["spearman"]
    assert [[value is None for value in row] for row in lafam[0]] == [[True] * 2] * 4 + [
        [False] * 2
    ]
    sobel = sanity.cascade(here, "mprt", "top-down", "sobel")["spearman"]
    for first, *others in sobel:
        assert first == [None, None]  # the random shift of the logits is 0, as the old one
        assert all(value == pytest.approx(1) for row in others for value in row)
    # A shift of the logits leaves the gradient as it is; the new BatchNorm is the old one.
    gradcam = sanity.cascade(here, "mprt", "independent", "gradcam")["spearman"]
    assert gradcam[0][4] == [None, None]
    assert gradcam[0][1] == [None, None]
    assert None not in gradcam[0][0]


def test_cascades_meet_where_everything_is_random():
    here = setting()
    ends = [
        sanity.cascade(here, "mprt", order, "gradcam")["ssim"]
        for order in ("top-down", "bottom-up")
    ]
    whole = sanity.cascade(here, "mprt", "all", "gradcam")["ssim"]
    for seed in range(2):
        assert ends[0][seed][-1] == ends[1][seed][-1] == whole[seed][0]
        assert len(ends[0][seed]) == len(ends[1][seed]) == 5


def test_null_and_effect():
    here = setting(seeds=(4, 0, 2))
    null = sanity.null(here, "mprt", "lafam")["ssim"]
    assert list(null) == [(4, 0), (4, 2), (0, 2)]
    one, two = (sanity.rewritten(here.model, LAYERS, "he", seed) for seed in (4, 2))
    maps = [
        method_call("lafam")(sanity.capture_of(here, m, "conv", here.images[1], 1, 0))
        for m in (one, two)
    ]
    assert null[4, 2][1] == sanity.similarities(here, maps[0][0], maps[1][0])["ssim"]
    values = [[[1.0, None], [None, None]], [[0.5, 0.0], [None, None]]]
    pairs = {(0, 1): [0.25, None], (0, 2): [0.75, 0.2]}
    assert sanity.effects(values, pairs) == [pytest.approx(0.5 - 0.4), None]
    assert sanity.effects(values, {(0, 1): [None, None]}) == [None, None]


def test_objective_keeps_the_classes_of_the_original():
    here = setting(objective=contrastive(1), model=Named(classes=3))
    label = sanity.class_of(here, 0)
    logits = sanity.logits_of(here, 0)
    nearest = min((i for i in range(3) if i != label), key=lambda i: abs(logits[i] - logits[label]))
    other = sanity.rewritten(here.model, LAYERS, "he", 3)
    taken = sanity.capture_of(here, other, "conv", here.images[0], 0, label)
    assert taken.objective.against.tolist() == [[nearest]]
    assert float(taken.scores[0]) == pytest.approx(
        float(taken.logits[0, label] - taken.logits[0, nearest])
    )


def test_smoothing_a_linear_map_is_the_map_of_the_mean_picture():
    here = setting(samples=3)

    def linear(taken, **_):
        return taken.activations.sum(dim=1)

    here = Setting(**{**vars(here), "methods": {"linear": linear}})
    found = sanity.smooth_map(here, "linear", here.model, 1, 0, "conv")
    views = sanity.views(here, 1)
    with torch.no_grad():
        want = here.model.conv(torch.stack(views).mean(dim=0)[None]).sum(dim=1)[0]
    torch.testing.assert_close(found, want)
    spread = float(here.images[1].max() - here.images[1].min())
    assert torch.stack([v - here.images[1] for v in views]).std() == pytest.approx(
        0.1 * spread, rel=0.1
    )
    assert len(sanity.views(here, 0)) == 3


def test_emprt_by_hand():
    here = setting()
    assert sanity.emprt(here, "sobel") == [[0.0, 0.0], [0.0, 0.0]]
    other = sanity.rewritten(here.model, LAYERS, "he", 1)
    maps = [
        sanity.raw_map(here, "lafam", model, 1, 0, "conv").numpy() for model in (here.model, other)
    ]
    before, after = (sanity.entropy(one) for one in maps)
    assert sanity.emprt(here, "lafam")[1][1] == pytest.approx(after / before - 1)


def test_random_logit():
    here = setting(model=Named(classes=3), targets=torch.tensor([1, 2]), draws=5)
    assert sorted(sanity.other_classes(here, 0)) == [0, 2]
    want = np.random.default_rng([0, 1]).permutation([0, 1]).tolist()
    assert sanity.other_classes(here, 1) == want
    found = sanity.random_logit(here, "gradcam")["spearman"]
    maps = [sanity.raw_map(here, "gradcam", here.model, 1, label, "conv") for label in (2, want[0])]
    assert found[1][0] == sanity.similarities(here, *maps)["spearman"]
    assert [len(row) for row in found] == [2, 2]
    assert sanity.random_logit(here, "lafam")["spearman"] == [[None, None]] * 2


def test_data_randomisation():
    here = setting()
    same = sanity.data_randomisation(here, "lafam", copy.deepcopy(here.model), "conv")
    assert same["ssim"] == [pytest.approx(1)] * 2
    other = sanity.rewritten(here.model, LAYERS, "he", 0)
    row = sanity.cascade(here, "mprt", "all", "lafam")["ssim"][0][0]
    assert sanity.data_randomisation(here, "lafam", other, "conv")["ssim"] == row
